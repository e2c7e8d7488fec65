//! Clients of 3.1.1 and of MQTT 5 on the same broker: they share topics and, one after the other, a
//! session. What 3.1.1 has no place for is left out there, and is kept for MQTT 5.

use super::await_one_and_a_half_seconds;
use crate::harness::packets::{pubcomp, pubrec, pubrel};
use crate::harness::packets5::{
    CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, PAYLOAD_FORMAT, PUBCOMP, PUBREC, PUBREL, RESPONSE_TOPIC,
    SUBACK, SUBSCRIPTION_ID, TOPIC_ALIAS, With, ack5, subscribe5,
};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Wire};

fn new() -> Connect5 {
    Connect5::new("p").persistent(300)
}

fn old() -> Connect {
    Connect::new("p").persistent()
}

/// A message with all that a publisher may say of it and that does not change on its way.
fn rich(topic: &str, payload: &str) -> Publish5 {
    Publish5::new(topic, payload)
        .with(PAYLOAD_FORMAT, 1)
        .with(CONTENT_TYPE, "text/plain")
        .with(RESPONSE_TOPIC, "answers/here")
        .with(CORRELATION_DATA, [0, 1, 0xFF])
        .pair("name", "1")
        .pair("name", "2")
}

/// All that a publisher said is there.
#[track_caller]
fn assert_rich(publish: &Publish5) {
    let properties = &publish.properties;
    assert_eq!(properties.number(PAYLOAD_FORMAT), Some(1), "{publish:?}");
    assert_eq!(properties.text(CONTENT_TYPE).as_deref(), Some("text/plain"));
    assert_eq!(properties.text(RESPONSE_TOPIC).as_deref(), Some("answers/here"));
    assert_eq!(properties.data(CORRELATION_DATA).as_deref(), Some(&[0, 1, 0xFF][..]));
    assert_eq!(properties.pairs(), [("name", "1"), ("name", "2")].map(|(n, v)| (n.to_owned(), v.to_owned())));
}

/// Properties are left out for 3.1.1 and kept for MQTT 5, live and retained.
#[test]
fn properties_are_for_those_who_know_them() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let (mut old, mut new) = (Wire::client(&broker, "old"), Wire::client5(&broker, "new"));
    old.subscribe("a", 2);
    new.subscribe5("a", 2);
    for qos in 0..=2 {
        sender.publish5(&rich("a", "1").qos(qos, 1).retain());
        assert_eq!(old.take("1").qos, qos);
        assert_rich(&new.take5("1"));
    }
    old.subscribe("+", 1);
    assert!(old.take("1").retain);
    new.subscribe5("+", 1);
    assert_rich(&new.take5("1"));
}

/// What a client of 3.1.1 publishes has no properties.
#[test]
fn messages_of_old_clients_have_no_properties() {
    let broker = Broker::start();
    let mut sender = Wire::client(&broker, "sender");
    let mut new = Wire::client5(&broker, "new");
    new.subscribe5("a", 2);
    for qos in 0..=2 {
        sender.publish(&Publish::new("a", "1").qos(qos, 1).retain());
        let publish = new.take5("1");
        assert_eq!((publish.qos, publish.properties.ids()), (qos, vec![]));
    }
    new.subscribe5("+", 1);
    assert!(new.take5("1").properties.ids().is_empty());
}

/// A topic alias stands for a name that everybody gets whole.
#[test]
fn aliases_are_resolved_for_old_clients() {
    let broker = Broker::start();
    let mut old = Wire::client(&broker, "old");
    old.subscribe("a/#", 1);
    let mut sender = Wire::client5(&broker, "sender");
    for topic in ["a/b", ""] {
        sender.publish5(&Publish5::new(topic, "1").qos(1, 1).with(TOPIC_ALIAS, 1));
        assert_eq!(old.take("1").topic(), "a/b");
    }
}

/// A will with properties reaches both.
#[test]
fn wills_reach_both() {
    let broker = Broker::start();
    let (mut old, mut new) = (Wire::client(&broker, "old"), Wire::client5(&broker, "new"));
    old.subscribe("w", 1);
    new.subscribe5("w", 1);
    Wire::connect5(&broker, &Connect5::new("mortal").will(rich("w", "gone").qos(1, 0))).cut();
    old.take("gone");
    assert_rich(&new.take5("gone"));
    Wire::connect(&broker, &Connect::new("mortal").will(Publish::new("w", "gone").qos(1, 0))).cut();
    old.take("gone");
    assert!(new.take5("gone").properties.ids().is_empty());
}

/// A session that MQTT 5 began is resumed with 3.1.1, and back: its subscriptions are kept with what
/// belongs to them.
#[test]
fn subscriptions_are_kept_across_versions() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut client = Wire::connect5(&broker, &new());
    // No local, retain as published.
    client.send(subscribe5(1, &[("a", 2 | 0x0C)]).with(SUBSCRIPTION_ID, 5).bytes());
    client.expect_reason(SUBACK, 1, 2);
    client.disconnect5(0);
    let mut client = Wire::resume(&broker, &old());
    sender.publish5(&rich("a", "1").qos(2, 1));
    assert_eq!(client.take("1").qos, 2);
    client.subscribe("b", 1);
    client.disconnect();
    let mut client = Wire::resume5(&broker, &new());
    sender.publish5(&rich("a", "2").qos(2, 1).retain());
    let publish = client.take5("2");
    assert_eq!((publish.retain, publish.properties.subscription_ids()), (true, vec![5]));
    client.publish5(&Publish5::new("a", "own").qos(1, 1));
    client.publish5(&Publish5::new("b", "own").qos(1, 1));
    assert_eq!(client.take5("own").topic(), "b");
    client.expect_nothing_but_pong();
}

/// A session that 3.1.1 began is resumed with MQTT 5, and back.
#[test]
fn session_of_an_old_client_is_resumed_with_mqtt_5() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut client = Wire::connect(&broker, &old());
    client.subscribe("a", 1);
    client.disconnect();
    sender.publish5(&rich("a", "1").qos(1, 1));
    let mut client = Wire::resume5(&broker, &new());
    assert_rich(&client.take5("1"));
    client.disconnect5(0);
    sender.publish5(&rich("a", "2").qos(1, 1));
    let mut client = Wire::resume(&broker, &old());
    client.take("2");
    client.expect_nothing_but_pong();
}

/// What waits keeps its properties, whoever fetches the first part of it.
#[test]
fn queue_is_kept_across_versions() {
    let broker = Broker::with_config("[limits]\ninflight_messages_max = 1");
    let mut sender = Wire::client5(&broker, "sender");
    let mut client = Wire::connect5(&broker, &new());
    client.subscribe5("a", 2);
    client.disconnect5(0);
    for payload in ["1", "2", "3"] {
        sender.publish5(&rich("a", payload).qos(2, 1));
    }
    let mut client = Wire::resume(&broker, &old());
    client.take("1");
    let second = client.expect_publish();
    assert!(second.text() == "2" && !second.dup, "{second:?}");
    client.cut();
    // What was sent to the one is sent again to the other, with the same id.
    let mut client = Wire::resume5(&broker, &new());
    let again = client.expect_publish5();
    assert!(again.dup && again.id == second.id && again.text() == "2", "{again:?}");
    assert_rich(&again);
    client.acknowledge5(&again);
    assert_rich(&client.take5("3"));
    client.expect_nothing_but_pong();
}

/// A delivery of QoS 2 that was begun in one version is finished in the other.
#[test]
fn qos2_delivery_is_finished_across_versions() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut client = Wire::connect5(&broker, &new());
    client.subscribe5("a", 2);
    for payload in ["1", "2"] {
        sender.publish5(&rich("a", payload).qos(2, 1));
    }
    let sent = [client.expect_publish5(), client.expect_publish5()];
    client.send(ack5(PUBREC, sent[0].id, 0).bytes());
    client.expect_reason(PUBREL, sent[0].id, 0);
    client.cut();
    let mut client = Wire::resume(&broker, &old());
    client.expect(pubrel(sent[0].id));
    client.expect(Publish::new("a", "2").qos(2, sent[1].id).dup().bytes());
    client.send(pubrec(sent[1].id));
    client.expect(pubrel(sent[1].id));
    client.send(pubcomp(sent[1].id));
    client.expect_nothing_but_pong();
    client.cut();
    let mut client = Wire::resume5(&broker, &new());
    client.expect_reason(PUBREL, sent[0].id, 0);
    client.send(ack5(PUBCOMP, sent[0].id, 0).bytes());
    client.expect_nothing_but_pong();
}

/// A publish of QoS 2 that was begun in one version is finished in the other, and delivered once.
#[test]
fn qos2_publish_is_finished_across_versions() {
    let broker = Broker::start();
    let mut receiver = Wire::client5(&broker, "receiver");
    receiver.subscribe5("a", 2);
    let mut sender = Wire::connect5(&broker, &new());
    sender.send(Publish5::new("a", "1").qos(2, 7).bytes());
    sender.expect_reason(PUBREC, 7, 0);
    sender.cut();
    let mut sender = Wire::resume(&broker, &old());
    sender.send(Publish::new("a", "1").qos(2, 7).dup().bytes());
    sender.expect(pubrec(7));
    sender.cut();
    let mut sender = Wire::resume5(&broker, &new());
    sender.send(ack5(PUBREL, 7, 0).bytes());
    sender.expect_reason(PUBCOMP, 7, 0);
    receiver.take5("1");
    receiver.expect_nothing_but_pong();
}

/// A clean session of the one throws away what the other left, and each takes over from the other.
#[test]
fn clean_start_and_take_over_work_across_versions() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut client = Wire::connect5(&broker, &new());
    client.subscribe5("a", 1);
    let mut clean = Wire::connect(&broker, &Connect::new("p"));
    client.expect_disconnect(0x8E);
    sender.publish5(&Publish5::new("a", "1").qos(1, 1));
    clean.expect_nothing_but_pong();
    let mut kept = Wire::connect5(&broker, &new());
    clean.expect_closed();
    kept.expect_nothing_but_pong();
    kept.disconnect5(0);
    let mut client = Wire::resume(&broker, &old());
    client.subscribe("a", 1);
    client.disconnect();
    let mut clean = Wire::connect5(&broker, &Connect5::new("p"));
    sender.publish5(&Publish5::new("a", "2").qos(1, 1));
    clean.expect_nothing_but_pong();
}

/// §3.3.2.3.3: a message whose time is over is not delivered to a client of 3.1.1 either.
#[test]
fn expired_message_is_not_delivered_to_old_clients() {
    let broker = Broker::start();
    let mut client = Wire::connect(&broker, &old());
    client.subscribe("a", 1);
    client.disconnect();
    let mut sender = Wire::client5(&broker, "sender");
    for (payload, seconds) in [("1", 1), ("2", 300)] {
        sender.publish5(&Publish5::new("a", payload).qos(1, 1).with(MESSAGE_EXPIRY, seconds));
    }
    await_one_and_a_half_seconds(&broker);
    let mut client = Wire::resume(&broker, &old());
    client.take("2");
    client.expect_nothing_but_pong();
}
