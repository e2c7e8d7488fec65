//! The persistence file of mosquitto (`mosquitto.db`), as mosquitto 2 writes it (version 6) and 1.6
//! (version 5): bytes come in, and [`Record`]s go out, one at a time, in the order of the file.
//!
//! A file is 23 bytes (magic, a checksum that is always 0, the version), then chunks: kind, length, body.
//! Messages come first, then each client followed by what is queued for it, then subscriptions, then what is
//! retained; the last three name messages and clients. There is no end mark, so that a file that was cut
//! between two chunks looks whole.
//!
//! Always holds: memory for one record, made as its bytes come and not as its length says; no bytes lead to
//! a panic; an error names the place. Not here: what is expired, and what the records mean for a session.

pub(crate) mod error;
mod fields;
pub(crate) mod import;
pub(crate) mod record;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use error::{FileError, Place};
use record::Record;
use std::io::Read;

const MAGIC: &[u8; 15] = b"\x00\xB5\x00mosquitto db";
const FILE_HEADER_BYTES: usize = MAGIC.len() + 4 + 4;
const CHUNK_HEADER_BYTES: usize = 8;
/// The longest packet of MQTT, and so of payload and of properties.
const PACKET_BYTES_MAX: u32 = 268_435_455;
/// The longest string of MQTT.
const STRING_BYTES_MAX: u32 = 65_535;

/// The versions that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Mosquitto 1.6: clients have no user name.
    Five,
    /// Mosquitto 2.
    Six,
}

/// What a chunk is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Kind {
    /// The file itself.
    #[error("configuration")]
    Cfg,
    /// A message that somebody is owed, or that is retained.
    #[error("message")]
    MessageStore,
    /// A message's way to or from one client.
    #[error("client message")]
    ClientMessage,
    /// A retained message.
    #[error("retained message")]
    Retained,
    /// A subscription.
    #[error("subscription")]
    Subscription,
    /// A session.
    #[error("client")]
    Client,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Cfg,
            2 => Self::MessageStore,
            3 => Self::ClientMessage,
            4 => Self::Retained,
            5 => Self::Subscription,
            6 => Self::Client,
            _ => return None,
        })
    }

    /// No chunk of this kind is longer.
    fn bytes_max(self) -> u32 {
        match self {
            Self::Cfg => 16,
            Self::MessageStore => 32 + 3 * STRING_BYTES_MAX + 2 * PACKET_BYTES_MAX,
            Self::ClientMessage => 16 + STRING_BYTES_MAX + PACKET_BYTES_MAX,
            Self::Retained => 8,
            Self::Subscription => 12 + 2 * STRING_BYTES_MAX,
            Self::Client => 24 + 2 * STRING_BYTES_MAX,
        }
    }
}

/// Reads a file, record by record. Give it a buffered source.
pub(crate) struct Reader<R> {
    source: R,
    version: Version,
    /// How many bytes were taken from the source.
    offset: u64,
    /// Whether there is nothing more to be had.
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub(crate) fn new(mut source: R) -> Result<Self, FileError> {
        let mut offset = 0;
        let header = take(&mut source, &mut offset, FILE_HEADER_BYTES, Place::FileHeader);
        let header = match header {
            // Something short is more likely no such file than one that was cut off within its magic.
            Err(FileError::Truncated { offset: ..15, .. }) => return Err(FileError::NotMosquitto),
            other => other?,
        };
        let [magic @ .., _, _, _, _, a, b, c, d] = header.as_slice() else {
            return Err(FileError::NotMosquitto);
        };
        if magic != MAGIC {
            return Err(FileError::NotMosquitto);
        }
        let version = match u32::from_be_bytes([*a, *b, *c, *d]) {
            5 => Version::Five,
            6 => Version::Six,
            found => return Err(FileError::Version { found }),
        };
        Ok(Self { source, version, offset, ended: false })
    }

    /// The version of the file.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The next chunk: where it begins, its kind, its body.
    fn chunk(&mut self) -> Result<Option<(u64, Kind, Bytes)>, FileError> {
        let begin = self.offset;
        let header = take(&mut self.source, &mut self.offset, CHUNK_HEADER_BYTES, Place::ChunkHeader);
        let header = match header {
            Err(FileError::Truncated { offset, .. }) if offset == begin => return Ok(None),
            other => other?,
        };
        let mut header = fields::Fields::new(header.into());
        let (Ok(kind), Ok(length)) = (header.long_number(), header.long_number()) else { return Ok(None) };
        let kind = Kind::from_number(kind).ok_or(FileError::Kind { offset: begin, kind })?;
        let impossible = FileError::Length { offset: begin, kind, length };
        if length > kind.bytes_max() {
            return Err(impossible);
        }
        let Ok(bytes) = usize::try_from(length) else { return Err(impossible) };
        let body = take(&mut self.source, &mut self.offset, bytes, Place::Chunk(kind))?;
        Ok(Some((begin, kind, body.into())))
    }

    fn record(&mut self) -> Result<Option<Record>, FileError> {
        let Some((offset, kind, body)) = self.chunk()? else { return Ok(None) };
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        record::parse(kind, self.version, body).map(Some).map_err(|why| match why {
            record::Unreadable::Length => FileError::Length { offset, kind, length },
            record::Unreadable::IdBytes(found) => FileError::IdBytes { offset, found },
            record::Unreadable::Flaw(flaw) => FileError::Record { offset, kind, flaw },
        })
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.record().transpose();
        self.ended = !matches!(record, Some(Ok(_) | Err(FileError::Record { .. })));
        record
    }
}

/// So many bytes. Room is made as they come: a length that lies costs what the file has, and no more.
fn take(source: &mut impl Read, offset: &mut u64, bytes: usize, within: Place) -> Result<Vec<u8>, FileError> {
    let mut taken = Vec::new();
    let wanted = u64::try_from(bytes).unwrap_or(u64::MAX);
    let read = source.take(wanted).read_to_end(&mut taken);
    *offset = offset.saturating_add(u64::try_from(taken.len()).unwrap_or(u64::MAX));
    match read {
        Err(why) => Err(FileError::Io { offset: *offset, why }),
        Ok(_) if taken.len() < bytes => Err(FileError::Truncated { offset: *offset, within }),
        Ok(_) => Ok(taken),
    }
}
