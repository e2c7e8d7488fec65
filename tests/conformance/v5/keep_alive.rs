//! Keep alive (§3.1.2.10) and Server Keep Alive (§3.2.2.3.14).

use super::await_one_and_a_half_seconds;
use crate::harness::packets::{PINGREQ, PINGRESP};
use crate::harness::packets5::{PUBACK, SERVER_KEEP_ALIVE, ack5};
use crate::harness::{Broker, Connect5, Publish5, Wire};
use std::time::{Duration, Instant};

/// DISCONNECT with 0x8D comes after one and a half times these seconds.
#[track_caller]
fn assert_closed_after(wire: &mut Wire, since: Instant, seconds: u64) {
    wire.expect_disconnect(0x8D);
    let lived = since.elapsed();
    // The broker's time begins a moment before CONNACK arrives here.
    let range = Duration::from_millis(seconds * 1500 - 100)..Duration::from_millis(seconds * 1500 + 3500);
    assert!(range.contains(&lived), "{lived:?}");
}

/// [MQTT-3.1.2-22], [MQTT-3.2.2-22]: after one and a half times the keep alive of the client, the server
/// says so and closes.
#[test]
fn silent_client_is_closed_after_one_and_a_half_times_the_keep_alive() {
    let broker = Broker::start();
    for seconds in [1, 2] {
        let since = Instant::now();
        let mut silent = Wire::connect5(&broker, &Connect5::new("silent").keep_alive(seconds));
        assert_closed_after(&mut silent, since, u64::from(seconds));
    }
}

/// [MQTT-3.1.2-20], [MQTT-3.1.2-22]: any packet in time keeps the connection.
#[test]
fn any_packet_keeps_the_connection() {
    let broker = Broker::start();
    let mut client = Wire::connect5(&broker, &Connect5::new("c").keep_alive(2));
    for packet in [PINGREQ.to_vec(), Publish5::new("a", "1").bytes(), ack5(PUBACK, 1, 0).bytes()] {
        await_one_and_a_half_seconds(&broker);
        client.send(packet);
    }
    await_one_and_a_half_seconds(&broker);
    client.expect(PINGRESP);
    client.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-21], [MQTT-3.2.2-21]: where the server sets another keep alive, that one counts.
#[test]
fn keep_alive_of_the_server_counts() {
    let broker = Broker::with_config("[mqtt]\nserver_keep_alive_max_s = 1");
    for asked in [0, 60] {
        let since = Instant::now();
        let (mut silent, connack) = Wire::greet5(&broker, &Connect5::new("silent").keep_alive(asked));
        assert_eq!(connack.properties.number(SERVER_KEEP_ALIVE), Some(1));
        assert_closed_after(&mut silent, since, 1);
    }
}

/// §3.1.2.10: keep alive 0 is none.
#[test]
fn client_without_keep_alive_is_waited_for() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    await_one_and_a_half_seconds(&broker);
    await_one_and_a_half_seconds(&broker);
    client.expect_nothing_but_pong();
}
