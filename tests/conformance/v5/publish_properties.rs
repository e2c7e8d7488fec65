//! Properties of PUBLISH (§3.3.2.3): those that are forwarded are forwarded untouched; those that are wrong
//! are refused.

use super::{MALFORMED, PROTOCOL_ERROR, assert_disconnected, assert_disconnected_as_wrong};
use crate::harness::packets5::{
    CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, PAYLOAD_FORMAT, Properties, RESPONSE_TOPIC, TOPIC_ALIAS,
    With,
};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Wire};

/// What each subscriber gets of this message: one that is there, one that was away, one that came late.
#[track_caller]
fn delivered(publish: &Publish5) -> Vec<Publish5> {
    let broker = Broker::start();
    let mut here = Wire::client5(&broker, "here");
    here.subscribe5("#", 1);
    let connect = Connect5::new("away").persistent(60);
    let mut away = Wire::connect5(&broker, &connect);
    away.subscribe5("#", 1);
    away.disconnect5(0);
    Wire::client5(&broker, "publisher").publish5(&publish.clone().qos(1, 1).retain());
    let mut late = Wire::client5(&broker, "late");
    late.subscribe5("#", 1);
    let mut back = Wire::resume5(&broker, &connect);
    [&mut here, &mut back, &mut late].into_iter().map(Wire::expect_publish5).collect()
}

/// [MQTT-3.3.2-4]: Payload Format Indicator, 0 too.
#[test]
fn payload_format_is_forwarded() {
    for format in [0, 1] {
        for got in delivered(&Publish5::new("a", "1").with(PAYLOAD_FORMAT, format)) {
            assert_eq!(got.properties, Properties::default().with(PAYLOAD_FORMAT, format));
        }
    }
}

/// [MQTT-3.3.2-15]: Response Topic, in whose topic the publisher need have no rights.
#[test]
fn response_topic_is_forwarded() {
    for got in delivered(&Publish5::new("a", "1").with(RESPONSE_TOPIC, "answers/\u{E9}/ /1")) {
        assert_eq!(got.properties, Properties::default().with(RESPONSE_TOPIC, "answers/\u{E9}/ /1"));
    }
}

/// [MQTT-3.3.2-16]: Correlation Data, any bytes, none among them.
#[test]
fn correlation_data_is_forwarded() {
    for data in [&[][..], &[0, 0xFF, 0x80, 0]] {
        for got in delivered(&Publish5::new("a", "1").with(CORRELATION_DATA, data)) {
            assert_eq!(got.properties, Properties::default().with(CORRELATION_DATA, data));
        }
    }
}

/// [MQTT-3.3.2-20]: Content Type, empty too.
#[test]
fn content_type_is_forwarded() {
    for content_type in ["", "text/plain; charset=\"utf-8\""] {
        for got in delivered(&Publish5::new("a", "1").with(CONTENT_TYPE, content_type)) {
            assert_eq!(got.properties, Properties::default().with(CONTENT_TYPE, content_type));
        }
    }
}

/// [MQTT-3.3.2-17], [MQTT-3.3.2-18]: User Properties, all of them, in their order, though the same name or
/// pair comes again.
#[test]
fn user_properties_are_forwarded_in_order() {
    let pairs = [("z", "1"), ("a", "2"), ("z", "1"), ("", ""), ("z", "3"), ("a", "\u{1F512}")];
    let publish =
        pairs.iter().fold(Publish5::new("a", "1"), |publish, (name, value)| publish.pair(name, value));
    for got in delivered(&publish) {
        assert_eq!(got.properties, publish.properties);
    }
}

/// [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-20]: all at once, and
/// nothing that was not sent.
#[test]
fn all_properties_are_forwarded_together() {
    let publish = Publish5::new("a", "1")
        .pair("n", "1")
        .with(CORRELATION_DATA, "id")
        .with(PAYLOAD_FORMAT, 1)
        .with(CONTENT_TYPE, "text/plain")
        .with(RESPONSE_TOPIC, "answers")
        .pair("n", "2");
    for got in delivered(&publish) {
        let sorted = |properties: &Properties| {
            let mut list: Vec<_> = properties.list().into_iter().filter(|(id, _)| *id != 0x26).collect();
            list.sort_by_key(|(id, _)| *id);
            list
        };
        assert_eq!(sorted(&got.properties), sorted(&publish.properties));
        assert_eq!(got.properties.pairs(), publish.properties.pairs());
    }
    for got in delivered(&Publish5::new("a", "1")) {
        assert_eq!(got.properties, Properties::default());
    }
}

/// [MQTT-3.3.2-14]: a response topic is a topic name, without wildcards.
#[test]
fn response_topic_with_wildcards_is_refused() {
    let broker = Broker::start();
    for topic in ["#", "answers/+", "a/#"] {
        assert_disconnected_as_wrong(&broker, Publish5::new("a", "1").with(RESPONSE_TOPIC, topic).bytes());
    }
}

/// §3.3.2.3: any but user properties stands there once.
#[test]
fn property_that_comes_twice_is_a_protocol_error() {
    let broker = Broker::start();
    let twice = [
        Publish5::new("a", "1").with(PAYLOAD_FORMAT, 1).with(PAYLOAD_FORMAT, 1),
        Publish5::new("a", "1").with(MESSAGE_EXPIRY, 1).with(MESSAGE_EXPIRY, 1),
        Publish5::new("a", "1").with(TOPIC_ALIAS, 1).with(TOPIC_ALIAS, 1),
        Publish5::new("a", "1").with(RESPONSE_TOPIC, "r").with(RESPONSE_TOPIC, "r"),
        Publish5::new("a", "1").with(CORRELATION_DATA, "r").with(CORRELATION_DATA, "s"),
        Publish5::new("a", "1").with(CONTENT_TYPE, "t").with(CONTENT_TYPE, "t"),
    ];
    for publish in twice {
        eprintln!("{:?}", publish.bytes());
        assert_disconnected(&broker, publish.bytes(), PROTOCOL_ERROR);
    }
}

/// §2.2.2.2: a property of other packets is malformed, and so is one that there is not.
#[test]
fn property_that_does_not_belong_here_is_malformed() {
    let broker = Broker::start();
    for property in [
        &[0x11, 0, 0, 0, 1][..],
        &[0x12, 0, 1, b'a'],
        &[0x13, 0, 1],
        &[0x15, 0, 1, b'a'],
        &[0x18, 0, 0, 0, 1],
        &[0x1F, 0, 1, b'a'],
        &[0x21, 0, 1],
        &[0x22, 0, 1],
        &[0x24, 1],
        &[0x27, 0, 0, 1, 0],
        &[0x00, 0],
        &[0x04, 0],
        &[0x2B, 0],
        &[0x7F, 0],
        &[0xFF, 0x01, 0],
    ] {
        eprintln!("{property:02x?}");
        assert_disconnected(&broker, Publish5::new("a", "1").raw(property).bytes(), MALFORMED);
    }
}

/// §3.3.2.3.2: the format is 0 or 1.
#[test]
fn payload_format_2_is_refused() {
    assert_disconnected_as_wrong(&Broker::start(), Publish5::new("a", "1").with(PAYLOAD_FORMAT, 2).bytes());
}

/// §3.3: clients of both versions share topics; those of 3.1.1 get no properties, and give none.
#[test]
fn messages_go_from_one_version_to_the_other() {
    let broker = Broker::start();
    let mut old = Wire::connect(&broker, &Connect::new("old"));
    let mut new = Wire::client5(&broker, "new");
    old.subscribe("a", 1);
    new.subscribe5("a", 1);
    new.publish5(&Publish5::new("a", "5").qos(1, 1).pair("n", "v").with(CONTENT_TYPE, "t"));
    old.take("5");
    assert_eq!(new.take5("5").properties.pairs().len(), 1);
    old.publish(&Publish::new("a", "4").qos(1, 1));
    old.take("4");
    assert_eq!(new.take5("4").properties, Properties::default());
}
