//! A message that may be routed. Its type is the promise: a [`Message`] went through this folder, so
//! its publisher was permitted, its envelope opened, its stamp fresh. Only this folder can build one,
//! besides the broker's own reports, which come by [`Message::of_broker`].

use super::Submission;
use bytes::Bytes;
use sealmq_protocol::packet::MessageProperties;
use sealmq_protocol::{Qos, TopicName};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An application message inside the broker. Shared by every delivery; never changed, never copied
/// but by [`Message::kept`].
pub(crate) struct Message {
    topic: TopicName,
    payload: Bytes,
    qos: Qos,
    retain: bool,
    confidential: bool,
    /// Whether its bytes lie in an allocation of their own.
    kept: bool,
    /// When its message expiry is over.
    expires: Option<Instant>,
    properties: Option<Box<MessageProperties>>,
}

impl Message {
    /// A message that passed every check of this folder at the time of `now`.
    pub(super) fn admitted(submission: Submission, confidential: bool, now: Instant) -> Self {
        let Submission { topic, payload, qos, retain, message_expiry_s, properties } = submission;
        let lasts = message_expiry_s.map(|seconds| Duration::from_secs(seconds.into()));
        let expires = lasts.and_then(|lasts| now.checked_add(lasts));
        Self { topic, payload, qos, retain, confidential, kept: false, expires, properties }
    }

    /// A retained report of the broker about itself, for `$SYS`.
    pub(crate) fn of_broker(topic: TopicName, payload: Bytes) -> Self {
        Self {
            topic,
            payload,
            qos: Qos::AtMostOnce,
            retain: true,
            confidential: false,
            kept: true,
            expires: None,
            properties: None,
        }
    }

    /// What ingress makes of a sealed payload, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn confidential_for_tests(topic: &str, payload: &'static str) -> Self {
        let submission = Submission::for_tests(topic, payload, Qos::ExactlyOnce);
        Self::admitted(submission, true, crate::now::Now::read().instant)
    }

    /// What ingress makes of a plain payload that expires, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn expiring_for_tests(topic: &str, payload: &'static str, seconds: u32, now: Instant) -> Self {
        let mut submission = Submission::for_tests(topic, payload, Qos::ExactlyOnce);
        submission.message_expiry_s = Some(seconds);
        Self::admitted(submission, false, now)
    }

    /// The same message with its bytes in an allocation of its own: what is kept for long must not pin
    /// the read buffer that it came in.
    pub(crate) fn kept(self: &Arc<Self>) -> Arc<Self> {
        if self.kept {
            return self.clone();
        }
        Arc::new(Self {
            topic: self.topic.detached(),
            payload: Bytes::copy_from_slice(&self.payload),
            properties: self.properties.as_ref().map(|properties| Box::new(properties.detached())),
            kept: true,
            ..**self
        })
    }

    /// Where to.
    pub(crate) fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// What.
    pub(crate) fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The QoS that the publisher asked for.
    pub(crate) fn qos(&self) -> Qos {
        self.qos
    }

    /// Whether the publisher asked that it be kept as the topic's retained message.
    pub(crate) fn retain(&self) -> bool {
        self.retain
    }

    /// Whether it was opened from a sealed envelope, and so may leave on secure connections only.
    pub(crate) fn confidential(&self) -> bool {
        self.confidential
    }

    /// What MQTT 5 passes on with it.
    pub(crate) fn properties(&self) -> Option<&MessageProperties> {
        self.properties.as_deref()
    }

    /// When it is to be delivered no more.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// Whether it is to be delivered no more ([MQTT-3.3.2-5]).
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What is left of the message expiry, in whole seconds begun ([MQTT-3.3.2-6]).
    pub(crate) fn expires_in_s(&self, now: Instant) -> Option<u32> {
        let left = self.expires?.saturating_duration_since(now);
        let begun = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(begun).unwrap_or(u32::MAX))
    }

    /// Bytes of topic, payload and properties: what bounds are counted in.
    pub(crate) fn size(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.size());
        self.topic.as_str().len() + self.payload.len() + properties
    }
}

impl std::fmt::Debug for Message {
    /// Without payload: payloads are never logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("confidential", &self.confidential)
            .finish_non_exhaustive()
    }
}
