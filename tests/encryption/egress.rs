//! Sealed again on the way out: a subscriber without TLS whose key the broker has gets what is confidential in
//! envelopes that it alone can open, and nobody else does.

use super::{Plant, RULES, await_report, setup};
use crate::harness::broker::run;
use crate::harness::packets::{suback, subscribe};
use crate::harness::packets5::{
    CONTENT_TYPE, MAXIMUM_PACKET_SIZE, MESSAGE_EXPIRY, PAYLOAD_FORMAT, RESPONSE_TOPIC, TOPIC_ALIAS,
    TOPIC_ALIAS_MAXIMUM, With,
};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Wire};
use sealmq_crypto::{
    Keyring, OpenError, OpenedCount, Opener, Policy, ReplayWindows, Sender, SenderKey, TopicKey,
    TopicKeyEntry, Topics, Validity,
};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) const TOPIC: &str = "plant/7/level";
const COSE: &str = "application/cose; cose-type=\"cose-sign1\"";

/// [`RULES`], under which what comes below `plant` may leave in envelopes, for the client `panel` and for
/// the user `ann`; below `strict` it may not.
pub(crate) fn rules() -> String {
    let policy = "topics = [\"plant/#\"]\npayload = \"sealed\"\n";
    assert_eq!(RULES.matches(policy).count(), 1);
    let keys = [("client", "panel"), ("user", "ann")].map(|(holder, name)| {
        format!("[[subscriber_key]]\n{holder} = \"{name}\"\nkey = \"keys/{name}.pub.jwk\"\n")
    });
    RULES.replace(policy, &format!("{policy}egress = \"secure-or-sealed\"\n")) + &keys.concat()
}

fn start() -> Plant {
    Plant::of(setup().config(&rules()).start())
}

#[derive(Debug)]
struct Everywhere;

impl Topics for Everywhere {
    fn contains(&self, _: &str) -> bool {
        true
    }
}

/// Whoever has a subscriber's secret key and knows the broker's identity.
pub(crate) struct Reader {
    opener: Opener,
    taken: ReplayWindows,
}

impl Reader {
    /// With the key of this name.
    pub(crate) fn new(broker: &Broker, name: &str) -> Self {
        let read = |file: &str| std::fs::read(broker.dir().join(file)).unwrap();
        let identity = SenderKey::from_bytes(&read("data/keys/identity.jwk")).unwrap();
        let key = TopicKey::from_bytes(&read(&format!("keys/{name}.jwk"))).unwrap();
        let (topics, validity) = (Arc::new(Everywhere), Validity::default());
        let sender =
            Sender { id: b"sealmq".to_vec(), key: identity.public(), topics: topics.clone(), validity };
        let key =
            TopicKeyEntry { id: key.id().to_vec(), key, topics, validity, opened: OpenedCount::default() };
        let opener = Opener::new(Keyring::new([sender], [key]).unwrap(), 300);
        Self { opener, taken: ReplayWindows::new(16) }
    }

    /// What is in the envelope, which must be fresh.
    pub(crate) fn open(&self, topic: &str, envelope: &[u8]) -> Result<String, OpenError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let opened = self.opener.open(&self.taken, Policy::Sealed, topic, &envelope.to_vec().into(), now)?;
        Ok(String::from_utf8(opened.plaintext.to_vec()).unwrap())
    }

    /// The next packet is an envelope with this text in it, and is answered as its QoS asks.
    #[track_caller]
    pub(crate) fn take(&self, wire: &mut Wire, text: &str) -> Publish {
        let publish = wire.expect_publish();
        assert!(!contains(&publish.payload, text), "{text} is readable");
        assert_eq!(self.open(publish.topic(), &publish.payload).as_deref(), Ok(text));
        wire.acknowledge(&publish);
        publish
    }
}

fn contains(payload: &[u8], text: &str) -> bool {
    payload.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Publishes a sealed reading as a client on the plaintext listener.
fn publish(plant: &Plant, topic: &str, text: &str, qos: u8) {
    let envelope = plant.seal(topic, text);
    Wire::client(&plant.broker, "sender").publish(&Publish::new(topic, envelope).qos(qos, 1));
}

#[test]
fn subscriber_with_a_key_gets_envelopes_and_others_what_they_got() {
    let mut plant = start();
    let mut panel = Wire::client(&plant.broker, "panel");
    panel.subscribe("plant/#", 2);
    let mut open = Wire::client(&plant.broker, "open");
    open.subscribe("#", 2);
    let reader = Reader::new(&plant.broker, "panel");
    for qos in 0..=2 {
        publish(&plant, TOPIC, "a reading of 21.5", qos);
        plant.watcher.take("a reading of 21.5");
        let publish = reader.take(&mut panel, "a reading of 21.5");
        assert!((publish.qos, publish.retain, publish.dup) == (qos, false, false), "{publish:?}");
        let other = Reader::new(&plant.broker, "ann");
        assert_eq!(other.open(TOPIC, &publish.payload), Err(OpenError::UnknownKey));
    }
    open.expect_nothing_but_pong();
    await_report(&plant.broker, "envelopes/resealed", 3);
    await_report(&plant.broker, "envelopes/withheld", 3);
    // Over TLS it needs no envelope.
    let mut panel = Wire::client_tls(&plant.broker, "panel");
    panel.subscribe("plant/#", 1);
    publish(&plant, TOPIC, "in plain", 1);
    panel.take("in plain");
}

/// A file with both halves does, encrypted too; of it no more than the public half is used, and the log says so.
#[test]
fn a_subscribers_key_may_be_encrypted() {
    let setup = setup().file("passphrase", "correct horse battery staple\n");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(setup.dir().join("passphrase"), private).unwrap();
    let made = setup.run(&["keys", "--passphrase-file", "passphrase", "subscriber", "screen"], "");
    assert!(made.status.success(), "{made:?}");
    let rules = rules().replace("keys/panel.pub.jwk", "keys/screen.jwk.age");
    let secrets = "[secrets]\npassphrase_file = \"passphrase\"\n";
    let plant = Plant::of(setup.config(&rules).config(secrets).start());
    plant.broker.log_line(|line| {
        line.contains("screen.jwk.age holds the subscriber's secret; the broker needs the public key only")
    });
    let mut panel = Wire::client(&plant.broker, "panel");
    panel.subscribe("plant/#", 0);
    publish(&plant, TOPIC, "a reading of 21.5", 1);
    assert!(!contains(&panel.expect_publish().payload, "a reading of 21.5"));
    let checked = run(plant.broker.dir(), &["check", "--config", "sealmq.toml"], "");
    assert!(checked.status.success(), "{checked:?}");
    let file = plant.broker.dir().join("keys/screen.jwk.age");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(file, open).unwrap();
    let checked = run(plant.broker.dir(), &["check", "--config", "sealmq.toml"], "");
    let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert!(said.contains("subscriber_key[0].key: ") && said.contains("chmod 600"), "{said}");
}

#[test]
fn command_line_opens_what_the_broker_sealed() {
    let plant = start();
    let mut panel = Wire::client(&plant.broker, "panel");
    panel.subscribe(TOPIC, 1);
    publish(&plant, TOPIC, "21.5", 1);
    let envelope = panel.expect_publish().payload;
    assert_eq!(open_by_command(&plant.broker, "panel", &envelope).as_deref(), Ok("21.5"));
    assert!(open_by_command(&plant.broker, "ann", &envelope).is_err());
}

/// What `sealmq open` finds in an envelope of the broker with the key of this name, or says instead.
pub(crate) fn open_by_command(broker: &Broker, key: &str, envelope: &[u8]) -> Result<String, String> {
    let dir = broker.dir();
    let identity = run(dir, &["keys", "identity", "--config", "sealmq.toml"], "");
    std::fs::write(dir.join("identity.pub.jwk"), identity.stdout).unwrap();
    let key = format!("keys/{key}.jwk");
    let args = ["open", "--topic", TOPIC, "--sender-key", "identity.pub.jwk", "--topic-key", &key];
    let output = run(dir, &args, envelope);
    let said = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(said(output.stdout)) } else { Err(said(output.stderr)) }
}

/// By its user name it may come under any client id; a client's own key goes first.
#[test]
fn users_key_is_for_all_of_its_clients() {
    let plant = start();
    let ann = Reader::new(&plant.broker, "ann");
    for id in ["one", "two"] {
        let mut wire = Wire::connect(&plant.broker, &Connect::new(id).user("ann"));
        wire.subscribe("plant/#", 1);
        publish(&plant, TOPIC, id, 1);
        ann.take(&mut wire, id);
    }
    let mut panel = Wire::connect(&plant.broker, &Connect::new("panel").user("ann"));
    panel.subscribe("plant/#", 1);
    publish(&plant, TOPIC, "for panel", 1);
    Reader::new(&plant.broker, "panel").take(&mut panel, "for panel");
}

#[test]
fn what_is_for_secure_connections_alone_stays_so() {
    let mut plant = start();
    let mut panel = Wire::client(&plant.broker, "panel");
    let filters = [("strict/#", 1), ("plant/#", 1), ("strict/7/a", 1), ("#", 1)];
    panel.send(subscribe(1, &filters));
    panel.expect(suback(1, &[0x80, 1, 0x80, 1]));
    publish(&plant, "strict/7/a", "strictly", 1);
    plant.watcher.take("strictly");
    panel.expect_nothing_but_pong();
    await_report(&plant.broker, "envelopes/withheld", 1);
}

/// What is sent again has the packet identifier that it had, and is an envelope of its own: one that is looked
/// at for its freshness has to be.
#[test]
fn repetition_is_a_fresh_envelope() {
    let plant = start();
    let connect = Connect::new("panel").persistent();
    let mut panel = Wire::connect(&plant.broker, &connect);
    panel.subscribe("plant/#", 2);
    let reader = Reader::new(&plant.broker, "panel");
    for qos in 1..=2 {
        publish(&plant, TOPIC, "again", qos);
    }
    let first = [panel.expect_publish(), panel.expect_publish()];
    for publish in &first {
        assert_eq!(reader.open(TOPIC, &publish.payload).as_deref(), Ok("again"));
        assert_eq!(reader.open(TOPIC, &publish.payload), Err(OpenError::Replayed));
    }
    panel.cut();
    let mut panel = Wire::resume(&plant.broker, &connect);
    for first in &first {
        let again = reader.take(&mut panel, "again");
        assert!(again.dup && again.id == first.id && again.payload != first.payload, "{again:?}");
    }
}

/// The largest packet that the client takes is the largest that it gets, its envelope counted.
#[test]
fn maximum_packet_size_holds_for_the_envelope() {
    let plant = start();
    let connect = |bytes| Connect5::new("panel").with(MAXIMUM_PACKET_SIZE, bytes);
    let mut wire = Wire::connect5(&plant.broker, &connect(10_000));
    wire.subscribe5("plant/#", 1);
    publish(&plant, TOPIC, "how large am I", 1);
    let length = u32::try_from(wire.receive().len()).unwrap();
    let reader = Reader::new(&plant.broker, "panel");
    for (bytes, fits) in [(length, true), (length - 1, false)] {
        let mut wire = Wire::connect5(&plant.broker, &connect(bytes));
        wire.subscribe5("plant/#", 1);
        publish(&plant, TOPIC, "how large am I", 1);
        publish(&plant, TOPIC, "small", 1);
        if fits {
            reader.take5(&mut wire, "how large am I");
        }
        reader.take5(&mut wire, "small");
    }
    await_report(&plant.broker, "publish/messages/dropped", 1);
}

impl Reader {
    /// The same of MQTT 5.
    #[track_caller]
    fn take5(&self, wire: &mut Wire, text: &str) -> Publish5 {
        let publish = wire.expect_publish5();
        assert_eq!(self.open(TOPIC, &publish.payload).as_deref(), Ok(text));
        wire.acknowledge5(&publish);
        publish
    }
}

/// What is said of the payload is said of the envelope; what the application said beside is passed on.
#[test]
fn properties_speak_of_the_envelope() {
    let plant = start();
    let mut panel = Wire::client5(&plant.broker, "panel");
    panel.subscribe5("plant/#", 1);
    let publish = Publish5::new(TOPIC, plant.seal(TOPIC, "{}"))
        .qos(1, 1)
        .with(PAYLOAD_FORMAT, 0)
        .with(CONTENT_TYPE, "application/json")
        .with(RESPONSE_TOPIC, "answers")
        .with(MESSAGE_EXPIRY, 300)
        .pair("unit", "mm");
    Wire::client5(&plant.broker, "sender").publish5(&publish);
    let publish = Reader::new(&plant.broker, "panel").take5(&mut panel, "{}");
    let properties = &publish.properties;
    assert_eq!(properties.text(CONTENT_TYPE).as_deref(), Some(COSE));
    assert_eq!(properties.number(PAYLOAD_FORMAT), None);
    assert_eq!(properties.text(RESPONSE_TOPIC).as_deref(), Some("answers"));
    assert!(properties.number(MESSAGE_EXPIRY).is_some());
    assert_eq!(properties.pairs(), [("unit".to_owned(), "mm".to_owned())]);
}

/// An alias stands for the name; what is signed is the name.
#[test]
fn envelopes_go_by_topic_alias_too() {
    let plant = start();
    let connect = Connect5::new("panel").with(TOPIC_ALIAS_MAXIMUM, 1);
    let mut panel = Wire::connect5(&plant.broker, &connect);
    panel.subscribe5("plant/#", 1);
    let reader = Reader::new(&plant.broker, "panel");
    for (text, topic) in [("1", TOPIC), ("2", ""), ("3", "")] {
        publish(&plant, TOPIC, text, 1);
        let publish = reader.take5(&mut panel, text);
        assert_eq!((publish.topic(), publish.properties.number(TOPIC_ALIAS)), (topic, Some(1)));
    }
}

/// Many at once come all, in order, and do not keep others waiting for the end of it.
#[test]
fn flood_is_sealed_in_order() {
    const MESSAGES: u64 = 1_000;
    let plant = start();
    let mut panel = Wire::client(&plant.broker, "panel");
    panel.subscribe("plant/#", 0);
    let mut sender = Wire::client(&plant.broker, "sender");
    for n in 0..MESSAGES {
        sender.send(Publish::new(TOPIC, plant.seal(TOPIC, &format!("reading {n}"))).bytes());
    }
    let reader = Reader::new(&plant.broker, "panel");
    for n in 0..MESSAGES {
        reader.take(&mut panel, &format!("reading {n}"));
    }
    await_report(&plant.broker, "envelopes/resealed", MESSAGES);
}

/// Reloads, and waits until that was done for the `n`th time.
pub(crate) fn reload(broker: &Broker, rules: &str, n: usize) {
    broker.rewrite_config(rules);
    broker.reload();
    broker.log().nth_line(n - 1, |line| line.message().starts_with("reloaded"));
}

/// A key that is gone makes nothing any more, one that comes makes envelopes at once, on the same connection.
#[test]
fn reload_takes_keys_and_gives_them() {
    let plant = start();
    let mut panel = Wire::client(&plant.broker, "panel");
    panel.subscribe("plant/#", 1);
    let reader = Reader::new(&plant.broker, "panel");
    publish(&plant, TOPIC, "before", 1);
    reader.take(&mut panel, "before");
    reload(&plant.broker, &rules().replace("client = \"panel\"", "client = \"other\""), 1);
    publish(&plant, TOPIC, "without", 1);
    panel.expect_nothing_but_pong();
    reload(&plant.broker, &rules().replace("keys/panel.pub.jwk", "keys/ann.pub.jwk"), 2);
    // By its answer the connection has taken the rules up.
    panel.expect_nothing_but_pong();
    publish(&plant, TOPIC, "with another", 1);
    Reader::new(&plant.broker, "ann").take(&mut panel, "with another");
    reload(&plant.broker, &rules(), 3);
    panel.expect_nothing_but_pong();
    publish(&plant, TOPIC, "after", 1);
    reader.take(&mut panel, "after");
}

/// Of what was promised when a message came, and of the policy of today, the stricter holds.
#[test]
fn stricter_of_then_and_now_holds() {
    let plant = start();
    let retain = |topic: &str, text: &str| {
        let publish = Publish::new(topic, plant.seal(topic, text)).qos(1, 1).retain();
        Wire::client(&plant.broker, "sender").publish(&publish);
    };
    let reader = Reader::new(&plant.broker, "panel");
    let mut panel = Wire::client(&plant.broker, "panel");
    let strict = rules().replace("egress = \"secure-or-sealed\"\n", "");
    retain("plant/7/early", "early");
    reload(&plant.broker, &strict, 1);
    retain("plant/7/late", "late");
    panel.subscribe("#", 1);
    panel.expect_nothing_but_pong();
    // What was promised to `late` holds under a weaker policy too.
    reload(&plant.broker, &rules(), 2);
    panel.subscribe("#", 1);
    assert!(reader.take(&mut panel, "early").retain);
    panel.expect_nothing_but_pong();
}
