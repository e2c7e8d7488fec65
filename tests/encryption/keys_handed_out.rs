//! `$sealmq/key/<topic>`: the public key of a topic, for whoever subscribes, stamped by the broker's identity.

use super::egress::reload;
use super::{RULES, setup};
use crate::harness::broker::run;
use crate::harness::packets::{suback, subscribe, unsuback, unsubscribe};
use crate::harness::packets5::{SUBACK, SUBSCRIPTION_ID, With, subscribe5};
use crate::harness::{Broker, Connect5, Publish, Wire};
use sealmq_crypto::{
    ContentKey, Freshness, Keyring, OpenError, Opener, Policy, ReplayWindows, Sender, SenderKey, TopicKey,
    TopicPublicKey, Topics, Validity, seal,
};
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const KEY_TOPIC: &str = "$sealmq/key/plant/7/level";

fn start() -> Broker {
    setup().config(RULES).start()
}

#[derive(Debug)]
struct Everywhere;

impl Topics for Everywhere {
    fn contains(&self, _: &str) -> bool {
        true
    }
}

/// A device that knows the broker's identity, and nothing of the topics' keys.
struct Device {
    opener: Opener,
    taken: ReplayWindows,
}

impl Device {
    fn new(broker: &Broker) -> Self {
        let file = std::fs::read(broker.dir().join("data/keys/identity.jwk")).unwrap();
        let key = SenderKey::from_bytes(&file).unwrap().public();
        let (topics, validity) = (Arc::new(Everywhere), Validity::default());
        let sender = Sender { id: b"sealmq".to_vec(), key, topics, validity };
        let opener = Opener::new(Keyring::new([sender], []).unwrap(), 300);
        Self { opener, taken: ReplayWindows::new(16) }
    }

    fn open(&self, topic: &str, payload: &[u8]) -> Result<TopicPublicKey, OpenError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let opened = self.opener.open(&self.taken, Policy::Stamped, topic, &payload.to_vec().into(), now)?;
        Ok(TopicPublicKey::from_bytes(&opened.plaintext).unwrap())
    }

    /// The next packet is the key that was asked for, with RETAIN as said.
    #[track_caller]
    fn take(&self, wire: &mut Wire, retain: bool) -> TopicPublicKey {
        let publish = wire.expect_publish();
        assert!((publish.qos, publish.retain, publish.topic()) == (0, retain, KEY_TOPIC), "{publish:?}");
        self.open(KEY_TOPIC, &publish.payload).unwrap()
    }
}

/// The public half of a key in the broker's folder.
fn public(broker: &Broker, name: &str) -> TopicPublicKey {
    TopicPublicKey::from_bytes(&std::fs::read(broker.dir().join(format!("keys/{name}.jwk"))).unwrap())
        .unwrap()
}

/// A device without any key of the topic asks for it on plaintext, believes it, seals with it, and the broker
/// opens that.
/// Writes a key for its owner alone.
fn put_secret(file: &std::path::Path, key: &str) {
    std::fs::write(file, key).unwrap();
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn device_that_knows_the_broker_needs_no_other_key() {
    let broker = start();
    let device = Device::new(&broker);
    let mut wire = Wire::client(&broker, "dev-7");
    wire.subscribe(KEY_TOPIC, 2);
    let key = device.take(&mut wire, true);
    assert_eq!((key.id(), &key), (b"pair".as_slice(), &public(&broker, "pair")));
    wire.expect_nothing_but_pong();
    let mut watcher = Wire::client_tls(&broker, "watcher");
    watcher.subscribe("plant/#", 1);
    let sender = SenderKey::from_bytes(&std::fs::read(broker.dir().join("keys/dev-7.jwk")).unwrap()).unwrap();
    let content = Some(ContentKey::from(&key));
    let envelope = seal(&sender, content, "plant/7/level", b"21.5", Freshness::Seq(1)).unwrap();
    wire.publish(&Publish::new("plant/7/level", envelope).qos(1, 1));
    watcher.take("21.5");
}

/// What was handed out is bound to the topic, and each time is a stamp of its own.
#[test]
fn answer_is_for_its_topic_and_for_once() {
    let broker = start();
    let device = Device::new(&broker);
    let mut wire = Wire::client(&broker, "c");
    wire.subscribe(KEY_TOPIC, 0);
    let first = wire.expect_publish().payload;
    assert_eq!(device.open("$sealmq/key/plant/8/level", &first), Err(OpenError::BadStamp));
    device.open(KEY_TOPIC, &first).unwrap();
    assert_eq!(device.open(KEY_TOPIC, &first), Err(OpenError::Replayed));
    // Who subscribes again asks again.
    wire.subscribe(KEY_TOPIC, 0);
    device.take(&mut wire, true);
    // The command line opens it too.
    let dir = broker.dir();
    let identity = run(dir, &["keys", "identity", "--config", "sealmq.toml"], "");
    std::fs::write(dir.join("identity.pub.jwk"), identity.stdout).unwrap();
    let opened = run(dir, &["open", "--topic", KEY_TOPIC, "--sender-key", "identity.pub.jwk"], first);
    assert_eq!(TopicPublicKey::from_bytes(&opened.stdout).unwrap(), public(&broker, "pair"));
}

/// A topic without an asymmetric key: the subscription stands, and nothing comes. No more does it for wildcards,
/// and who shares.
#[test]
fn where_there_is_no_key_nothing_comes() {
    let broker = start();
    let mut wire = Wire::client(&broker, "c");
    for filter in ["$sealmq/key/office/1", "$sealmq/key/elsewhere/1", "$sealmq/key", "$sealmq/#"] {
        wire.subscribe(filter, 1);
    }
    wire.subscribe(format!("$share/group/{KEY_TOPIC}"), 1);
    let filters = [("$sealmq/key/#", 1), ("$sealmq/key/+/7/level", 1), ("#", 1)];
    wire.send(subscribe(1, &filters));
    wire.expect(suback(1, &[0x80, 0x80, 1]));
    wire.expect_nothing_but_pong();
    let mut wire = Wire::client5(&broker, "c5");
    wire.send(subscribe5(1, &[("$sealmq/key/#", 1)]).bytes());
    assert_eq!(wire.await_answer(SUBACK, 1).codes, [0xA2]);
}

/// Nobody but the broker speaks there.
#[test]
fn clients_hand_out_no_keys() {
    let broker = start();
    let mut wire = Wire::client(&broker, "c");
    wire.subscribe("$sealmq/key/office/1", 1);
    let mut liar = Wire::client(&broker, "liar");
    liar.publish(&Publish::new("$sealmq/key/office/1", "mine").qos(1, 1).retain());
    broker.log_line(|line| line.field("reason") == Some("reserved-topic"));
    wire.expect_nothing_but_pong();
}

/// Retain handling, retain as published and identifiers hold as for a retained message.
#[test]
fn options_hold_as_for_a_retained_message() {
    const SEND_IF_NEW: u8 = 0x10;
    const DO_NOT_SEND: u8 = 0x20;
    let broker = start();
    let mut wire = Wire::connect5(&broker, &Connect5::new("c"));
    wire.subscribe5(KEY_TOPIC, DO_NOT_SEND);
    wire.expect_nothing_but_pong();
    wire.subscribe5(KEY_TOPIC, SEND_IF_NEW);
    wire.expect_nothing_but_pong();
    wire.send(subscribe5(2, &[(KEY_TOPIC, 0)]).with(SUBSCRIPTION_ID, 7).bytes());
    assert_eq!(wire.await_answer(SUBACK, 2).codes, [0]);
    let publish = wire.expect_publish5();
    assert!(publish.retain && publish.properties.number(SUBSCRIPTION_ID) == Some(7), "{publish:?}");
}

#[test]
fn access_rules_hold() {
    let rules = r##"
[[acl]]
client = "may"
access = "subscribe"
topics = ["$sealmq/key/plant/#"]
[[acl]]
access = "all"
topics = ["#"]
"##;
    let broker = setup().config(RULES).config(rules).start();
    let mut may = Wire::client(&broker, "may");
    may.subscribe(KEY_TOPIC, 0);
    Device::new(&broker).take(&mut may, true);
    let mut other = Wire::client(&broker, "other");
    other.send(subscribe(1, &[(KEY_TOPIC, 0)]));
    other.expect(suback(1, &[0x80]));
}

/// [`RULES`] with another pair for `plant`, made on the spot, with this line of validity.
fn with_new_key(broker: &Broker, line: &str) -> String {
    let key = TopicKey::generate_x25519("new").unwrap();
    put_secret(&broker.dir().join("keys/new.jwk"), &key.to_jwk().unwrap());
    format!("{RULES}[[topic_key]]\nid = \"new\"\nkey = \"keys/new.jwk\"\ntopics = [\"plant/#\"]\n{line}\n")
}

/// Of several keys the one that became valid last counts, else the one that stands last; one that is not valid
/// yet or any more does not. A reload hands the new one to those who have asked.
#[test]
fn reload_hands_out_the_new_key() {
    let broker = start();
    let device = Device::new(&broker);
    let mut wire = Wire::client(&broker, "c");
    wire.subscribe("$sealmq/key/office/1", 0);
    wire.subscribe(KEY_TOPIC, 0);
    assert_eq!(device.take(&mut wire, true).id(), b"pair");
    let rules = [
        ("not_after = 2020-01-01T00:00:00Z", None),
        ("not_before = 2999-01-01T00:00:00Z", None),
        ("", Some("new")),
        ("", Some("new")),
        ("not_before = 2020-01-01T00:00:00Z", None),
    ];
    for (n, (line, handed_out)) in (1..).zip(rules) {
        // The third and the fourth make a new pair of the same id.
        let written = if n == 5 { RULES.to_owned() } else { with_new_key(&broker, line) };
        reload(&broker, &written, n);
        match handed_out {
            Some(name) => assert_eq!(device.take(&mut wire, false), public(&broker, name), "{n}"),
            None if n == 5 => assert_eq!(device.take(&mut wire, false).id(), b"pair"),
            None => wire.expect_nothing_but_pong(),
        }
    }
    wire.expect_nothing_but_pong();
    let written = with_new_key(&broker, "not_before = 2020-01-01T00:00:00Z");
    reload(&broker, &written.replace("id = \"pair\"", "not_before = 2020-01-02T00:00:00Z\nid = \"pair\""), 6);
    // `pair` became valid a day later than `new`.
    let mut late = Wire::client(&broker, "late");
    late.subscribe(KEY_TOPIC, 0);
    assert_eq!(device.take(&mut late, true).id(), b"pair");
    wire.send(unsubscribe(3, &[KEY_TOPIC]));
    wire.expect(unsuback(3));
    reload(&broker, &with_new_key(&broker, ""), 7);
    assert_eq!(device.take(&mut late, false), public(&broker, "new"));
    wire.expect_nothing_but_pong();
}

/// Nothing has to be reloaded for a key to take its turn.
#[test]
fn key_that_becomes_valid_is_handed_out() {
    let broker = start();
    let device = Device::new(&broker);
    let mut wire = Wire::client(&broker, "c");
    wire.subscribe(KEY_TOPIC, 0);
    assert_eq!(device.take(&mut wire, true).id(), b"pair");
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3;
    let date = Command::new("date").args(["-u", "-d", &format!("@{soon}"), "+%FT%TZ"]).output().unwrap();
    let time = String::from_utf8(date.stdout).unwrap();
    reload(&broker, &with_new_key(&broker, &format!("not_before = {}", time.trim())), 1);
    assert_eq!(device.take(&mut wire, false), public(&broker, "new"));
}

/// With another identity, those who have asked get a stamp of that one.
#[test]
fn new_identity_stamps_anew() {
    let broker = start();
    let mut wire = Wire::client(&broker, "c");
    wire.subscribe(KEY_TOPIC, 0);
    wire.expect_publish();
    std::fs::remove_file(broker.dir().join("data/keys/identity.jwk")).unwrap();
    let key = SenderKey::generate("sealmq").unwrap();
    put_secret(&broker.dir().join("data/keys/identity.jwk"), &key.to_jwk().unwrap());
    reload(&broker, RULES, 1);
    Device::new(&broker).take(&mut wire, false);
}
