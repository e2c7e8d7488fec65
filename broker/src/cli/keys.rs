//! `sealmq keys`: makes keys for senders and for topics.
//!
//! An id comes in, key files and the lines to configure them go out. Always holds: no file that is there is
//! touched, and of two files that belong together both are made or none.

use super::{CommandError, identity, say, subscriber};
use crate::error::StartError;
use crate::files;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use sealmq_config::Config;
use sealmq_crypto::{ContentAlgorithm, KeyError, SenderKey, TopicKey};
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
  sealmq keys identity                       shows the public half of the broker's own key")]
pub(super) struct KeysArguments {
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

pub(super) fn run(arguments: &KeysArguments) -> Result<(), CommandError> {
    let text = match &arguments.kind {
        KeyKind::Sender { id, out } => make_sender(id, out)?,
        KeyKind::Topic { id, asymmetric: true, out, .. } => make_asymmetric(id, out)?,
        KeyKind::Topic { id, alg, out, .. } => make_symmetric(id, (*alg).into(), out)?,
        KeyKind::Subscriber(arguments) => subscriber::make(arguments)?,
        KeyKind::Identity(arguments) => return identity::run(arguments),
    };
    say(text.as_bytes())
}

fn make_sender(id: &str, folder: &Path) -> Result<String, CommandError> {
    let files = KeyFiles::new(id, folder)?;
    let key = SenderKey::generate(id)?;
    files.write(&key.to_jwk()?, Some(&key.public().to_jwk()?))?;
    let mut text = made(&files.secret, "secret: for the sender alone");
    text += &made(&files.public, "public: for the broker");
    text += "\nFor the broker's configuration (paths count from its file):\n\n";
    text += &snippet("sender", id, &files.public);
    Ok(text)
}

fn make_symmetric(id: &str, algorithm: ContentAlgorithm, folder: &Path) -> Result<String, CommandError> {
    let files = KeyFiles::new(id, folder)?;
    files.write(&TopicKey::generate(id, algorithm)?.to_jwk()?, None)?;
    let mut text = made(&files.secret, "secret: for the broker and the senders");
    text += "\nFor the broker's configuration (paths count from its file):\n\n";
    text += &snippet("topic_key", id, &files.secret);
    text += POLICY;
    Ok(text)
}

fn make_asymmetric(id: &str, folder: &Path) -> Result<String, CommandError> {
    let files = KeyFiles::new(id, folder)?;
    let key = TopicKey::generate_x25519(id)?;
    let public = key.public("").ok_or(KeyError::WrongKind("an X25519 key"))?;
    files.write(&key.to_jwk()?, Some(&public.to_jwk()?))?;
    let mut text = made(&files.secret, "secret: for the broker alone");
    text += &made(&files.public, "public: for the senders");
    text += "\nFor the broker's configuration (paths count from its file):\n\n";
    text += &snippet("topic_key", id, &files.secret);
    text += POLICY;
    Ok(text)
}

/// Makes the keys with which a broker without configuration file can be tried, unless they are there.
pub(crate) fn ensure_development(config: &Config) -> Result<(), StartError> {
    for sender in &config.senders {
        let files = KeyFiles::beside(&sender.id, &sender.key);
        if !files.public.exists() {
            let key = SenderKey::generate(sender.id.as_str()).map_err(|error| files.failed(&error))?;
            let secret = key.to_jwk().map_err(|error| files.failed(&error))?;
            files.write(&secret, Some(&key.public().to_jwk().map_err(|error| files.failed(&error))?))?;
        }
    }
    for topic_key in &config.topic_keys {
        let files = KeyFiles::beside(&topic_key.id, &topic_key.key);
        if !files.secret.exists() {
            let key = TopicKey::generate(topic_key.id.as_str(), ContentAlgorithm::A256Gcm);
            let secret = key.and_then(|key| key.to_jwk()).map_err(|error| files.failed(&error))?;
            files.write(&secret, None)?;
        }
    }
    Ok(())
}

const POLICY: &str = "\n[[policy]]\ntopics = [\"plant/#\"]\npayload = \"sealed\"\n";

pub(super) fn made(file: &Path, what: &str) -> String {
    format!("made {:<32} {what}\n", file.display())
}

fn snippet(table: &str, id: &str, file: &Path) -> String {
    let (id, key) = (quoted(id), quoted(&file.to_string_lossy()));
    format!("[[{table}]]\nid = {id}\nkey = {key}\ntopics = [\"plant/#\"]\n")
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
    pub(super) fn new(id: &str, folder: &Path) -> Result<Self, CommandError> {
        check_id(id)?;
        let file = |ending: &str| folder.join(format!("{id}{ending}"));
        Ok(Self { secret: file(".jwk"), public: file(".pub.jwk") })
    }

    /// The two in the folder of a configured file.
    fn beside(id: &str, configured: &Path) -> Self {
        let file = |ending: &str| configured.with_file_name(format!("{id}{ending}"));
        Self { secret: file(".jwk"), public: file(".pub.jwk") }
    }

    fn failed(&self, error: &KeyError) -> StartError {
        StartError::file(&self.secret, format!("cannot make the key: {error}"))
    }

    /// Makes both files or none.
    pub(super) fn write(&self, secret: &str, public: Option<&str>) -> Result<(), StartError> {
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
        files::create(&self.secret, files::PRIVATE, lined(secret).as_bytes())?;
        let Some(public) = public else { return Ok(()) };
        files::create(&self.public, files::PUBLIC, lined(public).as_bytes()).inspect_err(|_| {
            // The error is the one to tell; the half that is left opens and stamps nothing by itself.
            drop(std::fs::remove_file(&self.secret));
        })
    }
}

fn lined(text: &str) -> Zeroizing<String> {
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
    use crate::keys::{SealingKey, sealing_key, sender_public, sender_secret, topic_secret};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_senders_two_files_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("keys");
        let text = make_sender("dev-7", &out).unwrap();
        let (secret, public) = (out.join("dev-7.jwk"), out.join("dev-7.pub.jwk"));
        assert_eq!((mode(&out), mode(&secret), mode(&public)), (0o700, 0o600, 0o644));
        let key = sender_secret(&secret).unwrap();
        assert_eq!(key.id(), b"dev-7");
        assert_eq!(sender_public(&public).unwrap(), key.public());
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
            make_symmetric(&id, algorithm, out).unwrap();
            let text = fs::read_to_string(out.join(format!("{id}.jwk"))).unwrap();
            assert!(text.contains(&format!("\"alg\":\"{}\"", algorithm.name())));
            assert!(!out.join(format!("{id}.pub.jwk")).exists());
        }
        make_asymmetric("pair", out).unwrap();
        assert_eq!(topic_secret(&out.join("pair.jwk")).unwrap().id(), b"pair");
        assert!(matches!(sealing_key(&out.join("pair.pub.jwk")), Ok(SealingKey::Public(_))));
        assert_eq!(mode(&out.join("pair.jwk")), 0o600);
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_made() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        for there in ["dev.jwk", "dev.pub.jwk"] {
            fs::write(out.join(there), "mine").unwrap();
            for error in [make_sender("dev", out).unwrap_err(), make_asymmetric("dev", out).unwrap_err()] {
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
            let error = make_sender(id, folder.path()).unwrap_err().to_string();
            assert!(error.contains("cannot be the id of a key"), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(make_sender("Gerät 7 \"x\"", folder.path()).unwrap().contains("id = \"Gerät 7 \\\"x\\\"\""));
    }
}
