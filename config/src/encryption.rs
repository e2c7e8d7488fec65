//! `[[sender]]`, `[[topic_key]]`, `[[policy]]` and `[encryption]`: what is sealed, and with which keys.

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

/// What happens to an MQTT 3.1.1 publisher whose message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefusal {
    /// The message is acknowledged and dropped. Default.
    Drop,
    /// The connection is closed.
    Disconnect,
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
