//! Session state (§4.1) and message receipt (§4.5): how long it lasts, and whose state a message becomes
//! part of.

use super::await_one_and_a_half_seconds;
use super::steps::{numbers, taken, texts};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// [MQTT-4.1.0-1]: a session lasts as long as its connection, whatever its expiry.
#[test]
fn session_lasts_as_long_as_its_connection() {
    let broker = Broker::start();
    for seconds in [0, 1] {
        let mut client = Wire::connect5(&broker, &Connect5::new("c").persistent(seconds));
        client.subscribe5("a", 1);
        client.publish5(&Publish5::new("a", "1").qos(1, 1));
        let sent = client.expect_publish5();
        await_one_and_a_half_seconds(&broker);
        client.acknowledge5(&sent);
        client.publish5(&Publish5::new("a", "2").qos(1, 1));
        client.take5("2");
        client.disconnect5(0);
        // The next one begins from nothing.
        Wire::greet5(&broker, &Connect5::new("c")).0.disconnect5(0);
    }
}

/// [MQTT-4.1.0-2]: it is thrown away when the connection is closed and its expiry has passed: session,
/// subscriptions, and what waited.
#[test]
fn session_is_thrown_away_after_its_expiry() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    for (seconds, kept) in [(0, false), (1, false), (300, true)] {
        let connect = Connect5::new(format!("c{seconds}")).persistent(seconds);
        let mut client = Wire::connect5(&broker, &connect);
        client.subscribe5("a", 1);
        client.cut();
        sender.publish5(&Publish5::new("a", "1").qos(1, 1));
        await_one_and_a_half_seconds(&broker);
        await_one_and_a_half_seconds(&broker);
        let (mut client, connack) = Wire::greet5(&broker, &connect);
        assert_eq!(connack.session_present, kept, "{seconds} s");
        if kept {
            client.take5("1");
        }
        sender.publish5(&Publish5::new("a", "2").qos(1, 1));
        if kept {
            client.take5("2");
        }
        client.expect_nothing_but_pong();
    }
}

/// [MQTT-4.5.0-1]: a message that was acknowledged is in the session of everybody who matches, there or
/// away.
#[test]
fn acknowledged_message_is_in_the_sessions_that_match() {
    let broker = Broker::start();
    let connects = ["a/b", "a/+", "#", "b"].map(|filter| {
        let connect = Connect5::new(filter.replace(['+', '#'], "x")).persistent(300);
        let mut client = Wire::connect5(&broker, &connect);
        client.subscribe5(filter, 2);
        client.disconnect5(0);
        (filter, connect)
    });
    let mut there = Wire::client5(&broker, "there");
    there.subscribe5("a/b", 1);
    let mut sender = Wire::client5(&broker, "sender");
    let payloads = numbers(0..20);
    for (payload, qos) in payloads.iter().zip([1, 2].into_iter().cycle()) {
        sender.publish5(&Publish5::new("a/b", payload).qos(qos, 1));
    }
    // Those who are away get it though its sender has gone.
    sender.disconnect5(0);
    assert_eq!(texts(&taken(&mut there)), payloads);
    for (filter, connect) in &connects {
        let mut wire = Wire::resume5(&broker, connect);
        for payload in payloads.iter().filter(|_| *filter != "b") {
            wire.take5(payload);
        }
        wire.expect_nothing_but_pong();
    }
}
