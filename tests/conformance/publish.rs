//! PUBLISH (§3.3): its flags, its topic, its payload, on the way in and on the way out.

use super::assert_breach;
use crate::harness::packets;
use crate::harness::{Broker, Publish, Wire};

/// [MQTT-3.3.1-2]: DUP is 0 with QoS 0.
#[test]
fn dup_with_qos_0_closes() {
    assert_breach(&Broker::start(), Publish::new("a", "1").dup().bytes(), "MQTT-3.3.1-2");
}

/// [MQTT-3.3.1-4]: not both QoS bits are set.
#[test]
fn qos_3_closes() {
    assert_breach(&Broker::start(), Publish::new("a", "1").qos(3, 1).bytes(), "MQTT-3.3.1-4");
}

/// [MQTT-3.3.1-3]: DUP of what comes in says nothing about DUP of what goes out.
#[test]
fn dup_is_not_passed_on() {
    let broker = Broker::start();
    let mut receiver = Wire::client(&broker, "receiver");
    receiver.subscribe("a", 2);
    let mut sender = Wire::client(&broker, "sender");
    for qos in [1, 2] {
        sender.publish(&Publish::new("a", "1").qos(qos, 1).dup());
        let publish = receiver.take("1");
        assert!(!publish.dup && publish.qos == qos);
    }
}

/// [MQTT-2.3.1-1]: with QoS 1 and 2 the packet id is not 0.
#[test]
fn packet_id_0_closes() {
    let broker = Broker::start();
    for qos in [1, 2] {
        assert_breach(&broker, Publish::new("a", "1").qos(qos, 0).bytes(), "MQTT-2.3.1-1");
    }
}

/// [MQTT-2.3.1-5]: with QoS 0 there is none, so what follows the topic is payload.
#[test]
fn qos_0_has_no_packet_id() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a", 2);
    client.send(Publish::new("a", [0, 1, 2]).bytes());
    client.expect([0x30, 6, 0, 1, b'a', 0, 1, 2]);
}

/// [MQTT-3.3.2-2], [MQTT-4.7.1-1]: a topic name has no wildcards.
#[test]
fn wildcard_in_a_topic_name_closes() {
    let broker = Broker::start();
    for topic in ["#", "+", "a/+", "a/#", "a+", "a#b/c"] {
        assert_breach(&broker, Publish::new(topic, "1").bytes(), "MQTT-3.3.2-2");
    }
}

/// [MQTT-4.7.3-1]: a topic name has at least one character.
#[test]
fn empty_topic_name_closes() {
    assert_breach(&Broker::start(), Publish::new("", "1").bytes(), "MQTT-4.7.3-1");
}

/// [MQTT-3.3.2-1], [MQTT-1.5.3-1]: a topic name is UTF-8, without surrogates.
#[test]
fn topic_name_that_is_not_utf8_closes() {
    let broker = Broker::start();
    let bad: [&[u8]; 4] = [b"a\xFF", b"\xC3", b"a\xED\xA0\x80b", b"\xC0\x80"];
    for topic in bad {
        assert_breach(&broker, Publish::new(topic, "1").bytes(), "MQTT-1.5.3-1");
    }
}

/// [MQTT-4.7.3-2], [MQTT-1.5.3-2]: a topic name does not contain U+0000.
#[test]
fn nul_in_a_topic_name_closes() {
    assert_breach(&Broker::start(), Publish::new("a\0b", "1").bytes(), "MQTT-4.7.3-2");
}

/// §3.3.2: topic and packet id are whole.
#[test]
fn publish_cut_short_closes() {
    let broker = Broker::start();
    for body in [&b""[..], b"\0", b"\0\x05a", b"\0\x01a\0"] {
        assert_breach(&broker, packets::packet(0x32, body), "§2.2.3");
    }
}

/// §3.3.3: a payload may be empty, and any bytes; it arrives as it was sent.
#[test]
fn payload_arrives_unchanged() {
    let broker = Broker::start();
    let mut receiver = Wire::client(&broker, "receiver");
    receiver.subscribe("a", 2);
    let mut sender = Wire::client(&broker, "sender");
    let every_byte: Vec<u8> = (0..=255).collect();
    for length in [0, 1, 121, 122, 123, 124, 125, 126, 16_379, 16_380, 16_381, 2_097_148, 2_097_149] {
        let payload: Vec<u8> = every_byte.iter().copied().cycle().take(length).collect();
        for qos in 0..=2 {
            sender.publish(&Publish::new("a", &payload).qos(qos, 1));
            let publish = receiver.expect_publish();
            assert!(publish.payload == payload && publish.qos == qos, "{length} bytes, QoS {qos}");
            receiver.acknowledge(&publish);
        }
    }
}

/// [MQTT-3.3.2-3]: what a subscriber gets matches its filter, and carries the topic as it was sent.
#[test]
fn topic_arrives_unchanged() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a/#", 0);
    for topic in ["a", "a/", "a//b", "a/B", "a/é", "a/ ", "a/\u{FEFF}"] {
        client.publish(&Publish::new(topic, "1").qos(1, 1));
        assert_eq!(client.take("1").topic(), topic);
    }
    for topic in ["b", "aa", "/a", "A"] {
        client.publish(&Publish::new(topic, "1").qos(1, 1));
        client.expect_nothing_but_pong();
    }
}

/// [MQTT-4.8.0-2]: a packet beyond `mqtt.packet_bytes_max` closes, before it has come as a whole.
#[test]
fn packet_that_is_too_large_closes() {
    let broker = Broker::with_config("[mqtt]\npacket_bytes_max = 2000");
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a", 0);
    // Fixed header 3, topic 3, payload: 2,000 in all.
    client.send(Publish::new("a", vec![b'x'; 1994]).bytes());
    assert_eq!(client.expect_publish().payload.len(), 1994);
    let larger = Publish::new("a", vec![b'x'; 1995]).bytes();
    assert_breach(&broker, &larger[..3], "MQTT-4.8.0-2");
}

/// §4.3: who publishes gets its own messages, if it subscribes to them, once.
#[test]
fn publisher_gets_its_own_messages() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a", 0);
    client.publish(&Publish::new("a", "1").qos(1, 1));
    client.take("1");
    client.expect_nothing_but_pong();
}
