//! One `Packet` type for every version of MQTT. A packet that exists is well formed: the codec
//! refuses everything else, so the broker never looks at a packet with suspicion.

use crate::reason::{ConnectReturnCode, SubscribeReturnCode};
use crate::{Qos, TopicFilter, TopicName};
use bytes::Bytes;
use bytestring::ByteString;

/// The protocol level that a client asked for in CONNECT (MQTT 3.1.1 §3.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311,
}

/// An MQTT control packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A client asks for a session (§3.1).
    Connect(Box<Connect>),
    /// The answer to CONNECT (§3.2).
    ConnAck(ConnAck),
    /// An application message (§3.3).
    Publish(Publish),
    /// QoS 1 acknowledged (§3.4).
    PubAck(PacketId),
    /// QoS 2 received (§3.5).
    PubRec(PacketId),
    /// QoS 2 released (§3.6).
    PubRel(PacketId),
    /// QoS 2 complete (§3.7).
    PubComp(PacketId),
    /// Subscriptions asked for (§3.8).
    Subscribe(Subscribe),
    /// The answer to SUBSCRIBE (§3.9).
    SubAck(SubAck),
    /// Subscriptions given up (§3.10).
    Unsubscribe(Unsubscribe),
    /// The answer to UNSUBSCRIBE (§3.11).
    UnsubAck(PacketId),
    /// Are you there (§3.12)?
    PingReq,
    /// The answer to PINGREQ (§3.13).
    PingResp,
    /// The client leaves in good order (§3.14).
    Disconnect,
}

/// A packet identifier; never zero ([MQTT-2.3.1-1]).
pub type PacketId = std::num::NonZeroU16;

/// CONNECT (MQTT 3.1.1 §3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the client speaks.
    pub version: Version,
    /// Empty where the client leaves the choice to the server.
    pub client_id: ByteString,
    /// Whether the session starts anew and ends with the connection (§3.1.2.4).
    pub clean_session: bool,
    /// Seconds within which the client promises to send something; 0 turns the check off (§3.1.2.10).
    pub keep_alive_s: u16,
    /// What to publish when the connection ends without DISCONNECT (§3.1.2.5).
    pub will: Option<Will>,
    /// The user name, if one was sent.
    pub user_name: Option<ByteString>,
    /// The password: any bytes (§3.1.3.5); in MQTT 3.1.1 only together with a user name.
    pub password: Option<Bytes>,
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
}

/// CONNACK (§3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server kept a session of this client; only with `Accepted` ([MQTT-3.2.2-4]).
    pub session_present: bool,
    /// Accepted, or why not.
    pub code: ConnectReturnCode,
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
    /// Where to.
    pub topic: TopicName,
    /// Present exactly when `qos` is above 0 ([MQTT-2.3.1-5]).
    pub packet_id: Option<PacketId>,
    /// What.
    pub payload: Bytes,
}

/// SUBSCRIBE (§3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Repeated in the SUBACK.
    pub packet_id: PacketId,
    /// At least one ([MQTT-3.8.3-3]). A filter that MQTT does not allow is `Err`, and is to be
    /// answered with a failure in its place.
    pub filters: Vec<(Result<TopicFilter, crate::error::FilterError>, Qos)>,
}

/// SUBACK (§3.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// That of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each filter, in order ([MQTT-3.8.4-5]).
    pub codes: Vec<SubscribeReturnCode>,
}

/// UNSUBSCRIBE (§3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Repeated in the UNSUBACK.
    pub packet_id: PacketId,
    /// At least one ([MQTT-3.10.3-2]); what is no filter cannot be subscribed to, and is left out.
    pub filters: Vec<TopicFilter>,
}

/// The fields of a PUBLISH on its way out, besides topic and payload.
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
            .field("clean_session", &self.clean_session)
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
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}
