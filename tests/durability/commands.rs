//! `sealmq store` and `sealmq import-mosquitto`: a store is looked at, checked, moved to another folder, and
//! served from there as if nothing had been.

use crate::harness::packets::{pubcomp, pubrec, pubrel};
use crate::harness::packets5::{CONTENT_TYPE, SUBACK, SUBSCRIPTION_ID, With, subscribe5};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Setup, Wire};
use std::path::Path;
use std::process::Output;

const COPY: &str = "[storage]\npath = \"copy\"\n";
/// Longer than what is written into each queue.
const LONG: &str = "a payload that is long enough to be written once for all who are owed it, and so it is";

fn old() -> Connect {
    Connect::new("old").persistent()
}

fn new() -> Connect5 {
    Connect5::new("new").persistent(3_600)
}

/// A sealmq that does something with a store and ends: what it said, and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command on the store of `sealmq.toml`.
fn sealmq(setup: &Setup, args: &[&str]) -> Said {
    setup.write_config();
    let Output { status, stdout, stderr } = setup.run(&[args, &["--config", "sealmq.toml"]].concat(), "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// The same, when nothing must go wrong.
#[track_caller]
fn done(setup: &Setup, args: &[&str]) -> String {
    let said = sealmq(setup, args);
    assert_eq!(said.code, Some(0), "{args:?}: {}{}", said.out, said.err);
    said.out
}

/// The same, when something must.
#[track_caller]
fn refused(setup: &Setup, args: &[&str]) -> String {
    let said = sealmq(setup, args);
    assert_eq!(said.code, Some(1), "{args:?}: {}{}", said.out, said.err);
    said.err
}

/// A broker with something of everything in its store, that has stopped.
fn with_everything() -> Setup {
    let broker = Broker::start();
    let mut receiver = Wire::connect(&broker, &old());
    receiver.subscribe("plant/#", 2);
    receiver.disconnect();
    let mut receiver = Wire::connect5(&broker, &new());
    receiver.send(subscribe5(1, &[("plant/#", 1)]).with(SUBSCRIPTION_ID, 7).bytes());
    receiver.await_answer(SUBACK, 1);
    receiver.disconnect5(0);
    let mut sender = Wire::connect5(&broker, &Connect5::new("sender"));
    for connect in ["published", "released"] {
        let mut receiver = Wire::connect(&broker, &Connect::new(connect).persistent());
        receiver.subscribe(connect, 2);
        sender.publish5(&Publish5::new(connect, connect).qos(2, 1));
        let publish = receiver.expect_publish();
        if connect == "released" {
            receiver.send(pubrec(publish.id));
            receiver.expect(pubrel(publish.id));
        }
        receiver.cut();
    }
    sender.publish5(&Publish5::new("plant/1", "short").qos(1, 2).with(CONTENT_TYPE, "x/y").pair("a", "b"));
    sender.publish5(&Publish5::new("plant/2", LONG).qos(2, 3));
    sender.publish5(&Publish5::new("kept", "retained").retain().qos(1, 4));
    sender.disconnect5(0);
    stopped(broker)
}

fn stopped(mut broker: Broker) -> Setup {
    broker.terminate();
    assert!(broker.wait().success());
    broker.into_setup()
}

/// All of it is there.
fn expect_everything(broker: &Broker) {
    let mut receiver = Wire::resume(broker, &old());
    assert_eq!(receiver.take("short").qos, 1);
    assert_eq!(receiver.take(LONG).qos, 2);
    receiver.expect_nothing_but_pong();

    let mut receiver = Wire::resume5(broker, &new());
    let short = receiver.take5("short");
    let expected = Publish5::new("plant/1", "short").with(SUBSCRIPTION_ID, 7).with(CONTENT_TYPE, "x/y");
    assert_eq!(short.properties, expected.pair("a", "b").properties);
    assert_eq!(receiver.take5(LONG).qos, 1);
    receiver.subscribe5("kept", 1);
    assert!(receiver.take5("retained").retain);

    let mut receiver = Wire::resume(broker, &Connect::new("published").persistent());
    let publish = receiver.expect_publish();
    assert!(publish.dup && publish.qos == 2 && publish.id == 1, "{publish:?}");
    receiver.acknowledge(&publish);
    receiver.expect_nothing_but_pong();
    let mut receiver = Wire::resume(broker, &Connect::new("released").persistent());
    receiver.expect(pubrel(1));
    receiver.send(pubcomp(1));
    receiver.expect_nothing_but_pong();
}

#[test]
fn a_store_is_moved_by_export_and_import() {
    let setup = with_everything();
    let stats = done(&setup, &["store", "stats"]);
    for part in ["4 sessions", "1 retained message", "5 messages in queues", "2 messages", "inflight"] {
        assert!(stats.contains(part), "{part} in {stats}");
    }
    assert!(done(&setup, &["store", "check"]).contains("everything is in order"));
    done(&setup, &["store", "export", "out.jsonl"]);
    let error = refused(&setup, &["store", "export", "out.jsonl"]);
    assert!(error.contains("it is there already"), "{error}");
    // To stdout it is the same, but for the time.
    let export = std::fs::read_to_string(setup.dir().join("out.jsonl")).unwrap();
    let again = done(&setup, &["store", "export", "-"]);
    assert_eq!(again.lines().count(), export.lines().count());
    assert_eq!(again.lines().nth(1), export.lines().nth(1));

    let copy = setup.config(COPY);
    let said = done(&copy, &["store", "import", "out.jsonl"]);
    assert!(said.contains("4 sessions, 4 subscriptions, 5 messages in queues, "), "{said}");
    let error = refused(&copy, &["store", "import", "out.jsonl"]);
    assert!(error.contains("only an empty one is filled"), "{error}");
    let broker = copy.start();
    expect_everything(&broker);
    let copy = stopped(broker).config(COPY);
    assert!(done(&copy, &["store", "check"]).contains("everything is in order"));
}

#[test]
fn the_store_of_a_running_broker_is_let_alone() {
    let broker = Broker::start();
    let setup = Setup::empty().config("");
    let config = broker.dir().join("sealmq.toml");
    let config = config.to_str().unwrap();
    for command in ["stats", "check", "export"] {
        let output = setup.run(&["store", command, "--config", config], "");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("a broker has the store open: stop it first"), "{error}");
    }
    drop(broker);
}

#[test]
fn what_is_half_is_refused_at_a_start() {
    let setup = with_everything();
    done(&setup, &["store", "export", "out.jsonl"]);
    let file = setup.dir().join("out.jsonl");
    let export = std::fs::read_to_string(&file).unwrap();
    let (all, _) = export.split_once("{\"end\":").unwrap();
    std::fs::write(&file, all).unwrap();

    let copy = setup.config(COPY);
    let error = refused(&copy, &["store", "import", "out.jsonl"]);
    let line = all.lines().count() + 1;
    assert!(
        error.contains(&format!("out.jsonl: line {line}: the line that ends an export is missing")),
        "{error}"
    );
    let said = sealmq(&copy, &["store", "check"]);
    assert!(said.code == Some(1) && said.out.contains("an import into it was broken off"), "{}", said.out);
    let mut broker = copy.spawn();
    assert!(!broker.wait().success());
    assert!(broker.log().text().contains("an import into it was broken off"), "{}", broker.log().text());
}

#[test]
fn there_is_nothing_to_say_of_no_store() {
    let setup = Setup::new().config("");
    for command in ["stats", "check", "export"] {
        let error = refused(&setup, &["store", command]);
        assert!(error.contains("there is no store here"), "{error}");
    }
    let error = refused(&setup, &["store", "import", "server.pem"]);
    assert!(error.contains("server.pem: line 1: this is no export of a store"), "{error}");
    // Looking makes nothing, and neither does what is no export.
    assert!(!setup.dir().join("data").exists());
}

fn fixture() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../broker/src/mosquitto/fixtures/sessions.db")
}

/// What had no time limit is there whenever this runs.
#[test]
fn a_mosquitto_is_taken_over() {
    assert!(Path::new(fixture()).exists());
    let setup = Setup::new().config("");
    let said = done(&setup, &["import-mosquitto", fixture()]);
    for part in ["retained messages", "shared subscriptions", "1 unreleased message", "--users"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(done(&setup, &["store", "check"]).contains("everything is in order"));
    let error = refused(&setup, &["import-mosquitto", fixture()]);
    assert!(error.contains("only an empty one is filled"), "{error}");

    let broker = setup.start();
    let mut keeper = Wire::resume(&broker, &Connect::new("keeper").persistent());
    let mut topics = Vec::new();
    while topics.last().is_none_or(|last| last != "alarm/fire") {
        let publish = keeper.expect_publish();
        keeper.acknowledge(&publish);
        topics.push(publish.topic().to_owned());
    }
    // The one before has an expiry.
    topics.retain(|topic| topic != "plant/1/temp");
    assert_eq!(topics, ["plant/2/temp", "alarm/fire"]);
    let mut sender = Wire::client(&broker, "other");
    sender.publish(&Publish::new("plant/9/temp", "new").qos(1, 1));
    keeper.take("new");

    let mut half = Wire::resume(&broker, &Connect::new("half").persistent());
    half.expect(pubrel(1));
    half.send(pubcomp(1));
    let mut sender = Wire::resume(&broker, &Connect::new("sender").persistent());
    sender.send(pubrel(77));
    sender.expect(pubcomp(77));
}

#[test]
fn a_session_of_mosquitto_is_whose_it_is_said_to_be() {
    let config = "[auth]\nallow_anonymous = false\npassword_file = \"passwd\"\n";
    let setup = Setup::new().password("ana", "secret").file("users", "ana:keeper\n").config(config);
    let error = refused(&setup, &["import-mosquitto", fixture()]);
    assert!(error.contains("say whose the sessions are"), "{error}");
    assert!(!setup.dir().join("data").exists());
    done(&setup, &["import-mosquitto", "--users", "users", fixture()]);
    let broker = setup.start();
    let connect = Connect::new("keeper").persistent().user("ana").password("secret");
    let mut keeper = Wire::resume(&broker, &connect);
    assert!(keeper.expect_publish().topic().starts_with("plant/"));
}

#[test]
fn another_file_is_no_mosquitto() {
    let setup = Setup::new().config("");
    let error = refused(&setup, &["import-mosquitto", "server.pem"]);
    assert!(error.contains("server.pem: this is no persistence file of mosquitto"), "{error}");
    assert!(!setup.dir().join("data").exists());
}
