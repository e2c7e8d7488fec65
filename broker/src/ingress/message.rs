//! A message that may be routed. Its type is the promise: a [`Message`] went through this folder, so
//! its publisher was permitted, its envelope opened, its stamp fresh. Only this folder can build one,
//! besides what the broker says itself ([`Message::of_broker`], [`Message::handed_out`]).

use crate::egress::Egress;
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_protocol::packet::{MessageProperties, Will};
use sealmq_protocol::{Qos, TopicName};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the topics of the audit begin with. Under `$SYS` no client publishes.
pub(crate) const AUDIT_TOPICS: &str = "$SYS/broker/audit/";

/// An application message inside the broker. Shared by every delivery; never changed, never copied
/// but by [`Message::kept`].
///
/// In the order of its fields, and with the counts of its `Arc` exactly two lines of a cache: a message
/// goes from one core to another, and each line of it costs. In the first is all that is asked for when
/// its acknowledgement comes. A block of that size is at a line's beginning, and is one that the allocator
/// has at hand (of a size between powers of two it can be that every one takes the allocator's slow way).
#[repr(C)]
pub(crate) struct Message {
    /// What only few have.
    extras: Option<Box<Extras>>,
    /// What bounds are counted in.
    size: u32,
    qos: Qos,
    retain: bool,
    egress: Egress,
    /// Whether its bytes lie in an allocation of their own.
    kept: bool,
    topic: TopicName,
    payload: Bytes,
    /// The client id of who published it, where it is retained: a subscription with No Local is not sent
    /// it. Fills the second line.
    publisher: Option<ByteString>,
}

/// What only some messages have.
pub(crate) struct Extras {
    /// When the message expiry is over.
    expires: Option<Instant>,
    properties: Option<Box<MessageProperties>>,
}

/// What the store keeps of a message, in memory of its own.
pub(crate) struct Kept {
    pub(crate) topic: TopicName,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) egress: Egress,
    pub(crate) expires: Option<Instant>,
    pub(crate) properties: Option<Box<MessageProperties>>,
    pub(crate) publisher: Option<ByteString>,
}

/// What a client sent to be routed, its topic alias resolved: a PUBLISH or a will. It is built once, and
/// stays where it is; but nobody gets the message before [`super::Ingress::admit`] lets it pass.
#[derive(Debug)]
pub(crate) struct Submission(Arc<Message>);

impl Submission {
    #[inline]
    pub(crate) fn new(
        topic: TopicName,
        payload: Bytes,
        (qos, retain): (Qos, bool),
        extras: Option<Box<Extras>>,
        client_id: &ByteString,
    ) -> Self {
        let publisher = if retain { Some(client_id.clone()) } else { None };
        Self(Arc::new(Message { qos, retain, publisher, ..Message::of(topic, payload, extras) }))
    }

    /// A client's will that is published at the time of `now`.
    pub(crate) fn of_will(will: Will, client_id: &ByteString, now: Instant) -> Self {
        let Will { topic, payload, qos, retain, message_expiry_s, properties, delay_s: _ } = will;
        let extras = Extras::of(message_expiry_s, properties, now);
        Self::new(topic, payload, (qos, retain), extras, client_id)
    }

    pub(crate) fn topic(&self) -> &TopicName {
        self.0.topic()
    }

    pub(crate) fn qos(&self) -> Qos {
        self.0.qos()
    }

    pub(crate) fn retain(&self) -> bool {
        self.0.retain()
    }

    pub(crate) fn size(&self) -> usize {
        self.0.size()
    }

    pub(crate) fn payload(&self) -> &Bytes {
        self.0.payload()
    }

    pub(super) fn properties(&self) -> Option<&MessageProperties> {
        self.0.properties()
    }

    /// It passed every check of this folder.
    pub(super) fn admitted(self) -> Arc<Message> {
        self.0
    }

    /// The same, and was an envelope with this in it.
    pub(super) fn opened(
        self,
        payload: Bytes,
        properties: Option<Box<MessageProperties>>,
        egress: Egress,
    ) -> Arc<Message> {
        let Message { qos, retain, .. } = *self.0;
        let extras = Extras::of_some(self.0.expires(), properties);
        let (topic, publisher) = (self.0.topic.clone(), self.0.publisher.clone());
        Arc::new(Message { qos, retain, egress, publisher, ..Message::of(topic, payload, extras) })
    }

    /// Of QoS 1, to be retained.
    #[cfg(test)]
    pub(crate) fn for_tests(
        topic: &str,
        payload: &'static [u8],
        properties: Option<MessageProperties>,
    ) -> Self {
        let (topic, payload) = (topic.parse().unwrap(), Bytes::from_static(payload));
        let extras = Extras::of_some(None, properties.map(Box::new));
        let message = Message::of(topic, payload, extras);
        Self(Arc::new(Message { qos: Qos::AtLeastOnce, retain: true, ..message }))
    }
}

impl Extras {
    /// Of a message that is submitted at the time of `now`.
    #[inline]
    pub(crate) fn of(
        message_expiry_s: Option<u32>,
        properties: Option<Box<MessageProperties>>,
        now: Instant,
    ) -> Option<Box<Self>> {
        if message_expiry_s.is_none() && properties.is_none() {
            return None;
        }
        let lasts = message_expiry_s.map(|seconds| Duration::from_secs(seconds.into()));
        Self::of_some(lasts.and_then(|lasts| now.checked_add(lasts)), properties)
    }

    fn of_some(expires: Option<Instant>, properties: Option<Box<MessageProperties>>) -> Option<Box<Self>> {
        let is_some = expires.is_some() || properties.is_some();
        is_some.then(|| Box::new(Self { expires, properties }))
    }
}

impl Message {
    #[inline]
    fn of(topic: TopicName, payload: Bytes, extras: Option<Box<Extras>>) -> Self {
        let properties = extras.as_ref().and_then(|extras| extras.properties.as_ref());
        let size =
            topic.as_str().len() + payload.len() + properties.map_or(0, |properties| properties.size());
        // A packet is far shorter than 4 GiB.
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let (qos, retain, egress, kept) = (Qos::AtMostOnce, false, Egress::Any, false);
        Self { extras, size, qos, retain, egress, kept, topic, payload, publisher: None }
    }

    /// A message that the store kept: it went through this folder when it came.
    pub(crate) fn of_store(kept: Kept) -> Self {
        let Kept { topic, payload, qos, retain, egress, expires, properties, publisher } = kept;
        let extras = Extras::of_some(expires, properties);
        Self { qos, retain, egress, kept: true, publisher, ..Self::of(topic, payload, extras) }
    }

    /// A retained report of the broker about itself, for `$SYS`.
    pub(crate) fn of_broker(topic: TopicName, payload: Bytes) -> Self {
        Self { retain: true, kept: true, ..Self::of(topic, payload, None) }
    }

    /// What the audit has to say, for those who may see it. Retained, if it stands for what was said before.
    pub(crate) fn of_audit(topic: TopicName, payload: Bytes, retain: bool) -> Self {
        debug_assert!(topic.as_str().starts_with(AUDIT_TOPICS), "{topic:?}");
        Self { retain, egress: Egress::Secure, kept: true, ..Self::of(topic, payload, None) }
    }

    /// The answer of the broker to one who asked; it stands nowhere.
    pub(crate) fn handed_out(topic: TopicName, payload: Bytes) -> Self {
        Self { kept: true, ..Self::of(topic, payload, None) }
    }

    /// What ingress makes of a sealed payload, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn confidential_for_tests(topic: &str, payload: &'static str, egress: Egress) -> Self {
        let message = Self::of(topic.parse().unwrap(), Bytes::from(payload), None);
        Self { qos: Qos::ExactlyOnce, egress, ..message }
    }

    /// What ingress makes of a plain payload that expires, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn expiring_for_tests(topic: &str, payload: &'static str, seconds: u32, now: Instant) -> Self {
        let extras = Extras::of(Some(seconds), None, now);
        Self { qos: Qos::ExactlyOnce, ..Self::of(topic.parse().unwrap(), Bytes::from(payload), extras) }
    }

    /// The same message with its bytes in an allocation of its own: what is kept for long must not pin
    /// the read buffer that it came in.
    pub(crate) fn kept(self: &Arc<Self>) -> Arc<Self> {
        if self.kept {
            return self.clone();
        }
        let extras = self.extras.as_ref().map(|extras| {
            let properties = extras.properties.as_deref().map(|properties| Box::new(properties.detached()));
            Box::new(Extras { expires: extras.expires, properties })
        });
        let Self { qos, retain, egress, .. } = **self;
        let (topic, payload) = (self.topic.detached(), Bytes::copy_from_slice(&self.payload));
        // No slice of a read buffer.
        let publisher = self.publisher.clone();
        Arc::new(Self { qos, retain, egress, kept: true, publisher, ..Self::of(topic, payload, extras) })
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

    /// Where it may go: what was opened from a sealed envelope is confidential.
    pub(crate) fn egress(&self) -> Egress {
        self.egress
    }

    /// Whether it is of the audit, and so for those alone who may see that, and never kept for later.
    pub(crate) fn is_audit(&self) -> bool {
        self.egress.is_confidential() && self.topic.as_str().starts_with(AUDIT_TOPICS)
    }

    /// What MQTT 5 passes on with it.
    pub(crate) fn properties(&self) -> Option<&MessageProperties> {
        self.extras.as_ref()?.properties.as_deref()
    }

    /// The client id of who published it; known of retained messages alone.
    pub(crate) fn publisher(&self) -> Option<&ByteString> {
        self.publisher.as_ref()
    }

    /// When it is to be delivered no more.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.extras.as_ref()?.expires
    }

    /// Whether it is to be delivered no more ([MQTT-3.3.2-5]).
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }

    /// What is left of the message expiry, in whole seconds begun ([MQTT-3.3.2-6]).
    pub(crate) fn expires_in_s(&self, now: Instant) -> Option<u32> {
        let left = self.expires()?.saturating_duration_since(now);
        let begun = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(begun).unwrap_or(u32::MAX))
    }

    /// Bytes of topic, payload and properties: what bounds are counted in.
    pub(crate) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
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
            .field("egress", &self.egress)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_two_lines_with_its_counts() {
        assert_eq!(size_of::<Message>() + 2 * size_of::<usize>(), 128);
    }

    #[test]
    fn a_kept_copy_is_the_same_message() {
        let properties = MessageProperties { content_type: Some("text/plain".into()), ..Default::default() };
        let extras = Extras::of(Some(60), Some(Box::new(properties.clone())), Instant::now());
        let message = Message::of("a/b".parse().unwrap(), Bytes::from("21.5"), extras);
        let publisher = Some("dev".into());
        let message =
            Arc::new(Message { qos: Qos::AtLeastOnce, egress: Egress::SecureOrSealed, publisher, ..message });
        let kept = message.kept();
        assert!(!Arc::ptr_eq(&message, &kept) && Arc::ptr_eq(&kept, &kept.kept()));
        assert_eq!((kept.topic(), kept.payload()), (message.topic(), message.payload()));
        assert_eq!((kept.qos(), kept.egress()), (Qos::AtLeastOnce, Egress::SecureOrSealed));
        assert_eq!((kept.expires(), kept.properties()), (message.expires(), Some(&properties)));
        assert_eq!((kept.publisher(), message.publisher()), (Some(&"dev".into()), Some(&"dev".into())));
        assert_eq!((kept.size(), message.size()), (17, 17));
    }
}
