//! The properties of MQTT 5: which packet has which, how often, and with what values.

use super::{LIMITS, answered_in, packet, sent_in};
use crate::codec::{decode, decode_publish_properties};
use crate::error::{ProtocolError, TopicError};
use crate::packet::{SubscriptionIds, UserProperties, Version};
use crate::{Packet, ReasonCode};
use bytes::Bytes;

/// A property that is there, with a value that it may have. Whether it may be there is by packet.
const VALUES: [(u8, &[u8]); 27] = [
    (0x01, b"\x01"),
    (0x02, b"\0\0\0\x01"),
    (0x03, b"\0\x01t"),
    (0x08, b"\0\x01r"),
    (0x09, b"\0\x01c"),
    (0x0B, b"\x01"),
    (0x11, b"\0\0\0\x01"),
    (0x12, b"\0\x01i"),
    (0x13, b"\0\x01"),
    (0x15, b"\0\x01m"),
    (0x16, b"\0\x01d"),
    (0x17, b"\x01"),
    (0x18, b"\0\0\0\x01"),
    (0x19, b"\x01"),
    (0x1A, b"\0\x01i"),
    (0x1C, b"\0\x01s"),
    (0x1F, b"\0\x01r"),
    (0x21, b"\0\x01"),
    (0x22, b"\0\x01"),
    (0x23, b"\0\x01"),
    (0x24, b"\x01"),
    (0x25, b"\x01"),
    (0x26, b"\0\x01n\0\x01v"),
    (0x27, b"\0\0\0\x01"),
    (0x28, b"\x01"),
    (0x29, b"\x01"),
    (0x2A, b"\x01"),
];

/// A place for properties: what stands before and after them, who sends it, and what it may have.
struct Place {
    name: &'static str,
    first: u8,
    before: &'static [u8],
    after: &'static [u8],
    of_server: bool,
    has: &'static [u8],
}

const fn place(
    name: &'static str,
    (first, before, after): (u8, &'static [u8], &'static [u8]),
    of_server: bool,
    has: &'static [u8],
) -> Place {
    Place { name, first, before, after, of_server, has }
}

const CONNECT: Place = place(
    "CONNECT",
    (0x10, b"\0\x04MQTT\x05\0\0\0", b"\0\x01c"),
    false,
    &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
);
const WILL: Place = place(
    "will",
    (0x10, b"\0\x04MQTT\x05\x04\0\0\0\0\x01c", b"\0\x01w\0\x01m"),
    false,
    &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
);
const CONNACK: Place = place(
    "CONNACK",
    (0x20, b"\0\0", b""),
    true,
    &[0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A],
);
const PUBLISH: Place =
    place("PUBLISH", (0x30, b"\0\x01a", b"p"), false, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26]);
const PUBLISH_OF_SERVER: Place = place(
    "PUBLISH of a server",
    (0x30, b"\0\x01a", b"p"),
    true,
    &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26],
);
const SUBSCRIBE: Place = place("SUBSCRIBE", (0x82, b"\0\x01", b"\0\x01a\0"), false, &[0x0B, 0x26]);
const AUTH: Place = place("AUTH", (0xF0, b"\x18", b""), false, &[0x15, 0x16, 0x1F, 0x26]);
const PLACES: [Place; 16] = [
    CONNECT,
    WILL,
    CONNACK,
    PUBLISH,
    PUBLISH_OF_SERVER,
    place("PUBACK", (0x40, b"\0\x01\0", b""), false, &[0x1F, 0x26]),
    place("PUBREC", (0x50, b"\0\x01\0", b""), true, &[0x1F, 0x26]),
    place("PUBREL", (0x62, b"\0\x01\0", b""), false, &[0x1F, 0x26]),
    place("PUBCOMP", (0x70, b"\0\x01\0", b""), true, &[0x1F, 0x26]),
    SUBSCRIBE,
    place("SUBACK", (0x90, b"\0\x01", b"\0"), true, &[0x1F, 0x26]),
    place("UNSUBSCRIBE", (0xA2, b"\0\x01", b"\0\x01a"), false, &[0x26]),
    place("UNSUBACK", (0xB0, b"\0\x01", b"\0"), true, &[0x1F, 0x26]),
    place("DISCONNECT", (0xE0, b"\0", b""), false, &[0x11, 0x1F, 0x26]),
    place("DISCONNECT of a server", (0xE0, b"\0", b""), true, &[0x1C, 0x1F, 0x26]),
    AUTH,
];

impl Place {
    /// The packet with these properties in their place.
    fn read(&self, properties: &[u8]) -> Result<Packet, ProtocolError> {
        let length = u8::try_from(properties.len()).unwrap();
        self.read_raw(&[&[length], properties].concat())
    }

    /// With these bytes where the length of the properties begins.
    fn read_raw(&self, properties: &[u8]) -> Result<Packet, ProtocolError> {
        let body = [self.before, properties, self.after].concat();
        let read = if self.of_server { answered_in } else { sent_in };
        read(Version::V5, self.first, &body)
    }

    fn refuses(&self, properties: &[u8], error: ProtocolError) {
        assert_eq!(self.read(properties), Err(error), "{} {properties:?}", self.name);
    }
}

fn property(identifier: u8) -> Vec<u8> {
    let (_, value) = VALUES.into_iter().find(|(known, _)| *known == identifier).unwrap();
    [&[identifier], value].concat()
}

#[test]
fn each_packet_has_its_properties_and_no_others() {
    // §2.2.2.2
    for place in &PLACES {
        for (identifier, value) in VALUES {
            let mut properties = [&[identifier], value].concat();
            if identifier == 0x16 {
                properties.extend(property(0x15)); // data without method is another fault
            }
            let read = place.read(&properties);
            if place.has.contains(&identifier) {
                assert!(read.is_ok(), "{} {identifier:x}: {read:?}", place.name);
                continue;
            }
            let error = match (place.name, identifier) {
                ("PUBLISH", 0x0B) => ProtocolError::SubscriptionIdFromClient, // [MQTT-3.3.4-6]
                ("DISCONNECT of a server", 0x11) => ProtocolError::SessionExpiryFromServer, // [MQTT-3.14.2-2]
                _ => ProtocolError::MisplacedProperty,
            };
            assert_eq!(read, Err(error), "{} {identifier:x}", place.name);
        }
    }
    assert_eq!(ProtocolError::MisplacedProperty.reason(), ReasonCode::MalformedPacket);
    assert_eq!(ProtocolError::SubscriptionIdFromClient.reason(), ReasonCode::ProtocolError);
    assert_eq!(ProtocolError::SubscriptionIdFromClient.clause(Version::V5), "MQTT-3.3.4-6");
}

#[test]
fn unknown_properties_are_malformed() {
    // §2.2.2.2
    let known = VALUES.map(|(identifier, _)| identifier);
    for place in &PLACES {
        for identifier in (0..=u8::MAX).filter(|identifier| !known.contains(identifier)) {
            place.refuses(&[identifier, 0, 0, 0, 0], ProtocolError::UnknownProperty);
        }
    }
    assert_eq!(ProtocolError::UnknownProperty.reason(), ReasonCode::MalformedPacket);
}

#[test]
fn a_property_comes_once_but_for_two() {
    for place in &PLACES {
        for identifier in place.has {
            let mut twice = property(*identifier).repeat(2);
            if *identifier == 0x16 {
                twice.extend(property(0x15));
            }
            let several = *identifier == 0x26 || *identifier == 0x0B && place.of_server;
            if several {
                assert!(place.read(&twice).is_ok(), "{} {identifier:x}", place.name);
            } else {
                place.refuses(&twice, ProtocolError::DuplicateProperty);
            }
        }
    }
    assert_eq!(ProtocolError::DuplicateProperty.reason(), ReasonCode::ProtocolError);
}

#[test]
fn length_of_properties_is_kept() {
    for place in &PLACES {
        // More than there is, and a last value that goes on past them.
        assert_eq!(place.read_raw(&[0x7F]), Err(ProtocolError::Truncated), "{}", place.name);
        assert_eq!(place.read_raw(b"\x04\x26\0\x01n\0\x01v").err(), Some(ProtocolError::Truncated));
        // [MQTT-1.5.5-1]: more bytes than it needs, more than four.
        for length in [&b"\x80\0"[..], b"\x80\x80\x80\x80\x01"] {
            assert_eq!(place.read_raw(length), Err(ProtocolError::VariableNumber), "{}", place.name);
        }
    }
    assert_eq!(ProtocolError::VariableNumber.reason(), ReasonCode::MalformedPacket);
    assert_eq!(ProtocolError::VariableNumber.clause(Version::V5), "MQTT-1.5.5-1");
}

#[test]
fn values_have_their_range() {
    let cases: [(&Place, &[u8]); 15] = [
        (&CONNECT, b"\x21\0\0"),
        (&CONNECT, b"\x27\0\0\0\0"),
        (&CONNECT, b"\x17\x02"),
        (&CONNECT, b"\x19\x02"),
        (&WILL, b"\x01\x02"),
        (&PUBLISH, b"\x01\x02"),
        (&PUBLISH_OF_SERVER, b"\x0B\0"),
        (&SUBSCRIBE, b"\x0B\0"),
        (&CONNACK, b"\x21\0\0"),
        (&CONNACK, b"\x24\x02"),
        (&CONNACK, b"\x25\x02"),
        (&CONNACK, b"\x27\0\0\0\0"),
        (&CONNACK, b"\x28\x02"),
        (&CONNACK, b"\x29\x02"),
        (&CONNACK, b"\x2A\x02"),
    ];
    for (place, properties) in cases {
        place.refuses(properties, ProtocolError::PropertyValue);
    }
    assert_eq!(ProtocolError::PropertyValue.reason(), ReasonCode::ProtocolError);
    SUBSCRIBE.refuses(b"\x0B\x80\0", ProtocolError::VariableNumber);
    assert!(SUBSCRIBE.read(b"\x0B\xFF\xFF\xFF\x7F").is_ok());
    SUBSCRIBE.refuses(b"\x0B\xFF\xFF\xFF\xFF\x01", ProtocolError::VariableNumber);
}

#[test]
fn strings_in_properties_are_checked() {
    // [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-1.5.7-1]
    for place in &PLACES {
        let texts = [0x03, 0x12, 0x15, 0x1A, 0x1C, 0x1F];
        for identifier in texts.into_iter().filter(|identifier| place.has.contains(identifier)) {
            place.refuses(&[identifier, 0, 1, 0xFF], ProtocolError::IllFormedUtf8);
            place.refuses(&[identifier, 0, 1, 0], ProtocolError::NulInString);
            place.refuses(&[identifier, 0, 2, b'a'], ProtocolError::Truncated);
        }
        place.refuses(b"\x26\0\x01\xFF\0\x01v", ProtocolError::IllFormedUtf8);
        place.refuses(b"\x26\0\x01n\0\x01\xFF", ProtocolError::IllFormedUtf8);
        place.refuses(b"\x26\0\x01\0\0\x01v", ProtocolError::NulInString);
        place.refuses(b"\x26\0\x01n\0\x01\0", ProtocolError::NulInString);
        place.refuses(b"\x26\0\x01n", ProtocolError::Truncated);
    }
    assert_eq!(ProtocolError::IllFormedUtf8.reason(), ReasonCode::MalformedPacket);
}

#[test]
fn response_topic_is_a_topic() {
    let cases: [(&[u8], TopicError, &str); 4] = [
        (b"\x08\0\x01#", TopicError::Wildcard, "MQTT-3.3.2-14"),
        (b"\x08\0\0", TopicError::Empty, "MQTT-4.7.3-1"),
        (b"\x08\0\x01\xFF", TopicError::NotUtf8, "MQTT-1.5.4-1"),
        (b"\x08\0\x01\0", TopicError::Nul, "MQTT-4.7.3-2"),
    ];
    for (properties, error, clause) in cases {
        let error = ProtocolError::ResponseTopic(error);
        for place in [PUBLISH, PUBLISH_OF_SERVER, WILL] {
            place.refuses(properties, error);
        }
        assert_eq!(error.clause(Version::V5), clause);
    }
    assert_eq!(ProtocolError::ResponseTopic(TopicError::Wildcard).reason(), ReasonCode::ProtocolError);
}

#[test]
fn authentication_data_needs_a_method() {
    // §3.1.2.11.10
    for place in [CONNECT, CONNACK, AUTH] {
        place.refuses(&property(0x16), ProtocolError::AuthDataWithoutMethod);
    }
    assert_eq!(ProtocolError::AuthDataWithoutMethod.reason(), ReasonCode::ProtocolError);
}

#[test]
fn user_properties_keep_their_order_wherever_they_stand() {
    // [MQTT-3.3.2-18]. Those that stand together are a slice of what was read; others are gathered.
    let user = |properties: &[u8]| -> (UserProperties, bool) {
        let length = u8::try_from(properties.len()).unwrap();
        let bytes = Bytes::from(packet(0x30, &[b"\0\x01a", &[length][..], properties].concat()));
        let Ok(Some(Packet::Publish(read))) = decode(&mut bytes.clone(), Version::V5, &LIMITS) else {
            panic!("PUBLISH")
        };
        let user = read.properties.unwrap().user_properties;
        let shared = bytes.as_ptr_range().contains(&user.wire().as_ptr());
        (user, shared)
    };
    let (together, shared) =
        user(b"\x01\x01\x26\0\x01b\0\x011\x26\0\x01a\0\x012\x26\0\x01b\0\x013\x02\0\0\0\x01");
    let expected = [("b", "1"), ("a", "2"), ("b", "3")];
    assert_eq!((together.iter().collect::<Vec<_>>(), shared), (expected.to_vec(), true));
    let (apart, shared) =
        user(b"\x26\0\x01b\0\x011\x26\0\x01a\0\x012\x01\x01\x26\0\x01b\0\x013\x26\0\x01c\0\x014");
    let expected = [("b", "1"), ("a", "2"), ("b", "3"), ("c", "4")];
    assert_eq!((apart.iter().collect::<Vec<_>>(), shared), (expected.to_vec(), false));
}

#[test]
fn properties_of_a_publish_stand_alone_too() {
    let alone = |bytes: &'static [u8]| decode_publish_properties(&Bytes::from_static(bytes));
    let (properties, ids) = alone(b"\x0B\x0B\x07\x03\0\x01t\x0B\x08\x23\0\x01").unwrap();
    assert_eq!(properties.unwrap().content_type.as_deref(), Some("t"));
    assert_eq!(ids.as_slice().iter().map(|id| id.get()).collect::<Vec<_>>(), [7, 8]);
    assert_eq!(alone(b"\0"), Ok((None, SubscriptionIds::default())));
    assert_eq!(alone(b""), Err(ProtocolError::Truncated));
    assert_eq!(alone(b"\x02\x0B"), Err(ProtocolError::Truncated));
    assert_eq!(alone(b"\0\0"), Err(ProtocolError::TrailingBytes));
    assert_eq!(alone(b"\x02\x17\x01"), Err(ProtocolError::MisplacedProperty));
}
