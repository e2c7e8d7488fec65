//! Why a mosquitto file, or one record of it, cannot be read. Each error prints as one line that says where
//! in the file it is; none repeats what the file holds.

use super::Kind;
use sealmq_protocol::{FilterError, ProtocolError, TopicError};
use std::io;

/// Why reading went wrong. After [`FileError::Record`] the reader goes on with the next record; every other
/// one is the last thing that it says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It does not begin as such a file does.
    #[error("this is no persistence file of mosquitto")]
    NotMosquitto,
    /// A version that is not read.
    #[error(
        "the file has version {found} of mosquitto's format; read are versions 5 (mosquitto 1.6) and 6 \
         (mosquitto 2): start a mosquitto 2 with it once, and stop that, to have it written anew"
    )]
    Version {
        /// The version of the file.
        found: u32,
    },
    /// It ends too early.
    #[error("the file is cut off: it ends at byte {offset}, within {within}")]
    Truncated {
        /// Where it ends.
        offset: u64,
        /// In what.
        within: Place,
    },
    /// What follows is no record, so nobody knows where the next one begins.
    #[error("byte {offset}: there is no kind {kind} of chunk; the file is damaged")]
    Kind {
        /// Where the chunk begins.
        offset: u64,
        /// What stands there.
        kind: u32,
    },
    /// A chunk cannot be that long, or its parts do not add up to that.
    #[error("byte {offset}: this {kind} chunk cannot be {length} bytes long; the file is damaged")]
    Length {
        /// Where the chunk begins.
        offset: u64,
        /// Of what kind it is.
        kind: Kind,
        /// What it says of its length.
        length: u32,
    },
    /// Written by a mosquitto that was built in another way.
    #[error("byte {offset}: store ids take {found} bytes in this file; only those of 8 bytes are read")]
    IdBytes {
        /// Where the chunk begins that says so.
        offset: u64,
        /// How many bytes an id takes.
        found: u8,
    },
    /// One record is not what it should be; those around it can be.
    #[error("byte {offset}: {kind} chunk: {flaw}")]
    Record {
        /// Where the chunk begins.
        offset: u64,
        /// Of what kind it is.
        kind: Kind,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The system did not give the bytes.
    #[error("byte {offset}: cannot read on: {why}")]
    Io {
        /// How far it was read.
        offset: u64,
        /// What the system answered.
        why: io::Error,
    },
}

/// Where a file was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Place {
    /// In front of the first chunk.
    #[error("its first 23 bytes")]
    FileHeader,
    /// In what a chunk begins with: kind and length.
    #[error("the header of a chunk")]
    ChunkHeader,
    /// In a chunk.
    #[error("a {0} chunk")]
    Chunk(Kind),
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// Missing or not text.
    #[error("the client id is empty, or not UTF-8 without U+0000")]
    ClientId,
    /// Not 0, 1 or 2.
    #[error("there is no QoS {0}")]
    Qos(u8),
    /// Neither in nor out.
    #[error("there is no direction {0}")]
    Direction(u8),
    /// Not one of mosquitto's.
    #[error("there is no state {0}")]
    State(u8),
    /// Bits that mean nothing.
    #[error("there are no subscription options {0:#04x}")]
    Options(u8),
    /// Out of its range.
    #[error("there is no subscription identifier {0}")]
    SubscriptionId(u32),
    /// No topic name.
    #[error("topic: {0}")]
    Topic(TopicError),
    /// Ill-formed UTF-8.
    #[error("the topic filter is not UTF-8")]
    FilterText,
    /// No topic filter.
    #[error("topic filter: {0}")]
    Filter(FilterError),
    /// MQTT 5 properties.
    #[error("properties: {0}")]
    Properties(ProtocolError),
}
