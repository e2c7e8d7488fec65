//! The fixed header, and what of a CONNECT can be known before all of it is there.

use super::{LIMITS, packet};
use crate::codec::{Limits, connect_level, decode, missing};
use crate::error::ProtocolError;
use crate::packet::Version;
use bytes::Bytes;

#[test]
fn remaining_length_of_five_bytes_is_malformed() {
    // §2.2.3
    let bytes = [0x30, 0x80, 0x80, 0x80, 0x80, 0x01];
    assert_eq!(missing(&bytes, &LIMITS), Err(ProtocolError::RemainingLength));
    assert_eq!(
        decode(&mut Bytes::copy_from_slice(&bytes), Version::V311, &LIMITS),
        Err(ProtocolError::RemainingLength)
    );
}

#[test]
fn missing_says_how_much_to_wait_for() {
    assert_eq!(missing(&[], &LIMITS), Ok(2));
    assert_eq!(missing(&[0x30], &LIMITS), Ok(1));
    assert_eq!(missing(&[0x30, 0x80], &LIMITS), Ok(1));
    assert_eq!(missing(&[0x30, 0x0A], &LIMITS), Ok(10));
    assert_eq!(missing(&[0x30, 0x80, 0x01, 0], &LIMITS), Ok(127));
    assert_eq!(missing(&[0xC0, 0], &LIMITS), Ok(0));
    assert_eq!(missing(&[0xC0, 0, 0xC0], &LIMITS), Ok(0));
}

#[test]
fn packet_over_the_bound_is_refused_once_its_length_is_known() {
    let limits = Limits { packet_bytes_max: 10, ..LIMITS };
    assert_eq!(missing(&[0x30, 8], &limits), Ok(8));
    assert_eq!(missing(&[0x30, 9], &limits), Err(ProtocolError::PacketTooLarge));
    assert_eq!(missing(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], &limits), Err(ProtocolError::PacketTooLarge));
    let mut whole = Bytes::from(packet(0x30, b"\0\x01aABCDEF"));
    assert_eq!(decode(&mut whole, Version::V5, &limits), Err(ProtocolError::PacketTooLarge));
}

#[test]
fn remaining_length_is_no_longer_than_it_needs_in_mqtt_5() {
    // [MQTT-1.5.5-1]; MQTT 3.1.1 does not say.
    let ping = |version| decode(&mut Bytes::from_static(&[0xC0, 0x80, 0]), version, &LIMITS);
    assert!(ping(Version::V311).is_ok());
    assert_eq!(ping(Version::V5), Err(ProtocolError::RemainingLength));
    let connect = |level| {
        let mut bytes = b"\x10\x8E\0\0\x04MQTT\x05\x02\0\0\0\0\x01c".to_vec();
        bytes[9] = level;
        if level == 4 {
            bytes[1] = 0x8D;
            bytes.remove(13);
        }
        decode(&mut bytes.into(), Version::V311, &LIMITS)
    };
    assert!(connect(4).is_ok());
    assert_eq!(connect(5), Err(ProtocolError::RemainingLength));
}

#[test]
fn level_of_a_connect_is_known_before_all_of_it_is_there() {
    let whole = b"\x10\x80\x01\0\x04MQTT\x05\x02";
    for length in 0..10 {
        assert_eq!(connect_level(&whole[..length.min(9)]), None);
    }
    assert_eq!(connect_level(&whole[..10]), Some(5));
    assert_eq!(connect_level(b"\x10\x0C\0\x06MQIsdp\x03"), Some(3));
    assert_eq!(connect_level(b"\x10\x0C\0\x04MQTT\x63"), Some(0x63));
}

#[test]
fn what_is_no_connect_of_mqtt_has_no_level() {
    for bytes in [&b""[..], b"\x10", b"\x10\x0C\0\x04HTTP\x04", b"\x11\x0C\0\x04MQTT\x04", b"GET / HTTP/1.1"]
    {
        assert_eq!(connect_level(bytes), None);
    }
    assert_eq!(connect_level(b"\x10\x80\x80\x80\x80\x01\0\x04MQTT\x04"), None);
}
