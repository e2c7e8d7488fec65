//! Keys that live: derived from a master, followed by new ones, warned of, counted, and at rest.
//!
//! All by the command line and a real broker, as an operator would.

use super::{Device, await_report, setup};
use crate::harness::broker::run;
use crate::harness::log::LogLine;
use crate::harness::{Broker, Publish, Setup, Wire};
use sealmq_crypto::TopicKey;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const TOPIC: &str = "plant/7/temp";

const SENDER: &str = r#"
[[sender]]
id = "dev-7"
key = "keys/dev-7.pub.jwk"
topics = ["plant/#"]
[[policy]]
topics = ["plant/#"]
payload = "sealed"
[telemetry]
sys_interval_s = 1
"#;

/// An entry for the key or master in `keys/FILE`.
fn topic_key(id: &str, setting: &str, file: &str) -> String {
    format!("[[topic_key]]\nid = \"{id}\"\n{setting} = \"keys/{file}\"\ntopics = [\"plant/#\"]\n")
}

/// What `sealmq` prints with these arguments in the folder.
#[track_caller]
fn told(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args, "21.5");
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says where it refuses.
#[track_caller]
fn refused(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args, "21.5");
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// An envelope of `dev-7`, sealed with the key in this file; more arguments may follow.
#[track_caller]
fn envelope(dir: &Path, topic: &str, key: &str, more: &[&str]) -> Vec<u8> {
    let args = ["seal", "--topic", topic, "--sender-key", "keys/dev-7.jwk", "--topic-key", key];
    let output = run(dir, &[&args, more].concat(), "21.5");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn watcher(broker: &Broker) -> Wire {
    let mut watcher = Wire::client_tls(broker, "watcher");
    watcher.subscribe("plant/#", 1);
    watcher
}

fn reload(broker: &Broker, n: usize) {
    broker.reload();
    broker.log().nth_line(n - 1, |line| line.message().starts_with("reloaded"));
}

fn open_to_all(file: &Path) {
    fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
}

/// Each device seals with the key of its topic, which `sealmq keys derive` made; another topic's is of no use.
#[test]
fn derived_keys_seal_for_their_topic_alone() {
    for (form, algorithm) in [
        (&["--symmetric"][..], "A256GCM"),
        (&["--symmetric", "--alg", "A128GCM"], "A128GCM"),
        (&["--symmetric", "--alg", "ChaCha20/Poly1305"], "ChaCha20/Poly1305"),
        (&["--asymmetric"], "X25519"),
    ] {
        let setup = setup();
        let made = told(setup.dir(), &[&["keys", "master", "plant"], form].concat());
        assert!(made.contains(&topic_key("plant", "master", "plant.master")), "{made}");
        let broker = setup.config(SENDER).config(&topic_key("plant", "master", "plant.master")).start();
        let mut watcher = watcher(&broker);
        let dir = broker.dir();
        // By the only master there is, by its file, and by the configuration.
        let key = told(dir, &["keys", "derive", "--topic", TOPIC]);
        assert!(key.contains(&format!("\"{algorithm}\"")) && key.contains("\"kid\":\"plant\""), "{key}");
        assert!(!key.contains("\"d\""), "the public half alone: {key}");
        let by_file = told(dir, &["keys", "derive", "--topic", TOPIC, "--master", "keys/plant.master"]);
        let by_config = told(dir, &["keys", "derive", "--topic", TOPIC, "--config", "sealmq.toml"]);
        assert_eq!((&by_file, &by_config), (&key, &key));
        told(dir, &["keys", "derive", "--topic", TOPIC, "--out", "keys/derived.jwk"]);
        let mut device = Wire::client(&broker, "device");
        device.publish(&Publish::new(TOPIC, envelope(dir, TOPIC, "keys/derived.jwk", &[])).qos(1, 1));
        watcher.take("21.5");
        let other = "plant/8/temp";
        device.publish(&Publish::new(other, envelope(dir, other, "keys/derived.jwk", &[])).qos(1, 2));
        broker.log_line(|line| line.field("reason") == Some("decrypt-failed"));
        watcher.expect_nothing_but_pong();
        let written = fs::metadata(dir.join("keys/derived.jwk")).unwrap().permissions();
        assert_eq!(written.mode() & 0o777, if algorithm == "X25519" { 0o644 } else { 0o600 });
    }
}

/// A master is no key, nor the reverse, and what its keys are for is not guessed.
#[test]
fn masters_and_keys_are_not_taken_for_each_other() {
    let setup = setup();
    told(setup.dir(), &["keys", "master", "plant", "--asymmetric"]);
    for (entry, part) in [
        (topic_key("plant", "key", "plant.master"), "topic_key[0].key: "),
        (topic_key("plant", "master", "aes256.jwk"), "topic_key[0].master: "),
        (topic_key("plant", "master", "plant.master") + "algorithm = \"A256GCM\"\n", "for keys of X25519"),
    ] {
        let config = format!("data_dir = \"data\"\n[[listener]]\nbind = \"127.0.0.1:0\"\n{SENDER}{entry}");
        fs::write(setup.dir().join("wrong.toml"), config).unwrap();
        let error = refused(setup.dir(), &["check", "--config", "wrong.toml"]);
        assert!(error.contains(part), "{part} in {error}");
    }
}

/// `sealmq keys rotate` says what to write; written, both keys open, and no connection is dropped.
#[test]
fn rotation_needs_no_pause() {
    let old = topic_key("aes256", "key", "aes256.jwk");
    let broker = setup().config(SENDER).config(&old).start();
    let mut watcher = watcher(&broker);
    let mut device = Wire::client(&broker, "device");
    let mut send = |key: &str, id: u16| {
        let envelope = envelope(broker.dir(), TOPIC, key, &[]);
        device.publish(&Publish::new(TOPIC, envelope).qos(1, id));
    };
    let before = fs::read(broker.dir().join("sealmq.toml")).unwrap();
    let said = told(broker.dir(), &["keys", "rotate", "aes256", "--config", "sealmq.toml"]);
    assert_eq!(fs::read(broker.dir().join("sealmq.toml")).unwrap(), before, "it is the operator's");
    let lines = |from: &str| said.split(from).nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    let end = format!("not_after = {}\n", lines("\n\nnot_after = "));
    let new = format!("[[topic_key]]\n{}\n", lines("\n\n[[topic_key]]\n"));
    assert!(
        new.contains("id = \"aes257\"\nkey = \"keys/aes257.jwk\"\ntopics = [\"plant/#\"]\nnot_before = ")
    );
    send("keys/aes257.jwk", 1);
    broker.log_line(|line| line.field("reason") == Some("unknown-key"));
    broker.rewrite_config(&format!("{SENDER}{old}{end}{new}"));
    reload(&broker, 1);
    for (key, id) in [("keys/aes256.jwk", 2), ("keys/aes257.jwk", 3), ("keys/aes256.jwk", 4)] {
        send(key, id);
        watcher.take("21.5");
    }
    // Once the old one has ended, it opens no longer.
    let ended = "not_after = 2020-01-01T00:00:00Z\n";
    broker.rewrite_config(&format!("{SENDER}{old}{ended}{new}"));
    reload(&broker, 2);
    send("keys/aes256.jwk", 5);
    broker.log_line(|line| line.field("reason") == Some("key-expired"));
    send("keys/aes257.jwk", 6);
    watcher.take("21.5");
    watcher.expect_nothing_but_pong();
}

/// A master is followed by a master, a sender by a sender.
#[test]
fn masters_and_senders_are_rotated_too() {
    let setup = setup();
    told(setup.dir(), &["keys", "master", "plant", "--asymmetric"]);
    let setup = setup.config(SENDER).config(&topic_key("plant", "master", "plant.master"));
    setup.write_config();
    let said = told(setup.dir(), &["keys", "rotate", "plant", "--config", "sealmq.toml", "--overlap", "7d"]);
    assert!(said.contains("master = \"keys/plant-2.master\"\n"), "{said}");
    assert!(setup.dir().join("keys/plant-2.master").exists());
    let said = told(setup.dir(), &["keys", "rotate", "dev-7", "--config", "sealmq.toml", "--new-id", "new"]);
    assert!(said.contains("[[sender]]\nid = \"new\"\nkey = \"keys/new.pub.jwk\"\n"), "{said}");
    let error = refused(setup.dir(), &["keys", "rotate", "nobody", "--config", "sealmq.toml"]);
    assert!(error.contains("no topic_key or sender of the id \"nobody\""), "{error}");
}

/// A key that ends soon, and one that has ended, are warned of: in the log, in `$SYS` and by `sealmq check`.
#[test]
fn keys_that_end_are_warned_of() {
    let setup = setup().config(SENDER);
    let old = topic_key("aes256", "key", "aes256.jwk");
    setup.write_config();
    let config = setup.config(&old);
    config.write_config();
    let said = told(
        config.dir(),
        &["keys", "rotate", "aes256", "--config", "sealmq.toml", "--overlap", "3d", "--new-id", "next"],
    );
    let end = said.split("not_after = ").nth(1).unwrap().split('\n').next().unwrap().to_owned();
    let ended = topic_key("expired", "key", "expired.jwk") + "not_after = 2020-01-01T00:00:00Z\n";
    let setup = config.config(&format!("not_after = {end}\n{ended}"));
    setup.write_config();
    let checked = told(setup.dir(), &["check", "--config", "sealmq.toml"]);
    assert!(checked.contains(&format!("note: topic_key \"aes256\" ends on {end}, in ")), "{checked}");
    assert!(checked.contains("note: topic_key \"expired\" ended on 2020-01-01T00:00:00Z, "), "{checked}");
    let broker = setup.start();
    let warning = |what: &str| {
        let what = what.to_owned();
        move |line: &LogLine| line.level() == "WARN" && line.message().starts_with(&what)
    };
    broker.log_line(warning(&format!("topic_key \"aes256\" ends on {end}, in ")));
    broker.log_line(warning("topic_key \"expired\" ended on 2020-01-01T00:00:00Z, "));
    await_report(&broker, "keys/ending soon", 1);
    await_report(&broker, "keys/ended", 1);
    // Once a day, not at each reload.
    reload(&broker, 1);
    reload(&broker, 2);
    assert_eq!(broker.log().lines(warning("topic_key")).len(), 2);
    // All of it is written at the end.
    let setup = broker.end();
    let audit = std::fs::read_to_string(setup.dir().join("data/audit/audit.jsonl")).unwrap();
    for event in ["ending-soon", "ended"] {
        let is_said = |line: &str| line.contains(event) && line.contains("topic-key");
        assert!(audit.lines().any(is_said), "{event}: {audit}");
    }
}

/// How much each topic key has opened is in `$SYS`, goes on through a reload and a restart, and is forgotten
/// with its key.
#[test]
fn what_a_key_has_opened_is_counted_for_good() {
    let keys = topic_key("aes256", "key", "aes256.jwk") + &topic_key("pair", "key", "pair.jwk");
    let mut broker = setup().config(SENDER).config(&keys).start();
    let device = Device::enrolled(&broker, "dev-7");
    let key = |name: &str, broker: &Broker| super::topic_key(broker, name);
    let send = |broker: &Broker, key: &TopicKey| {
        let mut wire = Wire::client(broker, "device");
        wire.publish(&Publish::new(TOPIC, device.seal(key, TOPIC, "21.5")).qos(1, 1));
    };
    send(&broker, &key("aes256", &broker));
    send(&broker, &key("pair", &broker));
    send(&broker, &key("aes256", &broker));
    await_report(&broker, "keys/opened/aes256", 2);
    reload(&broker, 1);
    send(&broker, &key("aes256", &broker));
    await_report(&broker, "keys/opened/aes256", 3);
    broker = broker.end().start();
    await_report(&broker, "keys/opened/pair", 1);
    send(&broker, &key("aes256", &broker));
    await_report(&broker, "keys/opened/aes256", 4);
    // Taken out, and put back: a new key, as far as anybody can tell.
    broker.rewrite_config(&format!("{SENDER}{}", topic_key("aes256", "key", "aes256.jwk")));
    reload(&broker, 1);
    broker.rewrite_config(&format!("{SENDER}{keys}"));
    reload(&broker, 2);
    await_report(&broker, "keys/opened/aes256", 4);
    await_report(&broker, "keys/opened/pair", 0);
}

/// A secret that others may read is refused by everybody who would read it; a public half is for all.
#[test]
fn secrets_that_others_may_read_are_refused() {
    let entry = topic_key("aes256", "key", "aes256.jwk");
    let broker = setup().config(SENDER).config(&entry).start();
    let dir = broker.dir().to_owned();
    let mut watcher = watcher(&broker);
    open_to_all(&dir.join("keys/dev-7.pub.jwk"));
    open_to_all(&dir.join("keys/aes256.jwk"));
    broker.reload();
    let line = broker.log_line(|line| line.contains("not reloaded, the old rules stay"));
    assert!(line.contains("topic_key[0].key: ") && line.contains("chmod 600"), "{}", line.text);
    let checked = refused(&dir, &["check", "--config", "sealmq.toml"]);
    assert!(checked.contains("others than its owner may read it (mode 0644): chmod 600"), "{checked}");
    let args = ["seal", "--topic", TOPIC, "--sender-key", "keys/dev-7.jwk", "--topic-key", "keys/aes256.jwk"];
    assert!(refused(&dir, &args).contains("chmod 600"));
    // The old rules stay, and work.
    fs::set_permissions(dir.join("keys/aes256.jwk"), Permissions::from_mode(0o600)).unwrap();
    let envelope = envelope(&dir, TOPIC, "keys/aes256.jwk", &[]);
    Wire::client(&broker, "device").publish(&Publish::new(TOPIC, envelope).qos(1, 1));
    watcher.take("21.5");
    open_to_all(&dir.join("keys/dev-7.jwk"));
    assert!(refused(&dir, &args).contains("dev-7.jwk: it holds a secret"));
    open_to_all(&dir.join("keys/aes256.jwk"));
    let mut again = broker.end().spawn();
    assert_eq!(again.wait().code(), Some(1));
    again.log_line(|line| line.text.starts_with("sealmq: topic_key[0].key: ") && line.contains("chmod 600"));
}

/// With a passphrase, what `sealmq keys` makes is encrypted; broker and commands read it with the passphrase.
#[test]
fn encrypted_keys_work_with_their_passphrase_alone() {
    let setup = Setup::new().file("passphrase", "correct horse battery staple\n");
    let setup = setup.config("[secrets]\npassphrase_file = \"passphrase\"\n");
    setup.write_config();
    let dir = setup.dir().to_owned();
    let keys = ["keys", "--config", "sealmq.toml"];
    told(&dir, &[&keys[..], &["sender", "dev-7"]].concat());
    told(&dir, &[&keys[..], &["topic", "aes256", "--symmetric"]].concat());
    let made = told(&dir, &["keys", "--passphrase-file", "passphrase", "master", "plant", "--symmetric"]);
    assert!(made.contains(&topic_key("plant", "master", "plant.master.age")), "{made}");
    for name in ["dev-7.jwk.age", "aes256.jwk.age", "plant.master.age"] {
        assert!(fs::read(dir.join("keys").join(name)).unwrap().starts_with(b"age-encryption.org/v1\n"));
    }
    let entries =
        topic_key("aes256", "key", "aes256.jwk.age") + &topic_key("plant", "master", "plant.master.age");
    let broker = setup.config(SENDER).config(&entries).start();
    let mut watcher = watcher(&broker);
    told(
        &dir,
        &["keys", "derive", "--config", "sealmq.toml", "--topic", TOPIC, "--out", "keys/derived.jwk.age"],
    );
    let seal = |key: &str, more: &[&str]| {
        let args = ["seal", "--topic", TOPIC, "--sender-key", "keys/dev-7.jwk.age", "--topic-key", key];
        run(&dir, &[&args, more].concat(), "21.5")
    };
    let passphrase = ["--passphrase-file", "passphrase"];
    for (key, id) in [("keys/aes256.jwk.age", 1), ("keys/derived.jwk.age", 2)] {
        let sealed = seal(key, &passphrase);
        assert!(sealed.status.success(), "{sealed:?}");
        Wire::client(&broker, "device").publish(&Publish::new(TOPIC, sealed.stdout).qos(1, id));
        watcher.take("21.5");
    }
    let without = String::from_utf8(seal("keys/aes256.jwk.age", &[]).stderr).unwrap();
    assert!(without.contains("it is encrypted, and no passphrase is set"), "{without}");
    // A reload decrypts anew; with another passphrase it is refused, and the old keys stay.
    reload(&broker, 1);
    fs::write(dir.join("passphrase"), "another\n").unwrap();
    broker.reload();
    let line = broker.log_line(|line| line.contains("not reloaded, the old rules stay"));
    assert!(line.contains("is not the one that it is encrypted under"), "{}", line.text);
    assert!(!broker.log().text().contains("correct horse"));
    let mut again = broker.end().spawn();
    assert_eq!(again.wait().code(), Some(1));
    again.log_line(|line| line.text.starts_with("sealmq: identity.key: "));
    open_to_all(&dir.join("passphrase"));
    let open = refused(&dir, &["check", "--config", "sealmq.toml"]);
    assert!(open.contains("secrets.passphrase_file: ") && open.contains("chmod 600"), "{open}");
}
