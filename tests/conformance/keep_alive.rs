//! Keep alive (§3.1.2.10), PINGREQ (§3.12) and DISCONNECT (§3.14).

use super::assert_breach;
use crate::harness::packets::{DISCONNECT, PINGREQ, PINGRESP, packet};
use crate::harness::{Broker, Connect, Publish, Wire};
use std::time::{Duration, Instant};

/// Waits for as long as a silent client with a keep alive of one second lives: 1.5 s, measured by the
/// broker. This is the tests' clock, so that none of them has to sleep.
fn await_one_and_a_half_seconds(broker: &Broker) {
    Wire::connect(broker, &Connect::new("").keep_alive(1)).expect_closed();
}

/// [MQTT-3.1.2-24]: after one and a half times the keep alive the connection is closed.
#[test]
fn silent_client_is_closed_after_one_and_a_half_times_the_keep_alive() {
    let broker = Broker::start();
    for (seconds, least, most) in [(1, 1500, 5000), (2, 3000, 7000)] {
        let mut silent = Wire::connect(&broker, &Connect::new("silent").keep_alive(seconds));
        let since = Instant::now();
        silent.expect_closed();
        let lived = since.elapsed();
        // The broker's time begins a moment before CONNACK arrives here.
        let range = Duration::from_millis(least - 100)..Duration::from_millis(most);
        assert!(range.contains(&lived), "{lived:?}");
        let line = broker.closed_for(silent.local_addr(), "MQTT-3.1.2-24");
        assert_eq!(line.field("client"), Some("silent"));
    }
}

/// [MQTT-3.1.2-23], [MQTT-3.1.2-24]: any packet in time keeps the connection.
#[test]
fn any_packet_keeps_the_connection() {
    let broker = Broker::start();
    let mut client = Wire::connect(&broker, &Connect::new("c").keep_alive(2));
    for packet in [PINGREQ.to_vec(), Publish::new("a", "1").bytes(), crate::harness::packets::puback(1)] {
        await_one_and_a_half_seconds(&broker);
        client.send(packet);
    }
    await_one_and_a_half_seconds(&broker);
    client.expect(PINGRESP);
    client.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-24]: what the client is sent does not count.
#[test]
fn deliveries_do_not_keep_the_connection() {
    let broker = Broker::start();
    let mut silent = Wire::connect(&broker, &Connect::new("silent").keep_alive(1));
    silent.subscribe("a", 0);
    let mut sender = Wire::client(&broker, "sender");
    let since = Instant::now();
    while silent.try_receive().is_ok() {
        assert!(since.elapsed() < crate::harness::PATIENCE, "kept by what it is sent");
        sender.publish(&Publish::new("a", "1"));
    }
    broker.closed_for(silent.local_addr(), "MQTT-3.1.2-24");
}

/// [MQTT-3.1.2-24]: a packet that never becomes whole does not count.
#[test]
fn incomplete_packet_does_not_keep_the_connection() {
    let broker = Broker::start();
    let mut slow = Wire::connect(&broker, &Connect::new("slow").keep_alive(2));
    slow.send([0x30]);
    await_one_and_a_half_seconds(&broker);
    slow.send([0x05]);
    slow.expect_closed();
    broker.closed_for(slow.local_addr(), "MQTT-3.1.2-24");
}

/// §3.1.2.10: a keep alive of 0 turns it off.
#[test]
fn keep_alive_0_is_off() {
    let broker = Broker::start();
    let mut silent = Wire::client(&broker, "silent");
    await_one_and_a_half_seconds(&broker);
    await_one_and_a_half_seconds(&broker);
    silent.expect_nothing_but_pong();
}

/// [MQTT-3.12.4-1]: PINGREQ is answered with PINGRESP.
#[test]
fn pingreq_is_answered() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.send(PINGREQ.repeat(100));
    for _ in 0..100 {
        client.expect(PINGRESP);
    }
}

/// §3.14.4: the server closes if the client does not, and handles nothing behind DISCONNECT.
#[test]
fn nothing_behind_disconnect_is_handled() {
    let broker = Broker::start();
    let mut watcher = Wire::client(&broker, "watcher");
    watcher.subscribe("#", 0);
    let mut client = Wire::client(&broker, "c");
    client.send([DISCONNECT, &Publish::new("a", "1").bytes()].concat());
    client.expect_closed();
    watcher.expect_nothing_but_pong();
    let addr = client.local_addr().to_string();
    broker.log_line(|line| line.message() == "disconnected" && line.field("addr") == Some(&addr));
}

/// [MQTT-3.14.1-1], [MQTT-2.2.2-2]: DISCONNECT and PINGREQ have no flags, and no body.
#[test]
fn malformed_disconnect_and_pingreq_close() {
    let broker = Broker::start();
    for flags in 1..16 {
        assert_breach(&broker, packet(0xE0 | flags, []), "MQTT-3.14.1-1");
        assert_breach(&broker, packet(0xC0 | flags, []), "MQTT-2.2.2-2");
    }
    for first in [0xC0, 0xE0] {
        assert_breach(&broker, packet(first, [0]), "§2.2.3");
    }
}
