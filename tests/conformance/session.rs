//! Sessions (§3.1.2.4, §3.2.2.2, §4.1): what is kept, what is thrown away, and what CONNACK says of it.

use crate::harness::packets::pubrec;
use crate::harness::{Broker, Connect, Publish, Wire};

fn persistent() -> Connect {
    Connect::new("p").persistent()
}

/// [MQTT-3.2.2-2], [MQTT-3.2.2-3]: session present is 0 the first time and 1 from then on.
#[test]
fn session_present_says_whether_a_session_was_kept() {
    let broker = Broker::start();
    Wire::connect(&broker, &persistent()).disconnect();
    Wire::resume(&broker, &persistent()).cut();
    Wire::resume(&broker, &persistent()).disconnect();
    Wire::connect(&broker, &Connect::new("other").persistent());
}

/// [MQTT-3.2.2-1], [MQTT-3.1.4-3]: with clean session 1 it is 0, whatever was kept.
#[test]
fn clean_session_has_no_session_present() {
    let broker = Broker::start();
    Wire::connect(&broker, &persistent()).disconnect();
    Wire::connect(&broker, &Connect::new("p")).disconnect();
    Wire::connect(&broker, &Connect::new("p")).disconnect();
}

/// [MQTT-3.1.2-6]: clean session 1 throws away what was there, and leaves nothing behind.
#[test]
fn clean_session_discards_and_leaves_nothing() {
    let broker = Broker::start();
    let mut sender = Wire::client(&broker, "sender");
    let mut first = Wire::connect(&broker, &persistent());
    first.subscribe("a", 1);
    first.disconnect();
    let mut clean = Wire::connect(&broker, &Connect::new("p"));
    sender.publish(&Publish::new("a", "1").qos(1, 1));
    clean.expect_nothing_but_pong();
    clean.subscribe("b", 1);
    clean.disconnect();
    let mut last = Wire::connect(&broker, &persistent());
    for topic in ["a", "b"] {
        sender.publish(&Publish::new(topic, "2").qos(1, 1));
    }
    last.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-4], [MQTT-4.1.0-1]: subscriptions are kept, with their QoS.
#[test]
fn persistent_session_keeps_its_subscriptions() {
    let broker = Broker::start();
    let mut client = Wire::connect(&broker, &persistent());
    for (filter, qos) in [("a/+", 0), ("b", 1), ("c/#", 2), ("gone", 2)] {
        client.subscribe(filter, qos);
    }
    client.send(crate::harness::packets::unsubscribe(1, &["gone"]));
    client.expect(crate::harness::packets::unsuback(1));
    client.disconnect();
    let mut client = Wire::resume(&broker, &persistent());
    let mut sender = Wire::client(&broker, "sender");
    for topic in ["a/x", "b", "c/x/y", "gone", "d"] {
        sender.publish(&Publish::new(topic, topic).qos(2, 1));
    }
    for (topic, qos) in [("a/x", 0), ("b", 1), ("c/x/y", 2)] {
        assert_eq!(client.take(topic).qos, qos);
    }
    client.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-5]: messages are kept over the end of the connection, however it came.
#[test]
fn persistent_session_keeps_messages_after_any_end() {
    let broker = Broker::start();
    let mut sender = Wire::client(&broker, "sender");
    let mut client = Wire::connect(&broker, &persistent());
    client.subscribe("a", 2);
    client.disconnect();
    sender.publish(&Publish::new("a", "after disconnect").qos(1, 1));
    let mut client = Wire::resume(&broker, &persistent());
    client.take("after disconnect");
    client.cut();
    sender.publish(&Publish::new("a", "after cut").qos(2, 1));
    let mut client = Wire::resume(&broker, &persistent());
    client.take("after cut");
    client.send([0xFF, 0]);
    client.expect_closed();
    sender.publish(&Publish::new("a", "after a breach").qos(1, 1));
    Wire::resume(&broker, &persistent()).take("after a breach");
}

/// [MQTT-4.1.0-2]: a clean session lasts as long as its connection.
#[test]
fn clean_session_lasts_as_long_as_its_connection() {
    let broker = Broker::with_config("[mqtt]\nsession_expiry_max_s = 1");
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a", 2);
    client.send(Publish::new("a", "1").qos(2, 7).bytes());
    client.expect_answer(pubrec(7));
    client.take("1");
    // A parked session expires meanwhile.
    Wire::connect(&broker, &Connect::new("other").persistent()).disconnect();
    broker.log_line(|line| line.contains("session expired"));
    client.send(Publish::new("a", "1").qos(2, 7).dup().bytes());
    client.expect_answer(pubrec(7));
    client.expect_nothing_but_pong();
    client.publish(&Publish::new("a", "2").qos(1, 1));
    client.take("2");
}

/// `mqtt.session_expiry_max_s`: an abandoned session is forgotten.
#[test]
fn abandoned_session_expires() {
    let broker = Broker::with_config("[mqtt]\nsession_expiry_max_s = 1");
    let mut client = Wire::connect(&broker, &persistent());
    client.subscribe("a", 1);
    client.disconnect();
    Wire::client(&broker, "sender").publish(&Publish::new("a", "1").qos(1, 1));
    let line = broker.log_line(|line| line.contains("session expired"));
    assert_eq!(line.field("client"), Some("p"));
    let mut client = Wire::connect(&broker, &persistent());
    client.expect_nothing_but_pong();
    client.disconnect();
    broker.log().nth_line(1, |line| line.contains("session expired"));
}

/// `mqtt.session_expiry_max_s`: a session in use does not expire, and its time begins anew each time.
#[test]
fn session_in_use_does_not_expire() {
    let broker = Broker::with_config("[mqtt]\nsession_expiry_max_s = 1");
    let mut client = Wire::connect(&broker, &persistent());
    client.subscribe("a", 1);
    client.disconnect();
    let mut client = Wire::resume(&broker, &persistent());
    Wire::connect(&broker, &Connect::new("other").persistent()).disconnect();
    broker.log_line(|line| line.contains("session expired") && line.field("client") == Some("other"));
    client.publish(&Publish::new("a", "1").qos(1, 1));
    client.take("1");
    client.disconnect();
    Wire::resume(&broker, &persistent());
}
