//! Sealed messages: still confidential, and still taken once.

use crate::durability::preload::later;
use crate::durability::{Way, await_gone, every_way};
use crate::encryption::{self, Device, Plant, SECRET, egress, topic_key};
use crate::harness::packets5::{SESSION_EXPIRY, WILL_DELAY, With};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Wire};
use sealmq_crypto::{Freshness, TopicKey};
use std::time::{SystemTime, UNIX_EPOCH};

const TOPIC: &str = "plant/7/level";

fn start(way: Way) -> Plant {
    Plant::of(encryption::setup().config(encryption::RULES).config(way.storage()).start())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The device of a broker that was started again.
fn plant_device(broker: &Broker) -> Device {
    Device::enrolled(broker, "dev-7")
}

fn key(broker: &Broker) -> TopicKey {
    topic_key(broker, "aes256")
}

/// A client that is away, and whose session has subscribed over TLS.
fn absent(broker: &Broker) -> Connect {
    let connect = Connect::new("absent").persistent();
    let mut wire = Wire::open_tls(broker).connected(&connect, false);
    wire.subscribe("plant/#", 2);
    wire.subscribe("open", 1);
    wire.disconnect();
    connect
}

/// Queued and retained confidential messages reach a client over TLS, and never one on plaintext.
#[test]
fn confidential_messages_stay_so() {
    every_way(|way| {
        let plant = start(way);
        let connect = absent(&plant.broker);
        let mut sender = Wire::client(&plant.broker, "sender");
        sender.publish(&Publish::new(TOPIC, plant.seal(TOPIC, SECRET)).qos(1, 1).retain());
        sender.publish(&Publish::new(TOPIC, plant.seal(TOPIC, "second")).qos(2, 1));
        sender.publish(&Publish::new("open", "for all").qos(1, 1));
        let broker = way.restart(plant.into_broker());
        let mut open = Wire::client(&broker, "open");
        open.subscribe("#", 1);
        open.expect_nothing_but_pong();
        let mut secure = Wire::client_tls(&broker, "secure");
        secure.subscribe("plant/#", 1);
        assert!(secure.take(SECRET).retain);
        // Over TLS all of it, in order.
        let mut back = Wire::open_tls(&broker).connected(&connect, true);
        for text in [SECRET, "second", "for all"] {
            back.take(text);
        }
        back.expect_nothing_but_pong();
        assert!(!broker.log().text().contains(SECRET));
    });
}

#[test]
fn confidential_messages_in_a_queue_do_not_come_on_plaintext() {
    every_way(|way| {
        let plant = start(way);
        let connect = absent(&plant.broker);
        let mut sender = Wire::client(&plant.broker, "sender");
        sender.publish(&Publish::new(TOPIC, plant.seal(TOPIC, SECRET)).qos(1, 1));
        sender.publish(&Publish::new("open", "for all").qos(1, 1));
        let broker = way.restart(plant.into_broker());
        let mut back = Wire::open(&broker).connected(&connect, true);
        back.take("for all");
        back.expect_nothing_but_pong();
    });
}

/// A sealed will waits while the broker is started again, twice: before it is due it comes to nobody, then over TLS
/// alone; and so does what is retained of it, after one more start.
#[test]
fn sealed_will_that_waits_stays_confidential() {
    every_way(|way| {
        let plant = start(way);
        let (secure, open) = (absent(&plant.broker), Connect::new("plain").persistent());
        let mut wire = Wire::connect(&plant.broker, &open);
        wire.subscribe("#", 2);
        wire.disconnect();
        let will = Publish5::new(TOPIC, plant.seal(TOPIC, SECRET)).qos(1, 0).retain().with(WILL_DELAY, 1_800);
        let mortal = Connect5::new("mortal").with(SESSION_EXPIRY, 7_200).will(will);
        let Plant { broker, watcher, .. } = plant;
        watcher.disconnect();
        Wire::connect5(&broker, &mortal).cut();
        await_gone(&broker);
        let broker = way.restart(broker);
        Wire::open_tls(&broker).connected(&secure, true).expect_nothing_but_pong();
        Wire::resume(&broker, &open).expect_nothing_but_pong();
        // Due soon after the start.
        let broker = later(way.down(broker), 1_797).start();
        let mut plain = Wire::resume(&broker, &open);
        let will = Wire::open_tls(&broker).connected(&secure, true).take(SECRET);
        assert!(will.qos == 1 && will.topic() == TOPIC && !will.dup, "{will:?}");
        plain.expect_nothing_but_pong();
        plain.disconnect();
        let broker = way.restart(broker);
        Wire::resume(&broker, &open).expect_nothing_but_pong();
        let mut late = Wire::client(&broker, "late");
        late.subscribe("#", 1);
        late.expect_nothing_but_pong();
        let mut late = Wire::client_tls(&broker, "late");
        late.subscribe("plant/#", 1);
        assert!(late.take(SECRET).retain);
        assert!(!broker.log().text().contains(SECRET));
    });
}

/// Where the policy lets envelopes leave, that is kept with a message, and so is that it does not: also where the
/// policies are others after the start.
#[test]
fn egress_is_that_of_before() {
    every_way(|way| {
        let rules = egress::rules();
        let plant = Plant::of(encryption::setup().config(&rules).config(way.storage()).start());
        let connect = Connect::new("panel").persistent();
        let mut wire = Wire::open_tls(&plant.broker).connected(&connect, false);
        wire.subscribe("#", 2);
        wire.disconnect();
        let mut sender = Wire::client(&plant.broker, "sender");
        for (topic, text) in [(TOPIC, "sealable"), ("strict/7/a", "strictly")] {
            for retain in [true, false] {
                let publish = Publish::new(topic, plant.seal(topic, text)).qos(1, 1);
                sender.publish(&Publish { retain, ..publish });
            }
        }
        let down = way.down(plant.into_broker());
        // What came for secure connections alone may leave in envelopes by the policy of today.
        let weaker = rules.replace(
            "topics = [\"strict/#\"]\npayload = \"sealed\"\n",
            concat!("topics = [\"strict/#\"]\npayload = \"sealed\"\n", "egress = \"secure-or-sealed\"\n"),
        );
        let broker = down.config_instead(&(weaker + way.storage())).start();
        let reader = egress::Reader::new(&broker, "panel");
        let mut panel = Wire::resume(&broker, &connect);
        for _ in 0..2 {
            assert!(!reader.take(&mut panel, "sealable").retain);
        }
        panel.subscribe("#", 1);
        assert!(reader.take(&mut panel, "sealable").retain);
        panel.expect_nothing_but_pong();
        let mut open = Wire::client(&broker, "open");
        open.subscribe("#", 1);
        open.expect_nothing_but_pong();
        let mut secure = Wire::client_tls(&broker, "secure");
        secure.subscribe("#", 1);
        for text in ["sealable", "strictly"] {
            assert!(secure.take(text).retain);
        }
        assert!(!broker.log().text().contains("strictly"));
    });
}

/// `sealmq open` opens what a subscriber without TLS gets of before the start, queued and retained.
#[test]
fn envelopes_of_before_open_by_command() {
    for way in [Way::SyncKill, Way::SyncTerm] {
        let rules = egress::rules();
        let plant = Plant::of(encryption::setup().config(&rules).config(way.storage()).start());
        let connect = Connect::new("panel").persistent();
        let mut panel = Wire::connect(&plant.broker, &connect);
        panel.subscribe(TOPIC, 1);
        panel.disconnect();
        let mut sender = Wire::client(&plant.broker, "sender");
        sender.publish(&Publish::new(TOPIC, plant.seal(TOPIC, SECRET)).qos(1, 1).retain());
        let broker = way.restart(plant.into_broker());
        let mut panel = Wire::resume(&broker, &connect);
        let queued = panel.expect_publish();
        panel.acknowledge(&queued);
        panel.subscribe(TOPIC, 1);
        let retained = panel.expect_publish();
        assert_eq!([queued.retain, retained.retain], [false, true]);
        for Publish { payload, .. } in [queued, retained] {
            assert_eq!(egress::open_by_command(&broker, "panel", &payload), Ok(SECRET.to_owned()));
            assert!(!String::from_utf8_lossy(&payload).contains(SECRET));
            // Anybody else has the wrong key.
            assert!(egress::open_by_command(&broker, "ann", &payload).is_err());
        }
    }
}

/// What was acknowledged is refused when it comes again, by its number and by its time: also where nobody
/// had subscribed, and whoever sends it.
#[test]
fn envelope_taken_before_is_refused_after() {
    every_way(|way| {
        let plant = start(way);
        let time = now();
        let counted = plant.seal(TOPIC, "counted");
        let timed = plant.device.seal_as(Freshness::Time(time), &plant.key, TOPIC, "timed");
        let mut sender = Wire::client(&plant.broker, "sender");
        // The last that was sent, but not the last in number.
        let higher = plant.device.seal_as(Freshness::Seq(900), &plant.key, TOPIC, "higher");
        let between = plant.device.seal_as(Freshness::Seq(850), &plant.key, TOPIC, "between");
        for (id, envelope) in (1..).zip([&counted, &timed, &higher]) {
            sender.publish(&Publish::new(TOPIC, envelope).qos(1, id));
        }
        // Nothing but the acknowledgements is waited for where that is enough.
        let broker = plant.into_broker();
        let broker = if way == Way::SyncKill { broker.kill().start() } else { way.restart(broker) };
        let mut watcher = Wire::client_tls(&broker, "watcher");
        watcher.subscribe("plant/#", 2);
        let mut sender = Wire::client(&broker, "sender");
        for (id, envelope) in (1..).zip([&counted, &timed, &higher]) {
            sender.publish(&Publish::new(TOPIC, envelope).qos(1, id));
        }
        watcher.expect_nothing_but_pong();
        let refused = |line: &crate::harness::log::LogLine| {
            // Of a time that was set aside nobody knows which stamps were taken.
            let by = ["replayed", "not-fresh"].map(Some);
            line.message() == "message refused" && by.contains(&line.field("reason"))
        };
        broker.log().nth_line(2, refused);
        let far = plant_device(&broker).seal_as(Freshness::Seq(3_000), &key(&broker), TOPIC, "far");
        if way.is_kill() {
            // It was set aside with the others, and nobody knows any more that it was not taken.
            sender.publish(&Publish::new(TOPIC, &between).qos(1, 1));
        } else {
            // What is new inside the window is taken.
            sender.publish(&Publish::new(TOPIC, &between).qos(1, 1));
            watcher.take("between");
        }
        sender.publish(&Publish::new(TOPIC, far).qos(1, 1));
        watcher.take("far");
    });
}

/// Nothing is acknowledged, and nothing is kept but that it was taken: a subscriber has it, and the broker is
/// killed that moment.
#[test]
fn envelope_of_qos_0_is_not_taken_again_after_a_kill() {
    for freshness in [Freshness::Seq(7), Freshness::Time(now())] {
        let mut plant = start(Way::SyncKill);
        let envelope = plant.device.seal_as(freshness, &plant.key, TOPIC, "once");
        let mut sender = Wire::client(&plant.broker, "sender");
        sender.send(Publish::new(TOPIC, &envelope).bytes());
        plant.watcher.take("once");
        let broker = plant.into_broker().kill().start();
        let mut watcher = Wire::client_tls(&broker, "watcher");
        watcher.subscribe("plant/#", 2);
        Wire::client(&broker, "sender").publish(&Publish::new(TOPIC, &envelope).qos(1, 1));
        watcher.expect_nothing_but_pong();
        let next = plant_device(&broker).seal_as(Freshness::Seq(8), &key(&broker), TOPIC, "next");
        Wire::client(&broker, "sender").publish(&Publish::new(TOPIC, next).qos(1, 1));
        watcher.take("next");
    }
}

/// A message that is kept has its mark kept with it: after a kill every number that was not taken is good.
#[test]
fn numbers_of_kept_messages_are_exact_after_a_kill() {
    let plant = start(Way::SyncKill);
    absent(&plant.broker);
    let mut sender = Wire::client(&plant.broker, "sender");
    let sealed = |seq: u64| plant.device.seal_as(Freshness::Seq(seq), &plant.key, TOPIC, &seq.to_string());
    let envelopes: Vec<_> = (1..=40).map(sealed).collect();
    for (id, envelope) in (1..).zip(&envelopes).step_by(2) {
        sender.publish(&Publish::new(TOPIC, envelope).qos(1, id));
    }
    let broker = plant.into_broker().kill().start();
    let mut watcher = Wire::client_tls(&broker, "watcher");
    watcher.subscribe("plant/#", 2);
    let mut sender = Wire::client(&broker, "sender");
    for (id, envelope) in (1..).zip(&envelopes) {
        sender.publish(&Publish::new(TOPIC, envelope).qos(1, id));
    }
    for seq in (2..=40).step_by(2) {
        watcher.take(&seq.to_string());
    }
    watcher.expect_nothing_but_pong();
}
