//! CONNECT of MQTT 5, field by field. What it shares with MQTT 3.1.1 is in `connect.rs`, which properties
//! it has in `v5_properties.rs`.

use super::sent_in;
use crate::error::{ProtocolError, TopicError};
use crate::packet::{Connect, ConnectProperties, PayloadFormat, Version};
use crate::{Packet, Qos, ReasonCode};

/// A CONNECT with a keep alive of 60 seconds.
fn body(flags: u8, rest: &[u8]) -> Vec<u8> {
    [b"\0\x04MQTT\x05", &[flags, 0, 60][..], rest].concat()
}

fn connect(flags: u8, rest: &[u8]) -> Connect {
    match sent_in(Version::V311, 0x10, &body(flags, rest)) {
        Ok(Packet::Connect(connect)) => *connect,
        other => panic!("{other:?}"),
    }
}

fn refused(flags: u8, rest: &[u8]) -> (ProtocolError, ReasonCode, &'static str) {
    let error = sent_in(Version::V311, 0x10, &body(flags, rest)).expect_err("well formed");
    (error, error.reason(), error.clause(Version::V5))
}

#[test]
fn every_field_is_read() {
    let properties = b"\x11\0\0\0\x0A\x21\0\x05\x27\0\0\x10\0\x22\0\x03\x19\x01\x17\0\x15\0\x01m\x16\0\x01d";
    let mut rest = vec![u8::try_from(properties.len()).unwrap()];
    rest.extend(properties);
    rest.extend(b"\0\x01c");
    rest.extend(b"\x0C\x18\0\0\0\x07\x02\0\0\0\x09\x01\x01\0\x03w/t\0\x02\0\xFF");
    rest.extend(b"\0\x01u\0\x02\xFF\0");
    let read = connect(0xF6, &rest);
    assert_eq!((read.version, &read.client_id[..]), (Version::V5, "c"));
    assert_eq!((read.clean_start, read.session_expiry_s, read.keep_alive_s), (true, 10, 60));
    let will = read.will.unwrap();
    assert_eq!((will.topic.as_str(), &will.payload[..]), ("w/t", &b"\0\xFF"[..]));
    assert_eq!((will.qos, will.retain), (Qos::ExactlyOnce, true));
    assert_eq!((will.delay_s, will.message_expiry_s), (7, Some(9)));
    assert_eq!(will.properties.unwrap().payload_format, Some(PayloadFormat::Utf8));
    assert_eq!((read.user_name.as_deref(), read.password.as_deref()), (Some("u"), Some(&b"\xFF\0"[..])));
    let properties = read.properties;
    assert_eq!(properties.receive_maximum.get(), 5);
    assert_eq!(properties.maximum_packet_size.unwrap().get(), 4096);
    assert_eq!(properties.topic_alias_maximum, 3);
    assert!(properties.request_response_information && !properties.request_problem_information);
    assert_eq!(properties.authentication_method.as_deref(), Some("m"));
    assert_eq!(properties.authentication_data.as_deref(), Some(&b"d"[..]));
}

#[test]
fn what_is_not_said_has_its_default() {
    // §3.1.2.11.2 and on: a session of 0 seconds whatever Clean Start says.
    let read = connect(0, b"\0\0\x01c");
    assert_eq!((read.clean_start, read.session_expiry_s), (false, 0));
    assert_eq!(read.properties, ConnectProperties::default());
    assert_eq!(read.properties.receive_maximum.get(), 65_535);
    assert!(read.properties.request_problem_information);
}

#[test]
fn password_needs_no_user_name() {
    let read = connect(0x40, b"\0\0\x01c\0\x01p");
    assert_eq!((read.user_name, read.password.as_deref()), (None, Some(&b"p"[..])));
}

#[test]
fn flags_are_checked() {
    let malformed = ReasonCode::MalformedPacket;
    let protocol_error = ReasonCode::ProtocolError;
    let rest = b"\0\0\x01c";
    assert_eq!(refused(0x01, rest), (ProtocolError::ConnectReservedFlag, malformed, "MQTT-3.1.2-3"));
    assert_eq!(refused(0x08, rest), (ProtocolError::WillQosWithoutWill, protocol_error, "MQTT-3.1.2-11"));
    assert_eq!(refused(0x20, rest), (ProtocolError::WillRetainWithoutWill, protocol_error, "MQTT-3.1.2-13"));
    let will = b"\0\0\x01c\0\0\x01w\0\0";
    assert_eq!(refused(0x1C, will), (ProtocolError::WillQosThree, malformed, "MQTT-3.1.2-12"));
}

#[test]
fn will_topic_is_checked() {
    let wildcard = ProtocolError::WillTopic(TopicError::Wildcard);
    let expected = (wildcard, ReasonCode::ProtocolError, "MQTT-4.7.0-1");
    assert_eq!(refused(0x04, b"\0\0\x01c\0\0\x01#\0\0"), expected);
}

#[test]
fn connect_ends_with_its_last_field() {
    let whole = b"\x03\x21\0\x05\0\x01c\x05\x18\0\0\0\x01\0\x01w\0\x01m\0\x01u\0\x01p";
    assert!(sent_in(Version::V5, 0x10, &body(0xC6, whole)).is_ok());
    for length in 0..whole.len() {
        assert_eq!(refused(0xC6, &whole[..length]).0, ProtocolError::Truncated, "{length}");
    }
    assert_eq!(refused(0xC6, &[&whole[..], b"\0"].concat()).0, ProtocolError::TrailingBytes);
}
