//! What holds for all bytes and for all packets.

use super::LIMITS;
use crate::codec::{Limits, decode, decode_from_server, encode, missing};
use crate::packet::{ConnAck, Connect, PacketId, Publish, SubAck, Subscribe, Unsubscribe, Version, Will};
use crate::{ConnectReturnCode, Packet, Qos, SubscribeReturnCode, TopicFilter, TopicName};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use mqttbytes::v4;
use proptest::prelude::*;

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_filter_map("zero", PacketId::new)
}

fn text() -> impl Strategy<Value = ByteString> {
    "[^\0]{0,12}".prop_map(ByteString::from)
}

fn binary(bytes_max: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..=bytes_max).prop_map(Bytes::from)
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[^\0+#/]{1,5}(/[^\0+#/]{0,3}){0,4}".prop_map(|text| text.parse().unwrap())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    "([^\0+#/]{1,4}|\\+)(/([^\0+#/]{0,3}|\\+)){0,4}(/#)?".prop_map(|text| text.parse().unwrap())
}

fn connect() -> impl Strategy<Value = Packet> {
    let version = prop_oneof![Just(Version::V31), Just(Version::V311)];
    let will = (topic(), binary(40), qos(), any::<bool>()).prop_map(|(topic, payload, qos, retain)| Will {
        topic,
        payload,
        qos,
        retain,
    });
    let login = prop::option::of((text(), prop::option::of(binary(20))));
    let rest = (prop::option::of(will), login);
    (version, text(), any::<bool>(), any::<u16>(), rest).prop_map(
        |(version, client_id, clean_session, keep_alive_s, (will, login))| {
            let (user_name, password) = login.map_or((None, None), |(name, password)| (Some(name), password));
            let connect =
                Connect { version, client_id, clean_session, keep_alive_s, will, user_name, password };
            Packet::Connect(Box::new(connect))
        },
    )
}

fn publish() -> impl Strategy<Value = Packet> {
    (any::<bool>(), qos(), any::<bool>(), topic(), packet_id(), binary(300)).prop_map(
        |(dup, qos, retain, topic, id, payload)| {
            let above = qos > Qos::AtMostOnce;
            let packet_id = above.then_some(id);
            Packet::Publish(Publish { dup: dup && above, qos, retain, topic, packet_id, payload })
        },
    )
}

fn subscribe() -> impl Strategy<Value = Packet> {
    (packet_id(), prop::collection::vec((filter().prop_map(Ok), qos()), 1..20))
        .prop_map(|(packet_id, filters)| Packet::Subscribe(Subscribe { packet_id, filters }))
}

fn unsubscribe() -> impl Strategy<Value = Packet> {
    (packet_id(), prop::collection::vec(filter(), 1..20))
        .prop_map(|(packet_id, filters)| Packet::Unsubscribe(Unsubscribe { packet_id, filters }))
}

fn sub_ack() -> impl Strategy<Value = Packet> {
    let code = prop_oneof![qos().prop_map(SubscribeReturnCode::Granted), Just(SubscribeReturnCode::Failure)];
    (packet_id(), prop::collection::vec(code, 1..200))
        .prop_map(|(packet_id, codes)| Packet::SubAck(SubAck { packet_id, codes }))
}

fn conn_ack() -> impl Strategy<Value = Packet> {
    let code = prop::sample::select(vec![
        ConnectReturnCode::Accepted,
        ConnectReturnCode::UnacceptableProtocolVersion,
        ConnectReturnCode::IdentifierRejected,
        ConnectReturnCode::ServerUnavailable,
        ConnectReturnCode::BadUserNameOrPassword,
        ConnectReturnCode::NotAuthorized,
    ]);
    (any::<bool>(), code).prop_map(|(present, code)| {
        Packet::ConnAck(ConnAck { session_present: present && code == ConnectReturnCode::Accepted, code })
    })
}

fn of_either_side() -> impl Strategy<Value = Packet> {
    prop_oneof![
        4 => publish(),
        1 => packet_id().prop_map(Packet::PubAck),
        1 => packet_id().prop_map(Packet::PubRec),
        1 => packet_id().prop_map(Packet::PubRel),
        1 => packet_id().prop_map(Packet::PubComp),
    ]
}

fn of_client() -> impl Strategy<Value = Packet> {
    prop_oneof![
        4 => of_either_side(),
        3 => connect(),
        3 => subscribe(),
        3 => unsubscribe(),
        1 => Just(Packet::PingReq),
        1 => Just(Packet::Disconnect),
    ]
}

fn of_server() -> impl Strategy<Value = Packet> {
    prop_oneof![
        4 => of_either_side(),
        3 => conn_ack(),
        3 => sub_ack(),
        1 => packet_id().prop_map(Packet::UnsubAck),
        1 => Just(Packet::PingResp),
    ]
}

fn encoded(packets: &[Packet]) -> Bytes {
    let mut out = BytesMut::new();
    for packet in packets {
        assert!(encode(packet, &mut out));
    }
    out.freeze()
}

/// Bytes that look like a packet: a true type, often true flags, a true remaining length.
fn nearly_a_packet() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), prop::collection::vec(any::<u8>(), 0..100))
        .prop_map(|(first, body)| [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat())
}

/// A packet with one byte changed.
fn broken(packet: impl Strategy<Value = Packet>) -> impl Strategy<Value = Vec<u8>> {
    (packet, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(packet, at, byte)| {
        let mut bytes = encoded(&[packet]).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        nearly_a_packet(),
        broken(of_client()),
        broken(of_server()),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in any_bytes(), packet_bytes_max in 0usize..300, topic_levels_max in 0usize..5) {
        for limits in [LIMITS, Limits { packet_bytes_max, topic_levels_max, filters_max: 3 }] {
            let (mut buffer, mut from_server) = (Bytes::from(bytes.clone()), Bytes::from(bytes.clone()));
            while let Ok(Some(packet)) = decode(&mut buffer, &limits) {
                // What is well formed can be written and read again.
                if !matches!(packet, Packet::Subscribe(_) | Packet::Unsubscribe(_)) {
                    let again = decode(&mut encoded(std::slice::from_ref(&packet)), &LIMITS);
                    prop_assert_eq!(again, Ok(Some(packet)));
                }
            }
            while let Ok(Some(_)) = decode_from_server(&mut from_server, &limits) {}
        }
    }

    #[test]
    fn what_a_client_writes_is_read(packets in prop::collection::vec(of_client(), 1..4)) {
        let mut buffer = encoded(&packets);
        for packet in packets {
            prop_assert_eq!(missing(&buffer, &LIMITS), Ok(0));
            prop_assert_eq!(decode(&mut buffer, &LIMITS), Ok(Some(packet)));
        }
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn what_a_server_writes_is_read(packets in prop::collection::vec(of_server(), 1..4)) {
        let mut buffer = encoded(&packets);
        for packet in packets {
            prop_assert_eq!(decode_from_server(&mut buffer, &LIMITS), Ok(Some(packet)));
        }
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn cut_packet_is_waited_for(packet in of_client()) {
        let whole = encoded(&[packet]);
        for length in 0..whole.len() {
            let mut buffer = whole.slice(..length);
            prop_assert_eq!(decode(&mut buffer, &LIMITS), Ok(None));
            prop_assert_eq!(&buffer, &whole.slice(..length));
            let wanted = missing(&buffer, &LIMITS).unwrap();
            prop_assert!((1..=whole.len() - length).contains(&wanted));
        }
    }

    #[test]
    fn all_but_publish_keep_no_read_buffer_alive(packet in of_client()) {
        let mut buffer = encoded(std::slice::from_ref(&packet));
        let read = decode(&mut buffer, &LIMITS).unwrap().unwrap();
        prop_assert!(buffer.is_unique() || matches!(read, Packet::Publish(_)));
    }

    /// Where both take the bytes, both understand the same: what mqttbytes writes again is what we do.
    #[test]
    fn mqttbytes_reads_the_same(bytes in prop_oneof![
        any_bytes(),
        of_client().prop_map(|packet| encoded(&[packet]).to_vec()),
        of_server().prop_map(|packet| encoded(&[packet]).to_vec()),
    ]) {
        let theirs = v4::read(&mut BytesMut::from(&bytes[..]), LIMITS.packet_bytes_max);
        let ours = decode(&mut Bytes::from(bytes.clone()), &LIMITS);
        let ours = ours.or_else(|_| decode_from_server(&mut Bytes::from(bytes), &LIMITS));
        if let (Ok(theirs), Ok(Some(ours))) = (theirs, ours)
            && keep_all_fields(&theirs, &ours)
        {
            prop_assert_eq!(written_by_mqttbytes(&theirs), encoded(&[ours]));
        }
    }
}

/// mqttbytes cannot tell an empty user name or password from none, and we leave out bad filters.
fn keep_all_fields(theirs: &v4::Packet, ours: &Packet) -> bool {
    let filters = match (theirs, ours) {
        (v4::Packet::Unsubscribe(theirs), _) => theirs.topics.iter().collect(),
        (v4::Packet::Subscribe(theirs), _) => theirs.filters.iter().map(|filter| &filter.path).collect(),
        (_, Packet::Connect(ours)) => {
            return ours.user_name.as_ref().is_none_or(|name| !name.is_empty())
                && ours.password.as_ref().is_none_or(|password| !password.is_empty());
        }
        _ => Vec::new(),
    };
    filters
        .iter()
        .all(|text| text.parse::<TopicFilter>().is_ok_and(|it| it.level_count() <= LIMITS.topic_levels_max))
}

fn written_by_mqttbytes(packet: &v4::Packet) -> Bytes {
    let mut out = BytesMut::new();
    let written = match packet {
        v4::Packet::Connect(it) => it.write(&mut out),
        v4::Packet::ConnAck(it) => it.write(&mut out),
        v4::Packet::Publish(it) => it.write(&mut out),
        v4::Packet::PubAck(it) => it.write(&mut out),
        v4::Packet::PubRec(it) => it.write(&mut out),
        v4::Packet::PubRel(it) => it.write(&mut out),
        v4::Packet::PubComp(it) => it.write(&mut out),
        v4::Packet::Subscribe(it) => it.write(&mut out),
        v4::Packet::SubAck(it) => it.write(&mut out),
        v4::Packet::Unsubscribe(it) => it.write(&mut out),
        v4::Packet::UnsubAck(it) => it.write(&mut out),
        v4::Packet::PingReq => v4::PingReq.write(&mut out),
        v4::Packet::PingResp => v4::PingResp.write(&mut out),
        v4::Packet::Disconnect => v4::Disconnect.write(&mut out),
    };
    written.expect("mqttbytes writes what it read");
    out.freeze()
}
