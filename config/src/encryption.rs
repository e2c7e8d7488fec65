//! `[[sender]]`, `[[topic_key]]`, `[[policy]]` and `[encryption]`: what is sealed, and with which keys.

use crate::egress::Egress;
use crate::reader::{Reader, defaults};
use sealmq_protocol::TopicFilter;
use std::path::{Path, PathBuf};

/// The sealed topics of a broker without configuration file.
const DEVELOPMENT_TOPICS: &str = "sealed/#";

/// An enrolled sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The key id in the stamp.
    pub id: String,
    /// File with its Ed25519 public key (JWK or `COSE_Key`).
    pub key: PathBuf,
    /// Where it may publish.
    pub topics: Vec<TopicFilter>,
    /// Valid from, seconds since 1970.
    pub not_before: Option<u64>,
    /// Valid until, seconds since 1970.
    pub not_after: Option<u64>,
    /// Which name of a connection has to be the sender's id, for its stamps to count there. None: any
    /// connection may carry them, so that a gateway can.
    pub bind: Option<Bind>,
}

impl Sender {
    /// The one of a broker without configuration file: `device-1`, whose key stands in `keys/` in the
    /// data folder.
    pub fn development(data_dir: &Path) -> Self {
        let key = data_dir.join("keys").join("device-1.pub.jwk");
        let topics = development_topics();
        Self { id: "device-1".to_owned(), key, topics, not_before: None, not_after: None, bind: None }
    }

    pub(crate) fn read(entry: &mut Reader<'_>) -> Option<Self> {
        let id = entry.id("id");
        let key = entry.path_required("key");
        let topics = entry.filters("topics");
        let (not_before, not_after) = entry.validity();
        let bind = entry.choice_optional("bind", &Bind::NAMES);
        Some(Self { id: id?, key: key?, topics: topics?, not_before, not_after, bind })
    }
}

/// What binds a sender's stamps to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    /// The client id has to be the sender's id.
    ClientId,
    /// The user name has to be the sender's id.
    User,
}

impl Bind {
    const NAMES: [(&'static str, Self); 2] = [("client-id", Self::ClientId), ("user", Self::User)];

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, bind)| *bind)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, bind)| *bind == self).map_or("", |(name, _)| name)
    }
}

/// A key that opens sealed payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicKey {
    /// The key id in the envelope.
    pub id: String,
    /// Where it comes from.
    pub source: KeySource,
    /// For which topics.
    pub topics: Vec<TopicFilter>,
    /// Valid from, seconds since 1970.
    pub not_before: Option<u64>,
    /// Valid until, seconds since 1970.
    pub not_after: Option<u64>,
}

/// Where a topic key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a symmetric key (kty oct) or an X25519 pair (kty OKP).
    Key(PathBuf),
    /// A master, from which each topic gets a key of its own.
    Master {
        /// File with 32 secret bytes (kty oct).
        file: PathBuf,
        /// What the derived keys are for, if the file does not say so.
        algorithm: Option<DerivedAlgorithm>,
    },
}

impl KeySource {
    /// The file, whatever is in it.
    pub fn file(&self) -> &Path {
        match self {
            Self::Key(file) | Self::Master { file, .. } => file,
        }
    }

    /// The key of the configuration that names the file.
    pub const fn setting(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Master { .. } => "master",
        }
    }

    fn read(entry: &mut Reader<'_>) -> Option<Self> {
        let sources = ["key", "master"].map(|name| entry.has(name));
        let (key, master) = (entry.path_optional("key"), entry.path_optional("master"));
        let has_algorithm = entry.has("algorithm");
        let algorithm = entry.choice_optional("algorithm", &DerivedAlgorithm::NAMES);
        match sources {
            [true, false] if has_algorithm => {
                entry.refuse("algorithm", "one beside a key", "with master only; a key's file says its own");
                None
            }
            [true, false] => key.map(Self::Key),
            [false, true] => master.map(|file| Self::Master { file, algorithm }),
            [true, true] => {
                entry.refuse("master", "both key and master", "one of them");
                None
            }
            [false, false] => {
                entry.lacks("key", "a path; or a master, from which each topic gets a key of its own");
                None
            }
        }
    }
}

/// What the keys derived from a master are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DerivedAlgorithm {
    /// AES-128-GCM.
    A128Gcm,
    /// AES-256-GCM.
    A256Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
    /// X25519 pairs.
    X25519,
}

impl DerivedAlgorithm {
    const NAMES: [(&'static str, Self); 4] = [
        ("A128GCM", Self::A128Gcm),
        ("A256GCM", Self::A256Gcm),
        ("ChaCha20/Poly1305", Self::ChaCha20Poly1305),
        ("X25519", Self::X25519),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| name)
    }
}

impl TopicKey {
    /// The one of a broker without configuration file: `sealed-1`, in `keys/` in the data folder.
    pub fn development(data_dir: &Path) -> Self {
        let key = data_dir.join("keys").join("sealed-1.jwk");
        let topics = development_topics();
        let source = KeySource::Key(key);
        Self { id: "sealed-1".to_owned(), source, topics, not_before: None, not_after: None }
    }

    pub(crate) fn read(entry: &mut Reader<'_>) -> Option<Self> {
        let id = entry.id("id");
        let source = KeySource::read(entry);
        let topics = entry.filters("topics");
        let (not_before, not_after) = entry.validity();
        Some(Self { id: id?, source: source?, topics: topics?, not_before, not_after })
    }
}

/// What a payload must be on some topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Where it holds.
    pub topics: Vec<TopicFilter>,
    /// What the payload must be.
    pub payload: Payload,
    /// What happens to an MQTT 3.1.1 publisher whose message is refused.
    pub on_refusal: OnRefusal,
    /// How a message may leave that was sealed.
    pub egress: Egress,
}

impl Policy {
    /// The one of a broker without configuration file: `sealed/#` is sealed.
    pub fn development() -> Self {
        let topics = development_topics();
        Self { topics, payload: Payload::Sealed, on_refusal: OnRefusal::Drop, egress: Egress::Secure }
    }

    pub(crate) fn read(policy: &mut Reader<'_>) -> Option<Self> {
        let topics = policy.filters("topics");
        let payload = policy.choice("payload", &Payload::NAMES, None);
        let on_refusal = policy.choice("on_refusal", &OnRefusal::NAMES, Some(OnRefusal::Drop));
        let egress = policy.choice_or("egress", &Egress::NAMES, Egress::Secure);
        Some(Self { topics: topics?, payload: payload?, on_refusal: on_refusal?, egress })
    }
}

fn development_topics() -> Vec<TopicFilter> {
    DEVELOPMENT_TOPICS.parse().into_iter().collect()
}

/// What a payload must be, and what a subscriber gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Anything; passed on as it is.
    Plain,
    /// An envelope round the plaintext; the plaintext is passed on.
    Stamped,
    /// An envelope round sealed content; the plaintext is passed on, on secure connections only.
    Sealed,
    /// An envelope that the broker cannot open; passed on whole.
    EndToEnd,
}

impl Payload {
    const NAMES: [(&'static str, Self); 4] = [
        ("plain", Self::Plain),
        ("stamped", Self::Stamped),
        ("sealed", Self::Sealed),
        ("end-to-end", Self::EndToEnd),
    ];
}

/// What happens to an MQTT 3.1.1 publisher whose message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefusal {
    /// The message is acknowledged and dropped. Default.
    Drop,
    /// The connection is closed.
    Disconnect,
}

impl OnRefusal {
    const NAMES: [(&'static str, Self); 2] = [("drop", Self::Drop), ("disconnect", Self::Disconnect)];
}

/// Settings of the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// How far a sender's `iat` may be from the broker's clock, seconds. Default: 300.
    pub max_clock_skew_s: u64,
    /// Timed stamps (`iat` without `seq`) remembered for each sender; when full, further timed ones
    /// are refused as not fresh until old ones pass. Default: 65,536.
    pub timed_stamps_max: usize,
    /// Derived content keys kept for the next message: of topics by their master, and of what senders agree
    /// on with an ephemeral key. When full, the ones unused longest are derived again when needed. Default:
    /// 4,096.
    pub derived_keys_max: usize,
    /// PUBLISH packets of one client that wait until an envelope before them is checked; when so many wait,
    /// the client is not read. Default: 256.
    pub unchecked_max: usize,
}

impl Encryption {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            max_clock_skew_s: section.seconds("max_clock_skew_s", 1..=86_400, 300),
            timed_stamps_max: section.count("timed_stamps_max", 1..=16_777_216, 65_536),
            derived_keys_max: section.count("derived_keys_max", 1..=1_048_576, 4_096),
            unchecked_max: section.count("unchecked_max", 1..=65_536, 256),
        }
    }
}

impl Default for Encryption {
    fn default() -> Self {
        defaults(Self::read)
    }
}
