//! Sessions and their subscriptions.

use crate::durability::preload::later;
use crate::durability::{await_gone, await_report, every_way};
use crate::harness::packets::{suback, subscribe, unsuback, unsubscribe};
use crate::harness::packets5::{SESSION_EXPIRY, SUBACK, SUBSCRIPTION_ID, With, disconnect5, subscribe5};
use crate::harness::{Connect, Connect5, Publish, Publish5, Wire};

const FOREVER: u32 = u32::MAX;

#[test]
fn session_of_311_has_its_subscriptions() {
    every_way(|way| {
        let broker = way.start();
        let connect = Connect::new("client").persistent();
        let mut client = Wire::connect(&broker, &connect);
        client.send(subscribe(1, &[("a", 0), ("b/+", 1), ("c/#", 2), ("left", 1)]));
        client.expect(suback(1, &[0, 1, 2, 1]));
        client.send(subscribe(2, &[("b/+", 2)]));
        client.expect(suback(2, &[2]));
        client.send(unsubscribe(3, &["left"]));
        client.expect(unsuback(3));
        let broker = way.restart(broker);
        drop(client);
        let mut client = Wire::resume(&broker, &connect);
        let mut publisher = Wire::client(&broker, "publisher");
        for (topic, qos) in [("a", 0), ("b/1", 2), ("c/1/2", 2)] {
            publisher.publish(&Publish::new(topic, topic).qos(2, 1));
            assert_eq!(client.take(topic).qos, qos);
        }
        publisher.publish(&Publish::new("left", "nobody").qos(1, 1));
        client.expect_nothing_but_pong();
        await_report(&broker, "sessions/persistent", |count| count == "1");
    });
}

#[test]
fn session_of_5_has_its_subscriptions_with_options_and_identifiers() {
    every_way(|way| {
        let broker = way.start();
        let connect = Connect5::new("client").persistent(FOREVER);
        let mut client = Wire::connect5(&broker, &connect);
        // No local; retain as published; and two that overlap.
        let filters = [("not/mine/#", 0x06, 7), ("as/published", 0x09, 8), ("#", 0x04, 268_435_455)];
        for (filter, options, id) in filters {
            client.send(subscribe5(1, &[(filter, options)]).with(SUBSCRIPTION_ID, id).bytes());
            assert_eq!(client.await_answer(SUBACK, 1).codes, [options & 3]);
        }
        let broker = way.restart(broker);
        drop(client);
        let mut client = Wire::resume5(&broker, &connect);
        client.publish5(&Publish5::new("not/mine/1", "own").qos(1, 1));
        client.expect_nothing_but_pong();
        let mut publisher = Wire::client5(&broker, "publisher");
        publisher.publish5(&Publish5::new("not/mine/1", "1").qos(2, 1));
        let publish = client.take5("1");
        assert_eq!((publish.qos, publish.properties.subscription_ids()), (2, vec![7, 268_435_455]));
        publisher.publish5(&Publish5::new("as/published", "2").qos(2, 1).retain());
        let publish = client.take5("2");
        assert!(publish.retain && publish.qos == 1, "{publish:?}");
        assert_eq!(publish.properties.subscription_ids(), [8, 268_435_455]);
    });
}

/// A session whose time was over while the broker was down is gone, with all that was its.
#[test]
fn session_that_expired_meanwhile_is_gone() {
    every_way(|way| {
        let broker = way.start();
        for (name, expiry) in [("short", 1_800), ("long", 7_200)] {
            let mut client = Wire::connect5(&broker, &Connect5::new(name).persistent(expiry));
            client.subscribe5("a", 1);
            client.disconnect5(0);
        }
        await_gone(&broker);
        Wire::client5(&broker, "publisher").publish5(&Publish5::new("a", "1").qos(1, 1));
        let broker = later(way.down(broker), 3_600).start();
        let mut short = Wire::connect5(&broker, &Connect5::new("short").persistent(1_800));
        let mut long = Wire::resume5(&broker, &Connect5::new("long").persistent(7_200));
        long.take5("1");
        Wire::client5(&broker, "publisher").publish5(&Publish5::new("a", "2").qos(1, 1));
        long.take5("2");
        short.expect_nothing_but_pong();
    });
}

/// Of a client that was connected when the broker was killed nobody knows when it left: its time counts from
/// the start. Where the broker was asked to end, from then.
#[test]
fn session_of_a_connected_client_expires_from_when_its_end_is_known() {
    every_way(|way| {
        let broker = way.start();
        let connect = Connect5::new("client").persistent(1_800);
        let client = Wire::connect5(&broker, &connect);
        let broker = later(way.down(broker), 3_600).start();
        drop(client);
        let (_, connack) = Wire::greet5(&broker, &connect);
        assert_eq!(connack.session_present, way.is_kill(), "{connack:?}");
    });
}

/// What a session was last told of its expiry holds.
#[test]
fn expiry_that_disconnect_changed_holds() {
    every_way(|way| {
        let broker = way.start();
        let connect = Connect5::new("client").persistent(7_200);
        let mut client = Wire::connect5(&broker, &connect);
        let disconnect = disconnect5(0);
        client.send(disconnect.with(SESSION_EXPIRY, 1_800).bytes());
        client.expect_closed();
        await_gone(&broker);
        let broker = later(way.down(broker), 3_600).start();
        Wire::connect5(&broker, &connect);
    });
}
