//! `[[sender]]`, `[[topic_key]]`, `[[policy]]` and `[encryption]`: what is sealed, and with which keys.

use crate::reader::{Reader, defaults};
use sealmq_protocol::TopicFilter;
use std::path::PathBuf;

/// An enrolled sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The key id in the stamp.
    pub id: String,
    /// File with its Ed25519 public key (JWK or `COSE_Key`).
    pub key: PathBuf,
    /// Where it may publish.
    pub topics: Vec<TopicFilter>,
    /// Valid from, seconds since 1970.
    pub not_before: Option<u64>,
    /// Valid until, seconds since 1970.
    pub not_after: Option<u64>,
}

impl Sender {
    pub(crate) fn read(entry: &mut Reader<'_>) -> Option<Self> {
        let id = entry.id("id");
        let key = entry.path_required("key");
        let topics = entry.filters("topics");
        let (not_before, not_after) = entry.validity();
        Some(Self { id: id?, key: key?, topics: topics?, not_before, not_after })
    }
}

/// A key that opens sealed payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicKey {
    /// The key id in the envelope.
    pub id: String,
    /// File with a symmetric key (kty oct) or an X25519 pair (kty OKP).
    pub key: PathBuf,
    /// For which topics.
    pub topics: Vec<TopicFilter>,
    /// Valid from, seconds since 1970.
    pub not_before: Option<u64>,
    /// Valid until, seconds since 1970.
    pub not_after: Option<u64>,
}

impl TopicKey {
    pub(crate) fn read(entry: &mut Reader<'_>) -> Option<Self> {
        let id = entry.id("id");
        let key = entry.path_required("key");
        let topics = entry.filters("topics");
        let (not_before, not_after) = entry.validity();
        Some(Self { id: id?, key: key?, topics: topics?, not_before, not_after })
    }
}

/// What a payload must be on some topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Where it holds.
    pub topics: Vec<TopicFilter>,
    /// What the payload must be.
    pub payload: Payload,
    /// What happens to an MQTT 3.1.1 publisher whose message is refused.
    pub on_refusal: OnRefusal,
}

impl Policy {
    pub(crate) fn read(policy: &mut Reader<'_>) -> Option<Self> {
        let topics = policy.filters("topics");
        let payload = policy.choice("payload", &Payload::NAMES, None);
        let on_refusal = policy.choice("on_refusal", &OnRefusal::NAMES, Some(OnRefusal::Drop));
        Some(Self { topics: topics?, payload: payload?, on_refusal: on_refusal? })
    }
}

/// What a payload must be, and what a subscriber gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Anything; passed on as it is.
    Plain,
    /// An envelope round the plaintext; the plaintext is passed on.
    Stamped,
    /// An envelope round sealed content; the plaintext is passed on, on secure connections only.
    Sealed,
    /// An envelope that the broker cannot open; passed on whole.
    EndToEnd,
}

impl Payload {
    const NAMES: [(&'static str, Self); 4] = [
        ("plain", Self::Plain),
        ("stamped", Self::Stamped),
        ("sealed", Self::Sealed),
        ("end-to-end", Self::EndToEnd),
    ];
}

/// What happens to an MQTT 3.1.1 publisher whose message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefusal {
    /// The message is acknowledged and dropped. Default.
    Drop,
    /// The connection is closed.
    Disconnect,
}

impl OnRefusal {
    const NAMES: [(&'static str, Self); 2] = [("drop", Self::Drop), ("disconnect", Self::Disconnect)];
}

/// Settings of the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// How far a sender's `iat` may be from the broker's clock, seconds. Default: 300.
    pub max_clock_skew_s: u64,
    /// Timed stamps (`iat` without `seq`) remembered for each sender; when full, further timed ones
    /// are refused as not fresh until old ones pass. Default: 65,536.
    pub timed_stamps_max: usize,
}

impl Encryption {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            max_clock_skew_s: section.seconds("max_clock_skew_s", 1..=86_400, 300),
            timed_stamps_max: section.count("timed_stamps_max", 1..=16_777_216, 65_536),
        }
    }
}

impl Default for Encryption {
    fn default() -> Self {
        defaults(Self::read)
    }
}
