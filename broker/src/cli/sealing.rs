//! How envelopes are made on the command line: what `sealmq seal` and `sealmq pub` share.
//!
//! Key files and options come in, envelopes go out. Always holds: a counter's number is on the disk before the
//! envelope that bears it is anywhere.

use super::{CommandError, PassphraseOption, counter};
use crate::error::StartError;
use crate::keys::{self, SealingKey};
use clap::Args;
use sealmq_crypto::{ContentKey, Freshness, SenderKey, seal};
use sealmq_protocol::TopicName;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Options beside the sender's key, which some commands need and others take.
#[derive(Debug, Args)]
pub(super) struct SealingOptions {
    /// A symmetric key, an X25519 pair or its public half, or a master
    #[arg(long, value_name = "FILE", requires = "sender_key")]
    topic_key: Option<PathBuf>,
    /// The sender's id, if it is not the one in the key file
    #[arg(long, value_name = "ID", requires = "sender_key")]
    sender_id: Option<String>,
    /// The counter's number, instead of the next
    #[arg(long, value_name = "N", requires = "sender_key")]
    seq: Option<u64>,
    /// The present time, instead of a counter
    #[arg(long, conflicts_with = "seq", requires = "sender_key")]
    time: bool,
    #[command(flatten)]
    passphrase: PassphraseOption,
}

/// Everything that does not change from envelope to envelope.
pub(super) struct Sealer<'a> {
    sender_key: &'a Path,
    options: &'a SealingOptions,
    topic: &'a TopicName,
    sender: SenderKey,
    topic_key: Option<SealingKey>,
}

impl<'a> Sealer<'a> {
    pub(super) fn new(
        sender_key: &'a Path,
        options: &'a SealingOptions,
        topic: &'a TopicName,
    ) -> Result<Self, StartError> {
        let secrets = options.passphrase.secrets()?;
        let sender = keys::sender_secret(&secrets, sender_key)?;
        let sender = match &options.sender_id {
            Some(id) => sender.with_id(id.as_bytes()),
            None => sender,
        };
        let topic_key = options.topic_key.as_deref();
        let topic_key = topic_key.map(|file| keys::sealing_key(&secrets, file)).transpose()?;
        Ok(Self { sender_key, options, topic, sender, topic_key })
    }

    /// What the first of so many envelopes bears.
    pub(super) fn first(&self, count: u64) -> Result<First, CommandError> {
        match self.options.seq {
            Some(seq) if seq.checked_add(count - 1).is_none() => Err(too_large()),
            Some(seq) => Ok(First::Seq(seq)),
            None if self.options.time => Ok(First::Time),
            None => Ok(First::Seq(counter::reserve(self.sender_key, count)?)),
        }
    }

    /// The envelope of this number after the first.
    pub(super) fn seal(&self, plaintext: &[u8], first: First, number: u64) -> Result<Vec<u8>, CommandError> {
        let freshness = match first {
            First::Seq(seq) => Freshness::Seq(seq.checked_add(number).ok_or_else(too_large)?),
            First::Time => Freshness::Time(now()),
        };
        let content_key = self.topic_key.as_ref().map(|key| match key {
            SealingKey::Secret(key) => ContentKey::from(key),
            SealingKey::Public(key) => ContentKey::from(key),
        });
        Ok(seal(&self.sender, content_key, self.topic.as_str(), plaintext, freshness)?)
    }

    /// The envelope of this number, from 0, where nobody knows yet how many there will be.
    pub(super) fn seal_next(&self, plaintext: &[u8], number: u64) -> Result<Vec<u8>, CommandError> {
        let is_counted_here = self.options.seq.is_some();
        self.seal(plaintext, self.first(1)?, if is_counted_here { number } else { 0 })
    }
}

/// How the envelopes of one run show that they are new.
#[derive(Debug, Clone, Copy)]
pub(super) enum First {
    Seq(u64),
    Time,
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn too_large() -> CommandError {
    CommandError::Plain("--seq is too large for so many envelopes".to_owned())
}
