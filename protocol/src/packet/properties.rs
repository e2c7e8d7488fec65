//! What MQTT 5 adds to a packet: properties (§2.2.2), each kind in the struct of the packets that may
//! carry it. A property that is not there is `None`, or the value that the standard gives it then.
//!
//! User properties stay in the form in which they came, so that they are passed on untouched, in order,
//! and cost no more memory than they took on the wire.

use crate::TopicName;
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use std::num::{NonZeroU16, NonZeroU32};

/// A subscription identifier (§3.8.2.1.2): 1 to 268,435,455.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The largest, which is the largest number of variable length.
    pub const MAX: u32 = 268_435_455;

    /// `None` for 0 and for what is above [`SubscriptionId::MAX`].
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).filter(|number| number.get() <= Self::MAX).map(Self)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// The subscription identifiers of a PUBLISH, in the order in which they came. Nearly always none, and
/// then one word large: a PUBLISH is moved often.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::box_collection, reason = "one word where there is none")]
pub struct SubscriptionIds(Option<Box<Vec<SubscriptionId>>>);

impl SubscriptionIds {
    /// All of them.
    pub fn as_slice(&self) -> &[SubscriptionId] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// One more.
    pub fn push(&mut self, id: SubscriptionId) {
        self.0.get_or_insert_default().push(id);
    }
}

impl FromIterator<SubscriptionId> for SubscriptionIds {
    fn from_iter<I: IntoIterator<Item = SubscriptionId>>(ids: I) -> Self {
        let mut all = Self::default();
        ids.into_iter().for_each(|id| all.push(id));
        all
    }
}

/// What the publisher says of its payload (§3.3.2.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadFormat {
    /// 0: bytes.
    Unspecified,
    /// 1: UTF-8.
    Utf8,
}

/// The properties of an application message that the server passes on (§3.3.2.3), of a PUBLISH or of a
/// will. The message expiry is not among them, since it is counted down on the way.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct MessageProperties {
    /// Payload Format Indicator.
    pub payload_format: Option<PayloadFormat>,
    /// Content Type.
    pub content_type: Option<ByteString>,
    /// Response Topic: without wildcards ([MQTT-3.3.2-14]).
    pub response_topic: Option<TopicName>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// In the order in which they came ([MQTT-3.3.2-18]).
    pub user_properties: UserProperties,
}

impl MessageProperties {
    /// Whether there is none of them.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same in an allocation of its own each: slices of a read buffer keep all of it alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            payload_format: self.payload_format,
            content_type: self.content_type.as_ref().map(|text| ByteString::from(text.as_ref())),
            response_topic: self.response_topic.as_ref().map(TopicName::detached),
            correlation_data: self.correlation_data.as_deref().map(Bytes::copy_from_slice),
            user_properties: self.user_properties.detached(),
        }
    }

    /// What they take in memory, bytes, about.
    pub fn size(&self) -> usize {
        self.content_type.as_ref().map_or(0, |text| text.len())
            + self.response_topic.as_ref().map_or(0, |topic| topic.as_str().len())
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + self.user_properties.wire().len()
    }
}

impl std::fmt::Debug for MessageProperties {
    /// Without what the application put in: that is as private as a payload.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageProperties")
            .field("payload_format", &self.payload_format)
            .field("bytes", &self.size())
            .finish_non_exhaustive()
    }
}

/// User properties (§2.2.2.2): pairs of strings, in order, a name as often as one likes. Kept as they
/// stand on the wire, identifier bytes included; every value of this type is well formed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct UserProperties(Bytes);

impl UserProperties {
    /// The identifier of a user property.
    pub const IDENTIFIER: u8 = 0x26;

    /// The codec has checked these bytes, pair by pair.
    pub(crate) fn from_checked(wire: Bytes) -> Self {
        Self(wire)
    }

    /// Pairs as [`UserProperties::wire`] gave them; `None` for any other bytes.
    pub fn from_wire(wire: Bytes) -> Option<Self> {
        let mut rest: &[u8] = &wire;
        while let Some((identifier, after)) = rest.split_first() {
            rest = after;
            if *identifier != Self::IDENTIFIER {
                return None;
            }
            take_string(&mut rest)?;
            take_string(&mut rest)?;
        }
        Some(Self(wire))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            rest = rest.split_first()?.1;
            Some((take_string(&mut rest)?, take_string(&mut rest)?))
        })
    }

    /// The pairs as they stand on the wire.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The same in an allocation of its own.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, after) = rest.split_first_chunk()?;
    let (text, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for UserProperties {
    /// Texts of more than 65,535 bytes have no form on the wire: such a pair is left out.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut wire = BytesMut::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            let (Ok(name_bytes), Ok(value_bytes)) = (u16::try_from(name.len()), u16::try_from(value.len()))
            else {
                continue;
            };
            wire.put_u8(Self::IDENTIFIER);
            wire.put_u16(name_bytes);
            wire.put_slice(name.as_bytes());
            wire.put_u16(value_bytes);
            wire.put_slice(value.as_bytes());
        }
        Self(wire.freeze())
    }
}

impl std::fmt::Debug for UserProperties {
    /// Their size: what they say is as private as a payload.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UserProperties({} bytes)", self.0.len())
    }
}

/// What a packet may say to people, besides its reason code: in CONNACK, the four acknowledgements,
/// SUBACK, UNSUBACK, DISCONNECT and AUTH.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics {
    /// Reason String.
    pub reason_string: Option<ByteString>,
    /// User properties.
    pub user_properties: UserProperties,
}

impl Diagnostics {
    /// A reason string, and nothing else.
    pub fn of(reason: &str) -> Box<Self> {
        Box::new(Self { reason_string: Some(reason.into()), ..Self::default() })
    }
}

/// The properties of a CONNECT (§3.1.2.11). The default is what holds for a client that says nothing,
/// so also for one of MQTT 3.1.1, but for the session expiry.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Receive Maximum: how many QoS 1 and 2 messages the client takes unacknowledged.
    pub receive_maximum: NonZeroU16,
    /// Maximum Packet Size that the client takes, bytes, fixed header included.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// Topic Alias Maximum: how many aliases the client takes from the server.
    pub topic_alias_maximum: u16,
    /// Request Response Information.
    pub request_response_information: bool,
    /// Request Problem Information: whether the client wants reason strings and the like.
    pub request_problem_information: bool,
    /// Authentication Method: the client wants enhanced authentication (§4.12).
    pub authentication_method: Option<ByteString>,
    /// Authentication Data: the first step of it.
    pub authentication_data: Option<Bytes>,
    /// User properties.
    pub user_properties: UserProperties,
}

impl Default for ConnectProperties {
    fn default() -> Self {
        Self {
            receive_maximum: NonZeroU16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user_properties: UserProperties::default(),
        }
    }
}

impl std::fmt::Debug for ConnectProperties {
    /// Without authentication data: it may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectProperties")
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("authentication_method", &self.authentication_method)
            .finish_non_exhaustive()
    }
}

/// The properties of a CONNACK (§3.2.2.3). The default says nothing, so what the standard gives then
/// holds.
#[derive(Clone, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "the standard has four switches here")]
pub struct ConnAckProperties {
    /// Session Expiry Interval, seconds, where it is not what the client asked for.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum of the server.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum QoS, where it is below 2.
    pub maximum_qos: Option<crate::Qos>,
    /// Retain Available 0: retained messages are turned off.
    pub retain_unavailable: bool,
    /// Maximum Packet Size of the server, bytes.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// Assigned Client Identifier, where the client left the choice to the server.
    pub assigned_client_id: Option<ByteString>,
    /// Topic Alias Maximum of the server.
    pub topic_alias_maximum: Option<NonZeroU16>,
    /// Wildcard Subscription Available 0.
    pub wildcards_unavailable: bool,
    /// Subscription Identifiers Available 0.
    pub subscription_ids_unavailable: bool,
    /// Shared Subscription Available 0.
    pub shared_unavailable: bool,
    /// Server Keep Alive, seconds, where it is not what the client asked for.
    pub server_keep_alive_s: Option<u16>,
    /// Response Information.
    pub response_information: Option<ByteString>,
    /// Server Reference: where to go instead.
    pub server_reference: Option<ByteString>,
    /// Authentication Method, with enhanced authentication.
    pub authentication_method: Option<ByteString>,
    /// Authentication Data, with enhanced authentication.
    pub authentication_data: Option<Bytes>,
    /// Reason String and user properties.
    pub diagnostics: Diagnostics,
}

impl std::fmt::Debug for ConnAckProperties {
    /// Without authentication data: it may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnAckProperties")
            .field("session_expiry_s", &self.session_expiry_s)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_qos", &self.maximum_qos)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("assigned_client_id", &self.assigned_client_id)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("server_keep_alive_s", &self.server_keep_alive_s)
            .field("authentication_method", &self.authentication_method)
            .field("diagnostics", &self.diagnostics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_properties_keep_order_and_repeats() {
        let pairs = [("b", "1"), ("a", ""), ("b", "2"), ("", "é")];
        let properties: UserProperties = pairs.into_iter().collect();
        assert_eq!(properties.iter().collect::<Vec<_>>(), pairs);
        assert_eq!(properties.detached(), properties);
        assert!(UserProperties::default().is_empty());
    }

    #[test]
    fn a_pair_that_has_no_form_is_left_out() {
        let long = "x".repeat(65_536);
        let properties: UserProperties = [(long.as_str(), "1"), ("a", "2")].into_iter().collect();
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("a", "2")]);
    }

    #[test]
    fn subscription_ids_have_their_range() {
        assert_eq!(SubscriptionId::new(0), None);
        assert_eq!(SubscriptionId::new(268_435_455).map(SubscriptionId::get), Some(268_435_455));
        assert_eq!(SubscriptionId::new(268_435_456), None);
    }
}
