//! Permissions (`[[acl]]`, §3.3.5, §3.9.3): who may publish and subscribe where, and what is answered.

use crate::harness::packets::{suback, subscribe};
use crate::harness::{Broker, Connect, Publish, Setup, Wire};

const RULES: &str = r##"
[[acl]]
user = "admin"
access = "all"
topics = ["#"]
[[acl]]
access = "all"
permission = "deny"
topics = ["open/secret/#"]
[[acl]]
access = "all"
topics = ["open/#"]
[[acl]]
access = "publish"
topics = ["from/%c/#"]
[[acl]]
access = "subscribe"
topics = ["to/%u/+", "to/all"]
[[acl]]
client = "special"
access = "publish"
topics = ["special"]
"##;

/// A broker with the rules above, and `admin`, who watches everything.
fn ruled() -> (Broker, Wire) {
    let broker = Broker::with_config(RULES);
    let mut admin = Wire::connect(&broker, &Connect::new("admin").user("admin").password("any"));
    admin.subscribe("#", 1);
    (broker, admin)
}

/// [MQTT-3.3.5-2]: a message that may not be published is acknowledged, dropped, and logged.
#[test]
fn publish_without_permission_is_acknowledged_and_dropped() {
    let (broker, mut admin) = ruled();
    let mut client = Wire::client(&broker, "c");
    for topic in ["other", "open/secret", "open/secret/x", "from/d/x", "special", "to/all"] {
        for qos in 0..=2 {
            client.publish(&Publish::new(topic, "1").qos(qos, 1).retain());
        }
    }
    admin.expect_nothing_but_pong();
    admin.subscribe("#", 1);
    admin.expect_nothing_but_pong();
    let line = broker.log_line(|line| line.message() == "message refused");
    assert_eq!(line.field("client"), Some("c"));
    assert_eq!(line.field("reason"), Some("not-authorized"));
    assert!(!broker.log().text().contains("open/secret"), "topics are not logged");
}

/// The first rule that fits counts; `%c` is the client id.
#[test]
fn publish_with_permission_is_delivered() {
    let (broker, mut admin) = ruled();
    let mut client = Wire::client(&broker, "c");
    for topic in ["open", "open/x", "from/c", "from/c/x"] {
        client.publish(&Publish::new(topic, topic).qos(1, 1));
        admin.take(topic);
    }
    let mut special = Wire::client(&broker, "special");
    special.publish(&Publish::new("special", "1").qos(1, 1));
    admin.take("1");
}

/// §3.9.3: a subscription that is not allowed is refused with 0x80; `%u` is the user name.
#[test]
fn subscribe_without_permission_is_refused_with_0x80() {
    let (broker, mut admin) = ruled();
    let anna = Connect::new("c").user("anna").password("any");
    let mut client = Wire::connect(&broker, &anna);
    let table = [
        ("open/x", 1),
        ("to/anna/x", 1),
        ("to/anna/+", 1),
        ("to/all", 1),
        ("to/bert/x", 0x80),
        ("to/+/x", 0x80),
        ("to/anna/#", 0x80),
        ("to/#", 0x80),
        ("#", 0x80),
        ("other", 0x80),
        ("open/secret/x", 0x80),
        ("from/c/x", 0x80),
    ];
    client.send(subscribe(1, &table.map(|(filter, _)| (filter, 1))));
    client.expect(suback(1, &table.map(|(_, code)| code)));
    admin.publish(&Publish::new("other", "1").qos(1, 1));
    client.expect_nothing_but_pong();
    admin.publish(&Publish::new("to/anna/x", "2").qos(1, 1));
    client.take("2");
}

/// A client id or user name with a wildcard in it does not widen a rule.
#[test]
fn wildcards_in_names_widen_no_rule() {
    let (broker, mut admin) = ruled();
    for name in ["+", "#", "c/d", "+/x", ""] {
        let connect = Connect::new(format!("id-{name}")).user(name).password("any");
        let mut client = Wire::connect(&broker, &connect);
        client.send(subscribe(1, &[("to/anna/x", 1), ("to/+/x", 1), ("to/#", 1)]));
        let packet = client.receive();
        assert_eq!(packet[4], 0x80, "{name}");
        if name != "+" {
            assert_eq!(packet[5..], [0x80, 0x80], "{name}");
        }
        client.disconnect();
    }
    let mut client = Wire::client(&broker, "+");
    client.publish(&Publish::new("from/c/x", "1").qos(1, 1));
    admin.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-8]: a will needs the same permission as any message.
#[test]
fn will_without_permission_is_dropped() {
    let (broker, mut admin) = ruled();
    for (topic, allowed) in [("other", false), ("open/will", true)] {
        let connect = Connect::new("c").will(Publish::new(topic, topic).qos(1, 0));
        let wire = Wire::connect(&broker, &connect);
        wire.cut();
        if allowed {
            admin.take(topic);
        }
    }
    admin.expect_nothing_but_pong();
}

/// A reload takes permissions away and gives them, on connections that stay.
#[test]
fn reload_changes_permissions_of_connected_clients() {
    let broker = Setup::new().config("[[acl]]\naccess = \"all\"\ntopics = [\"a\"]").start();
    let mut client = Wire::client(&broker, "c");
    client.send(subscribe(1, &[("a", 1), ("b", 1)]));
    client.expect(suback(1, &[1, 0x80]));
    let file = broker.dir().join("sealmq.toml");
    let config = std::fs::read_to_string(&file).unwrap().replace("topics = [\"a\"]", "topics = [\"b\"]");
    std::fs::write(&file, config).unwrap();
    broker.reload();
    broker.log_line(|line| line.message().starts_with("reloaded"));
    client.send(subscribe(2, &[("a", 1), ("b", 1)]));
    client.expect(suback(2, &[0x80, 1]));
    client.publish(&Publish::new("b", "1").qos(1, 1));
    client.take("1");
    client.publish(&Publish::new("a", "2").qos(1, 1));
    client.expect_nothing_but_pong();
}

/// A session belongs to the user who began it: whoever comes with its client id and another user name
/// gets a new one, and neither its subscriptions nor what waited.
#[test]
fn session_of_another_user_is_not_handed_over() {
    let (broker, mut admin) = ruled();
    let ann = Connect::new("meter").user("ann").password("any").persistent();
    let mut first = Wire::connect(&broker, &ann);
    first.subscribe("to/ann/+", 1);
    first.disconnect();
    admin.publish(&Publish::new("to/ann/1", "for ann alone").qos(1, 1));
    let bob = Connect::new("meter").user("bob").password("any").persistent();
    let mut second = Wire::connect(&broker, &bob);
    admin.publish(&Publish::new("to/ann/1", "still").qos(1, 2));
    second.expect_nothing_but_pong();
    second.disconnect();
    Wire::connect(&broker, &ann).expect_nothing_but_pong();
}
