//! The audit: each refusal as an entry of the file, and as a message for those who may see it; nobody else
//! sees any of it, whatever he subscribes to and by whichever way he comes.

use super::{Plant, RULES, SECRET, payload_for};
use crate::harness::log::LogLine;
use crate::harness::packets::{connack, suback, subscribe};
use crate::harness::{Broker, Connect, Publish, Setup, Wire};
use serde_json::Value;

const TOPIC: &str = "plant/7/level";
const ALL: &str = "$SYS/broker/audit/#";
const REFUSED: &str = "$SYS/broker/audit/refused/#";

/// Two users, of whom `ann` may see the audit.
fn setup() -> Setup {
    let config = "[auth]\npassword_file = \"passwd\"\n[audit]\nusers = [\"ann\"]\n";
    super::setup().password("ann", "secret").password("bob", "secret").config(RULES).config(config)
}

fn login(id: &str, user: &str) -> Connect {
    Connect::new(id).user(user).password("secret")
}

fn auditor(broker: &Broker) -> Wire {
    let mut wire = Wire::open_tls(broker).connected(&login("auditor", "ann"), false);
    wire.subscribe(REFUSED, 0);
    wire
}

/// Publishes what is refused for this reason.
fn provoke(plant: &Plant, reason: &str) {
    let payload = payload_for(plant, reason, TOPIC);
    Wire::client(&plant.broker, "culprit").publish(&Publish::new(TOPIC, payload).qos(1, 1));
}

/// The next entry that comes as a message, with the end of its topic.
#[track_caller]
fn next(auditor: &mut Wire) -> (String, Value) {
    let publish = auditor.expect_publish();
    assert!(!publish.retain, "{publish:?}");
    let topic = publish.topic().strip_prefix("$SYS/broker/audit/").expect("a topic of the audit").to_owned();
    (topic, serde_json::from_slice(&publish.payload).unwrap())
}

/// Nothing of the audit comes before what is published now to `fence`, which the client has subscribed to.
#[track_caller]
fn assert_sees_nothing(broker: &Broker, wire: &mut Wire) {
    Wire::client(broker, "fence").publish(&Publish::new("fence", "").qos(1, 1));
    loop {
        let publish = wire.expect_publish();
        match publish.topic() {
            "fence" => return,
            topic => assert!(!topic.contains("/audit/"), "{publish:?}"),
        }
    }
}

#[test]
fn a_refusal_comes_to_an_auditor() {
    let plant = Plant::of(setup().start());
    let mut auditor = auditor(&plant.broker);
    for reason in ["bad-stamp", "unknown-sender", "sender-not-allowed", "not-an-envelope", "decrypt-failed"] {
        provoke(&plant, reason);
        let (topic, entry) = next(&mut auditor);
        assert_eq!(topic, format!("refused/{reason}"));
        assert_eq!((&entry["event"], &entry["reason"]), (&"refused".into(), &reason.into()), "{entry}");
        assert_eq!((&entry["client"], &entry["topic"]), (&"culprit".into(), &TOPIC.into()), "{entry}");
        let sender = match reason {
            "unknown-sender" => "dev-9".into(),
            "sender-not-allowed" => "dev-8".into(),
            "not-an-envelope" => Value::Null,
            _ => "dev-7".into(),
        };
        assert_eq!(entry["sender"], sender, "{entry}");
        assert!(entry["addr"].as_str().unwrap().starts_with("127.0.0.1:") && entry["n"].is_u64());
    }
    Wire::open(&plant.broker)
        .connected(&login("bobs", "bob"), false)
        .publish(&Publish::new("$SYS/broker/uptime", "0").qos(1, 1));
    let (topic, entry) = next(&mut auditor);
    assert_eq!((topic.as_str(), &entry["user"]), ("refused/reserved-topic", &"bob".into()), "{entry}");
    auditor.expect_nothing_but_pong();
}

#[test]
fn the_file_has_what_the_auditor_was_sent() {
    let plant = Plant::of(setup().start());
    let mut auditor = auditor(&plant.broker);
    provoke(&plant, "bad-stamp");
    let (_, entry) = next(&mut auditor);
    let file = std::fs::read_to_string(plant.broker.dir().join("data/audit/audit.jsonl")).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.contains(&entry), "{file}");
    assert_eq!((&lines[0]["event"], &lines[0]["n"]), (&"begun".into(), &1.into()), "{file}");
    assert!(!file.contains(SECRET), "{file}");
    // A retained message has the hash of the last line.
    let mut late = Wire::open_tls(&plant.broker).connected(&login("late", "ann"), false);
    late.subscribe("$SYS/broker/audit/head", 0);
    let head = late.expect_publish();
    let value: Value = serde_json::from_slice(&head.payload).unwrap();
    assert!(
        head.retain && value["n"] == entry["n"] && value["hash"].as_str().unwrap().len() == 64,
        "{value}"
    );
}

#[test]
fn subscriptions_to_the_audit_alone_are_refused_to_others() {
    let broker = setup().start();
    let filters = [(ALL, 0), (REFUSED, 0), ("$SYS/broker/audit", 0), ("$SYS/broker/audit/+/+", 0)];
    let shared = [("$share/g/$SYS/broker/audit/#", 0), ("$SYS/#", 0)];
    let ask = |mut wire: Wire, codes: &[u8], shared_codes: &[u8]| {
        wire.send(subscribe(1, &filters));
        wire.expect_answer(suback(1, codes));
        wire.send(subscribe(2, &shared));
        wire.expect_answer(suback(2, shared_codes));
    };
    let refused = [0x80; 4];
    ask(Wire::open_tls(&broker).connected(&login("b", "bob"), false), &refused, &[0x80, 0]);
    ask(Wire::client_tls(&broker, "nobody"), &refused, &[0x80, 0]);
    ask(Wire::open(&broker).connected(&login("a", "ann"), false), &refused, &[0x80, 0]);
    ask(Wire::open_tls(&broker).connected(&login("a", "ann"), false), &[0; 4], &[0, 0]);
}

#[test]
fn wildcards_show_the_audit_to_nobody_else() {
    let plant = Plant::of(setup().start());
    let mut auditor = auditor(&plant.broker);
    let mut others = [
        Wire::open_tls(&plant.broker).connected(&login("b", "bob"), false),
        Wire::client_tls(&plant.broker, "nobody"),
        Wire::open(&plant.broker).connected(&login("a", "ann"), false),
    ];
    for other in &mut others {
        other.subscribe("fence", 0);
        for (n, filter) in ["#", "$SYS/#", "$SYS/broker/+/refused/#", "$SYS/+/audit/#"].iter().enumerate() {
            let id = u16::try_from(n + 1).unwrap();
            other.send(subscribe(id, &[(filter, 2)]));
            other.expect_answer(suback(id, &[2]));
        }
    }
    provoke(&plant, "bad-stamp");
    next(&mut auditor);
    for other in &mut others {
        assert_sees_nothing(&plant.broker, other);
    }
}

/// A name that was only said is nobody's.
#[test]
fn a_user_has_to_be_proven() {
    let config = "[audit]\nusers = [\"ann\"]\n";
    let broker = super::setup().config(RULES).config(config).start();
    let mut claimed = Wire::open_tls(&broker).connected(&login("a", "ann"), false);
    claimed.send(subscribe(1, &[(ALL, 0)]));
    claimed.expect(suback(1, &[0x80]));
}

#[test]
fn a_session_shows_nothing_where_its_client_comes_without_tls() {
    let plant = Plant::of(setup().start());
    let mut auditor = auditor(&plant.broker);
    let connect = login("mobile", "ann").persistent();
    let mut secure = Wire::open_tls(&plant.broker).connected(&connect, false);
    secure.subscribe(REFUSED, 2);
    secure.subscribe("fence", 0);
    let mut open = Wire::resume(&plant.broker, &connect);
    provoke(&plant, "bad-stamp");
    next(&mut auditor);
    assert_sees_nothing(&plant.broker, &mut open);
    open.disconnect();
    // What happens while nobody is there is in the file alone.
    provoke(&plant, "bad-stamp");
    next(&mut auditor);
    let mut secure = Wire::open_tls(&plant.broker).connected(&connect, true);
    assert_sees_nothing(&plant.broker, &mut secure);
    provoke(&plant, "not-fresh");
    assert_eq!(next(&mut secure).0, "refused/not-fresh");
}

#[test]
fn a_reload_takes_an_auditor_off_and_puts_another_on() {
    let plant = Plant::of(setup().start());
    let mut ann = auditor(&plant.broker);
    let mut bob = Wire::open_tls(&plant.broker).connected(&login("b", "bob"), false);
    for wire in [&mut ann, &mut bob] {
        wire.subscribe("fence", 0);
        wire.send(subscribe(7, &[("$SYS/broker/+/refused/+", 0)]));
        wire.expect_answer(suback(7, &[0]));
    }
    let config = "[auth]\npassword_file = \"passwd\"\n[audit]\nusers = [\"bob\"]\n";
    plant.broker.rewrite_config(&format!("{RULES}{config}"));
    plant.broker.reload();
    plant.broker.log_line(|line| line.contains("reloaded: keys"));
    provoke(&plant, "bad-stamp");
    assert_eq!(next(&mut bob).0, "refused/bad-stamp");
    assert_sees_nothing(&plant.broker, &mut ann);
    let restart = |line: &LogLine| line.contains("needs a restart");
    assert!(plant.broker.log().lines(restart).is_empty());
}

#[test]
fn whoever_does_not_prove_who_he_is_is_recorded() {
    let broker = setup().start();
    let mut auditor = Wire::open_tls(&broker).connected(&login("auditor", "ann"), false);
    auditor.subscribe("$SYS/broker/audit/connection/#", 0);
    let mut guessing = Wire::open(&broker);
    guessing.send(Connect::new("guess").user("bob").password("a very wrong guess").bytes());
    guessing.expect(connack(false, 4));
    let (topic, entry) = next(&mut auditor);
    assert_eq!((topic.as_str(), &entry["event"]), ("connection/denied", &"denied".into()));
    assert_eq!(entry["reason"], "bad-user-name-or-password", "{entry}");
    assert_eq!((&entry["client"], &entry["user"]), (&"guess".into(), &"bob".into()), "{entry}");
    assert_eq!(entry["addr"], guessing.local_addr().to_string());
    assert!(!entry.to_string().contains("wrong guess"));
}

/// What a flood leaves out is counted, and told when the second is over.
#[test]
fn a_flood_becomes_few_entries() {
    let plant = Plant::of(setup().start());
    let mut auditor = auditor(&plant.broker);
    let message = Publish::new(TOPIC, "no envelope").bytes();
    Wire::client(&plant.broker, "culprit").send(message.repeat(200));
    let (mut entries, mut events) = (0, 0);
    while events < 200 {
        let (topic, entry) = next(&mut auditor);
        assert_eq!((topic.as_str(), &entry["client"]), ("refused/not-an-envelope", &"culprit".into()));
        entries += 1;
        events += entry["repeated"].as_u64().unwrap_or(1);
    }
    assert_eq!(events, 200);
    assert!(entries < 50, "{entries}");
}

#[test]
fn what_a_reload_does_to_keys_is_told() {
    let broker = setup().start();
    let mut auditor = Wire::open_tls(&broker).connected(&login("auditor", "ann"), false);
    auditor.subscribe("$SYS/broker/audit/key/#", 0);
    let config = "[auth]\npassword_file = \"passwd\"\n[audit]\nusers = [\"ann\"]\n";
    let rules = RULES.replace("\"dev-8\"", "\"dev-80\"").replace("keys/pair.jwk", "keys/elsewhere.jwk");
    let rules = rules.replacen("\"plant/7/#\", ", "", 1);
    broker.rewrite_config(&format!("{rules}{config}"));
    broker.reload();
    let mut told: Vec<String> = Vec::new();
    for _ in 0..4 {
        let (topic, entry) = next(&mut auditor);
        assert_eq!((&entry["event"], &entry["by"]), (&"key".into(), &"reload".into()), "{entry}");
        told.push(format!("{topic} {} {}", entry["kind"], entry["id"]));
    }
    told.sort();
    let expected = [
        "key/added \"sender\" \"dev-80\"",
        "key/changed \"sender\" \"dev-7\"",
        "key/changed \"topic-key\" \"pair\"",
        "key/removed \"sender\" \"dev-8\"",
    ];
    assert_eq!(told, expected);
    auditor.expect_nothing_but_pong();
}

/// At the first start alone; with a key that is named none is made.
#[test]
fn first_start_tells_that_it_made_the_identity() {
    let text = |setup: &Setup| std::fs::read_to_string(setup.dir().join("data/audit/audit.jsonl")).unwrap();
    let setup = Setup::new().start().end();
    let setup = setup.start().end();
    let entries: Vec<Value> = text(&setup).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = entries.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["begun", "key", "ended", "begun", "ended"]);
    let key = ["change", "kind", "id", "by"].map(|field| entries[1][field].as_str().unwrap());
    assert_eq!(key, ["added", "identity", "sealmq", "start"]);
    let named = super::setup().config("[identity]\nkey = \"keys/dev-9.jwk\"\n").start().end();
    assert!(!text(&named).contains("\"event\":\"key\""));
}

/// Each filter that its client may not have, and why; what MQTT itself does not allow is no matter of rights.
#[test]
fn refused_subscriptions_are_recorded() {
    let acl = [("ann", "\"#\", \"$SYS/#\""), ("bob", "\"plant/#\", \"own/#\", \"$SYS/#\"")].map(
        |(user, topics)| format!("[[acl]]\nuser = \"{user}\"\naccess = \"subscribe\"\ntopics = [{topics}]\n"),
    );
    let broker = setup().config(&acl.concat()).start();
    let mut auditor = Wire::open_tls(&broker).connected(&login("auditor", "ann"), false);
    auditor.subscribe("$SYS/broker/audit/subscription/#", 0);
    let mut bob = Wire::open(&broker).connected(&login("bobs", "bob"), false);
    bob.send(subscribe(1, &[("own/a", 0), ("$share/g/others/+", 0), (TOPIC, 0), (ALL, 0), ("a/#/b", 0)]));
    bob.expect_answer(suback(1, &[0, 0x80, 0x80, 0x80, 0x80]));
    for (reason, filter) in [
        ("filter-not-authorized", "$share/g/others/+"),
        ("filter-confidential", TOPIC),
        ("filter-of-audit", ALL),
    ] {
        let (topic, entry) = next(&mut auditor);
        assert_eq!(
            (topic.as_str(), &entry["event"]),
            ("subscription/refused", &"subscription-refused".into())
        );
        assert_eq!((&entry["reason"], &entry["filter"]), (&reason.into(), &filter.into()), "{entry}");
        assert_eq!((&entry["client"], &entry["user"]), (&"bobs".into(), &"bob".into()), "{entry}");
        assert_eq!(entry["addr"], bob.local_addr().to_string());
    }
    auditor.expect_nothing_but_pong();
}

/// A flood of them becomes few entries, which tell how many there were.
#[test]
fn a_flood_of_refused_subscriptions_becomes_few_entries() {
    let broker = setup().start();
    let mut auditor = Wire::open_tls(&broker).connected(&login("auditor", "ann"), false);
    auditor.subscribe("$SYS/broker/audit/subscription/#", 0);
    let filters = [(TOPIC, 0); 500];
    Wire::client(&broker, "culprit").send(subscribe(1, &filters));
    let (mut entries, mut events) = (0, 0);
    while events < 500 {
        let (_, entry) = next(&mut auditor);
        assert_eq!((&entry["reason"], &entry["client"]), (&"filter-confidential".into(), &"culprit".into()));
        entries += 1;
        events += entry["repeated"].as_u64().unwrap_or(1);
    }
    assert_eq!(events, 500);
    assert!(entries < 50, "{entries}");
}

#[test]
fn what_a_reload_does_to_the_brokers_and_subscribers_keys_is_told() {
    let panel = "[[subscriber_key]]\nclient = \"panel\"\nkey = \"keys/panel.pub.jwk\"\n";
    let broker = setup().config(panel).start();
    let mut auditor = Wire::open_tls(&broker).connected(&login("auditor", "ann"), false);
    auditor.subscribe("$SYS/broker/audit/key/#", 0);
    let config = "[auth]\npassword_file = \"passwd\"\n[audit]\nusers = [\"ann\"]\n\
                  [identity]\nkey = \"keys/dev-9.jwk\"\n";
    let keys = panel.replace("panel.pub", "ann.pub") + &panel.replace("client = \"panel\"", "user = \"ann\"");
    broker.rewrite_config(&format!("{RULES}{config}{keys}"));
    broker.reload();
    let told = [(); 3].map(|()| {
        let (topic, entry) = next(&mut auditor);
        assert_eq!(entry["by"], "reload", "{entry}");
        format!("{topic} {} {} {}", entry["kind"], entry["id"], entry["detail"])
    });
    let expected = [
        "key/changed \"identity\" \"sealmq\" \"another key\"",
        "key/added \"subscriber-key\" \"user ann\" null",
        "key/changed \"subscriber-key\" \"client panel\" \"another key\"",
    ];
    let (mut told, mut expected) = (told.to_vec(), expected.to_vec());
    told.sort();
    expected.sort_unstable();
    assert_eq!(told, expected);
    auditor.expect_nothing_but_pong();
}

/// `sealmq audit verify` on the audit of `sealmq.toml`: its exit code and what it said.
fn verify(setup: &Setup, args: &[&str]) -> (Option<i32>, String) {
    setup.write_config();
    let output = setup.run(&[&["audit", "verify", "--config", "sealmq.toml"], args].concat(), "");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

/// The hash that it prints last.
fn last_hash(said: &str) -> String {
    said.trim_end().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn the_chain_goes_on_over_restarts_and_crashes() {
    let file = |setup: &Setup| setup.dir().join("data/audit/audit.jsonl");
    let plant = Plant::of(setup().start());
    let mut ann = auditor(&plant.broker);
    provoke(&plant, "bad-stamp");
    next(&mut ann);
    let setup = plant.into_broker().end();
    let (code, said) = verify(&setup, &[]);
    assert!(code == Some(0) && said.contains("lines, the chain holds"), "{said}");
    let hash = last_hash(&said);

    let plant = Plant::of(setup.start());
    let mut ann = auditor(&plant.broker);
    provoke(&plant, "not-an-envelope");
    next(&mut ann);
    let setup = plant.into_broker().kill();
    assert_eq!(verify(&setup, &["--expect", &hash]).0, Some(0));
    // Half of a line, as a crash of the machine can leave it.
    let whole = std::fs::read(file(&setup)).unwrap();
    std::fs::write(file(&setup), [whole.as_slice(), b"{\"n\":6,\"at\":\"20"].concat()).unwrap();
    let (code, said) = verify(&setup, &[]);
    assert!(code == Some(0) && said.contains("the last line is not whole: 15 bytes"), "{said}");

    let setup = setup.start().end();
    let text = std::fs::read_to_string(file(&setup)).unwrap();
    assert!(text.contains("\"event\":\"torn\",\"bytes\":15}"), "{text}");
    let (code, said) = verify(&setup, &["--expect", &hash]);
    assert!(code == Some(0) && said.contains("lines, the chain holds"), "{said}");

    // Whoever cuts off the end and goes on from there is found out by an earlier hash.
    let kept: String = text.lines().take(2).map(|line| line.to_owned() + "\n").collect();
    std::fs::write(file(&setup), kept).unwrap();
    assert_eq!(verify(&setup, &[]).0, Some(0));
    let (code, said) = verify(&setup, &["--expect", &hash]);
    assert!(code == Some(1) && said.contains("audit.jsonl:2: ") && said.contains(&hash), "{said}");

    std::fs::write(file(&setup), text.replacen("culprit", "nobody", 1)).unwrap();
    let (code, said) = verify(&setup, &[]);
    assert!(code == Some(1) && said.contains(": the line before it, or this one"), "{said}");
}

#[test]
fn it_can_be_turned_off() {
    let broker = Setup::new().config("[audit]\nenabled = false").start();
    Wire::client(&broker, "culprit").publish(&Publish::new("$SYS/a", "0").qos(1, 1));
    let setup = broker.end();
    assert!(!setup.dir().join("data/audit").exists());
    let (code, said) = verify(&setup, &[]);
    assert!(code == Some(1) && said.contains("there is no audit here"), "{said}");
}
