//! Envelopes are examined many at once and apart from their connection; what its client sees is the same as
//! if each had been examined before the next packet was read.

use super::{Device, Plant, RULES, assert_nothing_refused, await_report, setup};
use crate::harness::packets::{puback, pubrec, suback, subscribe};
use crate::harness::{Connect, Publish, Wire};

const TOPIC: &str = "plant/7/level";

#[test]
fn order_is_kept_between_envelopes_and_plain_messages() {
    let mut plant = Plant::start();
    let mut bytes = Vec::new();
    for n in 0..300_u16 {
        let text = n.to_string();
        let publish = match n % 3 {
            0 => Publish::new(TOPIC, plant.seal(TOPIC, &text)).qos(1, n + 1),
            1 => Publish::new("open/a", &text).qos(1, n + 1),
            _ => Publish::new("signed/7/a", plant.device.stamp("signed/7/a", &text)).qos(1, n + 1),
        };
        bytes.extend(publish.bytes());
    }
    let mut device = Wire::client(&plant.broker, "device");
    device.send(bytes);
    for n in 0..300 {
        plant.watcher.take(&n.to_string());
    }
    for n in 0..300 {
        device.expect(puback(n + 1));
    }
}

/// An envelope larger than all that may wait, or than a batch, is examined alone.
#[test]
fn bounds_smaller_than_an_envelope_let_one_after_the_other_through() {
    let limits = "[limits]\nunchecked_bytes_max = 1024\nexamined_batch_bytes_max = 1024\n";
    let mut plant = Plant::of(setup().config(RULES).config(limits).start());
    let texts: Vec<String> = (0..20).map(|n| format!("{n} {}", "x".repeat(n % 3 * 2_000))).collect();
    let mut device = Wire::client(&plant.broker, "device");
    for text in &texts {
        device.send(Publish::new(TOPIC, plant.seal(TOPIC, text)).bytes());
    }
    for text in &texts {
        plant.watcher.take(text);
    }
    assert_nothing_refused(&plant.broker);
}

#[test]
fn what_came_before_the_socket_closed_counts() {
    let mut plant = Plant::start();
    let sealed = |plant: &Plant, n: u32| Publish::new(TOPIC, plant.seal(TOPIC, &n.to_string())).bytes();
    let bytes: Vec<u8> = (0..100).flat_map(|n| sealed(&plant, n)).collect();
    let mut device = Wire::client(&plant.broker, "device");
    device.send(&bytes);
    device.cut();
    (0..100).for_each(|n| {
        plant.watcher.take(&n.to_string());
    });
    // The same with a DISCONNECT behind it: the will is not published.
    let bytes: Vec<u8> = (100..200).flat_map(|n| sealed(&plant, n)).collect();
    let will = Publish::new("open/will", "gone");
    let mut device = Wire::connect(&plant.broker, &Connect::new("device").will(will));
    device.send([bytes, vec![0xE0, 0]].concat());
    device.expect_closed();
    (100..200).for_each(|n| {
        plant.watcher.take(&n.to_string());
    });
    plant.watcher.expect_nothing_but_pong();
}

#[test]
fn what_came_before_a_take_over_counts() {
    let mut plant = Plant::start();
    let bytes: Vec<u8> =
        (0..100).flat_map(|n| Publish::new(TOPIC, plant.seal(TOPIC, &n.to_string())).bytes()).collect();
    let mut device = Wire::client(&plant.broker, "device");
    device.send(&bytes);
    let mut second = Wire::client(&plant.broker, "device");
    (0..100).for_each(|n| {
        plant.watcher.take(&n.to_string());
    });
    second.expect_nothing_but_pong();
    device.expect_closed();
}

/// A subscription is answered after what came before it, so its client gets what it has itself retained.
#[test]
fn a_subscription_waits_for_the_envelope_before_it() {
    let plant = Plant::start();
    let retained = Publish::new("signed/7/a", plant.device.stamp("signed/7/a", "21.5")).retain();
    let mut device = Wire::client(&plant.broker, "device");
    device.send([retained.bytes(), subscribe(1, &[("signed/7/a", 0)])].concat());
    device.expect(suback(1, &[0]));
    let got = device.expect_publish();
    assert_eq!((got.text(), got.retain), ("21.5", true));
}

/// What was routed reaches a subscriber that has nothing else to wake it, though its publisher is cut off behind it.
#[test]
fn subscriber_is_woken_for_what_came_before_the_end() {
    let mut plant = Plant::start();
    plant.watcher.subscribe("strict/#", 0);
    for n in 0..20 {
        let good = plant.device.seal(&plant.key, "strict/7/a", &format!("good {n}"));
        let mut bad = plant.device.seal(&plant.key, "strict/7/a", "bad");
        *bad.last_mut().unwrap() ^= 1;
        let mut device = Wire::client(&plant.broker, "device");
        device.send([good, bad].map(|envelope| Publish::new("strict/7/a", envelope).bytes()).concat());
        device.cut();
        assert_eq!(plant.watcher.expect_publish().text(), format!("good {n}"));
    }
}

#[test]
fn bad_stamps_are_found_among_good_ones() {
    let mut plant = Plant::start();
    let mut device = Wire::client(&plant.broker, "device");
    let bad = [3, 4, 40, 99];
    let mut bytes = Vec::new();
    for n in 0..100_u16 {
        let mut envelope = plant.seal(TOPIC, &n.to_string());
        if bad.contains(&n) {
            *envelope.last_mut().unwrap() ^= 1;
        }
        bytes.extend(Publish::new(TOPIC, envelope).qos(1, n + 1).bytes());
    }
    device.send(bytes);
    for n in (0..100).filter(|n| !bad.contains(n)) {
        plant.watcher.take(&n.to_string());
    }
    for n in 0..100 {
        device.expect(puback(n + 1));
    }
    plant.watcher.expect_nothing_but_pong();
    await_report(&plant.broker, "refused/bad-stamp", bad.len() as u64);
}

/// [MQTT-4.3.3-10]: also while the first is being examined.
#[test]
fn a_qos_2_message_sent_twice_at_once_is_delivered_once() {
    let mut plant = Plant::start();
    let publish = Publish::new(TOPIC, plant.seal(TOPIC, "1")).qos(2, 7);
    let mut device = Wire::client(&plant.broker, "device");
    device.send([publish.bytes(), publish.clone().dup().bytes()].concat());
    device.expect(pubrec(7));
    plant.watcher.take("1");
    plant.watcher.expect_nothing_but_pong();
}

/// Many devices at once, and each one's messages in order.
#[test]
fn every_device_keeps_its_order_among_many() {
    const DEVICES: usize = 8;
    let mut plant = Plant::start();
    let mut wires: Vec<Wire> =
        (0..DEVICES).map(|n| Wire::client(&plant.broker, &format!("device-{n}"))).collect();
    for n in 0..40 {
        for (at, wire) in wires.iter_mut().enumerate() {
            let topic = format!("plant/7/{at}");
            wire.send(Publish::new(&topic, plant.seal(&topic, &n.to_string())).bytes());
        }
    }
    let mut next = [0; DEVICES];
    for _ in 0..40 * DEVICES {
        let got = plant.watcher.expect_publish();
        plant.watcher.acknowledge(&got);
        let at: usize = got.topic().rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(got.text(), next[at].to_string(), "{}", got.topic());
        next[at] += 1;
    }
}

#[test]
fn a_bound_sender_counts_on_its_own_connection_alone() {
    let bound = |by: &str, topics: &str| RULES.replacen(topics, &format!("{topics}\nbind = \"{by}\""), 1);
    let topics = r#"topics = ["plant/7/#", "strict/7/#", "signed/7/#", "private/7/#"]"#;
    for (by, own) in
        [("client-id", Connect::new("dev-7")), ("user", Connect::new("any").user("dev-7").password("x"))]
    {
        let mut plant = Plant::of(setup().config(&bound(by, topics)).start());
        let publish = |plant: &Plant, text: &str| Publish::new(TOPIC, plant.seal(TOPIC, text)).qos(1, 1);
        for other in [Connect::new("dev-8"), Connect::new("any").user("dev-8").password("x")] {
            Wire::connect(&plant.broker, &other).publish(&publish(&plant, "forwarded"));
        }
        Wire::connect(&plant.broker, &own).publish(&publish(&plant, "own"));
        plant.watcher.take("own");
        plant.watcher.expect_nothing_but_pong();
        await_report(&plant.broker, "refused/sender-not-allowed", 2);
        // Another sender is not bound.
        let other = Device::enrolled(&plant.broker, "dev-8");
        let envelope = other.seal(&plant.key, "plant/8/a", "free");
        Wire::client(&plant.broker, "gateway").publish(&Publish::new("plant/8/a", envelope).qos(1, 1));
        plant.watcher.take("free");
    }
}
