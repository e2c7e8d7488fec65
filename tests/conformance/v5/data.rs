//! How values are written (chapters 1 and 2): strings, integers, binary data, flags, packet identifiers,
//! the length of properties.

use super::{MALFORMED, assert_disconnected, assert_disconnected_as_wrong};
use crate::harness::packets::{PINGREQ, field, packet};
use crate::harness::packets5::{
    AUTH_METHOD, CONTENT_TYPE, CORRELATION_DATA, PUBACK, PUBREC, PUBREL, Properties, REASON_STRING,
    RESPONSE_TOPIC, SUBACK, SUBSCRIPTION_ID, UNSUBACK, With, ack5, disconnect5, subscribe5, unsubscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// A lone continuation byte, an unfinished sequence, a surrogate, an overlong slash, a code point beyond
/// U+10FFFF.
const ILL_FORMED: [&[u8]; 5] = [b"a\x80", b"a\xC3", b"\xED\xA0\x80", b"\xC0\xAF", b"\xF4\x90\x80\x80"];

/// CONNECT packets with `text` in each of their strings, and what the string is.
fn connects_with(text: &[u8]) -> Vec<(&'static str, Connect5)> {
    let will = || Publish5::new("will", "1");
    vec![
        ("client id", Connect5::new(text)),
        ("will topic", Connect5::new("c").will(Publish5::new(text, "1"))),
        ("user name", Connect5::new("c").user(text)),
        ("name of a user property", Connect5::new("c").pair(text, "v")),
        ("value of a user property", Connect5::new("c").pair("n", text)),
        ("method", Connect5::new("c").with(AUTH_METHOD, text)),
        ("content type of the will", Connect5::new("c").will(will().with(CONTENT_TYPE, text))),
        ("response topic of the will", Connect5::new("c").will(will().with(RESPONSE_TOPIC, text))),
        ("user property of the will", Connect5::new("c").will(will().pair("n", text))),
    ]
}

/// Packets of a connected client with `text` in each of their strings.
fn packets_with(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let publish = || Publish5::new("a", "1");
    vec![
        ("topic", Publish5::new(text, "1").bytes()),
        ("content type", publish().with(CONTENT_TYPE, text).bytes()),
        ("response topic", publish().with(RESPONSE_TOPIC, text).bytes()),
        ("name of a user property", publish().pair(text, "v").bytes()),
        ("value of a user property", publish().pair("n", text).bytes()),
        ("reason string", disconnect5(0).with(REASON_STRING, text).bytes()),
        ("user property of PUBACK", ack5(PUBACK, 1, 0).pair("n", text).bytes()),
    ]
}

/// [MQTT-1.5.4-1], [MQTT-1.5.7-1], [MQTT-3.1.3-4], [MQTT-3.1.3-11], [MQTT-3.1.3-12]: strings of CONNECT
/// are UTF-8, those of properties and of the will too.
#[test]
fn string_of_connect_that_is_not_utf8_is_malformed() {
    let broker = Broker::start();
    for text in ILL_FORMED {
        for (place, connect) in connects_with(text) {
            eprintln!("{place}: {text:02x?}");
            Wire::refused5(&broker, connect.bytes(), MALFORMED);
        }
    }
}

/// [MQTT-1.5.4-1], [MQTT-1.5.7-1], [MQTT-3.3.2-1], [MQTT-3.3.2-13], [MQTT-3.3.2-19]: so are those of
/// PUBLISH and of its properties.
#[test]
fn string_that_is_not_utf8_is_malformed() {
    let broker = Broker::start();
    for text in ILL_FORMED {
        for (place, packet) in packets_with(text) {
            eprintln!("{place}: {text:02x?}");
            assert_disconnected(&broker, packet, MALFORMED);
        }
    }
}

/// [MQTT-1.5.4-2], [MQTT-1.5.7-1]: no string holds U+0000.
#[test]
fn nul_in_a_string_is_malformed() {
    let broker = Broker::start();
    for (place, connect) in connects_with(b"a\0b") {
        eprintln!("{place} of CONNECT");
        Wire::refused5(&broker, connect.bytes(), MALFORMED);
    }
    for (place, packet) in packets_with(b"a\0b") {
        eprintln!("{place}");
        assert_disconnected(&broker, packet, MALFORMED);
    }
}

/// [MQTT-1.5.4-3]: U+FEFF is a character wherever it stands, and is not taken away.
#[test]
fn byte_order_mark_is_a_character() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("\u{FEFF}a", 0);
    client.publish5(&Publish5::new("a", "other topic"));
    let sent = Publish5::new("\u{FEFF}a", "1")
        .with(CONTENT_TYPE, "\u{FEFF}text")
        .with(RESPONSE_TOPIC, "\u{FEFF}")
        .pair("\u{FEFF}n", "v\u{FEFF}");
    client.publish5(&sent);
    let got = client.expect_publish5();
    assert_eq!(got.topic(), "\u{FEFF}a");
    assert_eq!(got.properties.text(CONTENT_TYPE).as_deref(), Some("\u{FEFF}text"));
    assert_eq!(got.properties.text(RESPONSE_TOPIC).as_deref(), Some("\u{FEFF}"));
    assert_eq!(got.properties.pairs(), [("\u{FEFF}n".to_owned(), "v\u{FEFF}".to_owned())]);
    client.expect_nothing_but_pong();
}

/// [MQTT-1.5.5-1]: a variable byte integer has at most four bytes, and none too many; what the broker
/// sends is read by [`Properties::parse`], which takes the shortest form alone.
#[test]
fn variable_byte_integer_of_another_form_is_malformed() {
    let broker = Broker::start();
    let with_length = |length: &[u8]| packet(0x30, [&field("a"), length].concat());
    let wrong = [
        ("five bytes of remaining length", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ("five bytes of property length", with_length(&[0x80, 0x80, 0x80, 0x80, 0x00])),
        ("remaining length with a byte too many", vec![0xC0, 0x80, 0x00]),
        ("property length without end", with_length(&[0x80])),
        ("property length with a byte too many", with_length(&[0x80, 0x00])),
        (
            "identifier of five bytes",
            subscribe5(1, &[("a", 0)]).raw([0x0B, 0x80, 0x80, 0x80, 0x80, 0x01]).bytes(),
        ),
        ("identifier with a byte too many", subscribe5(1, &[("a", 0)]).raw([0x0B, 0x81, 0x00]).bytes()),
    ];
    for (what, packet) in wrong {
        eprintln!("{what}");
        assert_disconnected(&broker, packet, MALFORMED);
    }
}

/// [MQTT-1.5.5-1]: the largest value is 268,435,455, and each length comes back in its shortest form.
#[test]
fn variable_byte_integer_has_one_to_four_bytes() {
    let broker = Broker::start();
    for id in [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
        let mut client = Wire::client5(&broker, "c");
        client.send(subscribe5(1, &[("a", 0)]).with(SUBSCRIPTION_ID, id).bytes());
        assert_eq!(client.await_answer(SUBACK, 1).codes, [0]);
        client.publish5(&Publish5::new("a", "1"));
        assert_eq!(client.take5("1").properties.subscription_ids(), [id]);
        client.disconnect5(0);
    }
}

/// §1.5.6: binary data is any bytes, from none to 65,535.
#[test]
fn binary_data_is_any_bytes() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 0);
    for data in [vec![], vec![0, 0xFF, 0xC3, 0x80, 0], vec![0xA5; 65_535]] {
        client.publish5(&Publish5::new("a", "1").with(CORRELATION_DATA, data.as_slice()));
        assert_eq!(client.take5("1").properties.data(CORRELATION_DATA), Some(data));
    }
}

/// [MQTT-2.1.3-1]: reserved flags have the value that the standard lists.
#[test]
fn reserved_flags_are_checked() {
    let broker = Broker::start();
    for first in [0x41, 0x51, 0x60, 0x63, 0x71, 0x80, 0xA0, 0xC1, 0xE1] {
        let body: &[u8] = if first >= 0xC0 { &[] } else { &[0, 1, 0, 0, 1, b'a', 0] };
        eprintln!("{first:#04x}");
        assert_disconnected(&broker, packet(first, body), MALFORMED);
    }
}

/// §2.1.2, §3.2 and others: types that no client sends are against the protocol; type 0 is none.
#[test]
fn packet_that_no_client_sends_is_refused() {
    let broker = Broker::start();
    let packets: [&[u8]; 5] =
        [&[0x00, 0], &[0x20, 3, 0, 0, 0], &[0x90, 4, 0, 1, 0, 0], &[0xB0, 4, 0, 1, 0, 0], &[0xD0, 0]];
    for packet in packets {
        eprintln!("{packet:02x?}");
        assert_disconnected_as_wrong(&broker, packet);
    }
}

/// [MQTT-2.2.1-2]: PUBLISH of QoS 0 has no packet identifier, in either direction.
#[test]
fn qos0_has_no_packet_id() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 0);
    // What would be an identifier is the length of properties and the first of the payload.
    client.send(packet(0x30, [field("a"), vec![0, 7, b'1']].concat()));
    let delivery = client.receive();
    assert_eq!(delivery, packet(0x30, [field("a"), vec![0, 7, b'1']].concat()));
}

/// [MQTT-2.2.1-3]: SUBSCRIBE, UNSUBSCRIBE and PUBLISH of QoS 1 and 2 have an identifier that is not 0.
#[test]
fn packet_id_0_is_refused() {
    let broker = Broker::start();
    let packets = [
        Publish5::new("a", "1").qos(1, 0).bytes(),
        Publish5::new("a", "1").qos(2, 0).bytes(),
        subscribe5(0, &[("a", 0)]).bytes(),
        unsubscribe5(0, &["a"]).bytes(),
    ];
    for packet in packets {
        assert_disconnected_as_wrong(&broker, packet);
    }
}

/// [MQTT-2.2.1-4]: what the server sends with QoS 1 and 2 has an identifier that is not 0 and not in use.
#[test]
fn deliveries_in_flight_have_different_ids() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 2);
    let mut ids = std::collections::BTreeSet::new();
    for n in 1..=20 {
        client.publish5(&Publish5::new("a", "1").qos(if n % 2 == 0 { 1 } else { 2 }, n));
        let delivery = client.expect_publish5();
        assert!(delivery.id != 0 && ids.insert(delivery.id), "{delivery:?}");
    }
}

/// [MQTT-2.2.1-5]: PUBACK, PUBREC, PUBREL and PUBCOMP repeat the identifier of the PUBLISH.
#[test]
fn acknowledgements_repeat_the_id() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 2);
    for id in [1, 0x0100, 0xFFFF] {
        client.publish5(&Publish5::new("a", "1").qos(1, id));
        client.take5("1");
        client.publish5(&Publish5::new("a", "2").qos(2, id));
        let delivery = client.expect_publish5();
        client.send(ack5(PUBREC, delivery.id, 0).bytes());
        client.expect_reason(PUBREL, delivery.id, 0);
        client.send(ack5(0x70, delivery.id, 0).bytes());
    }
}

/// [MQTT-2.2.1-6]: SUBACK and UNSUBACK repeat the identifier of what they answer.
#[test]
fn suback_and_unsuback_repeat_the_id() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for id in [1, 0x0100, 0xFFFF] {
        client.send(subscribe5(id, &[("a", 1)]).bytes());
        client.await_answer(SUBACK, id);
        client.send(unsubscribe5(id, &["a"]).bytes());
        client.await_answer(UNSUBACK, id);
    }
}

/// [MQTT-2.2.2-1]: no properties are a length of zero, which is not left out.
#[test]
fn property_length_is_there_without_properties() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 1);
    client.publish5(&Publish5::new("a", "1").qos(1, 1));
    assert_eq!(client.take5("1").properties, Properties::default());
    client.send(PINGREQ);
    // A CONNECT without it has the length of the client id in its place.
    let without = [field("MQTT"), vec![5, 2, 0, 0], field("client")].concat();
    Wire::refused5(&broker, packet(0x10, without), MALFORMED);
    let subscribe = [&[0, 1], field("a").as_slice(), &[0]].concat();
    assert_disconnected(&broker, packet(0x82, subscribe), MALFORMED);
    assert_disconnected(&broker, packet(0x30, field("a")), MALFORMED);
}

/// §2.2.2: properties end where their length says, and inside the packet.
#[test]
fn properties_that_end_elsewhere_are_malformed() {
    let broker = Broker::start();
    let publish = |properties: &[u8]| packet(0x30, [&field("a"), properties].concat());
    let wrong: [&[u8]; 6] = [
        // Longer than the packet.
        &[200],
        // The value is cut off by the length: a byte, an integer, a string, a pair.
        &[1, 0x01],
        &[3, 0x02, 0, 0],
        &[4, 0x03, 0, 2, b'a'],
        &[5, 0x26, 0, 1, b'n', 0],
        // A string that is longer than the properties, though not than the packet.
        &[4, 0x03, 0, 9, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h', b'i'],
    ];
    for properties in wrong {
        eprintln!("{properties:02x?}");
        assert_disconnected(&broker, publish(properties), MALFORMED);
    }
}
