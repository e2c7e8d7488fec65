//! What has ended stays ended.

use crate::durability::{await_gone, await_report, every_way};
use crate::harness::packets5::{SESSION_EXPIRY, With, disconnect5};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Wire};

/// A session was not there before, and nothing comes for it.
fn assert_new(broker: &Broker, name: &str) {
    let mut client = Wire::connect5(broker, &Connect5::new(name).persistent(60));
    Wire::client5(broker, "publisher").publish5(&Publish5::new("a", "new").qos(1, 1));
    client.expect_nothing_but_pong();
}

#[test]
fn clean_session_leaves_nothing() {
    every_way(|way| {
        let broker = way.start();
        let mut old = Wire::client(&broker, "old");
        old.subscribe("a", 1);
        let mut new = Wire::client5(&broker, "new");
        new.subscribe5("a", 1);
        Wire::client(&broker, "publisher").publish(&Publish::new("a", "1").qos(1, 1));
        let broker = way.restart(broker);
        await_report(&broker, "sessions/persistent", |count| count == "0");
        assert_new(&broker, "old");
        assert_new(&broker, "new");
    });
}

#[test]
fn session_that_a_clean_start_ended_stays_ended() {
    every_way(|way| {
        let broker = way.start();
        for clean in [Connect5::new("client"), Connect5::new("client").with(SESSION_EXPIRY, 0)] {
            let mut client = Wire::connect5(&broker, &Connect5::new("client").persistent(60));
            client.subscribe5("a", 1);
            client.disconnect5(0);
            Wire::client(&broker, "publisher").publish(&Publish::new("a", "1").qos(1, 1));
            Wire::connect5(&broker, &clean).disconnect5(0);
        }
        let mut old = Wire::connect(&broker, &Connect::new("old").persistent());
        old.subscribe("a", 1);
        old.cut();
        let old = Wire::client(&broker, "old");
        let broker = way.restart(broker);
        drop(old);
        await_report(&broker, "sessions/persistent", |count| count == "0");
        assert_new(&broker, "client");
        assert_new(&broker, "old");
    });
}

#[test]
fn session_that_disconnect_ended_stays_ended() {
    every_way(|way| {
        let broker = way.start();
        let mut client = Wire::connect5(&broker, &Connect5::new("client").persistent(60));
        client.subscribe5("a", 1);
        client.send(disconnect5(0).with(SESSION_EXPIRY, 0).bytes());
        client.expect_closed();
        await_gone(&broker);
        let broker = way.restart(broker);
        assert_new(&broker, "client");
    });
}

/// A clean start begins a session anew: what belonged to the one before does not come back.
#[test]
fn session_begun_anew_has_nothing_of_the_one_before() {
    every_way(|way| {
        let broker = way.start();
        let connect = Connect::new("client").persistent();
        let mut client = Wire::connect(&broker, &connect);
        client.subscribe("a", 1);
        client.disconnect();
        let mut publisher = Wire::client(&broker, "publisher");
        publisher.publish(&Publish::new("a", "old").qos(1, 1));
        let begins = Connect5::new("client").with(SESSION_EXPIRY, u32::MAX);
        let mut client = Wire::connect5(&broker, &begins);
        client.subscribe5("b", 1);
        client.disconnect5(0);
        publisher.publish(&Publish::new("b", "new").qos(1, 1));
        let broker = way.restart(broker);
        let mut client = Wire::resume(&broker, &connect);
        Wire::client(&broker, "publisher").publish(&Publish::new("a", "nobody").qos(1, 1));
        client.take("new");
        client.expect_nothing_but_pong();
    });
}
