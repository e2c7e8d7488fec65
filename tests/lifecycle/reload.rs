//! SIGHUP: keys, policies, permissions, passwords and certificates are read again, and no connection is
//! dropped; with anything wrong in them the old ones stay.

use crate::encryption::{sealed, setup};
use crate::harness::certificates::{Certificates, certificates};
use crate::harness::packets::connack;
use crate::harness::{Broker, Connect, Publish, Setup, Wire};
use crate::lifecycle::tls::trusting;

const KEY_AND_POLICY: &str = r#"
[[topic_key]]
id = "aes256"
key = "keys/aes256.jwk"
topics = ["plant/#"]
[[policy]]
topics = ["plant/#"]
payload = "sealed"
"#;

fn sender(name: &str) -> String {
    format!("[[sender]]\nid = \"{name}\"\nkey = \"keys/{name}.pub.jwk\"\ntopics = [\"plant/#\"]\n")
}

/// Reloads, and waits until that was done for the `n`th time.
fn reload(broker: &Broker, n: usize) {
    broker.reload();
    broker.log().nth_line(n - 1, |line| line.message().starts_with("reloaded"));
}

/// Reloads, and waits until that was refused for the `n`th time; the error names `what`.
fn reload_in_vain(broker: &Broker, n: usize, what: &str) {
    broker.reload();
    let refused = |line: &crate::harness::log::LogLine| line.contains("not reloaded, the old rules stay");
    let line = broker.log().nth_line(n - 1, refused);
    assert!(line.level() == "ERROR" && line.contains(what), "{what} in {}", line.text);
}

#[test]
fn new_sender_and_key_are_taken_without_dropping_a_connection() {
    let old = sender("dev-7") + KEY_AND_POLICY;
    let broker = setup().config(&old).start();
    let mut watcher = Wire::client_tls(&broker, "watcher");
    watcher.subscribe("#", 1);
    let mut device = Wire::client(&broker, "device");
    let mut send = |sender: &str| {
        let envelope = sealed(&broker, sender, Some("aes256"), "plant/a", sender);
        device.publish(&Publish::new("plant/a", envelope).qos(1, 1));
    };
    send("dev-7");
    send("dev-8");
    watcher.take("dev-7");
    watcher.expect_nothing_but_pong();
    broker.log_line(|line| line.field("reason") == Some("unknown-sender"));
    broker.rewrite_config(&(old + &sender("dev-8")));
    reload(&broker, 1);
    send("dev-8");
    send("dev-7");
    watcher.take("dev-8");
    watcher.take("dev-7");
}

/// A sender that is taken out is unknown from then on; what was taken before stays taken.
#[test]
fn sender_taken_out_is_unknown_and_put_back_not_forgotten() {
    let both = sender("dev-7") + &sender("dev-8") + KEY_AND_POLICY;
    let broker = setup().config(&both).start();
    let mut watcher = Wire::client_tls(&broker, "watcher");
    watcher.subscribe("#", 1);
    let envelope = sealed(&broker, "dev-8", Some("aes256"), "plant/a", "1");
    let mut device = Wire::client(&broker, "device");
    device.publish(&Publish::new("plant/a", &envelope).qos(1, 1));
    watcher.take("1");
    reload(&broker, 1);
    device.publish(&Publish::new("plant/a", &envelope).qos(1, 2));
    broker.log_line(|line| line.field("reason") == Some("replayed"));
    broker.rewrite_config(&(sender("dev-7") + KEY_AND_POLICY));
    reload(&broker, 2);
    let envelope = sealed(&broker, "dev-8", Some("aes256"), "plant/a", "2");
    device.publish(&Publish::new("plant/a", &envelope).qos(1, 3));
    broker.log_line(|line| line.field("reason") == Some("unknown-sender"));
    watcher.expect_nothing_but_pong();
}

#[test]
fn policies_are_reloaded() {
    let broker = setup().config(&sender("dev-7")).start();
    let mut open = Wire::client(&broker, "open");
    open.subscribe("plant/#", 1);
    let mut device = Wire::client(&broker, "device");
    device.publish(&Publish::new("plant/a", "plain").qos(1, 1));
    open.take("plain");
    broker.rewrite_config(&(sender("dev-7") + KEY_AND_POLICY));
    reload(&broker, 1);
    device.publish(&Publish::new("plant/a", "plain").qos(1, 1));
    broker.log_line(|line| line.field("reason") == Some("not-an-envelope"));
    let envelope = sealed(&broker, "dev-7", Some("aes256"), "plant/a", "1");
    device.publish(&Publish::new("plant/a", envelope).qos(1, 1));
    // The subscription is from before; what is sealed now does not come by it.
    open.expect_nothing_but_pong();
}

#[test]
fn permissions_are_reloaded_for_those_who_are_connected() {
    let rule = |topics: &str| format!("[[acl]]\naccess = \"all\"\ntopics = [\"{topics}\"]\n");
    let broker = Broker::with_config(&rule("a"));
    let mut client = Wire::client(&broker, "client");
    client.subscribe("a", 1);
    client.publish(&Publish::new("a", "1").qos(1, 1));
    client.take("1");
    broker.rewrite_config(&rule("b"));
    reload(&broker, 1);
    client.subscribe("b", 1);
    client.publish(&Publish::new("a", "2").qos(1, 1));
    client.publish(&Publish::new("b", "3").qos(1, 1));
    client.take("3");
    client.expect_nothing_but_pong();
}

#[test]
fn passwords_are_reloaded() {
    let rules = "[auth]\nallow_anonymous = false\npassword_file = \"passwd\"\n";
    let broker = Setup::new().password("ann", "one").config(rules).start();
    let attempt = |user: &str, password: &str, code: u8| {
        let mut wire = Wire::open(&broker);
        wire.send(Connect::new(user).user(user).password(password).bytes());
        wire.expect(connack(false, code));
        wire
    };
    let mut ann = attempt("ann", "one", 0);
    attempt("bob", "two", 4);
    let set = |user: &str, password: &str| {
        let args = ["passwd", "passwd", user];
        let made = crate::harness::broker::run(broker.dir(), &args, format!("{password}\n"));
        assert!(made.status.success(), "{made:?}");
    };
    set("bob", "two");
    reload(&broker, 1);
    ann.expect_nothing_but_pong();
    let mut bob = attempt("bob", "two", 0);
    set("ann", "three");
    reload(&broker, 2);
    attempt("ann", "one", 4);
    attempt("ann", "three", 0);
    // Whoever was let in by a password that is not there any more goes with it; others stay.
    ann.expect_closed();
    bob.expect_nothing_but_pong();
}

fn write_certificates(broker: &Broker, made: &Certificates) {
    std::fs::write(broker.dir().join("server.pem"), &made.server.cert).unwrap();
    std::fs::write(broker.dir().join("server.key"), &made.server.key).unwrap();
}

#[test]
fn certificates_are_reloaded_for_new_connections() {
    let broker = Broker::start();
    let mut before = Wire::client_tls(&broker, "before");
    before.subscribe("a", 1);
    let new = Certificates::make();
    write_certificates(&broker, &new);
    reload(&broker, 1);
    let mut after = Wire::open_tls_at(broker.tls_addr(), trusting(&new.ca));
    after.send(Connect::new("after").bytes());
    after.expect(connack(false, 0));
    // Who trusts the old authority alone is not deceived.
    assert!(Wire::open_tls(&broker).try_send(Connect::new("old").bytes()).is_err());
    after.publish(&Publish::new("a", "1").qos(1, 1));
    before.take("1");
}

/// A TLS listener keeps what is its own, whatever stands before it in the new file.
#[test]
fn listeners_are_told_apart_by_their_address() {
    let listener = |address: &str, more: &str| {
        let tls = "[listener.tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n";
        format!("[[listener]]\nbind = \"{address}:0\"\n{tls}{more}")
    };
    let open = listener("127.0.0.1", "");
    let closed = listener("127.0.0.2", "client_ca = \"ca.pem\"\n");
    let broker = Setup::new().config(&(open.clone() + &closed)).start();
    let closed_addr = broker.await_listening(1);
    let is_let_in = || {
        let mut wire = Wire::open_tls_at(closed_addr, trusting(&certificates().ca));
        wire.try_send(Connect::new("nobody").bytes()).is_ok() && wire.try_receive().is_ok()
    };
    assert!(!is_let_in());
    // Read again in another order: a listener more or less in front must not open this one.
    for (n, config) in [closed.clone() + &open, open].iter().enumerate() {
        broker.rewrite_config(config);
        reload(&broker, n + 1);
        assert!(!is_let_in(), "{config}");
    }
}

#[test]
fn wrong_configuration_changes_nothing() {
    let good = sender("dev-7") + KEY_AND_POLICY;
    let broker = setup().config(&good).start();
    let mut watcher = Wire::client_tls(&broker, "watcher");
    watcher.subscribe("#", 1);
    let mut device = Wire::client(&broker, "device");
    let wrong = [
        (good.clone() + "[limits]\nconnection_max = 1\n", "did you mean limits.connections_max"),
        (good.clone() + "this is no TOML\n", "sealmq.toml"),
        (good.clone() + &sender("nobody"), "nobody.pub.jwk"),
        (good.replace("keys/aes256.jwk", "keys/dev-7.jwk"), "topic_key[0].key"),
        (good.clone() + "[auth]\npassword_file = \"none\"\n", "auth.password_file"),
    ];
    for (n, (config, what)) in wrong.iter().enumerate() {
        broker.rewrite_config(config);
        reload_in_vain(&broker, n + 1, what);
        let text = n.to_string();
        let envelope = sealed(&broker, "dev-7", Some("aes256"), "plant/a", &text);
        device.publish(&Publish::new("plant/a", envelope).qos(1, 1));
        watcher.take(&text);
    }
    std::fs::remove_file(broker.dir().join("sealmq.toml")).unwrap();
    reload_in_vain(&broker, wrong.len() + 1, "sealmq.toml");
    // Corrected, it is taken.
    broker.rewrite_config(&(good + &sender("dev-8")));
    reload(&broker, 1);
    device.publish(&Publish::new("plant/a", sealed(&broker, "dev-8", Some("aes256"), "plant/a", "new")));
    watcher.take("new");
}

#[test]
fn wrong_certificate_changes_nothing() {
    let broker = Broker::start();
    let other = Certificates::make();
    // A key that is not the certificate's.
    std::fs::write(broker.dir().join("server.key"), &other.server.key).unwrap();
    reload_in_vain(&broker, 1, "server");
    std::fs::write(broker.dir().join("server.pem"), "nothing").unwrap();
    reload_in_vain(&broker, 2, "server.pem");
    Wire::client_tls(&broker, "still").expect_nothing_but_pong();
    write_certificates(&broker, &other);
    reload(&broker, 1);
    Wire::open_tls_at(broker.tls_addr(), trusting(&other.ca)).send(Connect::new("new").bytes());
}
