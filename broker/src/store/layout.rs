//! Where what lies: the keyspaces of the store, and their keys. Numbers in keys are big-endian, so that
//! their order is that of the numbers.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | a name | `schema`, `last` (the newest batch), `next_session`; `import` while one runs; `dying` and a session; `key_used` and a topic key: how much it has opened |
//! | `session` | client id | [`super::record::SessionRecord`] |
//! | `subscription` | session, filter | options and identifier |
//! | `queue` | session, position | [`super::record::Entry`], with the message or without |
//! | `message` | position | a message that several queues share |
//! | `refs` | position | how many queues still do |
//! | `inflight` | session, packet id | [`super::record::Flight`] |
//! | `inbound` | session, packet id | nothing: QoS 2 received and not released |
//! | `retained` | topic | the message |
//! | `replay` | sender | the window of counters; and a key for each timed stamp |
//! | `enrolled` | kind, id | [`crate::enrolment::Record`]: who was enrolled, disabled or removed at run time |

use crate::delivery::SessionId;
use crate::enrolment::{Kind, Name};
use sealmq_protocol::packet::PacketId;
use sealmq_protocol::{SubscriptionFilter, TopicName};

/// The layout that this program reads and writes; kept in `meta`.
pub(crate) const SCHEMA: u32 = 1;

/// Keys in `meta`.
pub(crate) const META_SCHEMA: &[u8] = b"schema";
/// The newest batch.
pub(crate) const META_LAST: &[u8] = b"last";
/// The number of the next session.
pub(crate) const META_NEXT_SESSION: &[u8] = b"next_session";
/// A migration that was begun: how far it is.
pub(crate) const META_MIGRATION: &[u8] = b"migration";
/// An import that was begun: a store with this in it is not whole.
pub(crate) const META_IMPORT: &[u8] = b"import";
/// Sessions whose removal was begun: this, and the session.
pub(crate) const META_DYING: &[u8] = b"dying/";
/// How many contents a topic key has opened: this, and the key's id.
pub(crate) const META_KEY_USED: &[u8] = b"key_used/";

/// The longest key; none is empty.
pub(crate) const KEY_BYTES_MAX: usize = 65_535;

/// A part of the store with keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Keyspace {
    Meta = 0,
    Session = 1,
    Subscription = 2,
    Queue = 3,
    Message = 4,
    Refs = 5,
    Inflight = 6,
    Inbound = 7,
    Retained = 8,
    Replay = 9,
    Enrolled = 10,
}

impl Keyspace {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 11] = [
        Self::Meta,
        Self::Session,
        Self::Subscription,
        Self::Queue,
        Self::Message,
        Self::Refs,
        Self::Inflight,
        Self::Inbound,
        Self::Retained,
        Self::Replay,
        Self::Enrolled,
    ];

    /// The one with this number.
    pub(crate) fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its place among [`Keyspace::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Session => "session",
            Self::Subscription => "subscription",
            Self::Queue => "queue",
            Self::Message => "message",
            Self::Refs => "refs",
            Self::Inflight => "inflight",
            Self::Inbound => "inbound",
            Self::Retained => "retained",
            Self::Replay => "replay",
            Self::Enrolled => "enrolled",
        }
    }
}

/// The prefix of whatever is a session's.
pub(crate) fn session_key(session: SessionId) -> [u8; 8] {
    session.0.to_be_bytes()
}

/// Of an entry in a queue.
pub(crate) fn queue_key(session: SessionId, position: u64) -> [u8; 16] {
    (u128::from(session.0) << 64 | u128::from(position)).to_be_bytes()
}

/// The session and the position of a key in `queue`.
pub(crate) fn parse_queue_key(key: &[u8]) -> Option<(SessionId, u64)> {
    let (session, position) = key.split_first_chunk()?;
    Some((SessionId(u64::from_be_bytes(*session)), u64::from_be_bytes(position.try_into().ok()?)))
}

/// Of a message or its count.
pub(crate) fn position_key(position: u64) -> [u8; 8] {
    position.to_be_bytes()
}

/// The position of such a key.
pub(crate) fn parse_position_key(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Of a packet id of a session, in `inflight` and `inbound`.
pub(crate) fn packet_key(session: SessionId, packet_id: PacketId) -> Vec<u8> {
    [&session_key(session)[..], &packet_id.get().to_be_bytes()].concat()
}

/// The session and the packet id of such a key.
pub(crate) fn parse_packet_key(key: &[u8]) -> Option<(SessionId, PacketId)> {
    let (session, id) = key.split_first_chunk()?;
    let id = PacketId::new(u16::from_be_bytes(id.try_into().ok()?))?;
    Some((SessionId(u64::from_be_bytes(*session)), id))
}

/// Of a subscription.
pub(crate) fn subscription_key(session: SessionId, filter: &SubscriptionFilter) -> Vec<u8> {
    [&session_key(session)[..], filter.to_string().as_bytes()].concat()
}

/// Whether a subscription to it has a key: the longest filters do not.
pub(crate) fn has_key(filter: &SubscriptionFilter) -> bool {
    size_of::<SessionId>() + filter.wire_bytes() <= KEY_BYTES_MAX
}

/// The session and the filter of such a key.
pub(crate) fn parse_subscription_key(key: &[u8]) -> Option<(SessionId, SubscriptionFilter)> {
    let (session, filter) = key.split_first_chunk()?;
    let filter = SubscriptionFilter::try_from(std::str::from_utf8(filter).ok()?).ok()?;
    Some((SessionId(u64::from_be_bytes(*session)), filter))
}

/// Of a topic's retained message.
pub(crate) fn retained_key(topic: &TopicName) -> Vec<u8> {
    topic.as_str().as_bytes().to_vec()
}

/// Of a session whose removal was begun.
pub(crate) fn dying_key(session: SessionId) -> Vec<u8> {
    [META_DYING, &session_key(session)].concat()
}

/// The session of such a key.
pub(crate) fn parse_dying_key(key: &[u8]) -> Option<SessionId> {
    let session = key.strip_prefix(META_DYING)?;
    Some(SessionId(u64::from_be_bytes(session.try_into().ok()?)))
}

/// Of how much a topic key has opened.
pub(crate) fn key_used_key(key_id: &[u8]) -> Vec<u8> {
    [META_KEY_USED, key_id].concat()
}

/// The id of the topic key of such a key.
pub(crate) fn parse_key_used_key(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(META_KEY_USED)
}

/// Of a sender or a topic key.
pub(crate) fn enrolled_key(name: &Name) -> Vec<u8> {
    [&[name.kind as u8][..], name.id.as_bytes()].concat()
}

/// Whose such a key is.
pub(crate) fn parse_enrolled_key(key: &[u8]) -> Option<Name> {
    let (kind, id) = key.split_first()?;
    let kind = Kind::ALL.into_iter().find(|known| *known as u8 == *kind)?;
    Name::new(kind, std::str::from_utf8(id).ok()?)
}

/// What begins with a sender: its length, its id, and what it is about.
fn sender_key(sender: &[u8], kind: u8) -> Vec<u8> {
    let length = u32::try_from(sender.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], sender, &[kind]].concat()
}

/// Of a sender's window of counters.
pub(crate) fn window_key(sender: &[u8]) -> Vec<u8> {
    sender_key(sender, 0)
}

/// What the keys of a sender's timed stamps begin with.
pub(crate) fn stamps_prefix(sender: &[u8]) -> Vec<u8> {
    sender_key(sender, 1)
}

/// Of a timed stamp.
pub(crate) fn stamp_key(sender: &[u8], issued_at: u64, stamp_hash: &[u8; 32]) -> Vec<u8> {
    [&stamps_prefix(sender)[..], &issued_at.to_be_bytes(), stamp_hash].concat()
}

/// What a key in `replay` is about.
pub(crate) enum ReplayKey<'a> {
    /// A sender's window of counters.
    Window(&'a [u8]),
    /// A timed stamp: whose, when, which.
    Stamp(&'a [u8], u64, [u8; 32]),
}

/// What a key in `replay` is about.
pub(crate) fn parse_replay_key(key: &[u8]) -> Option<ReplayKey<'_>> {
    let (length, rest) = key.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (sender, rest) = rest.split_at_checked(length)?;
    let (kind, rest) = rest.split_first()?;
    match kind {
        0 if rest.is_empty() => Some(ReplayKey::Window(sender)),
        1 => {
            let (issued_at, hash) = rest.split_first_chunk()?;
            Some(ReplayKey::Stamp(sender, u64::from_be_bytes(*issued_at), hash.try_into().ok()?))
        }
        _ => None,
    }
}
