//! A message that may be routed. Its type is the promise: a [`Message`] went through this folder, so
//! its publisher was permitted, its envelope opened, its stamp fresh. Only this folder can build one,
//! besides the broker's own reports, which come by [`Message::of_broker`].

use bytes::Bytes;
use sealmq_protocol::{Qos, TopicName};
use std::sync::Arc;

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
}

impl Message {
    /// A message that passed every check of this folder.
    pub(super) fn admitted(
        topic: TopicName,
        payload: Bytes,
        (qos, retain): (Qos, bool),
        confidential: bool,
    ) -> Self {
        Self { topic, payload, qos, retain, confidential, kept: false }
    }

    /// A retained report of the broker about itself, for `$SYS`.
    pub(crate) fn of_broker(topic: TopicName, payload: Bytes) -> Self {
        Self { topic, payload, qos: Qos::AtMostOnce, retain: true, confidential: false, kept: true }
    }

    /// What ingress makes of a sealed payload, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn confidential_for_tests(topic: &str, payload: &'static str) -> Self {
        let (payload, flags) = (Bytes::from(payload), (Qos::ExactlyOnce, false));
        Self::admitted(topic.parse().unwrap(), payload, flags, true)
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

    /// Bytes of topic and payload: what bounds are counted in.
    pub(crate) fn size(&self) -> usize {
        self.topic.as_str().len() + self.payload.len()
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
