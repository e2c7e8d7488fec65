//! MQTT 5: every packet but CONNECT, without regard to properties.

use super::{LIMITS, ack, answered_in, encoded, id, packet, packet_bytes, sent_in, string};
use crate::codec::{decode, encode};
use crate::error::{FilterError, ProtocolError, TopicError};
use crate::packet::{
    Ack, Auth, Disconnect, Publish, RetainHandling, SubAck, SubscriptionOptions, TopicAlias, UnsubAck,
    Version,
};
use crate::{Packet, Qos, ReasonCode};
use bytes::{Bytes, BytesMut};

fn sent(first: u8, body: &[u8]) -> Result<Packet, ProtocolError> {
    sent_in(Version::V5, first, body)
}

fn answered(first: u8, body: &[u8]) -> Result<Packet, ProtocolError> {
    answered_in(Version::V5, first, body)
}

/// The error with the reason code that goes to the client, and the clause that goes into the log.
fn refused(first: u8, body: &[u8]) -> (ProtocolError, ReasonCode, &'static str) {
    let error = sent(first, body).expect_err("well formed");
    (error, error.reason(), error.clause(Version::V5))
}

fn publish(first: u8, body: &[u8]) -> Publish {
    match sent(first, body) {
        Ok(Packet::Publish(publish)) => publish,
        other => panic!("{other:?}"),
    }
}

const MALFORMED: ReasonCode = ReasonCode::MalformedPacket;
const PROTOCOL_ERROR: ReasonCode = ReasonCode::ProtocolError;

#[test]
fn type_0_alone_is_reserved() {
    assert_eq!(refused(0, b""), (ProtocolError::ReservedPacketType, MALFORMED, "§2.1.2"));
    assert_eq!(sent(0xF0, b"").err(), Some(ProtocolError::ReasonCode)); // an AUTH, and Success is the server's
}

#[test]
fn fixed_header_flags_are_checked() {
    let cases = [
        (0x10, 0, ProtocolError::Flags, "MQTT-2.1.3-1"),
        (0x40, 0, ProtocolError::Flags, "MQTT-2.1.3-1"),
        (0x60, 2, ProtocolError::PubRelFlags, "MQTT-3.6.1-1"),
        (0x80, 2, ProtocolError::SubscribeFlags, "MQTT-3.8.1-1"),
        (0xA0, 2, ProtocolError::UnsubscribeFlags, "MQTT-3.10.1-1"),
        (0xE0, 0, ProtocolError::DisconnectFlags, "MQTT-3.14.1-1"),
        (0xF0, 0, ProtocolError::AuthFlags, "MQTT-3.15.1-1"),
    ];
    for (packet_type, right, error, clause) in cases {
        for flags in (0..16).filter(|flags| *flags != right) {
            assert_eq!(refused(packet_type | flags, &[0, 1]), (error, MALFORMED, clause));
        }
    }
}

#[test]
fn packets_of_the_other_side_are_refused() {
    for first in [0x20, 0x90, 0xB0, 0xD0] {
        assert_eq!(refused(first, &[0, 1]), (ProtocolError::ServerPacket, PROTOCOL_ERROR, "§2.1.2"));
    }
    for first in [0x10, 0x82, 0xA2, 0xC0] {
        assert_eq!(answered(first, &[0, 1]), Err(ProtocolError::ClientPacket));
    }
}

#[test]
fn publish_is_read_in_place() {
    let bytes =
        packet(0x3D, b"\0\x01a\x12\x34\x13\x26\0\x01n\0\x01v\x03\0\x01t\x08\0\x01r\x09\0\x01cpayload");
    let whole = Bytes::from(bytes);
    let Some(Packet::Publish(publish)) = decode(&mut whole.clone(), Version::V5, &LIMITS).unwrap() else {
        panic!("PUBLISH")
    };
    let properties = publish.properties.as_deref().unwrap();
    let within = |at: usize| whole[at..].as_ptr();
    assert_eq!((publish.dup, publish.qos, publish.retain), (true, Qos::ExactlyOnce, true));
    assert_eq!(publish.packet_id, Some(id(0x1234)));
    assert_eq!(publish.topic.as_ref().unwrap().as_str().as_ptr(), within(4));
    assert_eq!(properties.user_properties.iter().collect::<Vec<_>>(), [("n", "v")]);
    assert_eq!(properties.user_properties.wire().as_ptr(), within(8));
    assert_eq!(properties.content_type.as_ref().unwrap().as_ptr(), within(18));
    assert_eq!(properties.response_topic.as_ref().unwrap().as_str().as_ptr(), within(22));
    assert_eq!(properties.correlation_data.as_ref().unwrap().as_ptr(), within(26));
    assert_eq!(publish.payload.as_ptr(), within(27));
    assert_eq!(&publish.payload[..], b"payload");
}

#[test]
fn publish_without_properties_has_none() {
    let read = publish(0x30, b"\0\x01a\0payload");
    assert_eq!((read.properties, read.topic_alias, read.message_expiry_s), (None, None, None));
    assert_eq!(&read.payload[..], b"payload");
    // Those that are not of the message leave no box behind either.
    assert_eq!(publish(0x30, b"\0\x01a\x05\x02\0\0\0\x09").properties, None);
    assert_eq!(refused(0x30, b"\0\x01a"), (ProtocolError::Truncated, MALFORMED, "§4.13.1"));
}

#[test]
fn publish_has_a_topic_or_an_alias() {
    // §3.3.2.1, [MQTT-3.3.2-8]
    let read = publish(0x30, b"\0\0\x03\x23\0\x07");
    assert_eq!((read.topic, read.topic_alias), (None, TopicAlias::new(7)));
    let read = publish(0x30, b"\0\x01a\x03\x23\0\x07");
    assert!(read.topic.is_some() && read.topic_alias.is_some());
    let no_topic = (ProtocolError::NoTopic, PROTOCOL_ERROR, "§3.3.2.1");
    assert_eq!(refused(0x30, b"\0\0\0"), no_topic);
    assert_eq!(refused(0x30, b"\0\0\x02\x01\0"), no_topic);
    let alias = (ProtocolError::TopicAlias, ReasonCode::TopicAliasInvalid, "MQTT-3.3.2-8");
    assert_eq!(refused(0x30, b"\0\x01a\x03\x23\0\0"), alias);
}

#[test]
fn publish_topic_is_checked() {
    let cases: [(&[u8], TopicError, ReasonCode, &str); 3] = [
        (b"\0\x01+\0", TopicError::Wildcard, PROTOCOL_ERROR, "MQTT-3.3.2-2"),
        (b"\0\x02a\0\0", TopicError::Nul, MALFORMED, "MQTT-4.7.3-2"),
        (b"\0\x02\xC3a\0", TopicError::NotUtf8, MALFORMED, "MQTT-1.5.4-1"),
    ];
    for (body, error, reason, clause) in cases {
        assert_eq!(refused(0x30, body), (ProtocolError::PublishTopic(error), reason, clause));
    }
    let (error, reason, _) = refused(0x30, &[&string("a/b/c/d/e/f/g/h/i")[..], &[0]].concat());
    assert_eq!((error, reason), (ProtocolError::TooManyTopicLevels, ReasonCode::TopicNameInvalid));
}

#[test]
fn publish_flags_are_checked() {
    assert_eq!(refused(0x36, b"\0\x01a\0\x01\0"), (ProtocolError::QosThree, MALFORMED, "MQTT-3.3.1-4"));
    assert_eq!(refused(0x38, b"\0\x01a\0"), (ProtocolError::DupWithoutQos, PROTOCOL_ERROR, "MQTT-3.3.1-2"));
}

#[test]
fn packet_id_is_not_zero() {
    let zero = (ProtocolError::PacketIdZero, PROTOCOL_ERROR, "MQTT-2.2.1-3");
    for first in [0x40, 0x50, 0x62, 0x70, 0x82, 0xA2] {
        assert_eq!(refused(first, &[0, 0, 0, 0]), zero);
    }
    assert_eq!(refused(0x32, b"\0\x01a\0\0\0"), zero);
}

#[test]
fn acknowledgements_are_read_in_all_their_lengths() {
    // §3.4.2.1, §3.4.2.2.1: Success and no properties go without saying.
    type Kind = fn(Ack) -> Packet;
    let kinds: [(u8, Kind); 4] =
        [(0x40, Packet::PubAck), (0x50, Packet::PubRec), (0x62, Packet::PubRel), (0x70, Packet::PubComp)];
    for (first, kind) in kinds {
        for body in [&[0, 1][..], &[0, 1, 0], &[0, 1, 0, 0]] {
            assert_eq!(sent(first, body), Ok(kind(ack(1))));
            assert_eq!(answered(first, body), Ok(kind(ack(1))));
        }
        assert_eq!(refused(first, &[0, 1, 0, 0, 0]), (ProtocolError::TrailingBytes, MALFORMED, "§4.13.1"));
        assert_eq!(&encoded(&[kind(ack(1))], Version::V5)[..], [first, 2, 0, 1]);
    }
    let unknown = Ack::of(id(1), ReasonCode::PacketIdentifierNotFound);
    assert_eq!(sent(0x62, &[0, 1, 0x92]), Ok(Packet::PubRel(unknown.clone())));
    assert_eq!(&encoded(&[Packet::PubRel(unknown)], Version::V5)[..], [0x62, 3, 0, 1, 0x92]);
}

/// Which bytes are reason codes there, with `before` and `after` them.
fn reasons(first: u8, before: &[u8], after: &[u8], of_server: bool) -> Vec<u8> {
    let version = Version::V5;
    let read = |byte: &u8| {
        let body = [before, &[*byte], after].concat();
        let read =
            if of_server { answered_in(version, first, &body) } else { sent_in(version, first, &body) };
        assert!(matches!(read, Ok(_) | Err(ProtocolError::ReasonCode)), "{byte:x}: {read:?}");
        read.is_ok()
    };
    (0..=u8::MAX).filter(read).collect()
}

#[test]
fn each_packet_has_its_reason_codes() {
    // [MQTT-3.4.2-1], [MQTT-3.5.2-1]
    for first in [0x40, 0x50] {
        let codes = [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
        assert_eq!(reasons(first, &[0, 1], &[], false), codes);
        assert_eq!(reasons(first, &[0, 1], &[0], true), codes);
    }
    // [MQTT-3.6.2-1], [MQTT-3.7.2-1]
    for first in [0x62, 0x70] {
        assert_eq!(reasons(first, &[0, 1], &[], false), [0, 0x92]);
    }
    // [MQTT-3.2.2-8]
    let connack = [
        0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99,
        0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
    ];
    assert_eq!(reasons(0x20, &[0], &[0], true), connack);
    // [MQTT-3.9.3-2], [MQTT-3.11.3-2]
    let suback = [0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
    assert_eq!(reasons(0x90, &[0, 1, 0], &[], true), suback);
    assert_eq!(reasons(0xB0, &[0, 1, 0], &[], true), [0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]);
    // [MQTT-3.14.2-1]
    let by_client = [0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    assert_eq!(reasons(0xE0, &[], &[], false), by_client);
    let by_server = [
        0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
        0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
    ];
    assert_eq!(reasons(0xE0, &[], &[], true), by_server);
    // [MQTT-3.15.2-1]
    assert_eq!(reasons(0xF0, &[], &[0], false), [0x18, 0x19]);
    assert_eq!(reasons(0xF0, &[], &[0], true), [0, 0x18]);
    assert_eq!(ProtocolError::ReasonCode.reason(), PROTOCOL_ERROR);
}

#[test]
fn disconnect_is_read_in_all_its_lengths() {
    // §3.14.2.1, §3.14.2.2.1; mqttbytes refuses the first two.
    let normal = Disconnect::of(ReasonCode::Success);
    for body in [&[][..], &[0], &[0, 0]] {
        assert_eq!(sent(0xE0, body), Ok(Packet::Disconnect(Box::new(normal.clone()))));
        assert_eq!(answered(0xE0, body), Ok(Packet::Disconnect(Box::new(normal.clone()))));
    }
    let with_will = Packet::Disconnect(Box::new(Disconnect::of(ReasonCode::DisconnectWithWill)));
    assert_eq!(&encoded(std::slice::from_ref(&with_will), Version::V5)[..], [0xE0, 1, 4]);
    assert_eq!(sent(0xE0, &[4]), Ok(with_will));
    assert_eq!(refused(0xE0, &[0, 0, 0]).0, ProtocolError::TrailingBytes);
    assert_eq!(refused(0xE0, &[0, 5, 0x11, 0, 0, 0]).0, ProtocolError::Truncated);
}

#[test]
fn auth_says_nothing_or_all() {
    // §3.15.2.1
    let success = Auth { reason: ReasonCode::Success, method: None, data: None, diagnostics: None };
    let success = Packet::Auth(Box::new(success));
    for body in [&[][..], &[0, 0]] {
        assert_eq!(answered(0xF0, body), Ok(success.clone()));
    }
    assert_eq!(&encoded(&[success], Version::V5)[..], [0xF0, 0]);
    assert_eq!(refused(0xF0, &[0x18]).0, ProtocolError::Truncated);
    assert_eq!(refused(0xF0, &[0x18, 0, 0]).0, ProtocolError::TrailingBytes);
}

#[test]
fn subscription_options_are_read() {
    let options = |byte| match sent(0x82, &[0, 1, 0, 0, 1, b'a', byte]) {
        Ok(Packet::Subscribe(subscribe)) => Ok(subscribe.filters[0].1),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err((error, error.reason(), error.clause(Version::V5))),
    };
    let all = SubscriptionOptions {
        qos: Qos::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    assert_eq!(options(0x2E), Ok(all));
    assert_eq!(options(0), Ok(SubscriptionOptions::default()));
    assert_eq!(options(3), Err((ProtocolError::RequestedQos, PROTOCOL_ERROR, "§3.8.3.1")));
    assert_eq!(options(0x30), Err((ProtocolError::RetainHandling, PROTOCOL_ERROR, "§3.8.3.1")));
    for reserved in [0x40, 0x80, 0xC1] {
        assert_eq!(options(reserved), Err((ProtocolError::SubscriptionOptions, MALFORMED, "MQTT-3.8.3-5")));
    }
}

#[test]
fn shared_subscription_is_not_no_local() {
    let body = |options| [&[0, 1, 0][..], &string("$share/g/a"), &[options]].concat();
    let error = (ProtocolError::NoLocalShared, PROTOCOL_ERROR, "MQTT-3.8.3-4");
    assert_eq!(refused(0x82, &body(0x04)), error);
    let Ok(Packet::Subscribe(subscribe)) = sent(0x82, &body(0)) else { panic!("SUBSCRIBE") };
    assert_eq!(subscribe.filters[0].0.as_ref().unwrap().share_name().unwrap(), "g");
}

#[test]
fn subscribe_and_unsubscribe_hold_a_filter_and_no_more_than_the_bound() {
    assert_eq!(refused(0x82, &[0, 1, 0]), (ProtocolError::SubscribeEmpty, PROTOCOL_ERROR, "MQTT-3.8.3-2"));
    assert_eq!(refused(0xA2, &[0, 1, 0]), (ProtocolError::UnsubscribeEmpty, PROTOCOL_ERROR, "MQTT-3.10.3-2"));
    let limits = crate::codec::Limits { filters_max: 2, ..LIMITS };
    for (first, filter) in [(0x82, &b"\0\x01a\0"[..]), (0xA2, b"\0\x01a")] {
        let read = |count| {
            let body = [&[0, 1, 0][..], &filter.repeat(count)].concat();
            decode(&mut packet(first, &body).into(), Version::V5, &limits)
        };
        assert!(read(2).is_ok());
        assert_eq!(read(3), Err(ProtocolError::TooManyFilters));
    }
    assert_eq!(ProtocolError::TooManyFilters.reason(), ReasonCode::QuotaExceeded);
}

#[test]
fn bad_filters_keep_their_place() {
    let Ok(Packet::Unsubscribe(unsubscribe)) =
        sent(0xA2, &[&[0, 7, 0][..], &string("a+"), &string("$share/g"), &string("a")].concat())
    else {
        panic!("UNSUBSCRIBE")
    };
    let expected = [Err(FilterError::Plus), Err(FilterError::Share), Ok("a".parse().unwrap())];
    assert_eq!(unsubscribe.filters, expected);
    assert_eq!(FilterError::Plus.clause(Version::V5), "MQTT-4.7.1-2");
}

#[test]
fn acknowledgements_of_filters_are_checked() {
    assert_eq!(answered(0x90, &[0, 1, 0]), Err(ProtocolError::SubAckEmpty));
    assert_eq!(answered(0xB0, &[0, 1, 0]), Err(ProtocolError::UnsubAckEmpty));
    let reasons = vec![ReasonCode::NoSubscriptionExisted, ReasonCode::Success];
    let unsub_ack = UnsubAck { packet_id: id(1), reasons, diagnostics: None };
    assert_eq!(answered(0xB0, &[0, 1, 0, 0x11, 0]), Ok(Packet::UnsubAck(unsub_ack)));
    let reasons = vec![ReasonCode::GrantedQos2, ReasonCode::SharedSubscriptionsNotSupported];
    let sub_ack = Packet::SubAck(SubAck { packet_id: id(1), reasons, diagnostics: None });
    assert_eq!(&encoded(&[sub_ack], Version::V5)[..], [0x90, 5, 0, 1, 0, 2, 0x9E]);
}

#[test]
fn conn_ack_is_checked() {
    assert_eq!(answered(0x20, &[2, 0, 0]), Err(ProtocolError::ConnAckFlags));
    assert_eq!(answered(0x20, &[1, 0x87, 0]), Err(ProtocolError::SessionPresentWithRefusal));
    assert_eq!(answered(0x20, &[0, 0]), Err(ProtocolError::Truncated));
    assert_eq!(answered(0x20, &[0, 0, 0, 0]), Err(ProtocolError::TrailingBytes));
}

#[test]
fn packet_without_form_has_no_bytes() {
    let mut disconnect = Disconnect::of(ReasonCode::ServerMoved);
    disconnect.server_reference = Some("a".repeat(65_536).into());
    let mut unnamed = publish(0x30, b"\0\0\x03\x23\0\x07");
    unnamed.topic_alias = None;
    let mut out = BytesMut::from(&b"before"[..]);
    for packet in [Packet::Disconnect(Box::new(disconnect)), Packet::Publish(unnamed)] {
        assert!(!encode(&packet, Version::V5, &mut out));
        assert_eq!(packet_bytes(&packet, Version::V5), 0);
    }
    assert_eq!(&out[..], b"before");
}
