//! The lines of an export: what a store holds as text, a JSON object for each key.
//!
//! A record goes out with its fields named, and comes back as exactly the bytes that it was. One of a form
//! that is not known goes out as the bytes of its key and its value, so that nothing is left out. Beside the
//! records there are the line that begins an export, the one that ends a batch, and the one that ends all.

mod enrolled;
mod fields;
mod queue;
mod session;
#[cfg(test)]
mod tests;

use super::super::layout::Keyspace;
use bytes::Bytes;
use enrolled::EnrolledLine;
use fields::Base64;
use queue::{
    InboundLine, InflightLine, MessageLine, MetaLine, QueueLine, RefsLine, ReplayLine, RetainedLine,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use session::{SessionLine, SubscriptionLine};

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// What an export begins with.
pub(super) const FORMAT: &str = "store";
/// The version of the lines.
pub(super) const VERSION: u32 = 1;
/// What the lines begin with that are no records.
pub(super) const BATCH: &str = "{\"batch\":";
/// The last one.
pub(super) const END: &str = "{\"end\":";
/// A record that is not known.
const RAW: &str = "{\"raw\":";

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// What it is: [`FORMAT`].
    pub(super) sealmq: String,
    /// Of the lines.
    pub(super) version: u32,
    /// Of the records.
    pub(super) schema: u32,
    /// Where the store was.
    pub(super) position: u64,
    /// When, milliseconds since 1970.
    pub(super) exported_ms: u64,
}

/// Ends a batch.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchLine {
    /// Its number, from 1.
    pub(super) batch: u64,
    /// How many lines are in it.
    pub(super) records: usize,
    /// Its position.
    pub(super) position: u64,
    /// The checksum of the batch before; in the first, that of the header.
    pub(super) previous: Checksum,
    /// The checksum of its bytes.
    pub(super) checksum: Checksum,
}

/// The last line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine {
    /// True.
    pub(super) end: bool,
    /// How many there were.
    pub(super) batches: u64,
    /// How many there were.
    pub(super) records: u64,
}

/// Written as 16 digits: few programs read whole numbers of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) u64);

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u64::from_str_radix(&text, 16).ok().filter(|number| format!("{number:016x}") == text);
        number.map(Self).ok_or_else(|| D::Error::custom("a checksum that has not 16 hexadecimal digits"))
    }
}

/// A record with its fields.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "keyspace", rename_all = "snake_case")]
enum RecordLine {
    Meta(MetaLine),
    Session(Box<SessionLine>),
    Subscription(SubscriptionLine),
    Queue(Box<QueueLine>),
    Message(MessageLine),
    Refs(RefsLine),
    Inflight(InflightLine),
    Inbound(InboundLine),
    Retained(RetainedLine),
    Replay(ReplayLine),
    Enrolled(EnrolledLine),
}

/// A record of a form that is not known.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine {
    raw: String,
    key: Base64,
    value: Base64,
}

/// A line is no record. Says nothing of what stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoRecord(String);

/// A record as a line, without its end.
pub(super) fn write(keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<String, serde_json::Error> {
    let known = RecordLine::of(keyspace, key, Bytes::copy_from_slice(value));
    let is_same = |line: &RecordLine| {
        let again = line.encode();
        again.is_some_and(|(of, (k, v))| (of, &*k, &*v) == (keyspace, key, value))
    };
    if let Some(line) = known.filter(is_same) {
        return serde_json::to_string(&line);
    }
    let raw = keyspace.name().to_owned();
    serde_json::to_string(&RawLine { raw, key: key.into(), value: value.into() })
}

/// The record of a line.
pub(super) fn read(line: &str) -> Result<(Keyspace, Vec<u8>, Vec<u8>), NoRecord> {
    if line.starts_with(RAW) {
        let RawLine { raw, key, value } = parse(line)?;
        let keyspace = Keyspace::ALL.into_iter().find(|keyspace| keyspace.name() == raw);
        let keyspace = keyspace.ok_or_else(|| NoRecord("there is no such keyspace".into()))?;
        return Ok((keyspace, key.0.into(), value.0.into()));
    }
    let line: RecordLine = parse(line)?;
    match line.encode() {
        Some((keyspace, (key, value))) => Ok((keyspace, key, value)),
        None => Err(NoRecord("a field of the record has a value that it cannot have".into())),
    }
}

/// A line as what it should be.
pub(super) fn parse<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, NoRecord> {
    serde_json::from_str(line).map_err(|why| {
        // What serde says can repeat what it has read, and that can be a payload.
        let what = if why.is_data() { "it is no line of an export" } else { "it is no JSON" };
        NoRecord(format!("{what} (column {})", why.column()))
    })
}

impl RecordLine {
    fn of(keyspace: Keyspace, key: &[u8], value: Bytes) -> Option<Self> {
        Some(match keyspace {
            Keyspace::Meta => Self::Meta(MetaLine::of(key, &value)?),
            Keyspace::Session => Self::Session(Box::new(SessionLine::of(key, value)?)),
            Keyspace::Subscription => Self::Subscription(SubscriptionLine::of(key, value)?),
            Keyspace::Queue => Self::Queue(Box::new(QueueLine::of(key, value)?)),
            Keyspace::Message => Self::Message(MessageLine::of(key, value)?),
            Keyspace::Refs => Self::Refs(RefsLine::of(key, &value)?),
            Keyspace::Inflight => Self::Inflight(InflightLine::of(key, value)?),
            Keyspace::Inbound => Self::Inbound(InboundLine::of(key)?),
            Keyspace::Retained => Self::Retained(RetainedLine::of(key, value)?),
            Keyspace::Replay => Self::Replay(ReplayLine::of(key, &value)?),
            Keyspace::Enrolled => Self::Enrolled(EnrolledLine::of(key, value)?),
        })
    }

    fn encode(&self) -> Option<(Keyspace, Pair)> {
        Some(match self {
            Self::Meta(line) => (Keyspace::Meta, line.encode()?),
            Self::Session(line) => (Keyspace::Session, line.encode()?),
            Self::Subscription(line) => (Keyspace::Subscription, line.encode()?),
            Self::Queue(line) => (Keyspace::Queue, line.encode()?),
            Self::Message(line) => (Keyspace::Message, line.encode()?),
            Self::Refs(line) => (Keyspace::Refs, line.encode()),
            Self::Inflight(line) => (Keyspace::Inflight, line.encode()?),
            Self::Inbound(line) => (Keyspace::Inbound, line.encode()?),
            Self::Retained(line) => (Keyspace::Retained, line.encode()?),
            Self::Replay(line) => (Keyspace::Replay, line.encode()?),
            Self::Enrolled(line) => (Keyspace::Enrolled, line.encode()?),
        })
    }
}
