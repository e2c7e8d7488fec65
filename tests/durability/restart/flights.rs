//! What was on its way when the broker went: each step goes on where it was.

use crate::durability::{Way, every_way};
use crate::harness::packets::{puback, pubcomp, pubrec, pubrel};
use crate::harness::packets5::{PUBCOMP, PUBREC, PUBREL, ack5};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Wire};

fn connect() -> Connect {
    Connect::new("client").persistent()
}

/// A broker, and a client that was sent so many messages of this QoS and has not answered.
fn in_flight(way: Way, qos: u8, messages: u16) -> (Broker, Wire, Vec<Publish>) {
    let broker = way.start();
    let mut client = Wire::connect(&broker, &connect());
    client.subscribe("a", 2);
    let mut publisher = Wire::client(&broker, "publisher");
    for n in 0..messages {
        publisher.publish(&Publish::new("a", n.to_string()).qos(qos, 1));
    }
    let sent = (0..messages).map(|_| client.expect_publish()).collect();
    (broker, client, sent)
}

#[test]
fn qos1_is_sent_again_under_its_id() {
    every_way(|way| {
        let (broker, mut client, sent) = in_flight(way, 1, 5);
        client.send(puback(sent[2].id));
        client.expect_nothing_but_pong();
        let broker = way.restart(broker);
        let mut client = Wire::resume(&broker, &connect());
        for publish in [0, 1, 3, 4].map(|n| sent[n].clone()) {
            assert_eq!(client.expect_publish(), publish.clone().dup());
            client.acknowledge(&publish);
        }
        client.expect_nothing_but_pong();
    });
}

/// One before PUBREC, one behind it, one that is done.
#[test]
fn qos2_goes_on_at_its_step() {
    every_way(|way| {
        let (broker, mut client, sent) = in_flight(way, 2, 3);
        let [open, released, done] = [0, 1, 2].map(|n: usize| sent[n].clone());
        client.acknowledge(&done);
        client.send(pubrec(released.id));
        client.expect(pubrel(released.id));
        client.expect_nothing_but_pong();
        let broker = way.restart(broker);
        let mut client = Wire::resume(&broker, &connect());
        assert_eq!(client.expect_publish(), open.clone().dup());
        client.expect(pubrel(released.id));
        client.send(pubcomp(released.id));
        client.acknowledge(&open);
        client.expect_nothing_but_pong();
        // And after the end of both nothing is left.
        let broker = way.restart(broker);
        Wire::resume(&broker, &connect()).expect_nothing_but_pong();
    });
}

/// Packet ids of what is in flight are not given to others.
#[test]
fn packet_ids_in_flight_stay_taken() {
    every_way(|way| {
        let (broker, _client, sent) = in_flight(way, 1, 3);
        let broker = way.restart(broker);
        let mut client = Wire::resume(&broker, &connect());
        let again: Vec<_> = (0..3).map(|_| client.expect_publish().id).collect();
        assert_eq!(again, sent.iter().map(|publish| publish.id).collect::<Vec<_>>());
        let mut publisher = Wire::client(&broker, "publisher");
        for n in 3..20 {
            publisher.publish(&Publish::new("a", n.to_string()).qos(1, 1));
            let publish = client.expect_publish();
            assert!(!again.contains(&publish.id) && !publish.dup, "{publish:?}");
            client.acknowledge(&publish);
        }
    });
}

/// Received and not released: the duplicate is not routed again, and PUBREL is answered with success.
#[test]
fn qos2_inbound_is_routed_once() {
    every_way(|way| {
        let broker = way.start();
        let watch = Connect::new("watcher").persistent();
        let mut watcher = Wire::connect(&broker, &watch);
        watcher.subscribe("a", 2);
        watcher.disconnect();
        let device = Connect5::new("device").persistent(600);
        let mut wire = Wire::connect5(&broker, &device);
        let publish = Publish5::new("a", "once").qos(2, 7);
        for publish in [publish.clone(), Publish5::new("a", "twice").qos(2, 8)] {
            wire.send(publish.bytes());
            wire.expect_reason(PUBREC, publish.id, 0);
        }
        wire.send(ack5(PUBREL, 8, 0).bytes());
        wire.expect_reason(PUBCOMP, 8, 0);
        let broker = way.restart(broker);
        let mut wire = Wire::resume5(&broker, &device);
        wire.send(publish.clone().dup().bytes());
        wire.expect_reason(PUBREC, 7, 0);
        wire.send(ack5(PUBREL, 7, 0).bytes());
        wire.expect_reason(PUBCOMP, 7, 0);
        for id in [7, 8] {
            wire.send(ack5(PUBREL, id, 0).bytes());
            wire.expect_reason(PUBCOMP, id, 0x92);
        }
        // The id is free for a message of its own.
        wire.publish5(&Publish5::new("a", "next").qos(2, 7));
        let mut watcher = Wire::resume(&broker, &watch);
        for text in ["once", "twice", "next"] {
            watcher.take(text);
        }
        watcher.expect_nothing_but_pong();
    });
}

/// The same, killed at once after PUBREC: that alone is the promise.
#[test]
fn qos2_inbound_is_kept_when_pubrec_is_sent() {
    let broker = Way::SyncKill.start();
    let device = Connect::new("device").persistent();
    let mut wire = Wire::connect(&broker, &device);
    wire.subscribe("a", 2);
    wire.send(Publish::new("a", "once").qos(2, 7).bytes());
    wire.expect_answer(pubrec(7));
    let broker = broker.kill().start();
    let mut wire = Wire::resume(&broker, &device);
    wire.send(Publish::new("a", "once").qos(2, 7).dup().bytes());
    wire.expect_answer(pubrec(7));
    wire.send(pubrel(7));
    wire.expect_answer(pubcomp(7));
    wire.take("once");
    wire.expect_nothing_but_pong();
}
