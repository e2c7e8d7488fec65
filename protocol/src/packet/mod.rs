//! One `Packet` type for every version of MQTT. A packet that exists is well formed: the codec
//! refuses everything else, so the broker never looks at a packet with suspicion. What only MQTT 5 has
//! is `None` or its default in a packet of another version, and is not written for one.
//!
//! Section numbers are those of MQTT 5; up to §3.14 MQTT 3.1.1 has the same.

mod properties;

pub use properties::{
    ConnAckProperties, ConnectProperties, Diagnostics, MessageProperties, PayloadFormat, SubscriptionId,
    SubscriptionIds, UserProperties,
};

use crate::error::FilterError;
use crate::{Qos, ReasonCode, SubscriptionFilter, TopicName};
use bytes::Bytes;
use bytestring::ByteString;
use std::num::NonZeroU16;

/// The protocol level that a client asked for in CONNECT (§3.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311,
    /// MQTT 5: protocol name `MQTT`, level 5.
    V5,
}

/// An MQTT control packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A client asks for a session (§3.1).
    Connect(Box<Connect>),
    /// The answer to CONNECT (§3.2).
    ConnAck(Box<ConnAck>),
    /// An application message (§3.3).
    Publish(Publish),
    /// QoS 1 acknowledged (§3.4).
    PubAck(Ack),
    /// QoS 2 received (§3.5).
    PubRec(Ack),
    /// QoS 2 released (§3.6).
    PubRel(Ack),
    /// QoS 2 complete (§3.7).
    PubComp(Ack),
    /// Subscriptions asked for (§3.8).
    Subscribe(Subscribe),
    /// The answer to SUBSCRIBE (§3.9).
    SubAck(SubAck),
    /// Subscriptions given up (§3.10).
    Unsubscribe(Unsubscribe),
    /// The answer to UNSUBSCRIBE (§3.11).
    UnsubAck(UnsubAck),
    /// Are you there (§3.12)?
    PingReq,
    /// The answer to PINGREQ (§3.13).
    PingResp,
    /// The client leaves in good order, or in MQTT 5 the server says why it closes (§3.14).
    Disconnect(Box<Disconnect>),
    /// A step of enhanced authentication (§3.15); MQTT 5 only.
    Auth(Box<Auth>),
}

/// A packet identifier; never zero ([MQTT-2.2.1-3]).
pub type PacketId = NonZeroU16;

/// A topic alias (§3.3.2.3.4); never zero ([MQTT-3.3.2-8]).
pub type TopicAlias = NonZeroU16;

/// CONNECT (§3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the client speaks.
    pub version: Version,
    /// Empty where the client leaves the choice to the server.
    pub client_id: ByteString,
    /// Clean Start: whether what was kept is discarded (§3.1.2.4). In MQTT 3.1.1 it is Clean Session,
    /// and says as well whether anything is kept after the connection; see `session_expiry_s`.
    pub clean_start: bool,
    /// Session Expiry Interval: seconds for which the session is kept after the connection; `u32::MAX`
    /// for ever. The two values of MQTT 3.1.1's Clean Session are 0 and `u32::MAX`.
    pub session_expiry_s: u32,
    /// Seconds within which the client promises to send something; 0 turns the check off (§3.1.2.10).
    pub keep_alive_s: u16,
    /// What to publish when the connection ends without DISCONNECT (§3.1.2.5).
    pub will: Option<Will>,
    /// The user name, if one was sent.
    pub user_name: Option<ByteString>,
    /// The password: any bytes (§3.1.3.6); in MQTT 3.1.1 only together with a user name.
    pub password: Option<Bytes>,
    /// What else MQTT 5 lets a client say.
    pub properties: ConnectProperties,
}

/// The will of a CONNECT (§3.1.2.5).
#[derive(Clone, PartialEq, Eq)]
pub struct Will {
    /// Where to.
    pub topic: TopicName,
    /// What.
    pub payload: Bytes,
    /// How surely.
    pub qos: Qos,
    /// Whether it becomes the topic's retained message.
    pub retain: bool,
    /// Will Delay Interval: seconds to wait for the client to come back (§3.1.3.2.2).
    pub delay_s: u32,
    /// Message Expiry Interval, seconds from when it is published.
    pub message_expiry_s: Option<u32>,
    /// What is passed on with it.
    pub properties: Option<Box<MessageProperties>>,
}

/// CONNACK (§3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server kept a session of this client; only with `Success` ([MQTT-3.2.2-6]).
    pub session_present: bool,
    /// Accepted, or why not.
    pub reason: ReasonCode,
    /// What the server says of itself.
    pub properties: ConnAckProperties,
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP (§3.4 to §3.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Of the PUBLISH.
    pub packet_id: PacketId,
    /// How it went; MQTT 3.1.1 has no word for anything but success.
    pub reason: ReasonCode,
    /// What is said of it.
    pub diagnostics: Option<Box<Diagnostics>>,
}

impl Ack {
    /// All went well.
    pub const fn success(packet_id: PacketId) -> Self {
        Self::of(packet_id, ReasonCode::Success)
    }

    /// It went so.
    pub const fn of(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, diagnostics: None }
    }
}

/// PUBLISH (§3.3). Topic and payload are slices of what was read from the socket.
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// Sent before, and perhaps received (§3.3.1.1); never with QoS 0.
    pub dup: bool,
    /// How surely.
    pub qos: Qos,
    /// Whether to keep it as the topic's retained message (§3.3.1.3).
    pub retain: bool,
    /// Where to; none, in MQTT 5, where a topic alias stands for it.
    pub topic: Option<TopicName>,
    /// Present exactly when `qos` is above 0 ([MQTT-2.2.1-2]).
    pub packet_id: Option<PacketId>,
    /// Topic Alias: what `topic` is called from now on, or was called before.
    pub topic_alias: Option<TopicAlias>,
    /// Message Expiry Interval, seconds.
    pub message_expiry_s: Option<u32>,
    /// Which subscriptions the message is for; only a server says so ([MQTT-3.3.4-6]).
    pub subscription_ids: SubscriptionIds,
    /// What is passed on with the message.
    pub properties: Option<Box<MessageProperties>>,
    /// What.
    pub payload: Bytes,
}

/// SUBSCRIBE (§3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Repeated in the SUBACK.
    pub packet_id: PacketId,
    /// At least one ([MQTT-3.8.3-2]). A filter that MQTT does not allow is `Err`, and is to be
    /// answered with a failure in its place.
    pub filters: Vec<(Result<SubscriptionFilter, FilterError>, SubscriptionOptions)>,
    /// Subscription Identifier of all of them.
    pub subscription_id: Option<SubscriptionId>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// Subscription options (§3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscriptionOptions {
    /// The most that messages are delivered with.
    pub qos: Qos,
    /// Whether the client is not sent what it publishes itself.
    pub no_local: bool,
    /// Whether RETAIN is passed on as the publisher set it.
    pub retain_as_published: bool,
    /// Which retained messages are sent when the subscription is made.
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    /// What MQTT 3.1.1 has.
    pub fn of(qos: Qos) -> Self {
        Self { qos, ..Self::default() }
    }
}

/// Retain Handling (§3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// 0: all that match, each time.
    #[default]
    Send = 0,
    /// 1: all that match, if the subscription is new.
    SendIfNew = 1,
    /// 2: none.
    DoNotSend = 2,
}

/// SUBACK (§3.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// That of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each filter, in order ([MQTT-3.8.4-6]).
    pub reasons: Vec<ReasonCode>,
    /// What is said of it.
    pub diagnostics: Option<Box<Diagnostics>>,
}

/// UNSUBSCRIBE (§3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Repeated in the UNSUBACK.
    pub packet_id: PacketId,
    /// At least one ([MQTT-3.10.3-2]); what is no filter is `Err`, and cannot have been subscribed to.
    pub filters: Vec<Result<SubscriptionFilter, FilterError>>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// UNSUBACK (§3.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsubAck {
    /// That of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each filter, in order ([MQTT-3.11.3-1]); not written, and empty when read, in MQTT 3.1.1.
    pub reasons: Vec<ReasonCode>,
    /// What is said of it.
    pub diagnostics: Option<Box<Diagnostics>>,
}

/// DISCONNECT (§3.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; MQTT 3.1.1 knows only the client's `Success`.
    pub reason: ReasonCode,
    /// Session Expiry Interval, seconds, if it is to change; only a client says so ([MQTT-3.14.2-2]).
    pub session_expiry_s: Option<u32>,
    /// Server Reference: where to go instead.
    pub server_reference: Option<ByteString>,
    /// What is said of it.
    pub diagnostics: Option<Box<Diagnostics>>,
}

impl Disconnect {
    /// For this reason, and nothing else to say.
    pub const fn of(reason: ReasonCode) -> Self {
        Self { reason, session_expiry_s: None, server_reference: None, diagnostics: None }
    }
}

/// AUTH (§3.15).
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// `Success`, `ContinueAuthentication` or `Reauthenticate`.
    pub reason: ReasonCode,
    /// Authentication Method: that of the CONNECT.
    pub method: Option<ByteString>,
    /// Authentication Data, as the method has it.
    pub data: Option<Bytes>,
    /// What is said of it.
    pub diagnostics: Option<Box<Diagnostics>>,
}

impl std::fmt::Debug for Auth {
    /// Without data: it may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("reason", &self.reason)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// A PUBLISH on its way out, to be written without being put together first.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingPublish<'a> {
    /// Flags and packet identifier.
    pub header: PublishHeader,
    /// Where to; empty where the alias stands for it.
    pub topic: &'a str,
    /// What follows is written for MQTT 5 alone. Topic Alias.
    pub topic_alias: Option<TopicAlias>,
    /// Message Expiry Interval that is left, seconds.
    pub message_expiry_s: Option<u32>,
    /// Which of the client's subscriptions it is for.
    pub subscription_ids: &'a [SubscriptionId],
    /// What is passed on with the message.
    pub properties: Option<&'a MessageProperties>,
    /// What.
    pub payload: &'a [u8],
}

impl<'a> From<&'a Publish> for OutgoingPublish<'a> {
    fn from(publish: &'a Publish) -> Self {
        let Publish { dup, qos, retain, packet_id, .. } = *publish;
        Self {
            header: PublishHeader { dup, qos, retain, packet_id },
            topic: publish.topic.as_ref().map_or("", TopicName::as_str),
            topic_alias: publish.topic_alias,
            message_expiry_s: publish.message_expiry_s,
            subscription_ids: publish.subscription_ids.as_slice(),
            properties: publish.properties.as_deref(),
            payload: &publish.payload,
        }
    }
}

/// The flags and the packet identifier of a PUBLISH on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishHeader {
    /// Set when sent again ([MQTT-3.3.1-1]).
    pub dup: bool,
    /// The effective QoS.
    pub qos: Qos,
    /// Set for a retained message sent to a new subscription ([MQTT-3.3.1-8]).
    pub retain: bool,
    /// Present exactly when `qos` is above 0.
    pub packet_id: Option<PacketId>,
}

impl std::fmt::Debug for Connect {
    /// Without password: a secret is never logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("session_expiry_s", &self.session_expiry_s)
            .field("keep_alive_s", &self.keep_alive_s)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Will {
    /// Without payload: payloads are never logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("delay_s", &self.delay_s)
            .field("message_expiry_s", &self.message_expiry_s)
            .field("properties", &self.properties)
            .finish()
    }
}

impl std::fmt::Debug for Publish {
    /// Without payload: payloads are never logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("packet_id", &self.packet_id)
            .field("topic_alias", &self.topic_alias)
            .field("message_expiry_s", &self.message_expiry_s)
            .field("subscription_ids", &self.subscription_ids.as_slice())
            .field("properties", &self.properties)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}
