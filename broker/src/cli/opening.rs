//! With which keys the command line opens envelopes: what `sealmq open` and `sealmq sub` share.
//!
//! Key files come in, an opener goes out. Always holds: only senders that were named are believed, each for
//! every topic; any time under a stamp will do, for envelopes wait in files and queues.

use super::CommandError;
use crate::keys;
use crate::secrets::Secrets;
use sealmq_crypto::{Keyring, OpenedCount, Opener, Policy, Sender, TopicKeyEntry, Topics, Validity};
use std::path::PathBuf;
use std::sync::Arc;

/// What opens envelopes of these senders with these keys, and what it asks of them: without a topic key, the
/// content has to be the plaintext itself. The id stands in the place of those in the senders' files.
pub(super) fn opener(
    secrets: &Secrets,
    senders: &[PathBuf],
    sender_id: Option<&str>,
    topic_keys: &[PathBuf],
) -> Result<(Opener, Policy), CommandError> {
    let mut believed = Vec::new();
    for file in senders {
        let key = keys::sender_public(secrets, file)?;
        let id = sender_id.map_or_else(|| key.id().to_vec(), |id| id.as_bytes().to_vec());
        believed.push(Sender { id, key, topics: Arc::new(Everywhere), validity: Validity::default() });
    }
    let mut opening = Vec::new();
    for file in topic_keys {
        let key = keys::opening_key(secrets, file)?;
        let (id, validity) = (key.id().to_vec(), Validity::default());
        let opened = OpenedCount::default();
        opening.push(TopicKeyEntry { id, key, topics: Arc::new(Everywhere), validity, opened });
    }
    let policy = if opening.is_empty() { Policy::Stamped } else { Policy::Sealed };
    let keyring = Keyring::new(believed, opening).map_err(|error| CommandError::Plain(error.to_string()))?;
    Ok((Opener::new(keyring, u64::MAX), policy))
}

/// All topics.
#[derive(Debug)]
struct Everywhere;

impl Topics for Everywhere {
    fn contains(&self, _topic: &str) -> bool {
        true
    }
}
