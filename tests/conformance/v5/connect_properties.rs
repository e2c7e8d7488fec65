//! Properties of CONNECT and of its will (§3.1.2.11, §3.1.3.2): which there may be, how often, with which
//! values; and those whose effect is seen at once.

use super::{MALFORMED, PROTOCOL_ERROR, assert_refused_as_wrong};
use crate::harness::packets5::{
    AUTH_DATA, CONTENT_TYPE, CORRELATION_DATA, MAXIMUM_PACKET_SIZE, MESSAGE_EXPIRY, PAYLOAD_FORMAT, PUBACK,
    PUBREC, Properties, REASON_STRING, RECEIVE_MAXIMUM, REQUEST_PROBLEM, REQUEST_RESPONSE,
    RESPONSE_INFORMATION, RESPONSE_TOPIC, SESSION_EXPIRY, SUBACK, TOPIC_ALIAS_MAXIMUM, UNSUBACK, WILL_DELAY,
    With, subscribe5, unsubscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// Each property of CONNECT once, but for those of authentication.
fn of_connect() -> Vec<Properties> {
    let one = Properties::default;
    vec![
        one().with(SESSION_EXPIRY, 60),
        one().with(RECEIVE_MAXIMUM, 10),
        one().with(MAXIMUM_PACKET_SIZE, 1000),
        one().with(TOPIC_ALIAS_MAXIMUM, 10),
        one().with(REQUEST_RESPONSE, 1),
        one().with(REQUEST_PROBLEM, 1),
    ]
}

/// Each property of a will once.
fn of_will() -> Vec<Properties> {
    let one = Properties::default;
    vec![
        one().with(WILL_DELAY, 1),
        one().with(PAYLOAD_FORMAT, 1),
        one().with(MESSAGE_EXPIRY, 60),
        one().with(CONTENT_TYPE, "text/plain"),
        one().with(RESPONSE_TOPIC, "answers"),
        one().with(CORRELATION_DATA, [0, 1, 2]),
    ]
}

/// One property as it stands in a packet, without the length of all.
fn raw(properties: &Properties) -> Vec<u8> {
    properties.bytes()[1..].to_vec()
}

/// Any property as raw bytes with a value of its form; those above 0x2A are no properties.
fn example(id: u8) -> Vec<u8> {
    let value: &[u8] = match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A | 0x0B => &[1],
        0x13 | 0x21 | 0x22 | 0x23 => &[0, 1],
        0x02 | 0x11 | 0x18 | 0x27 => &[0, 0, 1, 0],
        0x26 => &[0, 1, b'n', 0, 1, b'v'],
        _ => &[0, 1, b'a'],
    };
    [&[id], value].concat()
}

fn with_will(properties: impl AsRef<[u8]>) -> Connect5 {
    Connect5::new("c").will(Publish5::new("will", "1").raw(properties))
}

/// §3.1.2.11, §3.1.3.2: all at once, in any order, user properties as often as wanted.
#[test]
fn every_property_is_accepted() {
    let broker = Broker::start();
    for reverse in [false, true] {
        let (mut connect, mut will) = (of_connect(), of_will());
        for list in [&mut connect, &mut will] {
            list.extend((0..3).map(|_| Properties::default().pair("same", "name")));
            if reverse {
                list.reverse();
            }
        }
        let joined = |list: &[Properties]| list.iter().flat_map(raw).collect::<Vec<u8>>();
        Wire::connect5(&broker, &with_will(joined(&will)).raw(joined(&connect))).disconnect5(0);
        Wire::connect5(&broker, &Connect5::new("c")).disconnect5(0);
    }
}

/// §3.1.2.11, §3.1.3.2: any but user properties stands there once.
#[test]
fn property_that_comes_twice_is_a_protocol_error() {
    let broker = Broker::start();
    for property in of_connect() {
        eprintln!("{property:?}");
        let twice = [raw(&property), raw(&property)].concat();
        Wire::refused5(&broker, Connect5::new("c").raw(twice).bytes(), PROTOCOL_ERROR);
    }
    for property in of_will() {
        eprintln!("{property:?} of the will");
        let twice = [raw(&property), raw(&property)].concat();
        Wire::refused5(&broker, with_will(twice).bytes(), PROTOCOL_ERROR);
    }
}

/// §2.2.2.2: a property of other packets is malformed, and so is one that there is not.
#[test]
fn property_that_does_not_belong_here_is_malformed() {
    let broker = Broker::start();
    let connect = [0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27];
    let will = [0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26];
    for id in (0x00..=0x2D).chain([0x7F]) {
        eprintln!("{id:#04x}");
        if !connect.contains(&id) {
            Wire::refused5(&broker, Connect5::new("c").raw(example(id)).bytes(), MALFORMED);
        }
        if !will.contains(&id) {
            Wire::refused5(&broker, with_will(example(id)).bytes(), MALFORMED);
        }
    }
    // The identifier is a variable byte integer; this one is 129.
    Wire::refused5(&broker, Connect5::new("c").raw([0x81, 0x01, 0]).bytes(), MALFORMED);
}

/// §3.1.2.11.3, §3.1.2.11.4, §3.1.2.11.6, §3.1.2.11.7: values that the standard forbids.
#[test]
fn property_with_a_forbidden_value_is_a_protocol_error() {
    let broker = Broker::start();
    let wrong = [
        (RECEIVE_MAXIMUM, 0),
        (MAXIMUM_PACKET_SIZE, 0),
        (REQUEST_RESPONSE, 2),
        (REQUEST_PROBLEM, 2),
        (REQUEST_PROBLEM, 255),
    ];
    for (id, value) in wrong {
        eprintln!("{id:#04x} {value}");
        Wire::refused5(&broker, Connect5::new("c").with(id, value).bytes(), PROTOCOL_ERROR);
    }
    assert_refused_as_wrong(&broker, with_will([PAYLOAD_FORMAT, 2]).bytes());
}

/// §3.1.2.11.10: data for authentication without a method.
#[test]
fn authentication_data_without_method_is_a_protocol_error() {
    let broker = Broker::start();
    Wire::refused5(&broker, Connect5::new("c").with(AUTH_DATA, "data").bytes(), PROTOCOL_ERROR);
}

/// §2.2.2: values that are cut off, and a length that does not fit.
#[test]
fn properties_that_end_elsewhere_are_malformed() {
    let broker = Broker::start();
    for property in [&[SESSION_EXPIRY, 0, 0][..], &[RECEIVE_MAXIMUM, 1], &[0x26, 0, 1, b'n'], &[0x26]] {
        Wire::refused5(&broker, Connect5::new("c").raw(property).bytes(), MALFORMED);
        Wire::refused5(&broker, with_will(property).bytes(), MALFORMED);
    }
}

/// [MQTT-3.1.2-28]: response information is for those who ask; what it is the operator says.
#[test]
fn response_information_comes_only_when_asked_for() {
    let broker = Broker::with_config("[mqtt]\nresponse_information = \"answers/%u/%c\"");
    let information = |connect: Connect5| {
        let (wire, connack) = Wire::greet5(&broker, &connect.user("anna"));
        wire.disconnect5(0);
        connack.properties.text(RESPONSE_INFORMATION)
    };
    let asked = information(Connect5::new("c").with(REQUEST_RESPONSE, 1));
    assert_eq!(asked.as_deref(), Some("answers/anna/c"));
    assert_eq!(information(Connect5::new("c").with(REQUEST_RESPONSE, 0)), None);
    assert_eq!(information(Connect5::new("c")), None);
    let (_wire, connack) = Wire::greet5(&Broker::start(), &Connect5::new("c").with(REQUEST_RESPONSE, 1));
    assert_eq!(connack.properties.text(RESPONSE_INFORMATION), None);
}

/// Rules under which `c` may do nothing at `closed`, but subscribe and publish at `open`.
const RULES: &str = "[[acl]]\naccess = \"all\"\ntopics = [\"open\"]\n";

/// [MQTT-3.1.2-29]: without request for problem information, reason strings and user properties come with
/// CONNACK, PUBLISH and DISCONNECT at most; with it, a refused message has its reason.
#[test]
fn problem_information_is_kept_back_where_it_is_not_wanted() {
    let broker = Broker::with_config(RULES);
    for (wanted, connect) in
        [(false, Connect5::new("c").with(REQUEST_PROBLEM, 0)), (true, Connect5::new("c"))]
    {
        let mut client = Wire::connect5(&broker, &connect);
        client.send(Publish5::new("closed", "1").qos(1, 1).bytes());
        let mut answers = vec![client.expect_reason(PUBACK, 1, 0x87)];
        client.send(Publish5::new("closed", "1").qos(2, 2).bytes());
        answers.push(client.expect_reason(PUBREC, 2, 0x87));
        client.send(subscribe5(3, &[("closed", 1)]).bytes());
        answers.push(client.expect_reason(SUBACK, 3, 0x87));
        client.send(unsubscribe5(4, &["closed"]).bytes());
        answers.push(client.expect_reason(UNSUBACK, 4, 0x11));
        for answer in answers {
            let explained = answer.properties.text(REASON_STRING).is_some();
            if wanted && [PUBACK, PUBREC].contains(&answer.first) {
                assert!(explained, "{answer:?}");
            }
            assert!(wanted || !explained && answer.properties.pairs().is_empty(), "{answer:?}");
        }
        // User properties of messages are no problem information.
        client.subscribe5("open", 0);
        client.publish5(&Publish5::new("open", "1").pair("n", "v"));
        assert_eq!(client.take5("1").properties.pairs().len(), 1);
        client.disconnect5(0);
    }
}
