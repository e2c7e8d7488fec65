//! MQTT 3.1.1: every packet but CONNECT.

use super::{LIMITS, ack, answered_in, encoded, id, packet, sent_in, string};
use crate::codec::{decode, encode, encode_publish};
use crate::error::{FilterError, ProtocolError, TopicError};
use crate::packet::{
    Auth, ConnAck, ConnAckProperties, Diagnostics, Disconnect, OutgoingPublish, PublishHeader, SubAck,
    SubscriptionOptions, UnsubAck, Version,
};
use crate::{Packet, Qos, ReasonCode};
use bytes::{Bytes, BytesMut};

fn sent(first: u8, body: &[u8]) -> Result<Packet, ProtocolError> {
    sent_in(Version::V311, first, body)
}

fn answered(first: u8, body: &[u8]) -> Result<Packet, ProtocolError> {
    answered_in(Version::V311, first, body)
}

fn refused(first: u8, body: &[u8]) -> ProtocolError {
    sent(first, body).expect_err("well formed")
}

fn conn_ack(session_present: bool, reason: ReasonCode) -> Packet {
    Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties: ConnAckProperties::default() }))
}

#[test]
fn reserved_packet_types_are_refused() {
    // §2.2.1
    assert_eq!(refused(0x00, b""), ProtocolError::ReservedPacketType);
    assert_eq!(refused(0xF0, b""), ProtocolError::ReservedPacketType);
}

#[test]
fn packets_of_the_other_side_are_refused() {
    for first in [0x20, 0x90, 0xB0, 0xD0] {
        assert_eq!(refused(first, &[0, 1]), ProtocolError::ServerPacket);
    }
    for first in [0x10, 0x82, 0xA2, 0xC0, 0xE0] {
        assert_eq!(answered(first, &[0, 1]), Err(ProtocolError::ClientPacket));
    }
}

#[test]
fn fixed_header_flags_are_checked() {
    // [MQTT-2.2.2-2], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1];
    // mqttbytes looks at none of them.
    let cases = [
        (0x10, 0, ProtocolError::Flags),
        (0x40, 0, ProtocolError::Flags),
        (0x50, 0, ProtocolError::Flags),
        (0x60, 2, ProtocolError::PubRelFlags),
        (0x70, 0, ProtocolError::Flags),
        (0x80, 2, ProtocolError::SubscribeFlags),
        (0xA0, 2, ProtocolError::UnsubscribeFlags),
        (0xC0, 0, ProtocolError::Flags),
        (0xE0, 0, ProtocolError::DisconnectFlags),
    ];
    for (packet_type, right, error) in cases {
        for flags in (0..16).filter(|flags| *flags != right) {
            assert_eq!(refused(packet_type | flags, &[0, 1]), error, "{packet_type:x} {flags:x}");
        }
    }
    for packet_type in [0x20, 0x90, 0xB0, 0xD0] {
        assert_eq!(answered(packet_type | 1, &[0, 0]), Err(ProtocolError::Flags));
    }
}

#[test]
fn publish_is_read_in_place() {
    let whole = Bytes::from(packet(0x3D, b"\0\x03a/b\x12\x34hello"));
    let Some(Packet::Publish(publish)) = decode(&mut whole.clone(), Version::V311, &LIMITS).unwrap() else {
        panic!("PUBLISH")
    };
    assert_eq!((publish.dup, publish.qos, publish.retain), (true, Qos::ExactlyOnce, true));
    assert_eq!(publish.packet_id, Some(id(0x1234)));
    assert_eq!((publish.topic.as_ref().unwrap().as_str(), &publish.payload[..]), ("a/b", &b"hello"[..]));
    assert_eq!(publish.topic.as_ref().unwrap().as_str().as_ptr(), whole[4..].as_ptr());
    assert_eq!(publish.payload.as_ptr(), whole[9..].as_ptr());
}

#[test]
fn publish_of_qos0_has_no_packet_id_and_may_be_empty() {
    let Packet::Publish(publish) = sent(0x30, b"\0\x01a").unwrap() else { panic!("PUBLISH") };
    assert_eq!((publish.packet_id, publish.payload.len()), (None, 0));
}

#[test]
fn publish_flags_are_checked() {
    // [MQTT-3.3.1-4], [MQTT-3.3.1-2]
    assert_eq!(refused(0x36, b"\0\x01a\0\x01"), ProtocolError::QosThree);
    assert_eq!(refused(0x38, b"\0\x01a"), ProtocolError::DupWithoutQos);
}

#[test]
fn publish_topic_is_checked() {
    // [MQTT-3.3.2-1], [MQTT-3.3.2-2], [MQTT-1.5.3-1], [MQTT-1.5.3-2]; mqttbytes takes all but the last.
    let cases: [(&[u8], TopicError, &str); 5] = [
        (b"\0\0", TopicError::Empty, "MQTT-4.7.3-1"),
        (b"\0\x01+", TopicError::Wildcard, "MQTT-3.3.2-2"),
        (b"\0\x03a/#", TopicError::Wildcard, "MQTT-3.3.2-2"),
        (b"\0\x02a\0", TopicError::Nul, "MQTT-4.7.3-2"),
        (b"\0\x02\xC3a", TopicError::NotUtf8, "MQTT-1.5.3-1"),
    ];
    for (body, error, clause) in cases {
        let error = ProtocolError::PublishTopic(error);
        assert_eq!(refused(0x30, body), error);
        assert_eq!(error.clause(Version::V311), clause);
    }
    assert_eq!(refused(0x30, b"\0\x0Aa/b/c/d"), ProtocolError::Truncated);
    assert_eq!(refused(0x30, &string("a/b/c/d/e/f/g/h/i")), ProtocolError::TooManyTopicLevels);
    assert!(sent(0x30, &string("a/b/c/d/e/f/g/h")).is_ok());
}

#[test]
fn packet_id_is_present_and_not_zero() {
    // [MQTT-2.3.1-1]
    let of = |first, rest: &[u8]| {
        assert_eq!(refused(first, &[&[0, 0], rest].concat()), ProtocolError::PacketIdZero);
        assert_eq!(refused(first, &[0]), ProtocolError::Truncated);
        assert_eq!(refused(first, &[]), ProtocolError::Truncated);
    };
    for acknowledgement in [0x40, 0x50, 0x62, 0x70] {
        of(acknowledgement, b"");
    }
    of(0x82, b"\0\x01a\0");
    of(0xA2, b"\0\x01a");
    assert_eq!(refused(0x32, b"\0\x01a\0\0"), ProtocolError::PacketIdZero);
    assert_eq!(refused(0x32, b"\0\x01a\0"), ProtocolError::Truncated);
    for first in [0x90, 0xB0] {
        assert_eq!(answered(first, &[0]), Err(ProtocolError::Truncated));
    }
    assert_eq!(answered(0xB0, &[0, 0]), Err(ProtocolError::PacketIdZero));
    assert_eq!(answered(0x90, &[0, 0, 1]), Err(ProtocolError::PacketIdZero));
}

#[test]
fn bytes_after_the_last_field_are_malformed() {
    // §2.2.3; mqttbytes ignores them.
    for first in [0x40, 0x50, 0x62, 0x70] {
        assert_eq!(refused(first, &[0, 1, 0]), ProtocolError::TrailingBytes);
    }
    for first in [0xC0, 0xE0] {
        assert_eq!(refused(first, &[0]), ProtocolError::TrailingBytes);
    }
    assert_eq!(refused(0xA2, b"\0\x01\0\x01a\0"), ProtocolError::Truncated);
    assert_eq!(refused(0x82, b"\0\x01\0\x01a\0\0"), ProtocolError::Truncated);
    assert_eq!(answered(0x20, &[0, 0, 0]), Err(ProtocolError::TrailingBytes));
    assert_eq!(answered(0xB0, &[0, 1, 0]), Err(ProtocolError::TrailingBytes));
    assert_eq!(answered(0xD0, &[0]), Err(ProtocolError::TrailingBytes));
}

#[test]
fn acknowledgements_and_pings_are_read() {
    assert_eq!(sent(0x40, &[0, 1]), Ok(Packet::PubAck(ack(1))));
    assert_eq!(sent(0x50, &[0, 2]), Ok(Packet::PubRec(ack(2))));
    assert_eq!(sent(0x62, &[1, 0]), Ok(Packet::PubRel(ack(256))));
    assert_eq!(sent(0x70, &[255, 255]), Ok(Packet::PubComp(ack(65_535))));
    assert_eq!(sent(0xC0, &[]), Ok(Packet::PingReq));
    assert_eq!(sent(0xE0, &[]), Ok(Packet::Disconnect(Box::new(Disconnect::of(ReasonCode::Success)))));
    assert_eq!(answered(0xD0, &[]), Ok(Packet::PingResp));
}

#[test]
fn subscribe_without_filters_is_refused() {
    // [MQTT-3.8.3-3]
    assert_eq!(refused(0x82, &[0, 1]), ProtocolError::SubscribeEmpty);
}

#[test]
fn unsubscribe_without_filters_is_refused() {
    // [MQTT-3.10.3-2]
    assert_eq!(refused(0xA2, &[0, 1]), ProtocolError::UnsubscribeEmpty);
}

#[test]
fn reserved_bits_of_a_requested_qos_are_refused() {
    // [MQTT-3.8.3-4]; mqttbytes cuts the upper six off.
    for options in 3..=u8::MAX {
        assert_eq!(refused(0x82, &[0, 1, 0, 1, b'a', options]), ProtocolError::RequestedQos);
    }
}

#[test]
fn strings_of_subscribe_and_unsubscribe_are_checked() {
    // [MQTT-3.8.3-1], [MQTT-3.10.3-1], [MQTT-1.5.3-2]
    assert_eq!(refused(0x82, b"\0\x01\0\x01\xFF\0"), ProtocolError::IllFormedUtf8);
    assert_eq!(refused(0x82, b"\0\x01\0\x01\0\0"), ProtocolError::NulInString);
    assert_eq!(refused(0x82, b"\0\x01\0\x05a\0"), ProtocolError::Truncated);
    assert_eq!(refused(0x82, b"\0\x01\0\x01a"), ProtocolError::Truncated);
    assert_eq!(refused(0xA2, b"\0\x01\0\x01\xFF"), ProtocolError::IllFormedUtf8);
    assert_eq!(refused(0xA2, b"\0\x01\0\x01\0"), ProtocolError::NulInString);
    assert_eq!(refused(0xA2, b"\0\x01\0\x05a"), ProtocolError::Truncated);
}

#[test]
fn bad_filter_of_subscribe_is_answered_in_its_place() {
    let deep = "a/b/c/d/e/f/g/h/#";
    let body = [
        &[0, 7][..],
        &[&string("a+")[..], &[0]].concat(),
        &[&string("a/#")[..], &[2]].concat(),
        &[&string("")[..], &[1]].concat(),
        &[&string(deep)[..], &[1]].concat(),
    ];
    let Packet::Subscribe(subscribe) = sent(0x82, &body.concat()).unwrap() else { panic!("SUBSCRIBE") };
    assert_eq!(subscribe.packet_id, id(7));
    let expected = [
        (Err(FilterError::Plus), SubscriptionOptions::of(Qos::AtMostOnce)),
        (Ok("a/#".parse().unwrap()), SubscriptionOptions::of(Qos::ExactlyOnce)),
        (Err(FilterError::Empty), SubscriptionOptions::of(Qos::AtLeastOnce)),
        (Err(FilterError::TooManyLevels), SubscriptionOptions::of(Qos::AtLeastOnce)),
    ];
    assert_eq!(subscribe.filters, expected);
}

#[test]
fn bad_filter_of_unsubscribe_keeps_its_place() {
    let body = [&[0, 7][..], &string("a+"), &string("a/#"), &string("#/a")].concat();
    let Packet::Unsubscribe(unsubscribe) = sent(0xA2, &body).unwrap() else { panic!("UNSUBSCRIBE") };
    let expected = [Err(FilterError::Plus), Ok("a/#".parse().unwrap()), Err(FilterError::Hash)];
    assert_eq!(unsubscribe.filters, expected);
}

#[test]
fn conn_ack_is_checked() {
    // §3.2.2.1, §3.2.2.3, [MQTT-3.2.2-4]; mqttbytes looks at the return code alone.
    assert_eq!(answered(0x20, &[1, 0]), Ok(conn_ack(true, ReasonCode::Success)));
    assert_eq!(answered(0x20, &[2, 0]), Err(ProtocolError::ConnAckFlags));
    assert_eq!(answered(0x20, &[0, 6]), Err(ProtocolError::ConnAckReturnCode));
    assert_eq!(answered(0x20, &[1, 5]), Err(ProtocolError::SessionPresentWithRefusal));
    assert_eq!(answered(0x20, &[0]), Err(ProtocolError::Truncated));
}

#[test]
fn sub_ack_is_checked() {
    // [MQTT-3.9.3-2]
    assert_eq!(answered(0x90, &[0, 1, 3]), Err(ProtocolError::SubAckReturnCode));
    assert_eq!(answered(0x90, &[0, 1]), Err(ProtocolError::SubAckEmpty));
}

#[test]
fn whole_packets_are_taken_one_by_one() {
    let mut buffer = Bytes::from_static(&[0xC0, 0, 0x40, 2, 0, 1, 0x40, 2, 0]);
    assert_eq!(decode(&mut buffer, Version::V311, &LIMITS), Ok(Some(Packet::PingReq)));
    assert_eq!(decode(&mut buffer, Version::V311, &LIMITS), Ok(Some(Packet::PubAck(ack(1)))));
    assert_eq!(decode(&mut buffer, Version::V311, &LIMITS), Ok(None));
    assert_eq!(&buffer[..], [0x40, 2, 0]);
}

#[test]
fn publish_without_form_is_not_written() {
    let mut out = BytesMut::from(&b"before"[..]);
    let header = PublishHeader { dup: false, qos: Qos::AtLeastOnce, retain: false, packet_id: None };
    let mut write = |header, topic: &str| {
        let publish = OutgoingPublish {
            header,
            topic,
            topic_alias: None,
            message_expiry_s: None,
            subscription_ids: &[],
            properties: None,
            payload: b"b",
        };
        encode_publish(&publish, Version::V311, &mut out)
    };
    assert!(!write(header, "a"));
    let header = PublishHeader { qos: Qos::AtMostOnce, ..header };
    assert!(!write(header, &"a".repeat(65_536)));
    assert!(!write(header, ""));
    assert!(write(header, "a"));
    assert_eq!(&out[..], b"before\x30\x04\0\x01ab");
}

#[test]
fn packets_of_the_server_are_written_as_the_standard_draws_them() {
    let packets = [
        conn_ack(false, ReasonCode::UnsupportedProtocolVersion),
        Packet::PubRel(ack(0x0102)),
        Packet::PingResp,
    ];
    assert_eq!(&encoded(&packets, Version::V311)[..], [0x20, 2, 0, 1, 0x62, 2, 1, 2, 0xD0, 0]);
}

#[test]
fn what_only_mqtt_5_has_is_not_written() {
    let diagnostics = Some(Diagnostics::of("full"));
    let mut refused = ack(1);
    refused.reason = ReasonCode::QuotaExceeded;
    refused.diagnostics.clone_from(&diagnostics);
    let reasons = vec![ReasonCode::NotAuthorized, ReasonCode::GrantedQos1];
    let packets = [
        Packet::PubAck(refused),
        Packet::SubAck(SubAck {
            packet_id: id(2),
            reasons: reasons.clone(),
            diagnostics: diagnostics.clone(),
        }),
        Packet::UnsubAck(UnsubAck { packet_id: id(3), reasons, diagnostics }),
    ];
    let expected = [0x40, 2, 0, 1, 0x90, 4, 0, 2, 0x80, 1, 0xB0, 2, 0, 3];
    assert_eq!(&encoded(&packets, Version::V311)[..], expected);
    let mut out = BytesMut::new();
    let taken_over = Disconnect::of(ReasonCode::SessionTakenOver);
    let auth = Auth { reason: ReasonCode::Success, method: None, data: None, diagnostics: None };
    for packet in [Packet::Disconnect(Box::new(taken_over)), Packet::Auth(Box::new(auth))] {
        assert!(!encode(&packet, Version::V311, &mut out));
    }
    assert!(out.is_empty());
}
