//! The chain: each line has a number, one more than the one before it, and the hash of that line.
//!
//! An entry comes in and a line goes out, or a line comes in and goes out as a link. So whoever has the
//! hash of one line can tell whether any line before it is another than it was.

use super::event::Event;
use super::queue::Entry;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The last line, as the next one refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its number, from 1.
    pub(crate) n: u64,
    /// SHA-256 of its bytes, without the line feed.
    pub(crate) hash: Hash,
}

/// SHA-256; prints as hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) [u8; 32]);

/// A line of the file.
#[derive(Debug)]
pub(super) struct Line {
    /// With the line feed.
    pub(super) bytes: Vec<u8>,
    /// That of the file, once the line is its last.
    pub(super) head: Head,
    pub(super) entry: Entry,
}

/// What of a line makes it a part of the chain.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Link {
    pub(crate) n: u64,
    /// When, as RFC 3339 has it.
    pub(crate) at: String,
    /// The hash of the line before, in hexadecimal digits.
    pub(crate) prev: String,
    /// Events that it says are lost.
    #[serde(default, rename = "entries")]
    pub(crate) lost: u64,
}

/// A line as it is written. The order of the fields is that of the line.
#[derive(Serialize)]
struct Written<'a> {
    n: u64,
    at: String,
    prev: String,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<u64>,
}

impl Head {
    /// Before the first line.
    pub(crate) const BEGINNING: Self = Self { n: 0, hash: Hash([0; 32]) };

    /// The line that an entry becomes behind this one.
    pub(super) fn next(self, entry: Entry) -> Result<Line, serde_json::Error> {
        let n = self.n + 1;
        let mut bytes = serde_json::to_vec(&Written {
            n,
            at: format!("{:.3}", entry.at),
            prev: self.hash.to_string(),
            event: &entry.event,
            repeated: (entry.repeated > 0).then_some(entry.repeated),
        })?;
        let head = Self { n, hash: Hash::of(&bytes) };
        bytes.push(b'\n');
        Ok(Line { bytes, head, entry })
    }
}

impl Hash {
    /// Of a line, without its line feed.
    pub(crate) fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Link {
    /// Reads a line, without its line feed; none if it is no entry.
    pub(crate) fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}
