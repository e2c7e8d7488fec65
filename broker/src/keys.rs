//! The key files that the configuration names, as a keyring.
//!
//! File names come in, what a keyring is made of goes out ([`Configured`]), and the [`Opener`] of `ingress/`. Always holds: an error says which key of the
//! configuration, which file and what is wrong with it, and repeats nothing of what stands in the file. The
//! configuration's id of a key counts, not the one that its file may hold.

use crate::enrolment::{Configured, Kind, Ready};
use crate::error::StartError;
use crate::files;
use sealmq_config::Config;
use sealmq_config::encryption;
use sealmq_crypto::{
    KeyError, Keyring, KeyringError, Opener, Sender, SenderKey, SenderPublicKey, TopicKey, TopicKeyEntry,
    TopicPublicKey, Topics, Validity,
};
use sealmq_protocol::{TopicFilter, TopicName};
use std::path::Path;
use std::sync::Arc;

/// Opens payloads with the keys of the configuration alone.
#[cfg(test)]
pub(crate) fn opener(config: &Config) -> Result<Opener, StartError> {
    Ok(opener_of(config, configured(config)?.keyring()))
}

/// Opens payloads with these keys.
pub(crate) fn opener_of(config: &Config, keyring: Keyring) -> Opener {
    let encryption = &config.encryption;
    Opener::new(keyring, encryption.max_clock_skew_s).keeping_derived(encryption.derived_keys_max)
}

/// Reads all keys of the configuration.
pub(crate) fn configured(config: &Config) -> Result<Configured, StartError> {
    for warning in warnings(config) {
        tracing::warn!("{warning}");
    }
    let mut configured = Configured::default();
    let twice = |error: KeyringError| StartError::Setting {
        key: "sender and topic_key".to_owned(),
        why: error.to_string(),
    };
    for (at, entry) in numbered(&config.senders) {
        let sender = Ready::Sender(Arc::new(sender((at, entry))?));
        if !configured.add(Kind::Sender, &entry.id, sender, &entry.topics) {
            return Err(twice(KeyringError::DuplicateSender(entry.id.clone())));
        }
    }
    for (at, entry) in numbered(&config.topic_keys) {
        let key = Ready::TopicKey(topic_key((at, entry))?.shared());
        if !configured.add(Kind::TopicKey, &entry.id, key, &entry.topics) {
            return Err(twice(KeyringError::DuplicateTopicKey(entry.id.clone())));
        }
    }
    Ok(configured)
}

/// Everything that is wrong with the key files, where [`configured`] stops at the first.
pub(crate) fn problems(config: &Config) -> Vec<StartError> {
    let senders = numbered(&config.senders).filter_map(|entry| sender(entry).err());
    let topic_keys = numbered(&config.topic_keys).filter_map(|entry| topic_key(entry).err());
    senders.chain(topic_keys).collect()
}

/// What works and should not stay so: secrets that lie where they need not.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let senders = numbered(&config.senders).filter(|(_, entry)| sender_secret(&entry.key).is_ok()).map(
        |(at, entry)| {
            let file = entry.key.display();
            format!(
                "sender[{at}].key: {file} holds the sender's secret; the broker needs the public key only"
            )
        },
    );
    let topic_keys = numbered(&config.topic_keys)
        .filter(|(_, entry)| files::others_may_read(&entry.key))
        .map(|(at, entry)| {
            let file = entry.key.display();
            format!("topic_key[{at}].key: {file} can be read by others than its owner; chmod 600 it")
        });
    senders.chain(topic_keys).collect()
}

/// Reads the secret half of a sender's key: for those who stamp.
pub(crate) fn sender_secret(file: &Path) -> Result<SenderKey, StartError> {
    let bytes = files::read_secret(file)?;
    SenderKey::from_bytes(&bytes).map_err(|error| {
        let half = error == KeyError::Missing("d");
        let why = "this is a sender's public key; to stamp, the secret one is needed";
        StartError::file(file, if half { why.to_owned() } else { error.to_string() })
    })
}

/// Reads the public half of a sender's key, of a file that holds the public half or both.
pub(crate) fn sender_public(file: &Path) -> Result<SenderPublicKey, StartError> {
    let bytes = files::read_secret(file)?;
    SenderPublicKey::from_bytes(&bytes).map_err(|error| StartError::file(file, error.to_string()))
}

/// Reads a key that opens: a symmetric one or an X25519 pair.
pub(crate) fn topic_secret(file: &Path) -> Result<TopicKey, StartError> {
    let bytes = files::read_secret(file)?;
    TopicKey::from_bytes(&bytes).map_err(|error| {
        let half = error == KeyError::Missing("d");
        let why = "this is the public half of an X25519 key; to open, the private one is needed";
        StartError::file(file, if half { why.to_owned() } else { error.to_string() })
    })
}

/// A key that seals.
#[derive(Debug)]
pub(crate) enum SealingKey {
    /// A symmetric key or an X25519 pair.
    Secret(TopicKey),
    /// The public half of an X25519 pair.
    Public(TopicPublicKey),
}

/// Reads a key that seals, of whatever kind.
pub(crate) fn sealing_key(file: &Path) -> Result<SealingKey, StartError> {
    let bytes = files::read_secret(file)?;
    let key = match TopicKey::from_bytes(&bytes) {
        Ok(key) => Ok(SealingKey::Secret(key)),
        Err(KeyError::Missing("d")) => TopicPublicKey::from_bytes(&bytes).map(SealingKey::Public),
        Err(error) => Err(error),
    };
    key.map_err(|error| StartError::file(file, error.to_string()))
}

fn sender((at, entry): (usize, &encryption::Sender)) -> Result<Sender, StartError> {
    let key = sender_public(&entry.key).map_err(|error| error.at(format!("sender[{at}].key")))?;
    Ok(Sender {
        id: entry.id.clone().into_bytes(),
        key,
        topics: topics(entry.topics.as_slice().into()),
        validity: Validity { not_before: entry.not_before, not_after: entry.not_after },
    })
}

fn topic_key((at, entry): (usize, &encryption::TopicKey)) -> Result<TopicKeyEntry, StartError> {
    let key = topic_secret(&entry.key).map_err(|error| error.at(format!("topic_key[{at}].key")))?;
    Ok(TopicKeyEntry {
        id: entry.id.clone().into_bytes(),
        key,
        topics: topics(entry.topics.as_slice().into()),
        validity: Validity { not_before: entry.not_before, not_after: entry.not_after },
    })
}

fn numbered<T>(entries: &[T]) -> impl Iterator<Item = (usize, &T)> {
    entries.iter().enumerate()
}

/// Topic filters as a set of topics.
#[derive(Debug)]
struct Filters(Arc<[TopicFilter]>);

/// The topics that these filters match.
pub(crate) fn topics(filters: Arc<[TopicFilter]>) -> Arc<dyn Topics> {
    Arc::new(Filters(filters))
}

impl Topics for Filters {
    fn contains(&self, topic: &str) -> bool {
        TopicName::try_from(topic).is_ok_and(|topic| self.0.iter().any(|filter| filter.matches(&topic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmq_crypto::ContentAlgorithm;
    use std::fs;
    use std::path::PathBuf;

    /// A configuration of one sender and one topic key, with these texts in their files.
    fn config(folder: &Path, sender: &str, topic_key: &str) -> Config {
        let write = |name: &str, text: &str| -> PathBuf {
            let file = folder.join(name);
            files::replace(&file, files::PRIVATE, text.as_bytes()).unwrap();
            file
        };
        let topics = vec!["plant/#".parse().unwrap()];
        Config {
            senders: vec![encryption::Sender {
                id: "dev-7".to_owned(),
                key: write("sender", sender),
                topics: topics.clone(),
                not_before: None,
                not_after: Some(9),
                bind: None,
            }],
            topic_keys: vec![encryption::TopicKey {
                id: "plant-1".to_owned(),
                key: write("topic", topic_key),
                topics,
                not_before: Some(3),
                not_after: None,
            }],
            ..Config::default()
        }
    }

    fn public_sender() -> String {
        SenderKey::generate("other").unwrap().public().to_jwk().unwrap()
    }

    fn symmetric() -> String {
        TopicKey::generate("other", ContentAlgorithm::A256Gcm).unwrap().to_jwk().unwrap().to_string()
    }

    #[test]
    fn the_configuration_decides_id_topics_and_validity() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &public_sender(), &symmetric());
        let keyring = configured(&config).unwrap().keyring();
        let sender = keyring.sender(b"dev-7").unwrap();
        assert!(sender.topics.contains("plant/7"));
        assert!(!sender.topics.contains("office"));
        assert!(!sender.topics.contains("plant/#"), "no topic name");
        assert_eq!(sender.validity, Validity { not_before: None, not_after: Some(9) });
        let key = keyring.topic_key(b"plant-1").unwrap();
        assert_eq!(key.key.id(), b"plant-1");
        assert_eq!(key.validity, Validity { not_before: Some(3), not_after: None });
    }

    #[test]
    fn of_a_secret_sender_key_only_the_public_half_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let secret = SenderKey::generate("dev-7").unwrap();
        let config = config(folder.path(), &secret.to_jwk().unwrap(), &symmetric());
        let keyring = configured(&config).unwrap().keyring();
        assert!(matches!(warnings(&config).as_slice(), [one] if one.contains("the sender's secret")));
        assert_eq!(keyring.sender(b"dev-7").unwrap().key, secret.public());
    }

    #[test]
    fn errors_name_the_setting_and_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let pair = TopicKey::generate_x25519("p").unwrap();
        let half = pair.public("").unwrap().to_jwk().unwrap();
        let secret = symmetric();
        for (sender, topic_key, file, expected) in [
            ("{", secret.as_str(), "sender", "sender[0].key: {}: not a JWK: see line 1, column 1"),
            (&secret, &secret, "sender", "sender[0].key: {}: the key is not an Ed25519 key"),
            (
                &public_sender(),
                &half,
                "topic",
                "topic_key[0].key: {}: this is the public half of an X25519 key; to open, the private one is \
                 needed",
            ),
            (
                &public_sender(),
                &public_sender(),
                "topic",
                "topic_key[0].key: {}: the key is not a symmetric or an X25519 key",
            ),
        ] {
            let config = config(folder.path(), sender, topic_key);
            let error = configured(&config).unwrap_err().to_string();
            let file = folder.path().join(file).display().to_string();
            assert_eq!(error, expected.replace("{}", &file));
            assert_eq!(problems(&config).len(), 1);
        }
        let mut config = config(folder.path(), &public_sender(), &secret);
        config.topic_keys[0].key = folder.path().join("nowhere");
        let error = configured(&config).unwrap_err().to_string();
        assert!(error.ends_with("nowhere: cannot read it: there is no such file or folder"), "{error}");
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(problems(&config(folder.path(), "x", "y")).len(), 2);
    }

    #[test]
    fn any_kind_of_topic_key_seals() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let pair = TopicKey::generate_x25519("p").unwrap();
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            sealing_key(&file)
        };
        assert!(matches!(read(&symmetric()), Ok(SealingKey::Secret(_))));
        assert!(matches!(read(&pair.to_jwk().unwrap()), Ok(SealingKey::Secret(_))));
        assert!(matches!(read(&pair.public("").unwrap().to_jwk().unwrap()), Ok(SealingKey::Public(_))));
        assert!(read(&public_sender()).is_err());
    }
}
