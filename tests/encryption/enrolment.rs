//! `sealmq enrol`: senders and topic keys that are added, disabled and removed while the broker runs, and are
//! still so after it was killed; and the socket over which that goes.

use super::{Device, setup, topic_key};
use crate::harness::broker::run;
use crate::harness::packets5::{AUTH, AUTH_DATA, AUTH_METHOD, With, auth5};
use crate::harness::{Broker, Connect5, Publish, Publish5, Setup, Wire};
use sealmq_crypto::{Freshness, SenderKey, TopicKey};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Output;

const TOPIC: &str = "plant/7/level";
const POLICY: &str =
    "[[policy]]\ntopics = [\"plant/#\"]\npayload = \"sealed\"\n[storage]\ndurability = \"sync\"\n";
const DEV_7: &str = "[[sender]]\nid = \"dev-7\"\nkey = \"keys/dev-7.pub.jwk\"\ntopics = [\"plant/#\"]\n";
const AES256: &str = "[[topic_key]]\nid = \"aes256\"\nkey = \"keys/aes256.jwk\"\ntopics = [\"plant/#\"]\n";
const ADD_DEV_9: [&str; 6] = ["sender", "dev-9", "--key", "keys/dev-9.pub.jwk", "--topics", "plant/#"];
const ADD_AES256: [&str; 6] = ["topic-key", "aes256", "--key", "keys/aes256.jwk", "--topics", "plant/#"];

/// `sealmq enrol` with these arguments, for this broker.
fn enrol(broker: &Broker, args: &[&str]) -> Output {
    run(broker.dir(), &[&["enrol", "--config", "sealmq.toml"], args].concat(), "")
}

/// The same, which has to go well; what it says.
#[track_caller]
fn done(broker: &Broker, args: &[&str]) -> String {
    let output = enrol(broker, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same, which has to be refused; the one line that says why.
#[track_caller]
fn refused(broker: &Broker, args: &[&str]) -> String {
    let output = enrol(broker, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.strip_prefix("sealmq: ").and_then(|line| line.strip_suffix('\n'));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(!line.contains('\n'), "{text}");
    line.to_owned()
}

/// A broker, somebody who watches, and a device that seals as it likes.
struct Scene {
    broker: Broker,
    watcher: Wire,
    device: Wire,
    /// Refusals that were looked at.
    refused: usize,
}

impl Scene {
    fn of(setup: Setup) -> Self {
        let broker = setup.start();
        let mut watcher = Wire::client_tls(&broker, "watcher");
        watcher.subscribe("plant/#", 1);
        let device = Wire::client(&broker, "device");
        Self { broker, watcher, device, refused: 0 }
    }

    fn send(&mut self, envelope: &[u8]) {
        self.device.publish(&Publish::new(TOPIC, envelope).qos(1, 1));
    }

    #[track_caller]
    fn passes(&mut self, envelope: &[u8], text: &str) {
        self.send(envelope);
        self.watcher.take(text);
    }

    #[track_caller]
    fn is_refused(&mut self, envelope: &[u8], reason: &str) {
        self.send(envelope);
        let line = self.broker.log().nth_line(self.refused, |line| line.field("reason").is_some());
        assert_eq!(line.field("reason"), Some(reason), "{}", line.text);
        self.refused += 1;
        self.watcher.expect_nothing_but_pong();
    }
}

#[test]
fn what_is_enrolled_while_it_runs_counts_at_once() {
    let mut scene = Scene::of(setup().config(POLICY));
    let (device, key) = (Device::enrolled(&scene.broker, "dev-9"), topic_key(&scene.broker, "aes256"));
    let next = |text: &str| device.seal(&key, TOPIC, text);
    scene.is_refused(&next("1"), "unknown-sender");
    assert_eq!(done(&scene.broker, &ADD_DEV_9), "sender dev-9 is enrolled\n");
    scene.is_refused(&next("2"), "unknown-key");
    assert_eq!(done(&scene.broker, &ADD_AES256), "topic key aes256 is enrolled\n");
    scene.passes(&next("3"), "3");
    for (kind, id, reason) in [("sender", "dev-9", "unknown-sender"), ("topic-key", "aes256", "unknown-key")]
    {
        done(&scene.broker, &["disable", kind, id]);
        scene.is_refused(&next("4"), reason);
        done(&scene.broker, &["enable", kind, id]);
        scene.passes(&next("5"), "5");
    }
    let said = done(&scene.broker, &["enable", "sender", "dev-9"]);
    assert_eq!(said, "sender dev-9 is enabled already\n");
    done(&scene.broker, &["remove", "sender", "dev-9"]);
    scene.is_refused(&next("6"), "unknown-sender");
    let why = refused(&scene.broker, &["remove", "sender", "dev-9"]);
    assert_eq!(why, "sender \"dev-9\" is not enrolled");
    // Each change is in the log, and no key.
    let told = scene.broker.log().lines(|line| line.message().ends_with("at run time"));
    assert_eq!(told.len(), 7, "{told:?}");
    let secret = std::fs::read_to_string(scene.broker.dir().join("keys/aes256.jwk")).unwrap();
    let secret = secret.split("\"k\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(!scene.broker.log().text().contains(secret));
}

#[test]
fn it_is_still_so_after_a_kill_and_after_an_end() {
    let mut scene = Scene::of(setup().config(POLICY).config(DEV_7));
    let key = topic_key(&scene.broker, "aes256");
    for args in [&ADD_DEV_9[..], &ADD_AES256, &["disable", "sender", "dev-7"]] {
        done(&scene.broker, args);
    }
    let list = done(&scene.broker, &["list"]);
    for start in [|broker: Broker| broker.kill(), |broker: Broker| broker.end()] {
        scene = Scene::of(start(scene.broker));
        assert_eq!(done(&scene.broker, &["list"]), list);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let fresh = Freshness::Seq(now.as_nanos().try_into().unwrap());
        let seal = |name| Device::enrolled(&scene.broker, name).seal_as(fresh, &key, TOPIC, name);
        let (nine, seven) = (seal("dev-9"), seal("dev-7"));
        scene.passes(&nine, "dev-9");
        scene.is_refused(&seven, "unknown-sender");
    }
    assert!(list.contains("dev-7   disabled   plant/#   configuration"), "{list}");
    assert!(list.contains("dev-9   enabled    plant/#   run time"), "{list}");
}

/// A key that comes back goes on counting, and another one begins anew.
#[test]
fn removed_sender_does_not_let_old_envelopes_pass() {
    let mut scene = Scene::of(setup().config(POLICY).config(AES256));
    let (device, key) = (Device::enrolled(&scene.broker, "dev-9"), topic_key(&scene.broker, "aes256"));
    let old = device.seal(&key, TOPIC, "old");
    done(&scene.broker, &ADD_DEV_9);
    scene.passes(&old, "old");
    done(&scene.broker, &["remove", "sender", "dev-9"]);
    let mut scene = Scene::of(scene.broker.kill());
    done(&scene.broker, &ADD_DEV_9);
    scene.is_refused(&old, "replayed");
    let next = device.seal(&key, TOPIC, "next");
    scene.passes(&next, "next");
    // Another key may count from the start.
    let other = SenderKey::generate("any").unwrap();
    std::fs::write(scene.broker.dir().join("other.jwk"), other.public().to_jwk().unwrap()).unwrap();
    let other = Device::of(other.with_id("dev-9"));
    let replace = ["sender", "dev-9", "--key", "other.jwk", "--topics", "plant/#"];
    assert!(refused(&scene.broker, &replace).contains("see --replace"));
    done(&scene.broker, &[&replace[..], &["--replace"]].concat());
    let first = other.seal(&key, TOPIC, "first");
    scene.passes(&first, "first");
    scene.is_refused(&next, "bad-stamp");
    // So may one whose counter was lost.
    done(&scene.broker, &["reset", "dev-9"]);
    scene.passes(&first, "first");
    let mut scene = Scene::of(scene.broker.kill());
    scene.is_refused(&first, "replayed");
}

/// A master brings a key for each topic, and a sender may be bound to its own client; both are still so after a
/// kill.
#[test]
fn masters_and_bound_senders_are_enrolled_and_kept() {
    let mut scene = Scene::of(setup().config(POLICY));
    let dir = scene.broker.dir().to_owned();
    let sealmq = |args: &[&str]| {
        let output = run(&dir, args, "");
        assert!(output.status.success(), "{args:?}: {output:?}");
        output.stdout
    };
    sealmq(&["keys", "master", "plant", "--symmetric"]);
    let derived = sealmq(&["keys", "derive", "--topic", TOPIC, "--master", "keys/plant.master"]);
    let key = TopicKey::from_bytes(&derived).unwrap();
    let device = Device::enrolled(&scene.broker, "dev-9");
    done(&scene.broker, &["topic-key", "plant", "--master", "keys/plant.master", "--topics", "plant/#"]);
    done(&scene.broker, &[&ADD_DEV_9[..], &["--bind", "client-id"]].concat());
    let mistaken = ["topic-key", "other", "--key", "keys/plant.master", "--topics", "plant/#"];
    assert!(refused(&scene.broker, &mistaken).contains("this is a master"));
    for killed in [false, true] {
        if killed {
            scene = Scene::of(scene.broker.kill());
        }
        scene.is_refused(&device.seal(&key, TOPIC, "not mine"), "sender-not-allowed");
        let mut own = Wire::client(&scene.broker, "dev-9");
        own.publish(&Publish::new(TOPIC, device.seal(&key, TOPIC, "mine")).qos(1, 1));
        scene.watcher.take("mine");
        let list = done(&scene.broker, &["list"]);
        assert!(list.contains("dev-9   enabled   plant/#   run time   bind client-id\n"), "{list}");
        let list = done(&scene.broker, &["list", "--json"]);
        let bound = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["bind"].clone());
        assert_eq!(bound.collect::<Vec<_>>(), [json!("client-id"), Value::Null]);
    }
}

/// A file that is encrypted at rest is read by the command; what the broker keeps is not.
#[test]
fn key_file_with_a_passphrase_is_enrolled() {
    let secrets = "[secrets]\npassphrase_file = \"passphrase\"\n";
    let setup = setup().file("passphrase", "correct horse battery staple\n").config(POLICY).config(secrets);
    let mut scene = Scene::of(setup.config(DEV_7));
    let args = ["keys", "--passphrase-file", "passphrase", "topic", "vault", "--symmetric"];
    assert!(run(scene.broker.dir(), &args, "").status.success());
    let args = ["topic-key", "vault", "--key", "keys/vault.jwk.age", "--topics", "plant/#"];
    let output = enrol(&scene.broker, &args);
    assert!(output.status.success(), "{output:?}");
    let note =
        "sealmq: note: keys/vault.jwk.age is encrypted, and the broker keeps the key in its store as it is\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), note);
    let out = scene.broker.dir().join("sealed");
    let args = ["seal", "--passphrase-file", "passphrase", "--sender-key", "keys/dev-7.jwk"];
    let args = [&args[..], &["--topic-key", "keys/vault.jwk.age", "--topic", TOPIC, "--seq", "1"]].concat();
    let output = run(scene.broker.dir(), &[&args[..], &["--out", out.to_str().unwrap()]].concat(), "safe");
    assert!(output.status.success(), "{output:?}");
    scene.passes(&std::fs::read(out).unwrap(), "safe");
}

/// Who did what to which key, in the file, whose chain holds.
#[test]
fn changes_are_in_the_audit() {
    let scene = Scene::of(setup().config(POLICY));
    done(&scene.broker, &ADD_DEV_9);
    for what in ["disable", "enable", "remove"] {
        done(&scene.broker, &[what, "sender", "dev-9"]);
    }
    let setup = scene.broker.end();
    let text = std::fs::read_to_string(setup.dir().join("data/audit/audit.jsonl")).unwrap();
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_keys = |entry: &&Value| entry["event"] == "key" && entry["kind"] != "identity";
    let keys: Vec<_> = entries.iter().filter(of_keys).collect();
    let changes: Vec<_> = keys.iter().map(|entry| entry["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["enrolled", "disabled", "enabled", "removed"]);
    for entry in keys {
        assert_eq!((&entry["kind"], &entry["id"]), (&json!("sender"), &json!("dev-9")));
        let by = entry["by"].as_str().unwrap();
        assert!(by.starts_with("uid ") && by.contains(", pid "), "{by}");
    }
    let verified = setup.run(&["audit", "verify", "--config", "sealmq.toml"], "");
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn connection_by_a_key_ends_with_the_key() {
    let mut scene = Scene::of(setup().config(POLICY));
    done(&scene.broker, &ADD_DEV_9);
    let connect = |broker: &Broker| {
        let mut wire = Wire::open(broker);
        wire.send(Connect5::new("nine").with(AUTH_METHOD, "sealmq-ed25519").bytes());
        let challenge = wire.expect_reason(AUTH, 0, 0x18).properties.data(AUTH_DATA).unwrap();
        let args = ["auth-answer", "--sender-key", "keys/dev-9.jwk", "--client-id", "nine"];
        let answer = run(broker.dir(), &args, challenge).stdout;
        wire.send(auth5(0x18, "sealmq-ed25519").with(AUTH_DATA, answer).bytes());
        wire.expect_connack(0);
        wire
    };
    for end in ["disable", "remove"] {
        let mut nine = connect(&scene.broker);
        done(&scene.broker, &ADD_AES256);
        done(&scene.broker, &["remove", "topic-key", "aes256"]);
        nine.expect_nothing_but_pong();
        done(&scene.broker, &[end, "sender", "dev-9"]);
        nine.expect_disconnect(0x98);
        nine.expect_closed();
        if end == "disable" {
            done(&scene.broker, &["enable", "sender", "dev-9"]);
        }
    }
    scene.watcher.expect_nothing_but_pong();
}

/// What somebody has left behind with a key that is not his any more.
#[test]
fn will_goes_with_the_key_that_its_client_was_let_in_by() {
    let mut scene = Scene::of(setup().config(POLICY));
    scene.watcher.subscribe("w/#", 1);
    done(&scene.broker, &ADD_DEV_9);
    let mut nine = Wire::open(&scene.broker);
    let connect = Connect5::new("nine").will(Publish5::new("w/x", "last words"));
    nine.send(connect.with(AUTH_METHOD, "sealmq-ed25519").bytes());
    let challenge = nine.expect_reason(AUTH, 0, 0x18).properties.data(AUTH_DATA).unwrap();
    let args = ["auth-answer", "--sender-key", "keys/dev-9.jwk", "--client-id", "nine"];
    let answer = run(scene.broker.dir(), &args, challenge).stdout;
    nine.send(auth5(0x18, "sealmq-ed25519").with(AUTH_DATA, answer).bytes());
    nine.expect_connack(0);
    done(&scene.broker, &["disable", "sender", "dev-9"]);
    nine.expect_disconnect(0x98);
    nine.expect_closed();
    scene.broker.log_line(|line| line.message().starts_with("will dropped"));
    scene.watcher.expect_nothing_but_pong();
}

#[test]
fn configuration_is_not_changed_and_what_it_brings_counts() {
    let rules = format!("{POLICY}{DEV_7}{AES256}");
    let scene = Scene::of(setup().config(&rules));
    let broker = &scene.broker;
    for args in [
        &["remove", "sender", "dev-7"][..],
        &["sender", "dev-7", "--key", "keys/dev-7.pub.jwk", "--topics", "a"],
        &ADD_AES256,
    ] {
        assert!(refused(broker, args).contains("stands in the configuration"), "{args:?}");
    }
    done(broker, &["disable", "topic-key", "aes256"]);
    done(broker, &ADD_DEV_9);
    let dev_9 = DEV_7.replace("dev-7", "dev-9").replace("plant/#", "plant/9/#");
    let replaced = AES256.replace("id = \"aes256\"", "id = \"chacha\"");
    done(broker, &["topic-key", "chacha", "--key", "keys/chacha.jwk", "--topics", "plant/#"]);
    broker.rewrite_config(&(rules + &dev_9 + &replaced));
    broker.reload();
    broker.log_line(|line| line.message().starts_with("reloaded"));
    for warned in [
        "sender \"dev-9\" was enrolled at run time, too",
        "topic key \"aes256\" of the configuration",
        "topic key \"chacha\" was enrolled at run time with another key, which is removed",
    ] {
        broker.log_line(|line| line.level() == "WARN" && line.message().contains(warned));
    }
    let list = done(broker, &["list"]);
    assert!(list.contains("plant/9/#   configuration, and at run time"), "{list}");
    assert!(list.contains("aes256   disabled   plant/#   configuration"), "{list}");
}

/// What a reload does to the configuration may count for little beside what was said at run time.
#[test]
fn audit_of_a_reload_knows_what_was_said_at_run_time() {
    let scene = Scene::of(setup().config(POLICY));
    let broker = &scene.broker;
    done(broker, &ADD_DEV_9);
    done(broker, &["sender", "dev-8", "--key", "keys/dev-8.pub.jwk", "--topics", "plant/#"]);
    done(broker, &["disable", "sender", "dev-8"]);
    let of = |id: &str| DEV_7.replace("dev-7", id);
    for (n, more) in [[of("dev-7"), of("dev-8"), of("dev-9")].concat(), String::new()].iter().enumerate() {
        broker.rewrite_config(&format!("{POLICY}{more}"));
        broker.reload();
        broker.log().nth_line(n, |line| line.message().starts_with("reloaded"));
    }
    let setup = scene.broker.end();
    let text = std::fs::read_to_string(setup.dir().join("data/audit/audit.jsonl")).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told = entries.filter(|entry| entry["by"] == "reload");
    let told: Vec<_> = told.map(|entry| json!([entry["change"], entry["id"], entry["detail"]])).collect();
    let expected = [
        json!(["added", "dev-7", null]),
        json!(["added", "dev-8", "disabled at run time"]),
        json!(["added", "dev-9", "enrolled at run time, too"]),
        json!(["removed", "dev-7", null]),
        json!(["removed", "dev-8", "disabled at run time"]),
        json!(["removed", "dev-9", "still enrolled at run time"]),
    ];
    assert_eq!(told, expected);
}

#[test]
fn fleet_is_enrolled_in_one_go_and_again_without_harm() {
    let scene = Scene::of(setup().config(POLICY).config("[limits]\nenrolled_senders_max = 1002\n"));
    let broker = &scene.broker;
    let mut lines = String::new();
    for n in 0..1_000 {
        let key = SenderKey::generate("").unwrap().public().to_jwk().unwrap();
        let id = format!("dev-{n}");
        writeln!(lines, r#"{{"kind":"sender","id":"{id}","key":{key},"topics":["plant/{n}/#"]}}"#).unwrap();
    }
    let nine = r#"{"kind":"sender","id":"nine","key":"keys/dev-9.pub.jwk","topics":["plant/#"]}"#;
    std::fs::write(broker.dir().join("fleet.jsonl"), format!("{lines}\n{nine}\n")).unwrap();
    assert_eq!(done(broker, &["import", "fleet.jsonl"]), "fleet.jsonl: 1,001 lines enrolled\n");
    // All are in the audit; the log has the first, and how many more.
    let lines = broker.log().lines(|line| line.message().ends_with("at run time"));
    assert!(lines.len() == 100 && broker.log().text().contains("\"more\":901"), "{}", broker.log().text());
    let again = done(broker, &["import", "fleet.jsonl"]);
    assert_eq!(again, "fleet.jsonl: 0 lines enrolled, 1,001 enrolled so already\n");
    assert_eq!(done(broker, &["list", "sender", "--json"]).lines().count(), 1_001);
    // One line that is wrong, and nothing is done.
    std::fs::write(broker.dir().join("more.jsonl"), nine.replace("\"nine\"", "\"ten\"").repeat(2)).unwrap();
    assert!(refused(broker, &["import", "more.jsonl"]).starts_with("more.jsonl:1: it is no JSON"));
    let two = format!("{}\n{}\n", nine.replace("\"nine\"", "\"a\""), nine.replace("\"nine\"", "\"b\""));
    std::fs::write(broker.dir().join("more.jsonl"), two).unwrap();
    let full = refused(broker, &["import", "more.jsonl"]);
    assert!(full.contains("1003 of 1002 senders") && full.contains("limits.enrolled_senders_max"), "{full}");
    assert_eq!(done(broker, &["list", "--json"]).lines().count(), 1_001);
}

#[test]
fn without_a_store_it_holds_until_the_end() {
    let scene = Scene::of(setup().config("[storage]\ndurability = \"memory\"\n"));
    let output = enrol(&scene.broker, &ADD_DEV_9);
    assert!(output.status.success());
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.contains("storage.durability is \"memory\": this holds until the broker ends"), "{note}");
    assert!(done(&scene.broker, &["list"]).contains("dev-9"));
    let scene = Scene::of(scene.broker.end());
    assert_eq!(done(&scene.broker, &["list"]), "nobody is enrolled\n");
}

/// An export has all of it, and the secrets of topic keys: it says so.
#[test]
fn export_carries_who_is_enrolled() {
    let scene = Scene::of(setup().config(POLICY));
    for args in [&ADD_DEV_9[..], &ADD_AES256, &["disable", "sender", "dev-9"]] {
        done(&scene.broker, args);
    }
    let list = done(&scene.broker, &["list"]);
    let setup = scene.broker.end();
    setup.write_config();
    let store = |args: &[&str]| {
        let output = setup.run(&[&["store", "--config", "sealmq.toml"], args].concat(), "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(store(&["export", "out.jsonl"]).contains("the secrets of 1 topic key"));
    store(&["check"]);
    std::fs::remove_dir_all(setup.dir().join("data/store")).unwrap();
    store(&["import", "out.jsonl"]);
    assert_eq!(done(&setup.start(), &["list"]), list);
}

fn socket(broker: &Broker) -> PathBuf {
    broker.dir().join("data/admin.sock")
}

#[test]
fn socket_is_its_owners_and_goes_with_the_broker() {
    let broker = setup().start();
    let metadata = std::fs::symlink_metadata(socket(&broker)).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    // What a killed broker leaves is replaced.
    let broker = broker.kill().start();
    assert_eq!(done(&broker, &["list"]), "nobody is enrolled\n");
    let file = socket(&broker);
    let setup = broker.end();
    assert!(!file.exists());
    let output = setup.run(&["enrol", "list", "--config", "sealmq.toml"], "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("no broker runs with this data folder"), "{said}");
}

#[test]
fn garbage_on_the_socket_is_answered_and_bounded() {
    let limits =
        "[limits]\nadmin_connections_max = 2\nadmin_request_bytes_max = 65536\nadmin_timeout_s = 1\n";
    let broker = setup().config(limits).start();
    let connect = || BufReader::new(UnixStream::connect(socket(&broker)).unwrap());
    let answer = |stream: &mut BufReader<UnixStream>| {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"version\":1,\"answer\":{\"refused\":"), "{line}");
        line
    };
    let is_closed = |stream: &mut BufReader<UnixStream>| !matches!(stream.read(&mut [0]), Ok(1..));
    let mut one = connect();
    for (garbage, said) in [
        (&b"garbage\n"[..], "makes no sense"),
        (b"\n", "makes no sense"),
        (b"\xff\xfe\n", "makes no sense"),
        (b"{\"version\":7,\"ask\":\"what\"}\n", "has version 7"),
        (b"{\"version\":1,\"ask\":{\"dance\":{}}}\n", "makes no sense"),
        (
            b"{\"version\":1,\"ask\":{\"change\":{\"what\":\"disable\",\"names\":[{\"kind\":\"sender\",\"id\":\"\"}]}}}\n",
            "cannot be an id",
        ),
    ] {
        one.get_mut().write_all(garbage).unwrap();
        let line = answer(&mut one);
        assert!(line.contains(said), "{line}");
    }
    // So many at once, and no more.
    let mut two = connect();
    two.get_mut().write_all(b"x\n").unwrap();
    answer(&mut two);
    let mut three = connect();
    assert!(answer(&mut three).contains("limits.admin_connections_max") && is_closed(&mut three));
    // Who says nothing is not waited for.
    assert!(answer(&mut one).contains("limits.admin_timeout_s") && is_closed(&mut one));
    let mut long = connect();
    // It may be closed before all of it is written.
    let _ = long.get_mut().write_all(&vec![b'x'; 200_000]);
    assert!(answer(&mut long).contains("limits.admin_request_bytes_max") && is_closed(&mut long));
    Wire::client(&broker, "still").expect_nothing_but_pong();
}
