//! Where a message may go, what a connection is fit for, and which subscribers have a key for envelopes.
//!
//! The mark of a message is made where it is opened (`ingress/`) and stays with it wherever it is kept. Always
//! holds: what is confidential leaves on a secure connection, or in an envelope that only the holder of a
//! configured key can open, or not at all.

use crate::error::StartError;
use crate::secrets::Secrets;
use sealmq_config::Config;
use sealmq_config::egress::{self, Holder, SubscriberKey};
use sealmq_crypto::{TopicKey, TopicPublicKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a message may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Egress {
    /// Everywhere.
    #[default]
    Any,
    /// It was opened from a sealed envelope: on secure connections only.
    Secure,
    /// The same, or in an envelope made for the subscriber.
    SecureOrSealed,
}

/// What the connection of a client is fit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Others may read it.
    Open,
    /// The same, but there is a key of its client.
    Sealing,
    /// Nobody in between can read it.
    Secure,
}

impl Egress {
    /// Whether it is for those alone who can keep it secret.
    pub(crate) fn is_confidential(self) -> bool {
        self != Self::Any
    }

    /// Whether it may leave on this.
    pub(crate) fn allows(self, channel: Channel) -> bool {
        match (self, channel) {
            (Self::Any, _) | (_, Channel::Secure) | (Self::SecureOrSealed, Channel::Sealing) => true,
            (Self::Secure, Channel::Open | Channel::Sealing) | (Self::SecureOrSealed, Channel::Open) => false,
        }
    }
}

impl From<egress::Egress> for Egress {
    fn from(egress: egress::Egress) -> Self {
        match egress {
            egress::Egress::Secure => Self::Secure,
            egress::Egress::SecureOrSealed => Self::SecureOrSealed,
        }
    }
}

impl Channel {
    /// Of a connection that is secure or not, to a client that has a key or not.
    pub(crate) fn of(secure: bool, has_key: bool) -> Self {
        match (secure, has_key) {
            (true, _) => Self::Secure,
            (false, true) => Self::Sealing,
            (false, false) => Self::Open,
        }
    }
}

/// The keys of subscribers, as configured. That somebody calls himself by another's name on a plaintext
/// connection does no harm: what he gets is for the other's key.
#[derive(Debug, Default)]
pub(crate) struct SubscriberKeys(BTreeMap<Holder, Arc<TopicPublicKey>>);

impl SubscriberKeys {
    /// Reads the files that the configuration names.
    pub(crate) fn load(config: &Config, secrets: &Secrets) -> Result<Self, StartError> {
        let read = |(entry, read): (&SubscriberKey, Read)| {
            let (key, note) = read?;
            if let Some(note) = note {
                tracing::warn!("{note}");
            }
            Ok((entry.holder.clone(), Arc::new(key)))
        };
        read_all(config, secrets).map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The key of a client: its own, or else its user's.
    pub(crate) fn of(&self, client_id: &str, user: Option<&str>) -> Option<&Arc<TopicPublicKey>> {
        if self.0.is_empty() {
            return None;
        }
        let own = self.0.get(&Holder::Client(client_id.to_owned()));
        own.or_else(|| self.0.get(&Holder::User(user?.to_owned())))
    }

    /// All of them, by a name for whom they are of.
    pub(crate) fn by_name(&self) -> BTreeMap<String, Arc<TopicPublicKey>> {
        let name = |holder: &Holder| match holder {
            Holder::Client(id) => format!("client {id}"),
            Holder::User(name) => format!("user {name}"),
        };
        self.0.iter().map(|(holder, key)| (name(holder), key.clone())).collect()
    }

    /// What a connection of this client is fit for.
    pub(crate) fn channel(&self, secure: bool, client_id: &str, user: Option<&str>) -> Channel {
        Channel::of(secure, self.of(client_id, user).is_some())
    }
}

/// A key, with what works and should not stay so.
type Read = Result<(TopicPublicKey, Option<String>), StartError>;

/// Everything that is wrong with the files, where [`SubscriberKeys::load`] stops at the first; and what works
/// and should not stay so: secrets that lie where they need not.
pub(crate) fn findings(config: &Config, secrets: &Secrets) -> (Vec<StartError>, Vec<String>) {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    for (_, read) in read_all(config, secrets) {
        match read {
            Ok((_, note)) => notes.extend(note),
            Err(problem) => problems.push(problem),
        }
    }
    (problems, notes)
}

fn read_all<'a>(config: &'a Config, secrets: &'a Secrets) -> impl Iterator<Item = (&'a SubscriberKey, Read)> {
    config.subscriber_keys.iter().enumerate().map(|(at, entry)| {
        let setting = format!("subscriber_key[{at}].key");
        let read = public_key(entry, secrets).map(|(key, is_secret)| {
            let file = entry.key.display();
            let note = format!(
                "{setting}: {file} holds the subscriber's secret; the broker needs the public key only"
            );
            (key, is_secret.then_some(note))
        });
        (entry, read.map_err(|error| error.at(setting)))
    })
}

/// Reads the public half, and whether the file holds the secret half too; then nobody else may read it.
fn public_key(entry: &SubscriberKey, secrets: &Secrets) -> Result<(TopicPublicKey, bool), StartError> {
    let read = secrets.read(&entry.key)?;
    let key = TopicPublicKey::from_bytes(read.public())
        .map_err(|error| StartError::file(&entry.key, error.to_string()))?;
    if key.is_weak() {
        return Err(StartError::file(&entry.key, "the key is weak: what is sealed for it is open to all"));
    }
    let is_secret = TopicKey::from_bytes(read.public()).is_ok();
    if is_secret {
        read.secret()?;
    }
    Ok((key, is_secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use sealmq_crypto::SenderKey;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    #[test]
    fn what_is_confidential_needs_a_secure_connection_or_an_envelope() {
        use Channel::{Open, Sealing, Secure};
        let allowed = |egress: Egress| [Open, Sealing, Secure].map(|channel| egress.allows(channel));
        assert_eq!(allowed(Egress::Any), [true, true, true]);
        assert_eq!(allowed(Egress::Secure), [false, false, true]);
        assert_eq!(allowed(Egress::SecureOrSealed), [false, true, true]);
        assert_eq!(
            [Egress::Any, Egress::Secure, Egress::SecureOrSealed].map(Egress::is_confidential),
            [false, true, true]
        );
        assert_eq!(Channel::of(true, true), Secure, "TLS needs no envelope");
    }

    fn config(folder: &Path, keys: &[(Holder, &[u8])]) -> Config {
        let entries = keys.iter().enumerate().map(|(n, (holder, bytes))| {
            let key = folder.join(n.to_string());
            files::create(&key, files::PRIVATE, bytes).unwrap();
            SubscriberKey { holder: holder.clone(), key }
        });
        Config { subscriber_keys: entries.collect(), ..Config::default() }
    }

    fn client(name: &str) -> Holder {
        Holder::Client(name.to_owned())
    }

    #[test]
    fn a_clients_key_goes_before_that_of_its_user() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ["one", "two"].map(|id| TopicKey::generate_x25519(id).unwrap().public("").unwrap());
        let jwks = [0, 1].map(|n: usize| keys[n].to_jwk().unwrap());
        let holders = [client("c1"), Holder::User("ann".to_owned())];
        let [c1, ann] = &holders;
        let config =
            config(folder.path(), &[(c1.clone(), jwks[0].as_bytes()), (ann.clone(), jwks[1].as_bytes())]);
        let loaded = SubscriberKeys::load(&config, &Secrets::in_plain()).unwrap();
        let of = |client, user| loaded.of(client, user).map(|key| key.id().to_vec());
        assert_eq!(of("c1", Some("ann")), Some(b"one".to_vec()));
        assert_eq!(of("c1", None), Some(b"one".to_vec()));
        assert_eq!(of("c2", Some("ann")), Some(b"two".to_vec()));
        assert_eq!(of("ann", Some("c1")), None, "a user is no client, and the other way round");
        assert_eq!(of("c2", None), None);
        assert!(findings(&config, &Secrets::in_plain()).1.is_empty());
    }

    #[test]
    fn wrong_files_are_errors_that_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let pair = TopicKey::generate_x25519("p").unwrap();
        let sender = SenderKey::generate("s").unwrap().public().to_jwk().unwrap();
        let weak = TopicPublicKey::from_public("weak", &[0; 32]).to_jwk().unwrap();
        let config = config(
            folder.path(),
            &[
                (client("a"), sender.as_bytes()),
                (client("b"), weak.as_bytes()),
                (client("c"), pair.to_jwk().unwrap().as_bytes()),
            ],
        );
        let secrets = Secrets::in_plain();
        let (errors, warnings) = findings(&config, &secrets);
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(
            errors[0].starts_with("subscriber_key[0].key: ") && errors[0].contains("X25519"),
            "{errors:?}"
        );
        assert!(errors[1].starts_with("subscriber_key[1].key: ") && errors[1].contains("weak"), "{errors:?}");
        assert_eq!(SubscriberKeys::load(&config, &secrets).unwrap_err().to_string(), errors[0]);
        assert!(
            matches!(&*warnings, [one] if one.contains("subscriber_key[2].key") && one.contains("secret"))
        );
    }

    #[test]
    fn a_secret_half_that_others_may_read_is_refused_and_a_public_key_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let pair = TopicKey::generate_x25519("p").unwrap();
        let public = pair.public("").unwrap().to_jwk().unwrap();
        let config = config(
            folder.path(),
            &[(client("a"), public.as_bytes()), (client("b"), pair.to_jwk().unwrap().as_bytes())],
        );
        for entry in &config.subscriber_keys {
            fs::set_permissions(&entry.key, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let (errors, _) = findings(&config, &Secrets::in_plain());
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(
            matches!(&*errors, [one] if one.starts_with("subscriber_key[1].key: ") && one.contains("chmod 600")),
            "{errors:?}"
        );
    }

    #[test]
    fn an_encrypted_file_is_read_with_the_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = folder.path().join("passphrase");
        files::create(&passphrase, files::PRIVATE, b"correct horse\n").unwrap();
        let secrets = Secrets::load(Some(&passphrase)).unwrap();
        let pair = TopicKey::generate_x25519("panel").unwrap();
        let sealed = secrets.sealed(pair.to_jwk().unwrap().as_bytes()).unwrap();
        let config = config(folder.path(), &[(client("panel"), &sealed)]);
        let keys = SubscriberKeys::load(&config, &secrets).unwrap();
        assert_eq!(keys.of("panel", None).map(|key| key.id()), Some(&b"panel"[..]));
        let error = SubscriberKeys::load(&config, &Secrets::in_plain()).unwrap_err().to_string();
        assert!(
            error.starts_with("subscriber_key[0].key: ") && error.contains("no passphrase is set"),
            "{error}"
        );
    }
}
