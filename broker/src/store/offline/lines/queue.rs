//! Queues, messages and all that has few fields, as lines of an export.

use super::super::super::Position;
use super::super::super::layout::{self, ReplayKey};
use super::super::super::record::{Body, Entry, Flight, FlightState};
use super::Pair;
use super::fields::{Base64, MessageFields};
use crate::delivery::{Place, SessionId};
use bytes::Bytes;
use sealmq_crypto::SenderWindow;
use sealmq_protocol::packet::{PacketId, SubscriptionId};
use sealmq_protocol::{Qos, SubscriptionFilter};
use serde::{Deserialize, Serialize};

/// Something of the store as a whole: `schema`, `next_session`, or a session that is `dying`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetaLine {
    key: String,
    number: u64,
}

const SCHEMA: &str = "schema";
const NEXT_SESSION: &str = "next_session";
const DYING: &str = "dying";
const KEY_USED: &str = "key_used/";

impl MetaLine {
    pub(super) fn of(key: &[u8], value: &[u8]) -> Option<Self> {
        if let Some(id) = layout::parse_key_used_key(key) {
            let id = std::str::from_utf8(id).ok()?;
            let number = u64::from_be_bytes(value.try_into().ok()?);
            return Some(Self { key: format!("{KEY_USED}{id}"), number });
        }
        let (key, number) = match key {
            layout::META_SCHEMA => (SCHEMA, u32::from_be_bytes(value.try_into().ok()?).into()),
            layout::META_NEXT_SESSION => (NEXT_SESSION, u64::from_be_bytes(value.try_into().ok()?)),
            key => (DYING, layout::parse_dying_key(key)?.0),
        };
        Some(Self { key: key.to_owned(), number })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        Some(match self.key.as_str() {
            SCHEMA => {
                let number = u32::try_from(self.number).ok()?;
                (layout::META_SCHEMA.to_vec(), number.to_be_bytes().to_vec())
            }
            NEXT_SESSION => (layout::META_NEXT_SESSION.to_vec(), self.number.to_be_bytes().to_vec()),
            DYING => (layout::dying_key(SessionId(self.number)), Vec::new()),
            key => {
                let id = key.strip_prefix(KEY_USED)?;
                (layout::key_used_key(id.as_bytes()), self.number.to_be_bytes().to_vec())
            }
        })
    }
}

/// A message that waits for a session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueLine {
    session: u64,
    position: u64,
    qos: u8,
    retain: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subscription_ids: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    size: u32,
    /// None: it lies in `message`, under the same position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<MessageFields>,
}

impl QueueLine {
    pub(super) fn of(key: &[u8], value: Bytes) -> Option<Self> {
        let (session, position) = layout::parse_queue_key(key)?;
        let Entry { qos, retain, subscription_ids, group, size, body } = Entry::decode(value).ok()?;
        Some(Self {
            session: session.0,
            position,
            qos: qos.bits(),
            retain,
            subscription_ids: subscription_ids.into_iter().map(SubscriptionId::get).collect(),
            group: group.map(|group| group.to_string()),
            size,
            message: match body {
                Body::Shared => None,
                Body::Inline(body) => Some(MessageFields::of(body)?),
            },
        })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        let ids = self.subscription_ids.iter().map(|id| SubscriptionId::new(*id));
        let group = match &self.group {
            Some(group) => Some(SubscriptionFilter::try_from(group.as_str()).ok()?),
            None => None,
        };
        let entry = Entry {
            qos: Qos::from_bits(self.qos)?,
            retain: self.retain,
            subscription_ids: ids.collect::<Option<_>>()?,
            group,
            size: self.size,
            body: match &self.message {
                Some(message) => Body::Inline(message.encode()?.into()),
                None => Body::Shared,
            },
        };
        Some((layout::queue_key(SessionId(self.session), self.position).to_vec(), entry.to_bytes()))
    }
}

/// A message that several queues share.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageLine {
    position: u64,
    message: MessageFields,
}

impl MessageLine {
    pub(super) fn of(key: &[u8], value: Bytes) -> Option<Self> {
        Some(Self { position: layout::parse_position_key(key)?, message: MessageFields::of(value)? })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        Some((layout::position_key(self.position).to_vec(), self.message.encode()?))
    }
}

/// How many queues share it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefsLine {
    position: u64,
    count: u32,
}

impl RefsLine {
    pub(super) fn of(key: &[u8], value: &[u8]) -> Option<Self> {
        let count = u32::from_be_bytes(value.try_into().ok()?);
        Some(Self { position: layout::parse_position_key(key)?, count })
    }

    pub(super) fn encode(&self) -> Pair {
        (layout::position_key(self.position).to_vec(), self.count.to_be_bytes().to_vec())
    }
}

/// A message that was given a packet id.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InflightLine {
    session: u64,
    packet_id: u16,
    sequence: u64,
    position: u64,
    is_shared: bool,
    state: StateField,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateField {
    Published,
    Released,
}

impl InflightLine {
    pub(super) fn of(key: &[u8], value: Bytes) -> Option<Self> {
        let (session, packet_id) = layout::parse_packet_key(key)?;
        let Flight { sequence, place, state } = Flight::decode(value).ok()?;
        Some(Self {
            session: session.0,
            packet_id: packet_id.get(),
            sequence,
            position: place.position().0,
            is_shared: place.is_shared(),
            state: match state {
                FlightState::Published => StateField::Published,
                FlightState::Released => StateField::Released,
            },
        })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        let flight = Flight {
            sequence: self.sequence,
            place: Place::new(Position(self.position), self.is_shared)?,
            state: match self.state {
                StateField::Published => FlightState::Published,
                StateField::Released => FlightState::Released,
            },
        };
        let key = layout::packet_key(SessionId(self.session), PacketId::new(self.packet_id)?);
        Some((key, flight.encode()))
    }
}

/// QoS 2 received and not released.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InboundLine {
    session: u64,
    packet_id: u16,
}

impl InboundLine {
    pub(super) fn of(key: &[u8]) -> Option<Self> {
        let (session, packet_id) = layout::parse_packet_key(key)?;
        Some(Self { session: session.0, packet_id: packet_id.get() })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        Some((layout::packet_key(SessionId(self.session), PacketId::new(self.packet_id)?), Vec::new()))
    }
}

/// The last message of a topic.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetainedLine {
    topic: String,
    message: MessageFields,
}

impl RetainedLine {
    pub(super) fn of(key: &[u8], value: Bytes) -> Option<Self> {
        let topic = std::str::from_utf8(key).ok()?.to_owned();
        Some(Self { topic, message: MessageFields::of(value)? })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        Some((self.topic.as_bytes().to_vec(), self.message.encode()?))
    }
}

/// What was taken of a sender: a window of counters, or one timed stamp.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayLine {
    sender: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Base64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp_hash: Option<Base64>,
}

impl ReplayLine {
    pub(super) fn of(key: &[u8], value: &[u8]) -> Option<Self> {
        let text = |sender| std::str::from_utf8(sender).ok().map(str::to_owned);
        Some(match layout::parse_replay_key(key)? {
            ReplayKey::Window(sender) => {
                SenderWindow::from_bytes(value)?;
                Self { sender: text(sender)?, window: Some(value.into()), issued_at: None, stamp_hash: None }
            }
            ReplayKey::Stamp(sender, issued_at, hash) => Self {
                sender: text(sender)?,
                window: None,
                issued_at: Some(issued_at),
                stamp_hash: Some(Base64::from(&hash[..])),
            },
        })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        let sender = self.sender.as_bytes();
        match (&self.window, self.issued_at, &self.stamp_hash) {
            (Some(window), None, None) => Some((layout::window_key(sender), window.0.to_vec())),
            (None, Some(issued_at), Some(hash)) => {
                let hash = <[u8; 32]>::try_from(&hash.0[..]).ok()?;
                Some((layout::stamp_key(sender, issued_at, &hash), Vec::new()))
            }
            _ => None,
        }
    }
}
