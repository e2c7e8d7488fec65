//! CONNECT of MQTT 3.1 and 3.1.1, field by field.

use super::{LIMITS, sent_in, string};
use crate::codec::{decode, encode};
use crate::error::{ProtocolError, TopicError};
use crate::packet::{Connect, Version, Will};
use crate::{Packet, Qos, ReasonCode};
use bytes::{Bytes, BytesMut};

fn body(name: &str, level: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    [&string(name)[..], &[level, flags, 0, 60], payload].concat()
}

/// A CONNECT of MQTT 3.1.1 from the client `c`.
fn v311(flags: u8, rest: &[u8]) -> Vec<u8> {
    body("MQTT", 4, flags, &[b"\0\x01c", rest].concat())
}

/// The version of the connection is not settled yet.
fn sent(first: u8, body: &[u8]) -> Result<Packet, ProtocolError> {
    sent_in(Version::V5, first, body)
}

fn refused(first: u8, body: &[u8]) -> ProtocolError {
    sent(first, body).expect_err("well formed")
}

fn connect(body: &[u8]) -> Connect {
    match sent(0x10, body) {
        Ok(Packet::Connect(connect)) => *connect,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_is_read() {
    let read = connect(&v311(0xF6, b"\0\x03w/t\0\x02\0\xFF\0\x01u\0\x02\xFF\0"));
    assert_eq!(read.version, Version::V311);
    assert_eq!((&read.client_id[..], read.clean_start, read.keep_alive_s), ("c", true, 60));
    let payload = Bytes::from_static(b"\0\xFF");
    let will = Will {
        topic: "w/t".parse().unwrap(),
        payload,
        qos: Qos::ExactlyOnce,
        retain: true,
        delay_s: 0,
        message_expiry_s: None,
        properties: None,
    };
    assert_eq!(read.will, Some(will));
    assert_eq!(read.user_name.as_deref(), Some("u"));
}

#[test]
fn clean_session_says_how_long_the_session_is_kept() {
    let [kept, clean] = [0, 2].map(|flags| connect(&v311(flags, b"")));
    assert_eq!((kept.clean_start, kept.session_expiry_s), (false, u32::MAX));
    assert_eq!((clean.clean_start, clean.session_expiry_s), (true, 0));
}

#[test]
fn password_is_binary() {
    // §3.1.3.5; mqttbytes wants UTF-8.
    let read = connect(&v311(0xC0, b"\0\x01u\0\x03\xFF\0\x80"));
    assert_eq!(read.password.as_deref(), Some(&b"\xFF\0\x80"[..]));
}

#[test]
fn user_name_without_password_is_allowed() {
    let read = connect(&v311(0x80, b"\0\x01u"));
    assert_eq!((read.user_name.as_deref(), read.password), (Some("u"), None));
}

#[test]
fn empty_user_name_is_not_the_same_as_none() {
    // mqttbytes makes no difference.
    let read = connect(&v311(0xC0, b"\0\0\0\0"));
    assert_eq!((read.user_name.as_deref(), read.password.as_deref()), (Some(""), Some(&b""[..])));
    assert_eq!(connect(&v311(0, b"")).user_name, None);
}

#[test]
fn password_without_user_name_is_refused() {
    // [MQTT-3.1.2-22]
    assert_eq!(refused(0x10, &v311(0x40, b"\0\x01p")), ProtocolError::PasswordWithoutUserName);
}

#[test]
fn unknown_protocol_name_is_refused() {
    // [MQTT-3.1.2-1]
    for name in ["", "mqtt", "MQTT2", "MQIsdp2"] {
        let error = refused(0x10, &body(name, 4, 0, b"\0\x01c"));
        assert_eq!(error, ProtocolError::ProtocolName);
    }
}

#[test]
fn unknown_level_is_answered_with_return_code_1() {
    // [MQTT-3.1.2-2]. What follows the level is another version's, so it is not looked at.
    for (name, level) in [("MQTT", 6), ("MQTT", 3), ("MQTT", 0x84), ("MQIsdp", 4), ("MQTT", 0)] {
        let error = refused(0x10, &[&string(name)[..], &[level], b"\xFF\xFF"].concat());
        assert_eq!(error, ProtocolError::UnacceptableProtocolVersion { level });
        assert_eq!(error.reason(), ReasonCode::UnsupportedProtocolVersion);
        assert_eq!(error.reason().connect_return_code(), 1);
    }
}

#[test]
fn mqtt_3_1_is_read() {
    // mqttbytes does not know it. A client identifier of any length is the session's to judge.
    let long = "c".repeat(60);
    let read = connect(&body("MQIsdp", 3, 0x02, &string(&long)));
    assert_eq!((read.version, &read.client_id[..]), (Version::V31, &long[..]));
}

#[test]
fn mqtt_3_1_leaves_unused_flags_open() {
    assert!(sent(0x10, &body("MQIsdp", 3, 0x03, b"\0\x01c")).is_ok());
    assert!(sent(0x10, &body("MQIsdp", 3, 0x38, b"\0\x01c")).is_ok());
    let error = refused(0x10, &body("MQIsdp", 3, 0x40, b"\0\x01c\0\x01p"));
    assert_eq!(error, ProtocolError::PasswordWithoutUserName);
}

#[test]
fn reserved_flag_is_refused() {
    // [MQTT-3.1.2-3]; mqttbytes does not look at it.
    assert_eq!(refused(0x10, &v311(0x03, b"")), ProtocolError::ConnectReservedFlag);
}

#[test]
fn will_flags_are_checked() {
    // [MQTT-3.1.2-13], [MQTT-3.1.2-15], [MQTT-3.1.2-14]
    assert_eq!(refused(0x10, &v311(0x08, b"")), ProtocolError::WillQosWithoutWill);
    assert_eq!(refused(0x10, &v311(0x10, b"")), ProtocolError::WillQosWithoutWill);
    assert_eq!(refused(0x10, &v311(0x20, b"")), ProtocolError::WillRetainWithoutWill);
    assert_eq!(refused(0x10, &v311(0x1C, b"\0\x01w\0\0")), ProtocolError::WillQosThree);
}

#[test]
fn will_topic_is_checked() {
    let cases: [(&[u8], TopicError); 4] = [
        (b"\0\0\0\0", TopicError::Empty),
        (b"\0\x01#\0\0", TopicError::Wildcard),
        (b"\0\x01\0\0\0", TopicError::Nul),
        (b"\0\x01\xFF\0\0", TopicError::NotUtf8),
    ];
    for (will, error) in cases {
        assert_eq!(refused(0x10, &v311(0x04, will)), ProtocolError::WillTopic(error));
    }
    let deep = [string("a/b/c/d/e/f/g/h/i"), vec![0, 0]].concat();
    assert_eq!(refused(0x10, &v311(0x04, &deep)), ProtocolError::TooManyTopicLevels);
}

#[test]
fn strings_are_checked() {
    // [MQTT-3.1.3-4], [MQTT-3.1.3-11], [MQTT-1.5.3-2]
    assert_eq!(refused(0x10, &body("MQTT", 4, 2, b"\0\x01\xFF")), ProtocolError::IllFormedUtf8);
    assert_eq!(refused(0x10, &body("MQTT", 4, 2, b"\0\x01\0")), ProtocolError::NulInString);
    assert_eq!(refused(0x10, &v311(0x80, b"\0\x01\xFF")), ProtocolError::IllFormedUtf8);
    assert_eq!(refused(0x10, &v311(0x80, b"\0\x01\0")), ProtocolError::NulInString);
}

#[test]
fn connect_ends_with_its_last_field() {
    // mqttbytes lets more follow.
    assert_eq!(refused(0x10, &v311(2, b"\0")), ProtocolError::TrailingBytes);
    let whole = v311(0xC6, b"\0\x01w\0\x01m\0\x01u\0\x01p");
    assert!(sent(0x10, &whole).is_ok());
    for length in 0..whole.len() {
        assert_eq!(refused(0x10, &whole[..length]), ProtocolError::Truncated, "{length}");
    }
}

#[test]
fn connect_keeps_no_read_buffer_alive() {
    let bytes = super::packet(0x10, &v311(0xC6, b"\0\x01w\0\x01m\0\x01u\0\x01p"));
    let mut buffer = BytesMut::from(&bytes[..]).freeze();
    let read = decode(&mut buffer, Version::V311, &LIMITS).unwrap();
    assert!(buffer.is_unique(), "{read:?}");
}

#[test]
fn connect_with_a_field_too_long_is_not_written() {
    let mut out = BytesMut::new();
    let mut too_long = connect(&v311(0xC2, b"\0\x01u\0\x01p"));
    too_long.password = Some(vec![0; 65_536].into());
    assert!(!encode(&Packet::Connect(Box::new(too_long)), Version::V311, &mut out));
    assert!(out.is_empty());
}
