//! The key files that the configuration names, as a keyring.
//!
//! File names come in, what a keyring is made of goes out ([`Configured`]), and the [`Opener`] of `ingress/`. Always holds: an error says which key of the
//! configuration, which file and what is wrong with it, and repeats nothing of what stands in the file. The
//! configuration's id of a key counts, not the one that its file may hold.

use crate::enrolment::{Configured, Kind, Ready, topics};
use crate::error::StartError;
use crate::secrets::{KeyFile, Secrets};
use sealmq_config::Config;
use sealmq_config::encryption::{self, DerivedAlgorithm, KeySource};
use sealmq_crypto::{
    ContentAlgorithm, Derived, KeyError, Keyring, OpenedCount, Opener, Sender, SenderKey, SenderPublicKey,
    TopicKey, TopicKeyEntry, TopicPublicKey, Validity,
};
use sealmq_protocol::TopicFilter;
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
    let ReadKeys { configured, problems, notes, .. } = ReadKeys::of(config);
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem);
    }
    for note in notes {
        tracing::warn!("{note}");
    }
    Ok(configured)
}

/// The keys of a configuration, each file read once.
#[derive(Default)]
pub(crate) struct ReadKeys {
    configured: Configured,
    /// Everything that is wrong with the key files.
    pub(crate) problems: Vec<StartError>,
    /// What works and should not stay so.
    pub(crate) notes: Vec<String>,
    /// What each topic key is, by its place in the configuration; nothing of one that is wrong.
    pub(crate) kinds: Vec<Option<String>>,
}

impl ReadKeys {
    pub(crate) fn of(config: &Config) -> Self {
        let mut read = Self::default();
        let secrets = match Secrets::of(config) {
            Ok(secrets) => secrets,
            Err(problem) => {
                read.problems.push(problem);
                return read;
            }
        };
        for (at, entry) in config.senders.iter().enumerate() {
            match sender(&secrets, entry) {
                Ok((sender, is_secret)) => {
                    let ready = Ready::Sender(Arc::new(sender), entry.bind);
                    read.add(Kind::Sender, &entry.id, ready, &entry.topics);
                    if is_secret {
                        let file = entry.key.display();
                        read.notes.push(format!(
                            "sender[{at}].key: {file} holds the sender's secret; the broker needs the public key \
                             only"
                        ));
                    }
                }
                Err(error) => read.problems.push(error.at(format!("sender[{at}].key"))),
            }
        }
        for (at, entry) in config.topic_keys.iter().enumerate() {
            let setting = format!("topic_key[{at}].{}", entry.source.setting());
            match source(&secrets, &entry.source) {
                Ok(key) => {
                    read.notes.extend(other_id(&key, entry).map(|note| format!("{setting}: {note}")));
                    read.kinds.push(Some(kind(&key)));
                    let ready = Ready::TopicKey(topic_key(key, entry).shared());
                    read.add(Kind::TopicKey, &entry.id, ready, &entry.topics);
                }
                Err(error) => {
                    read.kinds.push(None);
                    read.problems.push(error.at(setting));
                }
            }
        }
        read
    }

    fn add(&mut self, kind: Kind, id: &str, ready: Ready, topics: &[TopicFilter]) {
        if !self.configured.add(kind, id, ready, topics) {
            let (key, why) =
                ("sender and topic_key".to_owned(), format!("{} {id:?} is there twice", kind.name()));
            self.problems.push(StartError::Setting { key, why });
        }
    }
}

/// Reads the secret half of a sender's key: for those who stamp.
pub(crate) fn sender_secret(secrets: &Secrets, file: &Path) -> Result<SenderKey, StartError> {
    let read = secrets.read(file)?;
    let key = SenderKey::from_bytes(read.public()).map_err(|error| {
        let half = error == KeyError::Missing("d");
        let why = "this is a sender's public key; to stamp, the secret one is needed";
        StartError::file(file, if half { why.to_owned() } else { error.to_string() })
    })?;
    read.secret().map(|_| key)
}

/// Reads the public half of a sender's key, of a file that holds the public half or both.
pub(crate) fn sender_public(secrets: &Secrets, file: &Path) -> Result<SenderPublicKey, StartError> {
    sender_half(secrets, file).map(|(key, _)| key)
}

/// The same, and whether the file holds the secret half too.
fn sender_half(secrets: &Secrets, file: &Path) -> Result<(SenderPublicKey, bool), StartError> {
    let read = secrets.read(file)?;
    let key = SenderPublicKey::from_bytes(read.public())
        .map_err(|error| StartError::file(file, error.to_string()))?;
    let is_secret = SenderKey::from_bytes(read.public()).is_ok();
    if is_secret {
        read.secret()?;
    }
    Ok((key, is_secret))
}

/// Reads a key that opens: a symmetric one, an X25519 pair, or a master of either.
pub(crate) fn opening_key(secrets: &Secrets, file: &Path) -> Result<TopicKey, StartError> {
    secret_key(&secrets.read(file)?, file, TopicKey::any_from_bytes)
}

/// Reads a master, with what its keys are for if that is known already.
pub(crate) fn master(
    secrets: &Secrets,
    file: &Path,
    derived: Option<Derived>,
) -> Result<TopicKey, StartError> {
    secret_key(&secrets.read(file)?, file, |bytes| TopicKey::master_from_bytes(bytes, derived))
}

/// A key that seals.
#[derive(Debug)]
pub(crate) enum SealingKey {
    /// A symmetric key, an X25519 pair, or a master of either.
    Secret(TopicKey),
    /// The public half of an X25519 pair.
    Public(TopicPublicKey),
}

/// Reads a key that seals, of whatever kind.
pub(crate) fn sealing_key(secrets: &Secrets, file: &Path) -> Result<SealingKey, StartError> {
    let read = secrets.read(file)?;
    if let Err(KeyError::Missing("d")) = TopicKey::from_bytes(read.public()) {
        let key = TopicPublicKey::from_bytes(read.public()).map(SealingKey::Public);
        return key.map_err(|error| StartError::file(file, error.to_string()));
    }
    opening_key(secrets, file).map(SealingKey::Secret)
}

fn sender(secrets: &Secrets, entry: &encryption::Sender) -> Result<(Sender, bool), StartError> {
    let (key, is_secret) = sender_half(secrets, &entry.key)?;
    let sender = Sender {
        id: entry.id.clone().into_bytes(),
        key,
        topics: topics(entry.topics.as_slice().into()),
        validity: Validity { not_before: entry.not_before, not_after: entry.not_after },
    };
    Ok((sender, is_secret))
}

fn topic_key(key: TopicKey, entry: &encryption::TopicKey) -> TopicKeyEntry {
    TopicKeyEntry {
        id: entry.id.clone().into_bytes(),
        key,
        topics: topics(entry.topics.as_slice().into()),
        validity: Validity { not_before: entry.not_before, not_after: entry.not_after },
        opened: OpenedCount::default(),
    }
}

/// Reads a topic key of the configuration.
pub(crate) fn source(secrets: &Secrets, source: &KeySource) -> Result<TopicKey, StartError> {
    match source {
        KeySource::Key(file) => secret_key(&secrets.read(file)?, file, TopicKey::from_bytes),
        KeySource::Master { file, algorithm } => master(secrets, file, algorithm.map(derived)),
    }
}

/// What the keys of a master are for, as the configuration names it.
fn derived(algorithm: DerivedAlgorithm) -> Derived {
    match algorithm {
        DerivedAlgorithm::A128Gcm => Derived::Symmetric(ContentAlgorithm::A128Gcm),
        DerivedAlgorithm::A256Gcm => Derived::Symmetric(ContentAlgorithm::A256Gcm),
        DerivedAlgorithm::ChaCha20Poly1305 => Derived::Symmetric(ContentAlgorithm::ChaCha20Poly1305),
        DerivedAlgorithm::X25519 => Derived::X25519,
    }
}

/// The secret key in a file, which others than its owner may not read.
fn secret_key(
    read: &KeyFile,
    file: &Path,
    parse: impl FnOnce(&[u8]) -> Result<TopicKey, KeyError>,
) -> Result<TopicKey, StartError> {
    let key = parse(read.public()).map_err(|error| {
        let why = if error == KeyError::Missing("d") {
            "this is the public half of an X25519 key; to open, the private one is needed".to_owned()
        } else if error == KeyError::Master {
            "this is a master; it belongs to master = ..., not to key = ...".to_owned()
        } else if error == KeyError::NoMaster {
            "this is a key and no master; it belongs to key = ..., not to master = ...".to_owned()
        } else {
            error.to_string()
        };
        StartError::file(file, why)
    })?;
    read.secret().map(|_| key)
}

/// What a topic key is, in words.
pub(crate) fn kind(key: &TopicKey) -> String {
    match key.derives() {
        Some(derived) => format!("master, {}", derived.name()),
        None if key.public("").is_some() => "asymmetric".to_owned(),
        None => "symmetric".to_owned(),
    }
}

/// Who seals with the file, or derives keys from it, takes the id that it names, and the broker knows the configured
/// one alone.
fn other_id(key: &TopicKey, entry: &encryption::TopicKey) -> Option<String> {
    if key.id() == entry.id.as_bytes() {
        return None;
    }
    let (own, id) = (String::from_utf8_lossy(key.id()), &entry.id);
    let file = entry.source.file().display();
    Some(if key.derives().is_some() {
        format!("{file} is of the id {own:?}; derive keys for {id:?} with sealmq keys derive --id")
    } else {
        format!("{file} is of the id {own:?}, and here it is {id:?}: envelopes must name {id:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
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
                source: KeySource::Key(write("topic", topic_key)),
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
        let notes = ReadKeys::of(&config).notes;
        assert!(matches!(notes.as_slice(), [one, _] if one.contains("the sender's secret")), "{notes:?}");
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
            assert_eq!(ReadKeys::of(&config).problems.len(), 1);
        }
        let mut config = config(folder.path(), &public_sender(), &secret);
        config.topic_keys[0].source = KeySource::Key(folder.path().join("nowhere"));
        let error = configured(&config).unwrap_err().to_string();
        assert!(error.ends_with("nowhere: cannot read it: there is no such file or folder"), "{error}");
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let read = ReadKeys::of(&config(folder.path(), "x", "y"));
        assert_eq!((read.problems.len(), read.kinds), (2, vec![None]));
    }

    #[test]
    fn any_kind_of_topic_key_seals() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let pair = TopicKey::generate_x25519("p").unwrap();
        let read = |text: &str| {
            files::replace(&file, files::PRIVATE, text.as_bytes()).unwrap();
            sealing_key(&Secrets::in_plain(), &file)
        };
        assert!(matches!(read(&symmetric()), Ok(SealingKey::Secret(_))));
        assert!(matches!(read(&pair.to_jwk().unwrap()), Ok(SealingKey::Secret(_))));
        assert!(matches!(read(&pair.public("").unwrap().to_jwk().unwrap()), Ok(SealingKey::Public(_))));
        let master = TopicKey::generate_master("m", Derived::X25519).unwrap().to_jwk().unwrap();
        assert!(
            matches!(read(&master), Ok(SealingKey::Secret(key)) if key.derives() == Some(Derived::X25519))
        );
        assert!(read(&public_sender()).is_err());
    }

    #[test]
    fn another_id_in_the_file_of_a_topic_key_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let pair = TopicKey::generate_x25519("plant-0").unwrap();
        for (key, own) in [(symmetric(), "other"), (pair.to_jwk().unwrap().to_string(), "plant-0")] {
            let config = config(folder.path(), &public_sender(), &key);
            let file = config.topic_keys[0].source.file().display();
            let expected = format!(
                "topic_key[0].key: {file} is of the id \"{own}\", and here it is \"plant-1\": envelopes must name \
                 \"plant-1\""
            );
            assert_eq!(ReadKeys::of(&config).notes, [expected]);
        }
        let same = pair.with_id("plant-1").to_jwk().unwrap();
        assert!(ReadKeys::of(&config(folder.path(), &public_sender(), &same)).notes.is_empty());
    }

    #[test]
    fn a_master_opens_under_the_configured_id() {
        let folder = tempfile::tempdir().unwrap();
        let master = TopicKey::generate_master("other", Derived::X25519).unwrap();
        let mut config = config(folder.path(), &public_sender(), &master.to_jwk().unwrap());
        let file = config.topic_keys[0].source.file().to_owned();
        let mistaken = opener(&config).unwrap_err().to_string();
        assert!(
            mistaken.starts_with("topic_key[0].key: ") && mistaken.contains("master = ..."),
            "{mistaken}"
        );
        config.topic_keys[0].source = KeySource::Master { file: file.clone(), algorithm: None };
        let read = ReadKeys::of(&config);
        assert_eq!(read.kinds, [Some("master, X25519".to_owned())]);
        assert!(matches!(read.notes.as_slice(), [one] if one.contains("derive --id")), "{:?}", read.notes);
        let opener = opener(&config).unwrap();
        let key = &opener.keyring().topic_key(b"plant-1").unwrap().key;
        assert_eq!(key.derived("plant/7"), master.with_id("plant-1").derived("plant/7"));
        let algorithm = Some(DerivedAlgorithm::A256Gcm);
        config.topic_keys[0].source = KeySource::Master { file, algorithm };
        let other = super::opener(&config).unwrap_err().to_string();
        assert!(other.ends_with("the master is for keys of X25519"), "{other}");
    }

    #[test]
    fn a_secret_that_others_may_read_is_a_problem_and_a_public_key_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let secret = SenderKey::generate("dev-7").unwrap().to_jwk().unwrap();
        let open = |file: &Path| fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        for (sender, expected) in [
            (&*secret, &["sender[0].key", "topic_key[0].key"][..]),
            (&public_sender(), &["topic_key[0].key"]),
        ] {
            let config = config(folder.path(), sender, &symmetric());
            open(&config.senders[0].key);
            open(config.topic_keys[0].source.file());
            let problems = ReadKeys::of(&config).problems;
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, setting) in problems.iter().zip(expected) {
                let text = problem.to_string();
                assert!(text.starts_with(setting) && text.contains("chmod 600"), "{text}");
            }
        }
    }
}
