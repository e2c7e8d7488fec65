//! Order (§4.6): of messages of a topic, and of the answers to them.

use super::steps::{numbers, texts};
use crate::harness::packets5::{PUBACK, PUBCOMP, PUBREC, PUBREL, RECEIVE_MAXIMUM, With, ack5};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// Does the publisher's part for the messages with the ids from 1 on.
fn finish(sender: &mut Wire, qos: u8, messages: u16) {
    for id in 1..=messages {
        match qos {
            0 => {}
            1 => assert_eq!(sender.await_answer(PUBACK, id).code(), 0),
            _ => {
                sender.expect_reason(PUBREC, id, 0);
                sender.send(ack5(PUBREL, id, 0).bytes());
            }
        }
    }
    if qos == 2 {
        (1..=messages).for_each(|id| drop(sender.expect_reason(PUBCOMP, id, 0)));
    }
}

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6]: each subscriber gets a topic's messages of one QoS in the order in
/// which their sender sent them, however wide its window.
#[test]
fn order_of_a_topic_is_kept() {
    let broker = Broker::start();
    for qos in 0..=2 {
        let windows = if qos == 0 { &[100][..] } else { &[1, 3, 100] };
        let mut receivers: Vec<Wire> = windows
            .iter()
            .map(|window| {
                let connect = Connect5::new(format!("r{window}")).with(RECEIVE_MAXIMUM, *window);
                let mut wire = Wire::connect5(&broker, &connect);
                wire.subscribe5("a/#", qos);
                wire
            })
            .collect();
        let payloads = numbers(0..200);
        let mut sender = Wire::client5(&broker, "sender");
        let publish = |(id, payload)| Publish5::new("a/b", payload).qos(qos, id).bytes();
        sender.send((1..).zip(&payloads).flat_map(publish).collect::<Vec<u8>>());
        finish(&mut sender, qos, 200);
        for receiver in &mut receivers {
            for payload in &payloads {
                receiver.take5(payload);
            }
        }
    }
}

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6]: also for one that was away in between.
#[test]
fn order_is_kept_in_the_queue() {
    let broker = Broker::start();
    let persistent = Connect5::new("p").persistent(300);
    let mut receiver = Wire::connect5(&broker, &persistent);
    receiver.subscribe5("a", 1);
    let mut sender = Wire::client5(&broker, "sender");
    let payloads = numbers(0..60);
    let (before, rest) = payloads.split_at(20);
    let (away, after) = rest.split_at(20);
    let mut publish = |part: &[String]| {
        for payload in part {
            sender.publish5(&Publish5::new("a", payload).qos(1, 1));
        }
    };
    publish(before);
    let unacknowledged: Vec<Publish5> = before.iter().map(|_| receiver.expect_publish5()).collect();
    assert_eq!(texts(&unacknowledged), before);
    receiver.cut();
    publish(away);
    let mut receiver = Wire::resume5(&broker, &persistent);
    publish(after);
    for payload in &payloads {
        receiver.take5(payload);
    }
}

/// [MQTT-4.6.0-2], [MQTT-4.6.0-3]: PUBACKs and PUBRECs come in the order of what they answer; the rules bind
/// clients, and the server keeps them, too.
#[test]
fn answers_come_in_order() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let ids: Vec<u16> = (0..100).map(|n| 1 + n * 7 % 101).collect();
    for (qos, first) in [(1, PUBACK), (2, PUBREC)] {
        let publish = |id: &u16| Publish5::new("a", "1").qos(qos, *id).bytes();
        sender.send(ids.iter().flat_map(publish).collect::<Vec<u8>>());
        for id in &ids {
            sender.expect_reason(first, *id, 0x10);
        }
    }
    sender.send(ids.iter().rev().flat_map(|id| ack5(PUBREL, *id, 0).bytes()).collect::<Vec<u8>>());
    for id in ids.iter().rev() {
        sender.expect_reason(PUBCOMP, *id, 0);
    }
}

/// [MQTT-4.6.0-4]: PUBRELs come in the order of the PUBRECs; the rule binds clients, and the server keeps
/// it, too.
#[test]
fn pubrels_come_in_the_order_of_pubrecs() {
    let broker = Broker::start();
    let mut receiver = Wire::client5(&broker, "receiver");
    receiver.subscribe5("a", 2);
    let mut sender = Wire::client5(&broker, "sender");
    for payload in numbers(0..50) {
        sender.publish5(&Publish5::new("a", payload).qos(2, 1));
    }
    let mut ids: Vec<u16> = (0..50).map(|_| receiver.expect_publish5().id).collect();
    ids.reverse();
    receiver.send(ids.iter().flat_map(|id| ack5(PUBREC, *id, 0).bytes()).collect::<Vec<u8>>());
    for id in ids {
        receiver.expect_reason(PUBREL, id, 0);
    }
}
