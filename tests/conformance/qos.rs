//! QoS on the way in (§4.3): what a client sends is acknowledged as it asks, and QoS 2 counts once.

use super::assert_breach;
use crate::harness::packets::{self, puback, pubcomp, pubrec, pubrel};
use crate::harness::{Broker, Connect, Publish, Wire};

/// A broker, a client subscribed to `a` with QoS 2, and one that publishes.
fn pair() -> (Broker, Wire, Wire) {
    let broker = Broker::start();
    let mut receiver = Wire::client(&broker, "receiver");
    receiver.subscribe("a", 2);
    let sender = Wire::client(&broker, "sender");
    (broker, receiver, sender)
}

/// [MQTT-3.3.4-1], [MQTT-4.3.1-1]: QoS 0 is not answered.
#[test]
fn qos0_publish_is_not_answered() {
    let (_broker, mut receiver, mut sender) = pair();
    sender.send(Publish::new("a", "1").bytes());
    sender.expect_nothing_but_pong();
    receiver.expect([0x30, 4, 0, 1, b'a', b'1']);
}

/// [MQTT-3.3.4-1], [MQTT-4.3.2-2], [MQTT-2.3.1-6]: QoS 1 is answered with PUBACK and the same id.
#[test]
fn qos1_publish_is_answered_with_its_id() {
    let (_broker, mut receiver, mut sender) = pair();
    for id in [1, 2, 0x1234, 65_535] {
        sender.send(Publish::new("a", "1").qos(1, id).bytes());
        sender.expect(puback(id));
        receiver.take("1");
    }
    sender.expect_nothing_but_pong();
}

/// [MQTT-4.3.2-2]: after PUBACK the same id is a new message, whatever its DUP.
#[test]
fn qos1_id_is_free_after_puback() {
    let (_broker, mut receiver, mut sender) = pair();
    sender.publish(&Publish::new("a", "1").qos(1, 7));
    sender.publish(&Publish::new("a", "2").qos(1, 7).dup());
    receiver.take("1");
    receiver.take("2");
}

/// [MQTT-3.3.4-1], [MQTT-4.3.3-2], [MQTT-2.3.1-6]: PUBREC and PUBCOMP with the same id.
#[test]
fn qos2_publish_is_answered_in_two_steps_with_its_id() {
    let (_broker, mut receiver, mut sender) = pair();
    for id in [1, 0x1234, 65_535] {
        sender.send(Publish::new("a", "1").qos(2, id).bytes());
        sender.expect(pubrec(id));
        sender.expect_nothing_but_pong();
        sender.send(pubrel(id));
        sender.expect(pubcomp(id));
        receiver.take("1");
        receiver.expect_nothing_but_pong();
    }
}

/// [MQTT-4.3.3-2]: until PUBREL the same id is the same message, answered and not delivered again.
#[test]
fn qos2_duplicate_is_delivered_once() {
    let (_broker, mut receiver, mut sender) = pair();
    let publish = Publish::new("a", "1").qos(2, 7);
    for again in [publish.clone(), publish.clone().dup(), publish] {
        sender.send(again.bytes());
        sender.expect(pubrec(7));
    }
    sender.send(pubrel(7));
    sender.expect(pubcomp(7));
    receiver.take("1");
    receiver.expect_nothing_but_pong();
}

/// [MQTT-4.3.3-2]: after PUBREL the same id is a new message.
#[test]
fn qos2_id_is_free_after_pubrel() {
    let (_broker, mut receiver, mut sender) = pair();
    for payload in ["1", "2"] {
        sender.publish(&Publish::new("a", payload).qos(2, 7));
        receiver.take(payload);
    }
}

/// [MQTT-4.3.3-2]: a PUBREL that comes again is answered again.
#[test]
fn pubrel_is_always_answered() {
    let (_broker, mut receiver, mut sender) = pair();
    sender.publish(&Publish::new("a", "1").qos(2, 7));
    for id in [7, 8] {
        sender.send(pubrel(id));
        sender.expect(pubcomp(id));
    }
    receiver.take("1");
    receiver.expect_nothing_but_pong();
}

/// [MQTT-4.3.3-2], [MQTT-4.1.0-1]: a QoS 2 message counts once over the end of a connection too.
#[test]
fn qos2_duplicate_after_reconnect_is_delivered_once() {
    let (broker, mut receiver, _) = pair();
    let connect = Connect::new("persistent").persistent();
    let mut sender = Wire::connect(&broker, &connect);
    sender.send(Publish::new("a", "1").qos(2, 7).bytes());
    sender.expect(pubrec(7));
    sender.cut();
    let mut sender = Wire::resume(&broker, &connect);
    sender.send(Publish::new("a", "1").qos(2, 7).dup().bytes());
    sender.expect(pubrec(7));
    sender.cut();
    let mut sender = Wire::resume(&broker, &connect);
    sender.send(pubrel(7));
    sender.expect(pubcomp(7));
    receiver.take("1");
    receiver.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-6]: ids of QoS 2 are forgotten with a clean session.
#[test]
fn qos2_id_is_free_after_a_clean_session() {
    let (broker, mut receiver, mut sender) = pair();
    sender.send(Publish::new("a", "1").qos(2, 7).bytes());
    sender.expect(pubrec(7));
    sender.cut();
    let mut sender = Wire::client(&broker, "sender");
    sender.publish(&Publish::new("a", "2").qos(2, 7));
    receiver.take("1");
    receiver.take("2");
}

/// [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.3.3-2]: answers come in the order of what they answer.
#[test]
fn answers_come_in_order() {
    let (_broker, _receiver, mut sender) = pair();
    let ids: Vec<u16> = (1..=200).map(|n| n * 37 % 1009).collect();
    let publishes = ids.iter().map(|id| Publish::new("b", "1").qos(1 + (id % 2) as u8, *id).bytes());
    sender.send(publishes.collect::<Vec<_>>().concat());
    for id in &ids {
        sender.expect(if id % 2 == 0 { puback(*id) } else { pubrec(*id) });
    }
    let odd: Vec<u16> = ids.iter().copied().filter(|id| id % 2 == 1).collect();
    sender.send(odd.iter().flat_map(|id| pubrel(*id)).collect::<Vec<_>>());
    for id in odd {
        sender.expect(pubcomp(id));
    }
}

/// [MQTT-4.5.0-1]: an acknowledgement says that the message has been handed to whoever listens.
#[test]
fn acknowledged_message_is_in_the_sessions_that_match() {
    let broker = Broker::start();
    let connect = Connect::new("away").persistent();
    let mut away = Wire::connect(&broker, &connect);
    away.subscribe("a", 2);
    away.disconnect();
    let mut sender = Wire::client(&broker, "sender");
    for (n, qos) in [1, 2].into_iter().enumerate() {
        sender.publish(&Publish::new("a", n.to_string()).qos(qos, 1));
    }
    sender.cut();
    let mut away = Wire::resume(&broker, &connect);
    away.take("0");
    away.take("1");
}

/// §4.3: an acknowledgement of something that was never sent does no harm.
#[test]
fn acknowledgement_of_an_unknown_id_is_ignored() {
    let (_broker, mut receiver, mut sender) = pair();
    for packet in [puback(9), pubcomp(9)] {
        receiver.send(packet);
    }
    receiver.expect_nothing_but_pong();
    sender.publish(&Publish::new("a", "1").qos(2, 1));
    receiver.take("1");
}

/// §4.3.3: `limits.inbound_qos2_max` bounds what may be unfinished.
#[test]
fn too_many_unfinished_qos2_messages_close() {
    let broker = Broker::with_config("[limits]\ninbound_qos2_max = 3");
    let mut sender = Wire::client(&broker, "sender");
    for id in 1..=3 {
        sender.send(Publish::new("a", "1").qos(2, id).bytes());
        sender.expect(pubrec(id));
    }
    sender.send(pubrel(2));
    sender.expect(pubcomp(2));
    sender.send(Publish::new("a", "1").qos(2, 4).bytes());
    sender.expect(pubrec(4));
    sender.send(Publish::new("a", "1").qos(2, 5).bytes());
    sender.expect_closed();
    broker.closed_for(sender.local_addr(), "MQTT-4.8.0-2");
}

/// [MQTT-2.3.1-1], §3.4 to §3.7: acknowledgements have an id, which is not 0, and nothing else.
#[test]
fn malformed_acknowledgements_close() {
    let broker = Broker::start();
    for first in [0x40, 0x50, 0x62, 0x70] {
        assert_breach(&broker, packets::packet(first, [0, 0]), "MQTT-2.3.1-1");
        for body in [&[][..], &[1], &[0, 1, 0]] {
            assert_breach(&broker, packets::packet(first, body), "§2.2.3");
        }
    }
}
