//! The same envelope again: a repetition of the protocol is acknowledged, an attack is `replayed`, and
//! either way nobody gets a message twice.

use super::{Device, Plant, RULES, assert_nothing_refused, await_report, setup};
use crate::harness::packets::{puback, pubcomp, pubrec, pubrel};
use crate::harness::packets5::{PUBACK, PUBREC};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Setup, Wire};
use sealmq_crypto::Freshness;
use std::collections::BTreeSet;
use std::sync::Barrier;

const TOPIC: &str = "plant/7/level";
/// Where refusals close.
const STRICT: &str = "strict/7/level";
/// Where the plaintext is for all.
const SIGNED: &str = "signed/7/level";
/// So many envelopes of a session are remembered.
const REMEMBERED: u16 = 256;

fn persistent() -> Connect {
    Connect::new("device").persistent()
}

/// The acknowledgement was lost: the device sends the packet again when it is back.
#[test]
fn repetition_after_reconnect_is_acknowledged_and_delivered_once() {
    let mut plant = Plant::start();
    let publish = Publish::new(TOPIC, plant.seal(TOPIC, "1")).qos(1, 7);
    let mut device = Wire::connect(&plant.broker, &persistent());
    device.publish(&publish);
    plant.watcher.take("1");
    device.cut();
    let mut device = Wire::resume(&plant.broker, &persistent());
    for _ in 0..2 {
        device.publish(&publish.clone().dup());
    }
    plant.watcher.expect_nothing_but_pong();
    await_report(&plant.broker, "envelopes/repeated", 2);
    assert_nothing_refused(&plant.broker);
}

#[test]
fn repetition_on_the_same_connection_is_acknowledged() {
    let mut plant = Plant::start();
    let publish = Publish::new(TOPIC, plant.seal(TOPIC, "1")).qos(1, 7);
    let mut device = Wire::client(&plant.broker, "device");
    device.send([publish.bytes(), publish.clone().dup().bytes()].concat());
    device.expect(puback(7));
    device.expect(puback(7));
    plant.watcher.take("1");
    plant.watcher.expect_nothing_but_pong();
    assert_nothing_refused(&plant.broker);
}

/// Not closed for it either.
#[test]
fn repetition_does_not_close_where_refusals_do() {
    let mut plant = Plant::start();
    let publish = Publish::new("strict/7/a", plant.seal("strict/7/a", "1")).qos(1, 7);
    let mut device = Wire::client(&plant.broker, "device");
    device.publish(&publish);
    device.publish(&publish.clone().dup());
    device.expect_nothing_but_pong();
    plant.watcher.take("1");
    plant.watcher.expect_nothing_but_pong();
}

/// Without DUP, or with another packet id, or from another client, it is no repetition.
#[test]
fn anything_else_is_replayed() {
    let mut plant = Plant::start();
    let publish = Publish::new(TOPIC, plant.seal(TOPIC, "1")).qos(1, 7);
    let mut device = Wire::client(&plant.broker, "device");
    device.publish(&publish);
    plant.watcher.take("1");
    device.publish(&publish);
    device.publish(&publish.clone().qos(1, 8).dup());
    let mut other = Wire::client(&plant.broker, "other");
    other.publish(&publish.clone().dup());
    other.publish(&publish.clone().qos(2, 7).dup());
    other.publish(&publish.clone().qos(0, 0));
    plant.watcher.expect_nothing_but_pong();
    await_report(&plant.broker, "refused/replayed", 5);
    await_report(&plant.broker, "envelopes/repeated", 0);
}

/// The next message under the same packet id is a message of its own.
#[test]
fn packet_id_may_be_used_again() {
    let mut plant = Plant::start();
    let mut device = Wire::client(&plant.broker, "device");
    for text in ["1", "2", "3"] {
        device.publish(&Publish::new(TOPIC, plant.seal(TOPIC, text)).qos(1, 7));
        plant.watcher.take(text);
    }
    assert_nothing_refused(&plant.broker);
}

#[test]
fn qos2_flow_delivers_once() {
    let mut plant = Plant::start();
    let publish = Publish::new(TOPIC, plant.seal(TOPIC, "1")).qos(2, 7);
    let mut device = Wire::connect(&plant.broker, &persistent());
    device.send(publish.bytes());
    device.expect(pubrec(7));
    device.send(publish.clone().dup().bytes());
    device.expect(pubrec(7));
    device.cut();
    let mut device = Wire::resume(&plant.broker, &persistent());
    device.send(publish.clone().dup().bytes());
    device.expect(pubrec(7));
    for _ in 0..2 {
        device.send(pubrel(7));
        device.expect(pubcomp(7));
    }
    let publish = plant.watcher.take("1");
    assert_eq!(publish.qos, 2);
    plant.watcher.expect_nothing_but_pong();
    assert_nothing_refused(&plant.broker);
}

/// A refused message of QoS 2 goes through its whole flow too, and its id is free afterwards.
#[test]
fn qos2_flow_of_a_refused_message_ends() {
    let mut plant = Plant::start();
    let mut device = Wire::client(&plant.broker, "device");
    device.publish(&Publish::new(TOPIC, "no envelope").qos(2, 7));
    device.publish(&Publish::new(TOPIC, plant.seal(TOPIC, "1")).qos(2, 7));
    plant.watcher.take("1");
    plant.watcher.expect_nothing_but_pong();
}

/// Two connections send the same envelopes at the same time: each is delivered once.
#[test]
fn envelopes_raced_by_two_connections_are_delivered_once() {
    const ENVELOPES: usize = 300;
    let mut plant = Plant::start();
    let packets: Vec<_> =
        (0..ENVELOPES).map(|n| Publish::new(TOPIC, plant.seal(TOPIC, &n.to_string())).qos(1, 1)).collect();
    let start = Barrier::new(2);
    let race = |mut wire: Wire| {
        start.wait();
        for publish in &packets {
            wire.publish(publish);
        }
    };
    let (one, other) = (Wire::client(&plant.broker, "one"), Wire::client(&plant.broker, "other"));
    std::thread::scope(|scope| {
        scope.spawn(|| race(one));
        scope.spawn(|| race(other));
    });
    let mut seen = BTreeSet::new();
    for _ in 0..ENVELOPES {
        let publish = plant.watcher.expect_publish();
        plant.watcher.acknowledge(&publish);
        assert!(seen.insert(publish.text().to_owned()), "{publish:?} came twice");
    }
    plant.watcher.expect_nothing_but_pong();
    await_report(&plant.broker, "refused/replayed", ENVELOPES as u64);
}

/// Numbers may come out of order, inside the window.
#[test]
fn numbers_out_of_order_are_taken_once_each() {
    let mut plant = Plant::start();
    let mut packets: Vec<_> =
        (0..50).map(|n| Publish::new(TOPIC, plant.seal(TOPIC, &n.to_string())).qos(1, 1)).collect();
    packets.reverse();
    let mut device = Wire::client(&plant.broker, "device");
    for publish in packets.iter().chain(&packets) {
        device.publish(publish);
    }
    for n in (0..50).rev() {
        plant.watcher.take(&n.to_string());
    }
    plant.watcher.expect_nothing_but_pong();
}

/// Older than what is remembered: refused, but a device that is cut for it would come back with it for ever.
#[test]
fn a_repetition_too_old_to_be_remembered_does_not_close() {
    let mut plant = Plant::start();
    let publish = Publish::new(STRICT, plant.seal(STRICT, "0")).qos(1, 1);
    let mut device = Wire::connect(&plant.broker, &persistent());
    device.publish(&publish);
    for n in 1..=REMEMBERED {
        device.publish(&Publish::new(TOPIC, plant.seal(TOPIC, &n.to_string())).qos(1, n + 1));
    }
    for n in 0..=REMEMBERED {
        plant.watcher.take(&n.to_string());
    }
    device.cut();
    let mut device = Wire::resume(&plant.broker, &persistent());
    for _ in 0..2 {
        device.publish(&publish.clone().dup());
    }
    device.expect_nothing_but_pong();
    plant.watcher.expect_nothing_but_pong();
    await_report(&plant.broker, "refused/replayed", 2);
    await_report(&plant.broker, "envelopes/repeated", 0);
    // For the first time it closes, as ever.
    device.send(publish.bytes());
    device.expect_closed();
}

/// A clock does not stand still while a device is away.
#[test]
fn a_repetition_that_has_become_old_does_not_close() {
    let mut plant = Plant::start();
    let old = plant.device.seal_as(Freshness::Time(1_500_000_000), &plant.key, STRICT, "old");
    let publish = Publish::new(STRICT, old).qos(1, 7);
    let mut device = Wire::client(&plant.broker, "device");
    device.publish(&publish.clone().dup());
    device.expect_nothing_but_pong();
    await_report(&plant.broker, "refused/not-fresh", 1);
    device.send(publish.bytes());
    device.expect_closed();
    plant.watcher.expect_nothing_but_pong();
}

/// A restart forgets what was taken of whom under which packet id, and knows that it was taken.
#[test]
fn a_repetition_after_a_restart_does_not_close() {
    let ways: [fn(Broker) -> Setup; 2] = [Broker::end, Broker::kill];
    for way in ways {
        let mut plant = Plant::start();
        let publish = Publish::new(STRICT, plant.seal(STRICT, "1")).qos(1, 7);
        let mut device = Wire::connect(&plant.broker, &persistent());
        device.publish(&publish);
        plant.watcher.take("1");
        let mut plant = Plant::of(way(plant.into_broker()).start());
        for times in 1..=2 {
            let mut device = Wire::resume(&plant.broker, &persistent());
            device.publish(&publish.clone().dup());
            device.send(publish.clone().qos(2, 8).dup().bytes());
            device.expect(pubrec(8));
            device.send(pubrel(8));
            device.expect(pubcomp(8));
            device.cut();
            await_report(&plant.broker, "refused/replayed", 2 * times);
        }
        plant.watcher.expect_nothing_but_pong();
    }
}

/// In MQTT 5 it is answered with its code, as where refusals do not close.
#[test]
fn a_repetition_of_mqtt5_after_a_restart_does_not_close() {
    let persistent = Connect5::new("device").persistent(300);
    let mut plant = Plant::start();
    let publish = Publish5::new(STRICT, plant.seal(STRICT, "1")).qos(1, 7);
    Wire::connect5(&plant.broker, &persistent).publish5(&publish);
    plant.watcher.take("1");
    let mut plant = Plant::of(plant.into_broker().end().start());
    for times in 1..=2 {
        let mut device = Wire::resume5(&plant.broker, &persistent);
        device.send(publish.clone().dup().bytes());
        device.expect_reason(PUBACK, 7, 0x99);
        device.send(publish.clone().qos(2, 8).dup().bytes());
        device.expect_reason(PUBREC, 8, 0x99);
        device.cut();
        await_report(&plant.broker, "refused/replayed", 2 * times);
    }
    let mut device = Wire::resume5(&plant.broker, &persistent);
    device.send(publish.bytes());
    device.expect_disconnect(0x99);
    plant.watcher.expect_nothing_but_pong();
}

/// A broker where one message waits of a receiver that is away, and there is room for no other; the device.
fn full() -> (Broker, Device, Connect5) {
    let limits = "[limits]\nqueue_messages_max = 1\nqueue_full = \"drop-newest\"\n";
    let broker = setup().config(RULES).config(limits).start();
    let device = Device::enrolled(&broker, "dev-7");
    let receiver = Connect5::new("receiver").persistent(300);
    let mut wire = Wire::connect5(&broker, &receiver);
    wire.subscribe5("signed/#", 2);
    wire.disconnect5(0);
    let first = Publish5::new(SIGNED, device.stamp(SIGNED, "first")).qos(1, 1);
    assert_eq!(Wire::client5(&broker, "sender").try_publish5(&first), 0);
    (broker, device, receiver)
}

/// The receiver fetches what waits for it, and there is room again.
fn fetch(broker: &Broker, receiver: &Connect5, text: &str) {
    let mut wire = Wire::resume5(broker, receiver);
    wire.take5(text);
    wire.expect_nothing_but_pong();
    wire.disconnect5(0);
}

/// 0x97: nobody has it, so the same envelope is taken once there is room; and never again, through restarts.
#[test]
fn an_envelope_that_nobody_had_room_for_may_come_again() {
    let (broker, device, receiver) = full();
    let again = Publish5::new(SIGNED, device.stamp(SIGNED, "again"));
    let later = Publish5::new(SIGNED, device.stamp(SIGNED, "later")).qos(1, 1);
    let mut sender = Wire::client5(&broker, "sender");
    for (qos, id) in [(1, 1), (1, 1), (2, 2), (2, 3)] {
        assert_eq!(sender.try_publish5(&again.clone().qos(qos, id)), 0x97);
    }
    assert_eq!(sender.try_publish5(&later), 0x97);
    fetch(&broker, &receiver, "first");
    assert_eq!(sender.try_publish5(&again.clone().qos(1, 1)), 0);
    assert_eq!(sender.try_publish5(&again.clone().qos(1, 2)), 0x99);
    // What was given back before a restart was, behind it.
    let broker = broker.end().start();
    fetch(&broker, &receiver, "again");
    let mut sender = Wire::client5(&broker, "sender");
    assert_eq!(sender.try_publish5(&again.clone().qos(1, 2)), 0x99);
    assert_eq!(sender.try_publish5(&later), 0);
    let broker = broker.kill().start();
    fetch(&broker, &receiver, "later");
    let mut sender = Wire::client5(&broker, "sender");
    assert_eq!(sender.try_publish5(&later), 0x99);
    Wire::resume5(&broker, &receiver).expect_nothing_but_pong();
}

/// Whoever is not told does not send it again, and an envelope of which anything is kept is used up.
#[test]
fn an_envelope_is_used_up_where_it_is_kept_or_its_device_not_told() {
    let (broker, device, receiver) = full();
    let mut sender = Wire::client5(&broker, "sender");
    let untold = device.stamp(SIGNED, "untold");
    Wire::client(&broker, "old").publish(&Publish::new(SIGNED, &untold).qos(1, 1));
    assert_eq!(sender.try_publish5(&Publish5::new(SIGNED, &untold).qos(1, 1)), 0x99);
    let retained = Publish5::new(SIGNED, device.stamp(SIGNED, "retained")).retain();
    assert_eq!(sender.try_publish5(&retained.clone().qos(1, 1)), 0x97);
    fetch(&broker, &receiver, "first");
    assert_eq!(sender.try_publish5(&retained.clone().qos(1, 1)), 0x99);
    sender.subscribe5(SIGNED, 0);
    assert!(sender.take5("retained").retain);
}
