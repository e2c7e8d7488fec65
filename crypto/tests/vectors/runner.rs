//! Runs files of envelope vectors: the text of one in, an outcome for every vector out.
//!
//! Shared by the example `vectors` and the crate's tests. Each vector stands for itself, with fresh replay
//! windows; the envelopes of its `after_hex` are opened first and have to open.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sealmq_crypto::{
    ContentAlgorithm, Keyring, OpenError, Opened, OpenedCount, Opener, Policy, ReplayWindows, Sender,
    SenderPublicKey, TopicKey, TopicKeyEntry, Topics, Validity,
};
use serde::Deserialize;

const TIMED_STAMPS_MAX: usize = 1_000;

/// A file of vectors.
#[derive(Deserialize)]
struct File {
    keyring: KeyringText,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct KeyringText {
    senders: Vec<SenderText>,
    topic_keys: Vec<TopicKeyText>,
    max_clock_skew_s: u64,
}

#[derive(Deserialize)]
struct SenderText {
    kid_hex: String,
    ed25519_public_hex: String,
    topics: Vec<String>,
    not_before: Option<u64>,
    not_after: Option<u64>,
}

#[derive(Deserialize)]
struct TopicKeyText {
    kid_hex: String,
    alg: String,
    secret_hex: Option<String>,
    x25519_secret_hex: Option<String>,
    topics: Vec<String>,
    not_before: Option<u64>,
    not_after: Option<u64>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    mode: String,
    topic: String,
    now: u64,
    payload_hex: String,
    #[serde(default)]
    after_hex: Vec<String>,
    plaintext_hex: Option<String>,
    #[serde(default)]
    passes_whole: bool,
    error: Option<String>,
}

/// What became of a vector.
pub(crate) struct Outcome {
    name: String,
    expected: String,
    got: String,
}

impl Outcome {
    /// Whether the vector holds.
    pub(crate) fn passed(&self) -> bool {
        self.expected == self.got
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.passed() {
            write!(f, "PASS {}", self.name)
        } else {
            write!(f, "FAIL {}: expected {}, got {}", self.name, self.expected, self.got)
        }
    }
}

/// Runs the vectors of a file's text. An error is about the file, not about a vector that fails.
pub(crate) fn run(text: &str) -> Result<Vec<Outcome>, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let opener = file.keyring.opener()?;
    file.vectors.iter().map(|vector| vector.run(&opener)).collect()
}

impl KeyringText {
    fn opener(&self) -> Result<Opener, String> {
        let senders: Result<Vec<_>, String> = self.senders.iter().map(SenderText::sender).collect();
        let topic_keys: Result<Vec<_>, String> = self.topic_keys.iter().map(TopicKeyText::entry).collect();
        let keyring = Keyring::new(senders?, topic_keys?).map_err(|error| error.to_string())?;
        Ok(Opener::new(keyring, self.max_clock_skew_s))
    }
}

impl SenderText {
    fn sender(&self) -> Result<Sender, String> {
        let id = bytes(&self.kid_hex)?;
        let public = array(&self.ed25519_public_hex)?;
        let key = SenderPublicKey::from_public(id.clone(), &public).map_err(|error| error.to_string())?;
        let validity = Validity { not_before: self.not_before, not_after: self.not_after };
        Ok(Sender { id, key, topics: Arc::new(Filters(self.topics.clone())), validity })
    }
}

impl TopicKeyText {
    fn entry(&self) -> Result<TopicKeyEntry, String> {
        let id = bytes(&self.kid_hex)?;
        let key = match (&self.secret_hex, &self.x25519_secret_hex) {
            (Some(secret), None) => {
                let algorithm = ContentAlgorithm::from_name(&self.alg).ok_or("an unknown alg")?;
                TopicKey::from_symmetric(id.clone(), algorithm, &bytes(secret)?)
                    .map_err(|error| error.to_string())?
            }
            (None, Some(secret)) => TopicKey::from_x25519(id.clone(), &array(secret)?),
            _ => return Err("a topic key without one secret".into()),
        };
        let validity = Validity { not_before: self.not_before, not_after: self.not_after };
        Ok(TopicKeyEntry {
            id,
            key,
            topics: Arc::new(Filters(self.topics.clone())),
            validity,
            opened: OpenedCount::default(),
        })
    }
}

impl Vector {
    fn run(&self, opener: &Opener) -> Result<Outcome, String> {
        let expected = self.expected()?;
        let replay = ReplayWindows::new(TIMED_STAMPS_MAX);
        for earlier in &self.after_hex {
            if let Err(error) = self.open(opener, &replay, earlier)? {
                let got = format!("{} for an envelope before it", error.name());
                return Ok(Outcome { name: self.name.clone(), expected, got });
            }
        }
        let got = match self.open(opener, &replay, &self.payload_hex)? {
            Ok(whole) if self.passes_whole && hex(&whole.plaintext) == self.payload_hex => "whole".into(),
            Ok(content) => hex(&content.plaintext),
            Err(error) => error.name().into(),
        };
        Ok(Outcome { name: self.name.clone(), expected, got })
    }

    fn expected(&self) -> Result<String, String> {
        match (&self.plaintext_hex, &self.error, self.passes_whole) {
            (Some(plaintext), None, false) => Ok(plaintext.clone()),
            (None, Some(error), false) => Ok(error.clone()),
            (None, None, true) => Ok("whole".into()),
            _ => Err(format!("{}: not exactly one expectation", self.name)),
        }
    }

    fn open(
        &self,
        opener: &Opener,
        replay: &ReplayWindows,
        payload_hex: &str,
    ) -> Result<Result<Opened, OpenError>, String> {
        let policy = match self.mode.as_str() {
            "stamped" => Policy::Stamped,
            "sealed" => Policy::Sealed,
            "end-to-end" => Policy::EndToEnd,
            other => return Err(format!("{}: unknown mode {other}", self.name)),
        };
        let payload = Bytes::from(bytes(payload_hex)?);
        Ok(opener.open(replay, policy, &self.topic, &payload, self.now))
    }
}

/// MQTT topic filters, as many as these files need: `+` and a last `#`, no `$` topics.
#[derive(Debug)]
struct Filters(Vec<String>);

impl Topics for Filters {
    fn contains(&self, topic: &str) -> bool {
        self.0.iter().any(|filter| matches(filter, topic))
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.ok_or("not hexadecimal")?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).map_err(|_| "not hexadecimal".into()),
        _ => Err("an odd number of hexadecimal digits".into()),
    });
    pairs.collect()
}

fn array<const N: usize>(hex: &str) -> Result<[u8; N], String> {
    bytes(hex)?.try_into().map_err(|_| format!("not {N} bytes"))
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}
