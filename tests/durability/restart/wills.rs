//! Wills: those that were owed come, those that were not do not.

use crate::durability::preload::later;
use crate::durability::{Way, await_gone, every_way};
use crate::harness::packets5::{SESSION_EXPIRY, WILL_DELAY, With};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Wire};

/// A session that misses nothing.
fn watch() -> Connect {
    Connect::new("watcher").persistent()
}

/// A broker that such a session watches.
fn watched(way: Way) -> Broker {
    let broker = way.start();
    let mut watcher = Wire::connect(&broker, &watch());
    watcher.subscribe("will", 2);
    watcher.disconnect();
    broker
}

/// A client with a will that waits for `delay` seconds, and a session of `expiry` seconds.
fn mortal(delay: u32, expiry: u32) -> Connect5 {
    let will = Publish5::new("will", "gone").qos(1, 0).with(WILL_DELAY, delay).pair("a", "b");
    Connect5::new("mortal").with(SESSION_EXPIRY, expiry).will(will)
}

/// Due while the broker was down: published once it is there again, once.
#[test]
fn delayed_will_that_was_due_meanwhile_is_published() {
    every_way(|way| {
        let broker = watched(way);
        Wire::connect5(&broker, &mortal(1_800, 7_200)).cut();
        await_gone(&broker);
        let broker = later(way.down(broker), 3_600).start();
        let mut watcher = Wire::resume(&broker, &watch());
        assert_eq!(watcher.take("gone").qos, 1);
        // What it acknowledged has been read by then.
        watcher.expect_nothing_but_pong();
        let broker = way.restart(broker);
        Wire::resume(&broker, &watch()).expect_nothing_but_pong();
        // Its session outlives it.
        Wire::resume5(&broker, &Connect5::new("mortal").persistent(60));
    });
}

/// The client comes back before it is due: it never is.
#[test]
fn delayed_will_is_forgotten_when_the_client_is_back_in_time() {
    every_way(|way| {
        let broker = watched(way);
        Wire::connect5(&broker, &mortal(1_800, 7_200)).cut();
        await_gone(&broker);
        let broker = later(way.down(broker), 1_000).start();
        let back = Wire::resume5(&broker, &Connect5::new("mortal").persistent(7_200));
        back.disconnect5(0);
        await_gone(&broker);
        let broker = later(way.down(broker), 3_600).start();
        Wire::resume(&broker, &watch()).expect_nothing_but_pong();
    });
}

/// The will of a client that was connected: published when the broker ends, or after its next start where it
/// had no time for it.
#[test]
fn will_of_a_connected_client_is_published_once() {
    every_way(|way| {
        let broker = watched(way);
        let old = Connect::new("old").persistent().will(Publish::new("will", "old").qos(2, 0));
        let _old = Wire::connect(&broker, &old);
        let _new = Wire::connect5(&broker, &mortal(0, 7_200));
        let broker = way.restart(broker);
        let mut watcher = Wire::resume(&broker, &watch());
        let mut wills: Vec<_> = (0..2)
            .map(|_| {
                let publish = watcher.expect_publish();
                watcher.acknowledge(&publish);
                (publish.text().to_owned(), publish.qos)
            })
            .collect();
        wills.sort();
        assert_eq!(wills, [("gone".to_owned(), 1), ("old".to_owned(), 2)]);
        watcher.expect_nothing_but_pong();
        let broker = way.restart(broker);
        Wire::resume(&broker, &watch()).expect_nothing_but_pong();
    });
}

/// DISCONNECT took the will back for good.
#[test]
fn will_of_a_client_that_left_is_not_published() {
    every_way(|way| {
        let broker = watched(way);
        Wire::connect5(&broker, &mortal(0, 7_200)).disconnect5(0);
        let old = Connect::new("old").persistent().will(Publish::new("will", "old").qos(2, 0));
        Wire::connect(&broker, &old).disconnect();
        let broker = way.restart(broker);
        Wire::resume(&broker, &watch()).expect_nothing_but_pong();
    });
}

/// The broker is killed as soon as the client sees its connection end: the will is gone by then.
#[test]
fn will_that_was_taken_back_is_gone_before_the_connection_is() {
    let broker = watched(Way::SyncKill);
    let old = Connect::new("old").persistent().will(Publish::new("will", "old").qos(1, 0));
    Wire::connect(&broker, &old).disconnect();
    let broker = broker.kill().start();
    Wire::resume(&broker, &watch()).expect_nothing_but_pong();
}

/// A will that is retained is so after a restart too.
#[test]
fn retained_will_is_retained() {
    every_way(|way| {
        let broker = watched(way);
        let connect = Connect::new("old").persistent().will(Publish::new("will", "old").qos(1, 0).retain());
        let _old = Wire::connect(&broker, &connect);
        let broker = way.restart(broker);
        Wire::resume(&broker, &watch()).take("old");
        let broker = way.restart(broker);
        let mut late = Wire::client(&broker, "late");
        late.subscribe("will", 1);
        assert!(late.take("old").retain);
    });
}
