//! Retained messages (§3.3.1.3): kept, replaced, cleared, and told from live ones.

use crate::harness::packets::{suback, subscribe};
use crate::harness::{Broker, Connect, Publish, Wire};

/// A broker and a client that publishes.
fn sender() -> (Broker, Wire) {
    let broker = Broker::start();
    let sender = Wire::client(&broker, "sender");
    (broker, sender)
}

/// What a new subscription is sent at once: topic, payload, QoS.
fn retained(broker: &Broker, filter: &str, qos: u8) -> Vec<(String, String, u8)> {
    let mut wire = Wire::client(broker, "");
    wire.send(subscribe(1, &[(filter, qos), ("end", 0)]));
    wire.expect(suback(1, &[qos, 0]));
    // Behind the messages of the first filter come those of the second: the test's mark.
    let mut found = Vec::new();
    loop {
        let publish = wire.expect_publish();
        assert!(publish.retain, "{publish:?}");
        wire.acknowledge(&publish);
        if publish.topic() == "end" {
            return found;
        }
        found.push((publish.topic().to_owned(), publish.text().to_owned(), publish.qos));
    }
}

fn end_mark(sender: &mut Wire) {
    sender.publish(&Publish::new("end", "end").qos(1, 1).retain());
}

/// [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-8]: kept, and sent to a new subscription with RETAIN 1.
#[test]
fn retained_message_is_sent_to_new_subscriptions() {
    let (broker, mut sender) = sender();
    end_mark(&mut sender);
    for (topic, qos) in [("a/0", 0), ("a/1", 1), ("a/2", 2)] {
        sender.publish(&Publish::new(topic, topic).qos(qos, 1).retain());
    }
    let all = |max: u8| -> Vec<_> {
        ["a/0", "a/1", "a/2"].iter().zip(0..).map(|(t, q)| ((*t).into(), (*t).into(), max.min(q))).collect()
    };
    for granted in 0..=2 {
        assert_eq!(retained(&broker, "a/+", granted), all(granted));
        assert_eq!(retained(&broker, "a/1", granted), all(granted)[1..2]);
    }
    assert!(retained(&broker, "b", 2).is_empty());
}

/// [MQTT-3.3.1-9]: who is subscribed already gets the same message with RETAIN 0.
#[test]
fn live_message_has_retain_0() {
    let (broker, mut sender) = sender();
    let mut receiver = Wire::client(&broker, "receiver");
    receiver.subscribe("a", 2);
    for qos in 0..=2 {
        sender.publish(&Publish::new("a", "1").qos(qos, 1).retain());
        assert!(!receiver.take("1").retain);
    }
    receiver.expect_nothing_but_pong();
}

/// [MQTT-3.3.1-5], [MQTT-3.3.1-7]: the next one replaces it, whatever its QoS.
#[test]
fn retained_message_is_replaced() {
    let (broker, mut sender) = sender();
    end_mark(&mut sender);
    for (payload, qos) in [("1", 2), ("2", 0), ("3", 1), ("4", 0)] {
        sender.publish(&Publish::new("a", payload).qos(qos, 1).retain());
        assert_eq!(retained(&broker, "a", 2), [("a".into(), payload.into(), qos)]);
    }
}

/// [MQTT-3.3.1-10], [MQTT-3.3.1-11]: an empty payload clears it, and is delivered like any message.
#[test]
fn empty_payload_clears_the_retained_message() {
    let (broker, mut sender) = sender();
    end_mark(&mut sender);
    let mut receiver = Wire::client(&broker, "receiver");
    receiver.subscribe("a", 1);
    for qos in 0..=2 {
        sender.publish(&Publish::new("a", "1").qos(1, 1).retain());
        sender.publish(&Publish::new("a", "").qos(qos, 1).retain());
        receiver.take("1");
        assert!(!receiver.take("").retain);
        assert!(retained(&broker, "a", 2).is_empty());
    }
}

/// [MQTT-3.3.1-12]: without RETAIN nothing is kept, replaced or cleared.
#[test]
fn message_without_retain_leaves_the_retained_one() {
    let (broker, mut sender) = sender();
    end_mark(&mut sender);
    sender.publish(&Publish::new("a", "1").qos(1, 1));
    assert!(retained(&broker, "a", 2).is_empty());
    sender.publish(&Publish::new("a", "2").qos(1, 1).retain());
    for payload in ["3", ""] {
        sender.publish(&Publish::new("a", payload).qos(1, 1));
        assert_eq!(retained(&broker, "a", 2), [("a".into(), "2".into(), 1)]);
    }
}

/// [MQTT-3.1.2-7]: retained messages belong to no session.
#[test]
fn retained_message_outlives_its_publisher() {
    let (broker, mut sender) = sender();
    end_mark(&mut sender);
    let mut clean = Wire::client(&broker, "clean");
    clean.publish(&Publish::new("a", "1").retain());
    clean.disconnect();
    let mut lost = Wire::connect(&broker, &Connect::new("persistent").persistent());
    lost.publish(&Publish::new("b", "2").retain());
    lost.cut();
    Wire::client(&broker, "persistent").disconnect();
    assert_eq!(retained(&broker, "a", 0).len(), 1);
    assert_eq!(retained(&broker, "b", 0).len(), 1);
}

/// [MQTT-3.8.4-3]: subscribing again sends them again.
#[test]
fn resubscribing_sends_retained_messages_again() {
    let (broker, mut sender) = sender();
    sender.publish(&Publish::new("a", "1").qos(1, 1).retain());
    let mut receiver = Wire::client(&broker, "receiver");
    for qos in [0, 1, 1, 0] {
        receiver.subscribe("a", qos);
        let publish = receiver.take("1");
        assert!(publish.retain && publish.qos == qos, "{publish:?}");
    }
    receiver.expect_nothing_but_pong();
}

/// §3.3.1.3: a session that comes back has no new subscription, and is sent none.
#[test]
fn resuming_a_session_sends_no_retained_messages() {
    let (broker, mut sender) = sender();
    sender.publish(&Publish::new("a", "1").qos(1, 1).retain());
    let connect = Connect::new("p").persistent();
    let mut receiver = Wire::connect(&broker, &connect);
    receiver.subscribe("a", 1);
    receiver.take("1");
    receiver.disconnect();
    Wire::resume(&broker, &connect).expect_nothing_but_pong();
}

/// [MQTT-3.8.4-4]: each filter of a SUBSCRIBE has its own.
#[test]
fn each_filter_is_sent_what_it_matches() {
    let (broker, mut sender) = sender();
    for topic in ["a", "b", "c"] {
        sender.publish(&Publish::new(topic, topic).qos(1, 1).retain());
    }
    let mut receiver = Wire::client(&broker, "receiver");
    receiver.send(subscribe(1, &[("b", 1), ("a", 0)]));
    receiver.expect(suback(1, &[1, 0]));
    assert_eq!(receiver.take("b").qos, 1);
    assert_eq!(receiver.take("a").qos, 0);
    receiver.expect_nothing_but_pong();
}

/// [MQTT-3.3.1-6]: all that match are sent, however many.
#[test]
fn thousands_of_retained_messages_are_sent() {
    let (broker, mut sender) = sender();
    for n in 0..3000 {
        sender.send(Publish::new(format!("t/{n:04}"), n.to_string()).retain().bytes());
    }
    end_mark(&mut sender);
    let found = retained(&broker, "t/#", 1);
    let topics: Vec<_> = found.iter().map(|(topic, ..)| topic.clone()).collect();
    assert_eq!(topics, (0..3000).map(|n| format!("t/{n:04}")).collect::<Vec<_>>());
}

/// `limits.retained_messages_max`: one more is delivered and not kept.
#[test]
fn retained_messages_are_bounded() {
    let broker = Broker::with_config("[limits]\nretained_messages_max = 2\n[telemetry]\nsys_interval_s = 0");
    let mut sender = Wire::client(&broker, "sender");
    let mut receiver = Wire::client(&broker, "receiver");
    receiver.subscribe("x", 0);
    end_mark(&mut sender);
    for topic in ["a", "x"] {
        sender.publish(&Publish::new(topic, "1").qos(1, 1).retain());
    }
    receiver.take("1");
    assert!(retained(&broker, "x", 0).is_empty());
    assert_eq!(retained(&broker, "a", 0).len(), 1);
}
