//! `sealmq keys`: makes keys for senders and for topics, and masters.
//!
//! An id comes in, key files and the lines to configure them go out. Always holds: no file that is there is
//! touched, and of two files that belong together both are made or none.

use super::{CommandError, PassphraseOption, ServeOptions, derive, identity, rotate, say, subscriber};
use crate::error::StartError;
use crate::files;
use crate::secrets::Secrets;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use sealmq_config::Config;
use sealmq_crypto::{ContentAlgorithm, Derived, KeyError, SenderKey, TopicKey};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// No file name is longer.
const ID_BYTES_MAX: usize = 255;

/// Makes a key and says how to configure it. No file is ever overwritten.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealmq keys sender dev-7                   keys/dev-7.jwk (secret) and keys/dev-7.pub.jwk
  sealmq keys topic plant-1 --symmetric      keys/plant-1.jwk (secret, on both sides)
  sealmq keys topic plant-2 --asymmetric     keys/plant-2.jwk (secret) and keys/plant-2.pub.jwk
  sealmq keys identity                       shows the public half of the broker's own key
  sealmq keys master plant --symmetric       keys/plant.master (secret, for the broker alone)
  sealmq keys derive --topic plant/7/temp    that topic's key, to stdout
  sealmq keys rotate plant-1 --config FILE   the key after it, and what to configure

With a passphrase, of the configuration or by --passphrase-file, secret files are
encrypted, and their names end in .age.")]
pub(super) struct KeysArguments {
    /// Configuration file, TOML
    #[arg(long = "config", value_name = "FILE", global = true)]
    config_file: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseOption,
    #[command(subcommand)]
    kind: KeyKind,
}

#[derive(Debug, Subcommand)]
enum KeyKind {
    /// An Ed25519 key, with which one sender stamps
    Sender {
        /// The sender's id; envelopes name it
        id: String,
        /// Folder for the files; made if it is missing
        #[arg(long, value_name = "DIR", default_value = "keys")]
        out: PathBuf,
    },
    /// A key that seals the payloads of topics
    #[command(group = ArgGroup::new("form").required(true).args(["symmetric", "asymmetric"]))]
    Topic {
        /// The key's id; envelopes name it
        id: String,
        /// One secret key, known to the senders and the broker
        #[arg(long)]
        symmetric: bool,
        /// An X25519 pair; senders get the public half, which cannot open
        #[arg(long)]
        asymmetric: bool,
        /// What a symmetric key is for
        #[arg(long, value_name = "ALGORITHM", default_value = "A256GCM", conflicts_with = "asymmetric")]
        alg: Algorithm,
        /// Folder for the files; made if it is missing
        #[arg(long, value_name = "DIR", default_value = "keys")]
        out: PathBuf,
    },
    /// A master, from which every topic gets a key of its own
    #[command(group = ArgGroup::new("form").required(true).args(["symmetric", "asymmetric"]))]
    Master {
        /// The keys' id; envelopes name it
        id: String,
        /// Derive secret keys, one for each topic, known to its senders and the broker
        #[arg(long)]
        symmetric: bool,
        /// Derive X25519 pairs; senders get the public half, which cannot open
        #[arg(long)]
        asymmetric: bool,
        /// What symmetric keys are for
        #[arg(long, value_name = "ALGORITHM", default_value = "A256GCM", conflicts_with = "asymmetric")]
        alg: Algorithm,
        /// Folder for the file; made if it is missing
        #[arg(long, value_name = "DIR", default_value = "keys")]
        out: PathBuf,
    },
    /// The key of one topic, derived from a master: what its senders get
    Derive(derive::DeriveArguments),
    /// The next key after one of the configuration, and what to write there
    Rotate(rotate::RotateArguments),
    /// An X25519 pair, for which the broker seals what it sends to a subscriber without TLS
    Subscriber(subscriber::SubscriberArguments),
    /// Shows the broker's own public key, by which devices know it
    Identity(identity::IdentityArguments),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Algorithm {
    #[value(name = "A128GCM")]
    A128Gcm,
    #[value(name = "A256GCM")]
    A256Gcm,
    #[value(name = "ChaCha20/Poly1305")]
    ChaCha20Poly1305,
}

impl From<Algorithm> for ContentAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::A128Gcm => Self::A128Gcm,
            Algorithm::A256Gcm => Self::A256Gcm,
            Algorithm::ChaCha20Poly1305 => Self::ChaCha20Poly1305,
        }
    }
}

pub(super) fn run(arguments: &KeysArguments, before: ServeOptions) -> Result<(), CommandError> {
    let own = ServeOptions { config_file: arguments.config_file.clone(), ..ServeOptions::default() };
    let options = own.or(before);
    let config = options.config_file.is_some().then(|| options.load()).transpose()?;
    let secrets = match &config {
        Some(config) if arguments.passphrase.passphrase_file.is_none() => Secrets::of(config)?,
        Some(_) | None => arguments.passphrase.secrets()?,
    };
    let text = match &arguments.kind {
        KeyKind::Sender { id, out } => make_sender(&secrets, id, out)?,
        KeyKind::Topic { id, asymmetric: true, out, .. } => make_asymmetric(&secrets, id, out)?,
        KeyKind::Topic { id, alg, out, .. } => make_symmetric(&secrets, id, (*alg).into(), out)?,
        KeyKind::Master { id, asymmetric, alg, out, .. } => {
            let derived = if *asymmetric { Derived::X25519 } else { Derived::Symmetric((*alg).into()) };
            make_master(&secrets, id, derived, out)?
        }
        KeyKind::Rotate(arguments) => rotate::run(arguments, &options, config.as_ref(), &secrets)?,
        KeyKind::Derive(arguments) => return derive::run(arguments, config.as_ref(), &secrets),
        KeyKind::Subscriber(arguments) => subscriber::make(arguments, &secrets)?,
        KeyKind::Identity(arguments) => return identity::run(arguments, &options, &secrets),
    };
    say(text.as_bytes())
}

fn make_sender(secrets: &Secrets, id: &str, folder: &Path) -> Result<String, CommandError> {
    let files = KeyFiles::new(secrets, id, folder, ".jwk")?;
    let key = SenderKey::generate(id)?;
    files.write(secrets, &key.to_jwk()?, Some(&key.public().to_jwk()?))?;
    let mut text = made(&files.secret, "secret: for the sender alone");
    text += &made(&files.public, "public: for the broker");
    text += FOR_THE_CONFIGURATION;
    text += &snippet("sender", id, "key", &files.public);
    Ok(text)
}

fn make_symmetric(
    secrets: &Secrets,
    id: &str,
    algorithm: ContentAlgorithm,
    folder: &Path,
) -> Result<String, CommandError> {
    let files = KeyFiles::new(secrets, id, folder, ".jwk")?;
    files.write(secrets, &TopicKey::generate(id, algorithm)?.to_jwk()?, None)?;
    let mut text = made(&files.secret, "secret: for the broker and the senders");
    text += FOR_THE_CONFIGURATION;
    text += &snippet("topic_key", id, "key", &files.secret);
    text += POLICY;
    Ok(text)
}

fn make_asymmetric(secrets: &Secrets, id: &str, folder: &Path) -> Result<String, CommandError> {
    let files = KeyFiles::new(secrets, id, folder, ".jwk")?;
    let key = TopicKey::generate_x25519(id)?;
    let public = key.public("").ok_or(KeyError::WrongKind("an X25519 key"))?;
    files.write(secrets, &key.to_jwk()?, Some(&public.to_jwk()?))?;
    let mut text = made(&files.secret, "secret: for the broker alone");
    text += &made(&files.public, "public: for the senders");
    text += FOR_THE_CONFIGURATION;
    text += &snippet("topic_key", id, "key", &files.secret);
    text += POLICY;
    Ok(text)
}

fn make_master(secrets: &Secrets, id: &str, derived: Derived, folder: &Path) -> Result<String, CommandError> {
    let files = KeyFiles::new(secrets, id, folder, ".master")?;
    files.write(secrets, &TopicKey::generate_master(id, derived)?.to_jwk()?, None)?;
    let mut text = made(&files.secret, "secret: for the broker alone");
    text += FOR_THE_CONFIGURATION;
    text += &snippet("topic_key", id, "master", &files.secret);
    text += POLICY;
    text += "\nThe key of a topic, for its senders:\n\n  sealmq keys derive --topic TOPIC --master ";
    text += &files.secret.to_string_lossy();
    text += "\n";
    Ok(text)
}

/// Makes the keys with which a broker without configuration file can be tried, unless they are there.
pub(crate) fn ensure_development(config: &Config) -> Result<(), StartError> {
    let in_plain = Secrets::in_plain();
    for sender in &config.senders {
        let files = KeyFiles::beside(&sender.id, &sender.key);
        if !files.public.exists() {
            let key = SenderKey::generate(sender.id.as_str()).map_err(|error| files.failed(&error))?;
            let secret = key.to_jwk().map_err(|error| files.failed(&error))?;
            files.write(
                &in_plain,
                &secret,
                Some(&key.public().to_jwk().map_err(|error| files.failed(&error))?),
            )?;
        }
    }
    for topic_key in &config.topic_keys {
        let files = KeyFiles::beside(&topic_key.id, topic_key.source.file());
        if !files.secret.exists() {
            let key = TopicKey::generate(topic_key.id.as_str(), ContentAlgorithm::A256Gcm);
            let secret = key.and_then(|key| key.to_jwk()).map_err(|error| files.failed(&error))?;
            files.write(&in_plain, &secret, None)?;
        }
    }
    Ok(())
}

const FOR_THE_CONFIGURATION: &str = "\nFor the broker's configuration (paths count from its file):\n\n";
const POLICY: &str = "\n[[policy]]\ntopics = [\"plant/#\"]\npayload = \"sealed\"\n";

pub(super) fn made(file: &Path, what: &str) -> String {
    format!("made {:<32} {what}\n", file.display())
}

fn snippet(table: &str, id: &str, setting: &str, file: &Path) -> String {
    let (id, file) = (quoted(id), quoted(&file.to_string_lossy()));
    format!("[[{table}]]\nid = {id}\n{setting} = {file}\ntopics = [\"plant/#\"]\n")
}

/// A string of TOML; ids and paths hold no control characters here.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The two files of an id.
pub(super) struct KeyFiles {
    pub(super) secret: PathBuf,
    pub(super) public: PathBuf,
}

impl KeyFiles {
    pub(super) fn new(
        secrets: &Secrets,
        id: &str,
        folder: &Path,
        ending: &str,
    ) -> Result<Self, CommandError> {
        check_id(id)?;
        let encrypted = if secrets.encrypts() { ".age" } else { "" };
        let file = |ending: &str| folder.join(format!("{id}{ending}"));
        Ok(Self { secret: file(&format!("{ending}{encrypted}")), public: file(".pub.jwk") })
    }

    /// The two in the folder of a configured file.
    fn beside(id: &str, configured: &Path) -> Self {
        let file = |ending: &str| configured.with_file_name(format!("{id}{ending}"));
        Self { secret: file(".jwk"), public: file(".pub.jwk") }
    }

    fn failed(&self, error: &KeyError) -> StartError {
        StartError::file(&self.secret, format!("cannot make the key: {error}"))
    }

    /// Whether one of them is there already.
    pub(super) fn are_there(&self) -> bool {
        self.secret.exists() || self.public.exists()
    }

    /// Makes both files or none.
    pub(super) fn write(
        &self,
        secrets: &Secrets,
        secret: &str,
        public: Option<&str>,
    ) -> Result<(), StartError> {
        if let Some(folder) = self.secret.parent()
            && !folder.as_os_str().is_empty()
        {
            files::create_folder(folder)?;
        }
        if public.is_some() && self.public.exists() {
            return Err(StartError::file(&self.public, "it is there already; nothing was made"));
        }
        if self.secret.exists() {
            return Err(StartError::file(&self.secret, "it is there already; nothing was made"));
        }
        write_secret(secrets, &self.secret, secret)?;
        let Some(public) = public else { return Ok(()) };
        files::create(&self.public, files::PUBLIC, lined(public).as_bytes()).inspect_err(|_| {
            // The error is the one to tell; the half that is left opens and stamps nothing by itself.
            drop(std::fs::remove_file(&self.secret));
        })
    }
}

/// Makes the file of a secret, encrypted where there is a passphrase.
pub(super) fn write_secret(secrets: &Secrets, file: &Path, secret: &str) -> Result<(), StartError> {
    let sealed = secrets.sealed(lined(secret).as_bytes());
    let sealed = sealed.map_err(|why| StartError::io(file, "encrypt it", why))?;
    files::create(file, files::PRIVATE, &sealed)
}

pub(super) fn lined(text: &str) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(text.len() + 1));
    line.push_str(text);
    line.push('\n');
    line
}

/// Whether an id is safe as the beginning of a file name.
fn check_id(id: &str) -> Result<(), CommandError> {
    let why = if id.is_empty() {
        "it is empty"
    } else if id.len() > ID_BYTES_MAX {
        "it has more than 255 bytes"
    } else if id.starts_with('.') {
        "it begins with '.', and the file would be hidden"
    } else if id.contains('/') {
        "it contains '/'; for another folder, there is --out"
    } else if id.contains(char::is_control) {
        "it contains a control character"
    } else {
        return Ok(());
    };
    Err(CommandError::Plain(format!("{id:?} cannot be the id of a key: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{SealingKey, master, opening_key, sealing_key, sender_public, sender_secret};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn plain() -> Secrets {
        Secrets::in_plain()
    }

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_senders_two_files_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("keys");
        let text = make_sender(&plain(), "dev-7", &out).unwrap();
        let (secret, public) = (out.join("dev-7.jwk"), out.join("dev-7.pub.jwk"));
        assert_eq!((mode(&out), mode(&secret), mode(&public)), (0o700, 0o600, 0o644));
        let key = sender_secret(&plain(), &secret).unwrap();
        assert_eq!(key.id(), b"dev-7");
        assert_eq!(sender_public(&plain(), &public).unwrap(), key.public());
        assert!(!fs::read_to_string(&public).unwrap().contains("\"d\""));
        assert!(
            text.contains("[[sender]]\nid = \"dev-7\"\n") && text.contains("dev-7.pub.jwk\"\n"),
            "{text}"
        );
    }

    #[test]
    fn topic_keys_are_of_the_kind_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        for algorithm in ContentAlgorithm::ALL {
            let id = format!("{}", algorithm.cose_number());
            make_symmetric(&plain(), &id, algorithm, out).unwrap();
            let text = fs::read_to_string(out.join(format!("{id}.jwk"))).unwrap();
            assert!(text.contains(&format!("\"alg\":\"{}\"", algorithm.name())));
            assert!(!out.join(format!("{id}.pub.jwk")).exists());
        }
        make_asymmetric(&plain(), "pair", out).unwrap();
        assert_eq!(opening_key(&plain(), &out.join("pair.jwk")).unwrap().id(), b"pair");
        assert!(matches!(sealing_key(&plain(), &out.join("pair.pub.jwk")), Ok(SealingKey::Public(_))));
        assert_eq!(mode(&out.join("pair.jwk")), 0o600);
    }

    #[test]
    fn masters_say_what_they_are_for() {
        let folder = tempfile::tempdir().unwrap();
        for derived in Derived::ALL {
            let id = derived.name().replace('/', "-");
            let text = make_master(&plain(), &id, derived, folder.path()).unwrap();
            let file = folder.path().join(format!("{id}.master"));
            assert_eq!(mode(&file), 0o600);
            assert_eq!(master(&plain(), &file, None).unwrap().derives(), Some(derived));
            assert!(text.contains(&format!("master = \"{}\"\n", file.display())), "{text}");
        }
    }

    #[test]
    fn with_a_passphrase_secrets_are_encrypted_and_public_halves_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        files::create(&out.join("passphrase"), files::PRIVATE, b"correct horse\n").unwrap();
        let secrets = Secrets::load(Some(&out.join("passphrase"))).unwrap();
        let text = make_sender(&secrets, "dev", out).unwrap();
        assert!(text.contains("dev.jwk.age") && text.contains("dev.pub.jwk\"\n"), "{text}");
        make_master(&secrets, "plant", Derived::X25519, out).unwrap();
        let file = out.join("dev.jwk.age");
        assert_eq!(mode(&file), 0o600);
        assert!(fs::read(&file).unwrap().starts_with(b"age-encryption.org/v1\n"));
        let key = sender_secret(&secrets, &file).unwrap();
        assert_eq!(sender_public(&plain(), &out.join("dev.pub.jwk")).unwrap(), key.public());
        assert!(sender_secret(&plain(), &file).unwrap_err().to_string().contains("--passphrase-file"));
        assert!(master(&secrets, &out.join("plant.master.age"), None).is_ok());
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_made() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        for there in ["dev.jwk", "dev.pub.jwk"] {
            fs::write(out.join(there), "mine").unwrap();
            for error in [
                make_sender(&plain(), "dev", out).unwrap_err(),
                make_asymmetric(&plain(), "dev", out).unwrap_err(),
            ] {
                assert!(
                    error.to_string().ends_with(&format!("{there}: it is there already; nothing was made"))
                );
            }
            assert_eq!(fs::read_to_string(out.join(there)).unwrap(), "mine");
            assert_eq!(fs::read_dir(out).unwrap().count(), 1);
            fs::remove_file(out.join(there)).unwrap();
        }
    }

    #[test]
    fn ids_that_are_unsafe_as_file_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(256);
        for id in ["", ".", "..", ".x", "a/b", "../x", "a\0", "a\n", &long] {
            let error = make_sender(&plain(), id, folder.path()).unwrap_err().to_string();
            assert!(error.contains("cannot be the id of a key"), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(
            make_sender(&plain(), "Gerät 7 \"x\"", folder.path())
                .unwrap()
                .contains("id = \"Gerät 7 \\\"x\\\"\"")
        );
    }
}
