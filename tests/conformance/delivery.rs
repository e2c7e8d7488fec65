//! QoS on the way out (§4.3, §4.6): what a subscriber gets, under which ids, in which order.

use crate::harness::packets::{PINGREQ, PINGRESP, puback, pubcomp, pubrec, pubrel};
use crate::harness::{Broker, Publish, Wire};
use std::collections::BTreeSet;

/// A broker, a client subscribed to `a` with QoS 2, and one that publishes.
fn pair(config: &str) -> (Broker, Wire, Wire) {
    let broker = Broker::with_config(config);
    let mut receiver = Wire::client(&broker, "receiver");
    receiver.subscribe("a", 2);
    let sender = Wire::client(&broker, "sender");
    (broker, receiver, sender)
}

/// [MQTT-3.8.4-6]: the smaller of the message's QoS and the subscription's.
#[test]
fn delivery_has_the_smaller_qos() {
    let broker = Broker::start();
    let mut sender = Wire::client(&broker, "sender");
    for granted in 0..=2 {
        let mut receiver = Wire::client(&broker, "receiver");
        receiver.subscribe("a", granted);
        for sent in 0..=2 {
            sender.publish(&Publish::new("a", "1").qos(sent, 1));
            assert_eq!(receiver.take("1").qos, sent.min(granted), "sent {sent}, granted {granted}");
        }
    }
}

/// [MQTT-4.3.2-1], [MQTT-2.3.1-4]: QoS 1 goes out with an id and DUP 0, and PUBACK ends it.
#[test]
fn qos1_delivery_has_an_id_and_no_dup() {
    let (_broker, mut receiver, mut sender) = pair("");
    sender.publish(&Publish::new("a", "1").qos(1, 500));
    let publish = receiver.expect_publish();
    assert!(publish.qos == 1 && publish.id != 0 && !publish.dup && !publish.retain, "{publish:?}");
    receiver.send(puback(publish.id));
    receiver.expect_nothing_but_pong();
}

/// [MQTT-4.3.3-1], [MQTT-2.3.1-6]: QoS 2 goes out with an id and DUP 0; PUBREC is answered with PUBREL.
#[test]
fn qos2_delivery_takes_four_packets() {
    let (_broker, mut receiver, mut sender) = pair("");
    sender.publish(&Publish::new("a", "1").qos(2, 500));
    let publish = receiver.expect_publish();
    assert!(publish.qos == 2 && publish.id != 0 && !publish.dup && !publish.retain, "{publish:?}");
    receiver.expect_nothing_but_pong();
    receiver.send(pubrec(publish.id));
    receiver.expect(pubrel(publish.id));
    receiver.expect_nothing_but_pong();
    receiver.send(pubcomp(publish.id));
    receiver.expect_nothing_but_pong();
}

/// [MQTT-4.3.3-1]: a PUBREC that comes again is answered again.
#[test]
fn pubrec_is_always_answered() {
    let (_broker, mut receiver, mut sender) = pair("");
    sender.publish(&Publish::new("a", "1").qos(2, 1));
    let id = receiver.expect_publish().id;
    for _ in 0..2 {
        receiver.send(pubrec(id));
        receiver.expect(pubrel(id));
    }
    receiver.send(pubcomp(id));
    receiver.send(pubrec(id));
    receiver.expect(pubrel(id));
}

/// [MQTT-4.6.0-4]: PUBRELs come in the order of the PUBRECs.
#[test]
fn pubrels_come_in_the_order_of_pubrecs() {
    let (_broker, mut receiver, mut sender) = pair("");
    let mut ids = Vec::new();
    for n in 0..50 {
        sender.publish(&Publish::new("a", n.to_string()).qos(2, 1));
        ids.push(receiver.expect_publish().id);
    }
    receiver.send(ids.iter().flat_map(|id| pubrec(*id)).collect::<Vec<_>>());
    for id in ids {
        receiver.expect(pubrel(id));
    }
}

/// §4.4: no more than `limits.inflight_messages_max` are unacknowledged; the rest waits.
#[test]
fn no_more_than_the_window_is_in_flight() {
    let (_broker, mut receiver, mut sender) = pair("[limits]\ninflight_messages_max = 5");
    for n in 0..20 {
        sender.publish(&Publish::new("a", n.to_string()).qos(1 + n % 2, 1));
    }
    let mut in_flight: Vec<Publish> = (0..5).map(|_| receiver.expect_publish()).collect();
    receiver.expect_nothing_but_pong();
    for n in 5..20 {
        receiver.acknowledge(&in_flight.remove(0));
        in_flight.push(receiver.expect_publish());
        assert_eq!(in_flight.last().unwrap().text(), n.to_string());
        receiver.expect_nothing_but_pong();
    }
}

/// §4.3.3: of a QoS 2 message PUBREC alone does not make room in the window.
#[test]
fn qos2_message_is_in_flight_until_pubcomp() {
    let (_broker, mut receiver, mut sender) = pair("[limits]\ninflight_messages_max = 1");
    for payload in ["1", "2"] {
        sender.publish(&Publish::new("a", payload).qos(2, 1));
    }
    let id = receiver.expect_publish().id;
    receiver.send(pubrec(id));
    receiver.expect(pubrel(id));
    receiver.expect_nothing_but_pong();
    receiver.send(pubcomp(id));
    receiver.take("2");
}

/// QoS 0 does not wait for the window of QoS 1 and 2, unless it stands behind one that does.
#[test]
fn full_window_keeps_the_order() {
    let (_broker, mut receiver, mut sender) = pair("[limits]\ninflight_messages_max = 1");
    for (payload, qos) in [("1", 1), ("2", 1), ("3", 0)] {
        sender.publish(&Publish::new("a", payload).qos(qos, 1));
    }
    let first = receiver.expect_publish();
    receiver.expect_nothing_but_pong();
    receiver.acknowledge(&first);
    receiver.take("2");
    receiver.take("3");
}

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6]: messages of one topic arrive in the order in which they came.
#[test]
fn order_of_a_topic_is_kept() {
    let (broker, mut receiver, mut sender) = pair("[limits]\ninflight_messages_max = 7");
    let mut tls = Wire::client_tls(&broker, "tls");
    tls.subscribe("+", 1);
    for qos in 0..=2 {
        let publishes = (0..300).map(|n: u16| Publish::new("a", n.to_string()).qos(qos, 1 + n).bytes());
        sender.send(publishes.collect::<Vec<_>>().concat());
        for n in 0..300 {
            receiver.take(&n.to_string());
            tls.take(&n.to_string());
        }
    }
}

/// [MQTT-2.3.1-2], [MQTT-2.3.1-4]: an id in flight is given to no other message, though all the
/// others have been through.
#[test]
fn id_in_flight_is_not_given_twice() {
    const ALL_IDS: u16 = u16::MAX;
    let (_broker, mut receiver, mut sender) = pair("[limits]\ninflight_messages_max = 1000");
    sender.publish(&Publish::new("a", "held").qos(1, 1));
    let held = receiver.expect_publish();
    let mut seen = BTreeSet::from([held.id]);
    let mut sent = 1;
    while sent < ALL_IDS {
        let batch = (ALL_IDS - sent).min(900);
        let publishes = (1..=batch).map(|n| Publish::new("a", "x").qos(1, n).bytes());
        sender.send(publishes.collect::<Vec<_>>().concat());
        for n in 1..=batch {
            sender.expect(puback(n));
        }
        let ids: Vec<u16> = (0..batch).map(|_| receiver.expect_publish().id).collect();
        assert!(!ids.contains(&held.id), "after {sent} messages");
        receiver.send(ids.iter().flat_map(|id| puback(*id)).collect::<Vec<_>>());
        seen.extend(ids);
        sent += batch;
    }
    // However ids are chosen: those that come now have been used before, and none is the held one.
    for n in 1..=10 {
        sender.publish(&Publish::new("a", "y").qos(1, n));
    }
    let mut late = 0;
    for _ in 0..2 {
        receiver.send(PINGREQ);
        while let packet = receiver.receive()
            && packet != PINGRESP
        {
            let publish = Publish::parse(&packet).unwrap();
            assert_ne!(publish.id, held.id);
            receiver.acknowledge(&publish);
            late += 1;
        }
    }
    receiver.acknowledge(&held);
    for _ in late..10 {
        receiver.take("y");
    }
}

/// §4.3: each subscriber has ids of its own, and one that does not acknowledge holds up no other.
#[test]
fn subscribers_do_not_wait_for_each_other() {
    let (broker, _stuck, mut sender) = pair("[limits]\ninflight_messages_max = 1");
    let mut other = Wire::client(&broker, "other");
    other.subscribe("a", 1);
    for n in 0..100 {
        sender.publish(&Publish::new("a", n.to_string()).qos(1, 1));
        other.take(&n.to_string());
    }
}
