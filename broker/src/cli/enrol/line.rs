//! Keys from files, as they go over the admin socket.

use crate::admin::protocol::KeyText;
use crate::cli::{CommandError, complain};
use crate::keys;
use crate::secrets::Secrets;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sealmq_config::encryption::KeySource;
use sealmq_crypto::{Derived, KeyError, SenderPublicKey, TopicKey};
use std::path::Path;
use zeroize::Zeroizing;

/// A sender's public key, of a file that holds the public half or both.
pub(super) fn sender_key(secrets: &Secrets, id: &str, file: &Path) -> Result<KeyText, CommandError> {
    let key = keys::sender_public(secrets, file)?;
    if keys::sender_secret(secrets, file).is_ok() {
        complain(&format!(
            "note: {} holds the sender's secret; only the public key is enrolled",
            file.display()
        ));
    }
    Ok(of_sender(id, key))
}

/// A key that opens.
pub(super) fn topic_key(secrets: &Secrets, id: &str, file: &Path) -> Result<KeyText, CommandError> {
    let key = keys::source(secrets, &KeySource::Key(file.to_owned()))?;
    say_how_it_is_kept(secrets, file);
    Ok(of_topic(id, key)?)
}

/// A master, with what its keys are for if the file does not say so.
pub(super) fn master(
    secrets: &Secrets,
    id: &str,
    file: &Path,
    derived: Option<Derived>,
) -> Result<KeyText, CommandError> {
    let key = keys::master(secrets, file, derived)?;
    say_how_it_is_kept(secrets, file);
    Ok(of_topic(id, key)?)
}

/// Whoever encrypts his keys should know that this copy is not.
fn say_how_it_is_kept(secrets: &Secrets, file: &Path) {
    if secrets.was_encrypted(file) {
        let file = file.display();
        complain(&format!("note: {file} is encrypted, and the broker keeps the key in its store as it is"));
    }
}

/// The same of a key that was read.
pub(super) fn of_sender(id: &str, key: SenderPublicKey) -> KeyText {
    text(&key.with_id(id).to_cose_key())
}

/// The same of a key that was read.
pub(super) fn of_topic(id: &str, key: TopicKey) -> Result<KeyText, KeyError> {
    Ok(text(key.with_id(id).to_jwk()?.as_bytes()))
}

fn text(bytes: &[u8]) -> KeyText {
    // With room for all of it: a text that grows leaves its letters behind.
    let mut text = Zeroizing::new(String::with_capacity(4 * bytes.len().div_ceil(3)));
    BASE64_STANDARD.encode_string(bytes, &mut text);
    KeyText(text)
}
