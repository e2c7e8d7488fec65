//! The payloads of one device: a reading, as it is or in an envelope.
//!
//! A reading begins with the time it was made, so that the subscriber sees how old it is. Envelopes can be
//! made before they are sent: the fastest fleet is then as fast as the broker, and not as this program.

use crate::message::{STAMP_BYTES, Stamp};
use anyhow::{Context, Result};
use sealmq_crypto::{ContentAlgorithm, ContentKey, Freshness, SenderKey, TopicKey, TopicPublicKey, seal};

/// What contents are sealed with.
pub(crate) enum Content {
    /// Nothing: they are stamped at most.
    Open,
    /// A key that the broker has, too.
    Symmetric(TopicKey),
    /// A key whose secret half only the broker has.
    Asymmetric(TopicPublicKey),
}

impl Content {
    /// What a device gets of a topic's key.
    pub(super) fn of(key: Option<TopicKey>) -> Self {
        let Some(key) = key else { return Self::Open };
        match key.public(super::site::ABOVE) {
            Some(public) => Self::Asymmetric(public),
            None => Self::Symmetric(key),
        }
    }

    fn key(&self) -> Option<ContentKey<'_>> {
        match self {
            Self::Open => None,
            Self::Symmetric(key) => Some(ContentKey::Topic(key)),
            Self::Asymmetric(key) => Some(ContentKey::Public(key, ContentAlgorithm::A256Gcm)),
        }
    }
}

/// Makes the payloads of one device, numbered.
pub(super) struct Maker<'a> {
    /// Which device.
    pub(super) device: u32,
    /// Its topic.
    pub(super) topic: String,
    /// What it stamps with.
    pub(super) key: Option<&'a SenderKey>,
    /// What it seals with.
    pub(super) content: &'a Content,
    /// Bytes of a reading.
    pub(super) plaintext_bytes: usize,
    /// Payloads made so far, which is the number of the next one.
    pub(super) made: u32,
}

impl Maker<'_> {
    /// The next payload, of a reading made at `now_ns`.
    pub(super) fn make(&mut self, now_ns: u64) -> Result<Vec<u8>> {
        let reading = Stamp { sent_ns: now_ns, publisher: self.device, number: self.made };
        self.made = self.made.checked_add(1).context("a device has sent too much")?;
        let mut plaintext = reading.bytes().to_vec();
        plaintext.resize(self.plaintext_bytes.max(STAMP_BYTES), b'.');
        let Some(key) = self.key else { return Ok(plaintext) };
        // The first is 1: no counter begins lower.
        let freshness = Freshness::Seq(u64::from(self.made));
        Ok(seal(key, self.content.key(), &self.topic, &plaintext, freshness)?)
    }
}
