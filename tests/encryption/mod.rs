//! Sealed payloads from end to end: keys made by `sealmq keys`, envelopes made by `sealmq seal`, a real
//! broker that opens them, and real clients that get the plaintext or nothing.
//!
//! Here is what the chapters share: the keys, a broker enrolled with them, and a [`Device`] that also
//! makes envelopes which the command line refuses to make.

mod audit;
mod audit_files;
mod batches;
mod confidential;
pub(crate) mod egress;
mod enrolment;
mod failed_stamps;
mod keys;
mod keys_handed_out;
mod mark;
mod policies;
mod refusals;
mod repeats;
mod retained;
mod wills;

pub(crate) use refusals::payload_for;

use crate::harness::broker::run;
use crate::harness::{Broker, Setup, Wire};
use sealmq_crypto::{ContentKey, Freshness, SenderKey, TopicKey, seal};
use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;
use tempfile::TempDir;

/// What no log may show.
pub(crate) const SECRET: &str = "a very secret reading";

/// How the keys are made; each command in an empty folder, once for each run of the tests.
const KEYS: [&[&str]; 12] = [
    &["keys", "sender", "dev-7"],
    &["keys", "sender", "dev-8"],
    &["keys", "sender", "dev-9"],
    &["keys", "sender", "retired"],
    &["keys", "topic", "aes128", "--symmetric", "--alg", "A128GCM"],
    &["keys", "topic", "aes256", "--symmetric"],
    &["keys", "topic", "chacha", "--symmetric", "--alg", "ChaCha20/Poly1305"],
    &["keys", "topic", "pair", "--asymmetric"],
    &["keys", "topic", "expired", "--symmetric"],
    &["keys", "topic", "elsewhere", "--symmetric"],
    &["keys", "subscriber", "panel"],
    &["keys", "subscriber", "ann"],
];

/// `dev-9` has keys and is not enrolled.
pub(crate) const RULES: &str = r##"
[[sender]]
id = "dev-7"
key = "keys/dev-7.pub.jwk"
topics = ["plant/7/#", "strict/7/#", "signed/7/#", "private/7/#"]
[[sender]]
id = "dev-8"
key = "keys/dev-8.pub.jwk"
topics = ["plant/8/#"]
[[sender]]
id = "retired"
key = "keys/retired.pub.jwk"
topics = ["#"]
not_after = 2020-01-01T00:00:00Z
[[topic_key]]
id = "aes128"
key = "keys/aes128.jwk"
topics = ["plant/#", "strict/#"]
[[topic_key]]
id = "aes256"
key = "keys/aes256.jwk"
topics = ["plant/#", "strict/#"]
[[topic_key]]
id = "chacha"
key = "keys/chacha.jwk"
topics = ["plant/#", "strict/#"]
[[topic_key]]
id = "pair"
key = "keys/pair.jwk"
topics = ["plant/#", "strict/#"]
[[topic_key]]
id = "expired"
key = "keys/expired.jwk"
topics = ["plant/#", "strict/#"]
not_after = 2020-01-01T00:00:00Z
[[topic_key]]
id = "elsewhere"
key = "keys/elsewhere.jwk"
topics = ["elsewhere/#"]
[[policy]]
topics = ["plant/#"]
payload = "sealed"
[[policy]]
topics = ["strict/#"]
payload = "sealed"
on_refusal = "disconnect"
[[policy]]
topics = ["signed/#"]
payload = "stamped"
[[policy]]
topics = ["private/#"]
payload = "end-to-end"
[telemetry]
sys_interval_s = 1
"##;

/// A broker with rules and keys.
pub(crate) fn start() -> Broker {
    setup().config(RULES).start()
}

/// The same before its start: a folder with all keys in `keys`, and no configuration yet.
pub(crate) fn setup() -> Setup {
    let setup = Setup::new();
    std::fs::create_dir(setup.dir().join("keys")).unwrap();
    keys().iter().fold(setup, |setup, (name, content)| {
        let name = format!("keys/{name}");
        let setup = setup.file(&name, content);
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(setup.dir().join(name), private).unwrap();
        setup
    })
}

/// The key files of this run: name and content.
fn keys() -> &'static [(String, Vec<u8>)] {
    static MADE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        for args in KEYS {
            let output = run(dir.path(), args, "");
            assert!(output.status.success(), "{output:?}");
        }
        let files = std::fs::read_dir(dir.path().join("keys")).unwrap().map(Result::unwrap);
        let read = |file: std::fs::DirEntry| {
            (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())
        };
        files.map(read).collect()
    })
}

/// An envelope made by `sealmq seal` for `topic`; the sender's key is a file in `keys`, and so is the
/// topic's, whose name goes without `.jwk`. More arguments may follow.
pub(crate) fn sealed(broker: &Broker, sender: &str, key: Option<&str>, topic: &str, text: &str) -> Vec<u8> {
    let (sender, key) = (format!("keys/{sender}.jwk"), key.map(|key| format!("keys/{key}.jwk")));
    let mut args = vec!["seal", "--topic", topic, "--sender-key", &sender];
    args.extend(key.iter().flat_map(|key| ["--topic-key", key]));
    let output = run(broker.dir(), &args, text);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// The topic key of this name, as the broker has it.
pub(crate) fn topic_key(broker: &Broker, name: &str) -> TopicKey {
    TopicKey::from_bytes(&std::fs::read(broker.dir().join(format!("keys/{name}.jwk"))).unwrap()).unwrap()
}

/// A sender that counts its envelopes.
pub(crate) struct Device {
    key: SenderKey,
    last: Cell<u64>,
}

impl Device {
    /// The one whose key is in the broker's folder.
    pub(crate) fn enrolled(broker: &Broker, name: &str) -> Self {
        let file = broker.dir().join(format!("keys/{name}.jwk"));
        Self::of(SenderKey::from_bytes(&std::fs::read(file).unwrap()).unwrap())
    }

    fn of(key: SenderKey) -> Self {
        Self { key, last: Cell::new(0) }
    }

    /// An envelope with the next number.
    pub(crate) fn seal(&self, key: &TopicKey, topic: &str, text: &str) -> Vec<u8> {
        self.last.set(self.last.get() + 1);
        self.seal_as(Freshness::Seq(self.last.get()), key, topic, text)
    }

    /// An envelope that is new in this way.
    pub(crate) fn seal_as(&self, freshness: Freshness, key: &TopicKey, topic: &str, text: &str) -> Vec<u8> {
        seal(&self.key, Some(ContentKey::from(key)), topic, text.as_bytes(), freshness).unwrap()
    }

    /// An envelope round the plaintext itself.
    pub(crate) fn stamp(&self, topic: &str, text: &str) -> Vec<u8> {
        self.last.set(self.last.get() + 1);
        seal(&self.key, None, topic, text.as_bytes(), Freshness::Seq(self.last.get())).unwrap()
    }
}

/// A broker, the device `dev-7`, its topic key, and a client on TLS that watches everything with QoS 2.
pub(crate) struct Plant {
    pub(crate) broker: Broker,
    pub(crate) device: Device,
    pub(crate) key: TopicKey,
    pub(crate) watcher: Wire,
}

impl Plant {
    pub(crate) fn start() -> Self {
        Self::of(start())
    }

    /// With a broker that has these rules and keys.
    pub(crate) fn of(broker: Broker) -> Self {
        let device = Device::enrolled(&broker, "dev-7");
        let key = topic_key(&broker, "aes256");
        let mut watcher = Wire::client_tls(&broker, "watcher");
        watcher.subscribe("#", 2);
        Self { broker, device, key, watcher }
    }

    /// The broker alone.
    pub(crate) fn into_broker(self) -> Broker {
        self.broker
    }

    /// An envelope of the device.
    pub(crate) fn seal(&self, topic: &str, text: &str) -> Vec<u8> {
        self.device.seal(&self.key, topic, text)
    }
}

/// Waits until the broker reports this value of `$SYS/broker/<name>`.
fn await_report(broker: &Broker, name: &str, value: u64) {
    let mut wire = Wire::client(broker, "reporter");
    wire.subscribe(format!("$SYS/broker/{name}"), 0);
    while wire.expect_publish().text() != value.to_string() {}
}

/// Nothing was refused: whatever was logged by now is in the log when this is asked.
#[track_caller]
fn assert_nothing_refused(broker: &Broker) {
    Wire::client(broker, "fence").disconnect();
    broker.log_line(|line| line.message() == "connected" && line.field("client") == Some("fence"));
    let refused = broker.log().lines(|line| line.message() == "message refused");
    assert!(refused.is_empty(), "{refused:?}");
}
