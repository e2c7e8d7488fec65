//! A [`Packet`] to bytes, appended to what is waiting to be sent. The packets of either end; mqttbytes
//! writes those that it gets right, PUBLISH and CONNECT are ours.
//!
//! Every function says whether the packet was written. Only one that has no form on the wire is not:
//! a body past 268,435,455 bytes, a field past 65,535, a PUBLISH above QoS 0 without identifier. The
//! bounds on what comes in keep all of them from occurring in the broker; nothing is written then.

use super::connect;
use crate::packet::{ConnAck, PacketId, Publish, PublishHeader, SubAck, Subscribe, Unsubscribe};
use crate::topic::STRING_BYTES_MAX;
use crate::{ConnectReturnCode, Packet, Qos, SubscribeReturnCode};
use bytes::{BufMut, BytesMut};
use mqttbytes::v4;

/// The longest body that four bytes of remaining length can state (§2.2.3).
const BODY_BYTES_MAX: usize = 268_435_455;
/// First byte, and four of remaining length.
const FIXED_HEADER_BYTES_MAX: usize = 5;

/// Appends a packet to `out`, and says whether it was written. A filter of a SUBSCRIBE that is `Err`
/// has no text any more and is left out.
pub fn encode(packet: &Packet, out: &mut BytesMut) -> bool {
    let before = out.len();
    let written = match packet {
        Packet::Publish(Publish { dup, qos, retain, topic, packet_id, payload }) => {
            let header = PublishHeader { dup: *dup, qos: *qos, retain: *retain, packet_id: *packet_id };
            return encode_publish(&header, topic.as_str(), payload, out);
        }
        Packet::Connect(connect) => return connect::write(connect, out),
        Packet::PubAck(id) => v4::PubAck::new(id.get()).write(out),
        Packet::PubRec(id) => v4::PubRec::new(id.get()).write(out),
        Packet::PubRel(id) => v4::PubRel::new(id.get()).write(out),
        Packet::PubComp(id) => v4::PubComp::new(id.get()).write(out),
        Packet::ConnAck(ConnAck { session_present, code }) => {
            v4::ConnAck::new(connect_return_code(*code), *session_present).write(out)
        }
        Packet::Subscribe(subscribe) => subscribe_of(subscribe).write(out),
        Packet::SubAck(SubAck { packet_id, codes }) => {
            v4::SubAck::new(packet_id.get(), codes.iter().copied().map(subscribe_return_code).collect())
                .write(out)
        }
        Packet::Unsubscribe(unsubscribe) => unsubscribe_of(unsubscribe).write(out),
        Packet::UnsubAck(id) => v4::UnsubAck::new(id.get()).write(out),
        Packet::PingReq => v4::PingReq.write(out),
        Packet::PingResp => v4::PingResp.write(out),
        Packet::Disconnect => v4::Disconnect.write(out),
    };
    if written.is_err() {
        // mqttbytes has written the first byte before it finds that the length does not fit.
        out.truncate(before);
    }
    written.is_ok()
}

/// Appends a PUBLISH to `out`, and says whether it was written. The payload is copied once, into
/// room that is made once.
pub fn encode_publish(header: &PublishHeader, topic: &str, payload: &[u8], out: &mut BytesMut) -> bool {
    let packet_id = match (header.qos, header.packet_id) {
        (Qos::AtMostOnce, _) => None,
        (Qos::AtLeastOnce | Qos::ExactlyOnce, Some(id)) => Some(id),
        (Qos::AtLeastOnce | Qos::ExactlyOnce, None) => return false,
    };
    if topic.len() > STRING_BYTES_MAX {
        return false;
    }
    let first = 0x30 | u8::from(header.dup) << 3 | header.qos.bits() << 1 | u8::from(header.retain);
    let id_bytes = if packet_id.is_some() { size_of::<PacketId>() } else { 0 };
    let body_bytes = (2 + topic.len() + id_bytes).saturating_add(payload.len());
    if !put_fixed_header(first, body_bytes, out) {
        return false;
    }
    put_binary(topic.as_bytes(), out);
    if let Some(id) = packet_id {
        out.put_u16(id.get());
    }
    out.put_slice(payload);
    true
}

/// Makes room for the whole packet, and begins it; `false` when its length has no form.
pub(super) fn put_fixed_header(first: u8, body_bytes: usize, out: &mut BytesMut) -> bool {
    if body_bytes > BODY_BYTES_MAX {
        return false;
    }
    out.reserve(FIXED_HEADER_BYTES_MAX + body_bytes);
    out.put_u8(first);
    let mut left = body_bytes;
    while left > 0x7F {
        out.put_u8(low_byte(left) | 0x80);
        left >>= 7;
    }
    out.put_u8(low_byte(left));
    true
}

fn low_byte(number: usize) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

/// Bytes after their length. The caller has seen to it that they are at most 65,535.
pub(super) fn put_binary(bytes: &[u8], out: &mut BytesMut) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(bytes);
}

fn subscribe_of(subscribe: &Subscribe) -> v4::Subscribe {
    let valid = subscribe.filters.iter().filter_map(|(filter, qos)| Some((filter.as_ref().ok()?, *qos)));
    let filters = valid
        .map(|(filter, qos)| v4::SubscribeFilter { path: filter.as_str().to_owned(), qos: wire_qos(qos) });
    v4::Subscribe { pkid: subscribe.packet_id.get(), filters: filters.collect() }
}

fn unsubscribe_of(unsubscribe: &Unsubscribe) -> v4::Unsubscribe {
    let topics = unsubscribe.filters.iter().map(|filter| filter.as_str().to_owned());
    v4::Unsubscribe { pkid: unsubscribe.packet_id.get(), topics: topics.collect() }
}

fn connect_return_code(code: ConnectReturnCode) -> v4::ConnectReturnCode {
    match code {
        ConnectReturnCode::Accepted => v4::ConnectReturnCode::Success,
        ConnectReturnCode::UnacceptableProtocolVersion => v4::ConnectReturnCode::RefusedProtocolVersion,
        ConnectReturnCode::IdentifierRejected => v4::ConnectReturnCode::BadClientId,
        ConnectReturnCode::ServerUnavailable => v4::ConnectReturnCode::ServiceUnavailable,
        ConnectReturnCode::BadUserNameOrPassword => v4::ConnectReturnCode::BadUserNamePassword,
        ConnectReturnCode::NotAuthorized => v4::ConnectReturnCode::NotAuthorized,
    }
}

fn subscribe_return_code(code: SubscribeReturnCode) -> v4::SubscribeReasonCode {
    match code {
        SubscribeReturnCode::Granted(qos) => v4::SubscribeReasonCode::Success(wire_qos(qos)),
        SubscribeReturnCode::Failure => v4::SubscribeReasonCode::Failure,
    }
}

fn wire_qos(qos: Qos) -> mqttbytes::QoS {
    match qos {
        Qos::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        Qos::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
        Qos::ExactlyOnce => mqttbytes::QoS::ExactlyOnce,
    }
}
