//! Delivery retry (§4.4): what a persistent session was sent and has not acknowledged is sent again when
//! it comes back, and only then.

use crate::harness::packets::{puback, pubcomp, pubrec, pubrel};
use crate::harness::{Broker, Connect, Publish, Wire};

/// A broker, a persistent client `p` subscribed to `a` with QoS 2, and one that publishes.
fn pair(config: &str) -> (Broker, Wire, Wire) {
    let broker = Broker::with_config(config);
    let mut receiver = Wire::connect(&broker, &persistent());
    receiver.subscribe("a", 2);
    let sender = Wire::client(&broker, "sender");
    (broker, receiver, sender)
}

fn persistent() -> Connect {
    Connect::new("p").persistent()
}

/// [MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-2.3.1-3], [MQTT-4.6.0-1]: with the same ids, DUP set, in order.
#[test]
fn unacknowledged_messages_are_sent_again_in_order() {
    let (broker, mut receiver, mut sender) = pair("");
    for n in 0..6 {
        sender.publish(&Publish::new("a", n.to_string()).qos(1 + n % 2, 1));
    }
    let sent: Vec<Publish> = (0..6).map(|_| receiver.expect_publish()).collect();
    assert!(sent.iter().all(|publish| !publish.dup));
    receiver.cut();
    for _ in 0..3 {
        let mut again = Wire::resume(&broker, &persistent());
        for publish in &sent {
            assert_eq!(again.expect_publish(), publish.clone().dup());
        }
        again.expect_nothing_but_pong();
        again.cut();
    }
}

/// [MQTT-4.4.0-1], [MQTT-4.3.3-1]: after PUBREC it is PUBREL that is sent again, never the message.
#[test]
fn unacknowledged_pubrel_is_sent_again() {
    let (broker, mut receiver, mut sender) = pair("");
    for payload in ["1", "2", "3"] {
        sender.publish(&Publish::new("a", payload).qos(2, 1));
    }
    let sent: Vec<Publish> = (0..3).map(|_| receiver.expect_publish()).collect();
    receiver.send(pubrec(sent[1].id));
    receiver.expect(pubrel(sent[1].id));
    receiver.cut();
    let mut again = Wire::resume(&broker, &persistent());
    assert_eq!(again.expect_publish(), sent[0].clone().dup());
    again.expect(pubrel(sent[1].id));
    assert_eq!(again.expect_publish(), sent[2].clone().dup());
    again.send(pubcomp(sent[1].id));
    again.expect_nothing_but_pong();
    again.cut();
    let mut again = Wire::resume(&broker, &persistent());
    assert_eq!(again.expect_publish(), sent[0].clone().dup());
    assert_eq!(again.expect_publish(), sent[2].clone().dup());
    again.expect_nothing_but_pong();
}

/// [MQTT-4.3.2-1], [MQTT-4.3.3-1]: what was acknowledged is not sent again.
#[test]
fn acknowledged_messages_are_not_sent_again() {
    let (broker, mut receiver, mut sender) = pair("");
    for n in 0..4 {
        sender.publish(&Publish::new("a", n.to_string()).qos(1 + n % 2, 1));
    }
    let sent: Vec<Publish> = (0..4).map(|_| receiver.expect_publish()).collect();
    // Not in the order in which they came.
    receiver.acknowledge(&sent[3]);
    receiver.acknowledge(&sent[0]);
    receiver.expect_nothing_but_pong();
    receiver.cut();
    let mut again = Wire::resume(&broker, &persistent());
    for publish in &sent[1..3] {
        assert_eq!(again.expect_publish(), publish.clone().dup());
        again.acknowledge(publish);
    }
    again.expect_nothing_but_pong();
    again.cut();
    Wire::resume(&broker, &persistent()).expect_nothing_but_pong();
}

/// [MQTT-3.3.1-1]: what was never sent comes behind, without DUP, and under other ids.
#[test]
fn messages_sent_for_the_first_time_have_no_dup() {
    let (broker, mut receiver, mut sender) = pair("[limits]\ninflight_messages_max = 2");
    for n in 0..4 {
        sender.publish(&Publish::new("a", n.to_string()).qos(1, 1));
    }
    let sent = [receiver.expect_publish(), receiver.expect_publish()];
    receiver.expect_nothing_but_pong();
    receiver.cut();
    sender.publish(&Publish::new("a", "4").qos(1, 1));
    let mut again = Wire::resume(&broker, &persistent());
    for publish in &sent {
        assert_eq!(again.expect_publish(), publish.clone().dup());
    }
    again.expect_nothing_but_pong();
    again.send(sent.iter().flat_map(|publish| puback(publish.id)).collect::<Vec<_>>());
    for n in 2..5 {
        assert!(!again.take(&n.to_string()).dup);
    }
}

/// [MQTT-4.3.1-1]: QoS 0 is sent once; what a lost connection swallowed is gone.
#[test]
fn qos0_is_not_sent_again() {
    let (broker, mut receiver, mut sender) = pair("");
    sender.publish(&Publish::new("a", "1"));
    receiver.take("1");
    receiver.cut();
    Wire::resume(&broker, &persistent()).expect_nothing_but_pong();
}

/// [MQTT-3.1.2-6]: with a clean session nothing of it is left.
#[test]
fn clean_session_is_sent_nothing_again() {
    let (broker, mut receiver, mut sender) = pair("");
    for payload in ["1", "2"] {
        sender.publish(&Publish::new("a", payload).qos(2, 1));
    }
    let id = receiver.expect_publish().id;
    receiver.send(pubrec(id));
    receiver.cut();
    let mut clean = Wire::connect(&broker, &Connect::new("p"));
    clean.expect_nothing_but_pong();
    clean.disconnect();
    Wire::connect(&broker, &persistent()).expect_nothing_but_pong();
}

/// [MQTT-3.10.4-3]: what is in flight is finished though the subscription has gone.
#[test]
fn message_in_flight_outlives_its_subscription() {
    use crate::harness::packets::{unsuback, unsubscribe};
    let (broker, mut receiver, mut sender) = pair("");
    sender.publish(&Publish::new("a", "1").qos(2, 1));
    let publish = receiver.expect_publish();
    receiver.send(unsubscribe(1, &["a"]));
    receiver.expect(unsuback(1));
    receiver.cut();
    let mut again = Wire::resume(&broker, &persistent());
    assert_eq!(again.expect_publish(), publish.clone().dup());
    again.acknowledge(&publish);
    again.expect_nothing_but_pong();
}
