//! Fixed headers (§2.2), errors (§4.8), and bytes that are no MQTT at all.

use super::{assert_breach, assert_breach_at_once};
use crate::harness::packets::{connack, packet, puback, suback, subscribe, unsuback, unsubscribe};
use crate::harness::{Broker, Connect, Publish, Wire};

/// The same packet with other flags in its fixed header.
fn with_flags(mut packet: Vec<u8>, flags: u8) -> Vec<u8> {
    packet[0] = packet[0] & 0xF0 | flags;
    packet
}

/// [MQTT-2.2.2-1], [MQTT-2.2.2-2]: CONNECT, PUBACK, PUBREC and PUBCOMP have flags 0.
#[test]
fn wrong_flags_close() {
    let broker = Broker::start();
    for flags in 1..16 {
        assert_breach_at_once(&broker, with_flags(Connect::new("c").bytes(), flags), "MQTT-2.2.2-2");
    }
    for flags in [1, 2, 4, 8, 15] {
        for first in [0x40, 0x50, 0x70] {
            assert_breach(&broker, packet(first | flags, [0, 1]), "MQTT-2.2.2-2");
        }
    }
}

/// [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]: PUBREL, SUBSCRIBE and UNSUBSCRIBE have flags 2.
#[test]
fn wrong_flags_of_packets_with_flags_2_close() {
    let broker = Broker::start();
    for flags in (0..16).filter(|flags| *flags != 2) {
        assert_breach(&broker, packet(0x60 | flags, [0, 1]), "MQTT-3.6.1-1");
        assert_breach(&broker, with_flags(subscribe(1, &[("a", 0)]), flags), "MQTT-3.8.1-1");
        assert_breach(&broker, with_flags(unsubscribe(1, &["a"]), flags), "MQTT-3.10.1-1");
    }
}

/// §2.2.1: types 0 and 15 are reserved.
#[test]
fn reserved_packet_types_close() {
    let broker = Broker::start();
    for first in [0x00, 0x0F, 0xF0, 0xFF] {
        assert_breach(&broker, packet(first, []), "§2.2.1");
    }
}

/// §2.2.1: a client does not send what only a server sends.
#[test]
fn packets_of_a_server_close() {
    let broker = Broker::start();
    for packet in [connack(false, 0), suback(1, &[0]), unsuback(1), packet(0xD0, [])] {
        assert_breach(&broker, packet, "§2.2.1");
    }
}

/// §2.2.3: a remaining length has at most four bytes.
#[test]
fn remaining_length_of_five_bytes_closes() {
    let broker = Broker::start();
    assert_breach(&broker, [0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], "§2.2.3");
    assert_breach(&broker, [0x30, 0x80, 0x80, 0x80, 0x80, 0x00], "§2.2.3");
    assert_breach_at_once(&broker, [0x10, 0xFF, 0xFF, 0xFF, 0xFF], "§2.2.3");
}

/// [MQTT-4.8.0-2]: a length that is far too large is refused before its bytes come.
#[test]
fn huge_remaining_length_closes() {
    let broker = Broker::start();
    assert_breach(&broker, [0x30, 0xFF, 0xFF, 0xFF, 0x7F], "MQTT-4.8.0-2");
    assert_breach_at_once(&broker, [0x10, 0xFF, 0xFF, 0xFF, 0x7F], "MQTT-4.8.0-2");
}

/// §2.2.3: bytes behind the last field are no part of any packet.
#[test]
fn bytes_behind_the_last_field_close() {
    let broker = Broker::start();
    let mut connect = Connect::new("c").body();
    connect.push(0);
    assert_breach_at_once(&broker, packet(0x10, connect), "§2.2.3");
    assert_breach(&broker, packet(0x40, [0, 1, 0]), "§2.2.3");
}

/// [MQTT-4.8.0-1], [MQTT-3.1.4-1]: what is no MQTT is closed without an answer.
#[test]
fn other_protocols_close() {
    let broker = Broker::start();
    for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\0\0\0\0", b"\xFF\xFF"] {
        assert_breach_at_once(&broker, bytes, "MQTT-3.1.0-1");
    }
    // A TLS client begins like a CONNECT with wrong flags.
    assert_breach_at_once(&broker, b"\x16\x03\x01\x02\x00\x01", "MQTT-2.2.2-2");
    let mut garbage = Wire::open(&broker);
    garbage.send(packet(0x10, [0xFF; 64]));
    garbage.expect_closed();
}

/// [MQTT-4.8.0-1]: what came before the error counts, what comes behind it does not.
#[test]
fn packets_before_an_error_count_and_those_behind_do_not() {
    let broker = Broker::start();
    let mut watcher = Wire::client(&broker, "watcher");
    watcher.subscribe("#", 0);
    let mut culprit = Wire::client(&broker, "culprit");
    let (good, bad) = (Publish::new("a", "1").qos(1, 1).bytes(), vec![0xF0, 0]);
    culprit.send([good, bad, Publish::new("a", "2").bytes()].concat());
    watcher.take("1");
    while culprit.try_receive().is_ok_and(|packet| packet == puback(1)) {}
    broker.closed_for(culprit.local_addr(), "§2.2.1");
    watcher.expect_nothing_but_pong();
}

/// [MQTT-4.8.0-1]: one client's error is no other's.
#[test]
fn breach_of_one_client_disturbs_no_other() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a", 1);
    for _ in 0..50 {
        let mut culprit = Wire::client(&broker, "culprit");
        culprit.send([0xF0, 0]);
        culprit.expect_closed();
    }
    client.publish(&Publish::new("a", "1").qos(1, 1));
    client.take("1");
}

/// §2.2.3: every length of the remaining length is read as it is written.
#[test]
fn remaining_lengths_are_read() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    // Not the shortest form; nothing forbids it.
    client.send([0x30, 0x84, 0x00, 0, 1, b'a', b'1']);
    client.send([0xC0, 0x80, 0x80, 0x00]);
    client.expect([0xD0, 0]);
}
