//! The codec against mqttbytes, in both of its versions: where both take the bytes, both understand the
//! same, as far as what mqttbytes read and wrote again reads the same to us. Where mqttbytes is wrong is
//! said at the end.

use super::all_packets::{any_bytes, whole};
use super::{LIMITS, encoded};
use crate::codec::{decode, decode_from_server};
use crate::packet::Version;
use crate::{Packet, ProtocolError, SubscriptionFilter};
use bytes::{Bytes, BytesMut};
use mqttbytes::{v4, v5};
use proptest::prelude::*;

fn read(bytes: &[u8], version: Version) -> Result<Option<Packet>, ProtocolError> {
    let of_client = decode(&mut Bytes::copy_from_slice(bytes), version, &LIMITS);
    of_client.or_else(|_| decode_from_server(&mut Bytes::copy_from_slice(bytes), version, &LIMITS))
}

proptest! {
    #[test]
    fn mqttbytes_reads_the_same(bytes in prop_oneof![any_bytes(), whole().prop_map(|(_, bytes)| bytes)]) {
        let theirs = v4::read(&mut BytesMut::from(&bytes[..]), LIMITS.packet_bytes_max);
        if let (Ok(theirs), Ok(Some(ours))) = (theirs, read(&bytes, Version::V311))
            && keeps_all_fields(&theirs, &ours)
        {
            prop_assert_eq!(written_by_v4(&theirs), encoded(&[ours], Version::V311));
        }
    }

    #[test]
    fn mqttbytes_reads_mqtt_5_the_same(bytes in prop_oneof![any_bytes(), whole().prop_map(|(_, bytes)| bytes)]) {
        let theirs = read_by_v5(&bytes);
        if let (Some(theirs), Ok(Some(ours))) = (theirs, read(&bytes, Version::V5))
            && is_right_about(&ours)
        {
            prop_assert_eq!(read(&written_by_v5(&theirs), Version::V5), Ok(Some(ours)));
        }
    }
}

/// mqttbytes cannot tell an empty user name or password from none, and we do not keep bad filters.
fn keeps_all_fields(theirs: &v4::Packet, ours: &Packet) -> bool {
    let filters: Vec<&String> = match (theirs, ours) {
        (v4::Packet::Unsubscribe(theirs), _) => theirs.topics.iter().collect(),
        (v4::Packet::Subscribe(theirs), _) => theirs.filters.iter().map(|filter| &filter.path).collect(),
        (_, ours) => return keeps_login(ours),
    };
    let good = |filter: SubscriptionFilter| filter.filter().level_count() <= LIMITS.topic_levels_max;
    filters.iter().all(|text| text.parse().is_ok_and(good))
}

fn keeps_login(packet: &Packet) -> bool {
    let Packet::Connect(connect) = packet else { return true };
    connect.user_name.as_ref().is_none_or(|name| !name.is_empty())
        && connect.password.as_ref().is_none_or(|password| !password.is_empty())
}

/// An UNSUBSCRIBE is left out: it would be printed.
fn read_by_v5(bytes: &[u8]) -> Option<v5::Packet> {
    if bytes.first().is_some_and(|first| first >> 4 == 10) {
        return None;
    }
    v5::read(&mut BytesMut::from(bytes), LIMITS.packet_bytes_max).ok()
}

/// Whether mqttbytes' MQTT 5 is right. It reads a CONNECT of MQTT 3.1.1 as one of MQTT 5, counts the
/// identifier of a subscription identifier twice, so that properties end too early, and writes a CONNACK
/// without properties without the length that says so.
#[allow(clippy::wildcard_enum_match_arm, reason = "the others are right")]
fn is_right_about(packet: &Packet) -> bool {
    match packet {
        Packet::Connect(connect) => connect.version == Version::V5 && keeps_login(packet),
        Packet::ConnAck(ack) => ack.properties != crate::packet::ConnAckProperties::default(),
        Packet::Publish(publish) => publish.subscription_ids.as_slice().is_empty(),
        Packet::Subscribe(subscribe) => {
            subscribe.subscription_id.is_none() && subscribe.filters.iter().all(|(filter, _)| filter.is_ok())
        }
        _ => true,
    }
}

fn written_by_v4(packet: &v4::Packet) -> Bytes {
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

fn written_by_v5(packet: &v5::Packet) -> Bytes {
    let mut out = BytesMut::new();
    let written = match packet {
        v5::Packet::Connect(it) => it.write(&mut out),
        v5::Packet::ConnAck(it) => it.write(&mut out),
        v5::Packet::Publish(it) => it.write(&mut out),
        v5::Packet::PubAck(it) => it.write(&mut out),
        v5::Packet::PubRec(it) => it.write(&mut out),
        v5::Packet::PubRel(it) => it.write(&mut out),
        v5::Packet::PubComp(it) => it.write(&mut out),
        v5::Packet::Subscribe(it) => it.write(&mut out),
        v5::Packet::SubAck(it) => it.write(&mut out),
        v5::Packet::Unsubscribe(it) => it.write(&mut out),
        v5::Packet::UnsubAck(it) => it.write(&mut out),
        v5::Packet::PingReq => v5::PingReq.write(&mut out),
        v5::Packet::PingResp => v5::PingResp.write(&mut out),
        v5::Packet::Disconnect(it) => it.write(&mut out),
    };
    written.expect("mqttbytes writes what it read");
    out.freeze()
}
