//! Clean start (§3.1.2.4), session expiry (§3.1.2.11.2, §3.14.2.2.2) and session present (§3.2.2.1.1).

use super::{PROTOCOL_ERROR, await_one_and_a_half_seconds};
use crate::harness::packets5::{SESSION_EXPIRY, With, disconnect5};
use crate::harness::{Broker, Connect, Connect5, Publish5, Wire};

const FOREVER: u32 = 0xFFFF_FFFF;

/// Whether there is a session for the client id `c`; it is asked for with a session expiry that keeps it.
fn is_kept(broker: &Broker) -> bool {
    let (wire, connack) = Wire::greet5(broker, &Connect5::new("c").persistent(FOREVER));
    wire.disconnect5(0);
    connack.session_present
}

/// [MQTT-3.1.2-5], [MQTT-3.1.2-23], [MQTT-3.2.2-3]: a session with expiry outlives its connection: its
/// subscriptions, and what arrives meanwhile.
#[test]
fn session_with_expiry_is_resumed() {
    let broker = Broker::start();
    for expiry in [60, FOREVER - 1, FOREVER] {
        let connect = Connect5::new("c").with(SESSION_EXPIRY, expiry);
        let mut client = Wire::connect5(&broker, &connect);
        client.subscribe5("a", 2);
        client.cut();
        let mut publisher = Wire::client5(&broker, "publisher");
        publisher.publish5(&Publish5::new("a", "1").qos(1, 1));
        publisher.publish5(&Publish5::new("a", "2").qos(2, 2));
        let mut client = Wire::resume5(&broker, &connect.keep_session());
        client.take5("1");
        client.take5("2");
        client.publish5(&Publish5::new("a", "3").qos(1, 1));
        client.take5("3");
    }
}

/// [MQTT-3.1.2-6], [MQTT-3.2.2-3]: where there is no session, clean start 0 makes one.
#[test]
fn clean_start_0_without_a_session_makes_one() {
    let broker = Broker::start();
    let mut client = Wire::connect5(&broker, &Connect5::new("c").keep_session());
    client.subscribe5("a", 1);
    client.publish5(&Publish5::new("a", "1").qos(1, 1));
    client.take5("1");
}

/// [MQTT-3.1.2-4], [MQTT-3.1.4-4], [MQTT-3.2.2-2]: clean start 1 discards the session, also one that is
/// connected, and says that there is none.
#[test]
fn clean_start_discards_the_session() {
    let broker = Broker::start();
    for connected in [false, true] {
        let mut old = Wire::connect5(&broker, &Connect5::new("c").with(SESSION_EXPIRY, 60));
        old.subscribe5("a", 1);
        if !connected {
            old.disconnect5(0);
        }
        let mut client = Wire::connect5(&broker, &Connect5::new("c").with(SESSION_EXPIRY, 60));
        client.publish5(&Publish5::new("a", "1").qos(1, 1));
        client.expect_nothing_but_pong();
        // It is the new session that is kept.
        client.subscribe5("b", 1);
        client.cut();
        let mut client = Wire::resume5(&broker, &Connect5::new("c").persistent(60));
        client.publish5(&Publish5::new("a", "2").qos(1, 1));
        client.publish5(&Publish5::new("b", "3").qos(1, 2));
        client.take5("3");
        client.expect_nothing_but_pong();
    }
}

/// §3.1.2.11.2: without expiry, or with 0, the session ends with the connection, whatever ends it.
#[test]
fn session_without_expiry_ends_with_the_connection() {
    let broker = Broker::start();
    for connect in [Connect5::new("c"), Connect5::new("c").persistent(0)] {
        Wire::connect5(&broker, &connect).disconnect5(0);
        assert!(!is_kept(&broker));
        // What was kept for this question goes again.
        Wire::client5(&broker, "c").disconnect5(0);
        let mut lost = Wire::connect5(&broker, &connect);
        lost.send(Connect5::new("c").bytes());
        lost.expect_disconnect(PROTOCOL_ERROR);
        assert!(!is_kept(&broker));
        Wire::client5(&broker, "c").disconnect5(0);
    }
}

/// §3.1.2.11.2: the session ends when its expiry has passed since the end of the connection.
#[test]
fn session_ends_after_its_expiry() {
    let broker = Broker::start();
    let connect = Connect5::new("c").persistent(1);
    let client = Wire::connect5(&broker, &connect);
    // While the connection lasts, no time passes for it.
    await_one_and_a_half_seconds(&broker);
    client.cut();
    let client = Wire::resume5(&broker, &connect);
    client.disconnect5(0);
    await_one_and_a_half_seconds(&broker);
    assert!(!is_kept(&broker));
}

/// §3.1.2.11.2: the expiry of the last connection counts.
#[test]
fn each_connection_sets_the_expiry_anew() {
    let broker = Broker::start();
    Wire::connect5(&broker, &Connect5::new("c").persistent(60)).disconnect5(0);
    Wire::resume5(&broker, &Connect5::new("c").keep_session()).disconnect5(0);
    assert!(!is_kept(&broker));
}

/// §3.14.2.2.2: DISCONNECT may set another expiry, also the end.
#[test]
fn expiry_is_changed_at_disconnect() {
    let broker = Broker::start();
    let leave = |from: u32, to: u32| {
        let mut client = Wire::open(&broker);
        client.send(Connect5::new("c").with(SESSION_EXPIRY, from).bytes());
        client.expect_connack(0);
        client.send(disconnect5(0).with(SESSION_EXPIRY, to).bytes());
        client.expect_closed();
    };
    leave(60, 0);
    assert!(!is_kept(&broker));
    leave(1, FOREVER);
    await_one_and_a_half_seconds(&broker);
    assert!(is_kept(&broker));
    leave(FOREVER, 1);
    await_one_and_a_half_seconds(&broker);
    assert!(!is_kept(&broker));
    leave(0, 0);
    assert!(!is_kept(&broker));
}

/// §3.14.2.2.2: a session that was to end with the connection is not kept by DISCONNECT.
#[test]
fn expiry_raised_from_zero_at_disconnect_is_a_protocol_error() {
    let broker = Broker::start();
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("will", 0);
    for connect in [Connect5::new("c"), Connect5::new("c").with(SESSION_EXPIRY, 0)] {
        let mut client = Wire::connect5(&broker, &connect.will(Publish5::new("will", "1")));
        client.send(disconnect5(0).with(SESSION_EXPIRY, 60).bytes());
        client.expect_disconnect(PROTOCOL_ERROR);
        // It is no valid DISCONNECT: the will is published.
        watcher.take5("1");
        assert!(!is_kept(&broker));
        Wire::client5(&broker, "c").disconnect5(0);
    }
}

/// §3.2.2.3.2: where the server lowers the expiry, its value counts, at DISCONNECT too.
#[test]
fn expiry_is_at_most_that_of_the_server() {
    let broker = Broker::with_config("[mqtt]\nsession_expiry_max_s = 1");
    for expiry in [2, FOREVER] {
        let (client, connack) = Wire::greet5(&broker, &Connect5::new("c").with(SESSION_EXPIRY, expiry));
        assert_eq!(connack.properties.number(SESSION_EXPIRY), Some(1));
        client.disconnect5(0);
        await_one_and_a_half_seconds(&broker);
        assert!(!is_kept(&broker));
    }
    let mut client = Wire::open(&broker);
    client.send(Connect5::new("c").with(SESSION_EXPIRY, 1).bytes());
    client.expect_connack(0);
    client.send(disconnect5(0).with(SESSION_EXPIRY, 60).bytes());
    client.expect_closed();
    await_one_and_a_half_seconds(&broker);
    assert!(!is_kept(&broker));
}

/// §3.1.2.4: a session of 3.1.1 is taken up by a client of 5, and the other way round.
#[test]
fn session_moves_between_versions() {
    let broker = Broker::start();
    let old = Connect::new("c").persistent();
    let new = Connect5::new("c").persistent(60);
    let mut client = Wire::connect(&broker, &old);
    client.subscribe("a", 1);
    client.disconnect();
    let mut client = Wire::resume5(&broker, &new);
    client.publish5(&Publish5::new("a", "1").qos(1, 1));
    client.take5("1");
    client.subscribe5("b", 1);
    client.disconnect5(0);
    let mut client = Wire::resume(&broker, &old);
    client.publish(&crate::harness::Publish::new("b", "2").qos(1, 1));
    client.take("2");
}
