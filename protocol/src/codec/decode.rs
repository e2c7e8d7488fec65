//! A whole packet's bytes to a [`Packet`], for either end of a connection. Comes in: a [`Frame`].
//! Goes out: a packet, or the first thing that is wrong with it. PUBLISH and the acknowledgements
//! come by the million: they are read in place, without allocation and without mqttbytes.

use super::fields::Fields;
use super::{Frame, Limits, connect};
use crate::error::FilterError;
use crate::packet::{ConnAck, PacketId, Publish, SubAck, Subscribe, Unsubscribe};
use crate::{ConnectReturnCode, Packet, ProtocolError, Qos, SubscribeReturnCode, TopicFilter, TopicName};
use bytes::Buf;
use mqttbytes::{PacketType, v4};

/// What a client sends.
pub(super) fn from_client(frame: &Frame<'_>, limits: &Limits) -> Result<Packet, ProtocolError> {
    check_flags(frame)?;
    match frame.packet_type {
        PacketType::Publish => publish(frame, limits).map(Packet::Publish),
        PacketType::PubAck => only_packet_id(frame).map(Packet::PubAck),
        PacketType::PubRec => only_packet_id(frame).map(Packet::PubRec),
        PacketType::PubRel => only_packet_id(frame).map(Packet::PubRel),
        PacketType::PubComp => only_packet_id(frame).map(Packet::PubComp),
        PacketType::PingReq => nothing(frame).map(|()| Packet::PingReq),
        PacketType::Subscribe => subscribe(frame, limits).map(Packet::Subscribe),
        PacketType::Unsubscribe => unsubscribe(frame, limits).map(Packet::Unsubscribe),
        PacketType::Connect => connect::read(frame.body(), limits).map(|it| Packet::Connect(Box::new(it))),
        PacketType::Disconnect => nothing(frame).map(|()| Packet::Disconnect),
        PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
            Err(ProtocolError::ServerPacket)
        }
    }
}

/// What a server sends.
pub(super) fn from_server(frame: &Frame<'_>, limits: &Limits) -> Result<Packet, ProtocolError> {
    check_flags(frame)?;
    match frame.packet_type {
        PacketType::Publish => publish(frame, limits).map(Packet::Publish),
        PacketType::PubAck => only_packet_id(frame).map(Packet::PubAck),
        PacketType::PubRec => only_packet_id(frame).map(Packet::PubRec),
        PacketType::PubRel => only_packet_id(frame).map(Packet::PubRel),
        PacketType::PubComp => only_packet_id(frame).map(Packet::PubComp),
        PacketType::PingResp => nothing(frame).map(|()| Packet::PingResp),
        PacketType::SubAck => sub_ack(frame).map(Packet::SubAck),
        PacketType::UnsubAck => only_packet_id(frame).map(Packet::UnsubAck),
        PacketType::ConnAck => conn_ack(frame).map(Packet::ConnAck),
        PacketType::Connect
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::PingReq
        | PacketType::Disconnect => Err(ProtocolError::ClientPacket),
    }
}

/// The flags of every packet but PUBLISH are fixed ([MQTT-2.2.2-1]); others end the connection.
fn check_flags(frame: &Frame<'_>) -> Result<(), ProtocolError> {
    let (fixed, error) = match frame.packet_type {
        PacketType::Publish => return Ok(()),
        PacketType::PubRel => (0b0010, ProtocolError::PubRelFlags),
        PacketType::Subscribe => (0b0010, ProtocolError::SubscribeFlags),
        PacketType::Unsubscribe => (0b0010, ProtocolError::UnsubscribeFlags),
        PacketType::Disconnect => (0, ProtocolError::DisconnectFlags),
        PacketType::Connect
        | PacketType::ConnAck
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubComp
        | PacketType::SubAck
        | PacketType::UnsubAck
        | PacketType::PingReq
        | PacketType::PingResp => (0, ProtocolError::Flags),
    };
    if frame.flags == fixed { Ok(()) } else { Err(error) }
}

fn publish(frame: &Frame<'_>, limits: &Limits) -> Result<Publish, ProtocolError> {
    let qos = Qos::from_bits(frame.flags >> 1 & 0b11).ok_or(ProtocolError::QosThree)?;
    let dup = frame.flags & 0b1000 != 0;
    if dup && qos == Qos::AtMostOnce {
        return Err(ProtocolError::DupWithoutQos);
    }
    let mut fields = Fields(frame.body());
    let topic_bytes = fields.binary()?.len();
    let packet_id = if qos == Qos::AtMostOnce { None } else { Some(fields.packet_id()?) };
    let payload_bytes = fields.0.len();

    // The three lengths were just read within the body, so nothing below can go past its end.
    let mut body = frame.shared_body();
    body.advance(2);
    let topic = TopicName::from_bytes(body.split_to(topic_bytes)).map_err(ProtocolError::PublishTopic)?;
    check_levels(&topic, limits)?;
    body.advance(body.len() - payload_bytes);
    Ok(Publish { dup, qos, retain: frame.flags & 1 != 0, topic, packet_id, payload: body })
}

pub(super) fn check_levels(topic: &TopicName, limits: &Limits) -> Result<(), ProtocolError> {
    if topic.level_count() > limits.topic_levels_max {
        return Err(ProtocolError::TooManyTopicLevels);
    }
    Ok(())
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP and UNSUBACK.
fn only_packet_id(frame: &Frame<'_>) -> Result<PacketId, ProtocolError> {
    let mut fields = Fields(frame.body());
    let packet_id = fields.packet_id()?;
    fields.finish()?;
    Ok(packet_id)
}

/// PINGREQ, PINGRESP and DISCONNECT.
fn nothing(frame: &Frame<'_>) -> Result<(), ProtocolError> {
    Fields(frame.body()).finish()
}

fn subscribe(frame: &Frame<'_>, limits: &Limits) -> Result<Subscribe, ProtocolError> {
    let mut fields = Fields(frame.body());
    let packet_id = fields.packet_id()?;
    let mut filters = Vec::new();
    while !fields.is_empty() {
        let filter = parse_filter(fields.string()?, limits);
        // Two bits of QoS below six that are reserved ([MQTT-3.8.3-4]).
        let qos = Qos::from_bits(fields.byte()?).ok_or(ProtocolError::RequestedQos)?;
        if filters.len() == limits.filters_max {
            return Err(ProtocolError::TooManyFilters);
        }
        filters.push((filter, qos));
    }
    if filters.is_empty() {
        return Err(ProtocolError::SubscribeEmpty);
    }
    Ok(Subscribe { packet_id, filters })
}

fn unsubscribe(frame: &Frame<'_>, limits: &Limits) -> Result<Unsubscribe, ProtocolError> {
    let mut fields = Fields(frame.body());
    fields.packet_id()?;
    for _ in 0..limits.filters_max {
        if fields.is_empty() {
            break;
        }
        fields.string()?;
    }
    if !fields.is_empty() {
        return Err(ProtocolError::TooManyFilters);
    }
    let unsubscribe = v4::Unsubscribe::read(frame.header, frame.shared_packet())?;
    let packet_id = PacketId::new(unsubscribe.pkid).ok_or(ProtocolError::PacketIdZero)?;
    if unsubscribe.topics.is_empty() {
        return Err(ProtocolError::UnsubscribeEmpty);
    }
    if unsubscribe.topics.iter().any(|text| text.contains('\0')) {
        return Err(ProtocolError::NulInString);
    }
    let filters = unsubscribe.topics.iter().filter_map(|text| parse_filter(text, limits).ok()).collect();
    Ok(Unsubscribe { packet_id, filters })
}

fn parse_filter(text: &str, limits: &Limits) -> Result<TopicFilter, FilterError> {
    let filter = TopicFilter::try_from(text)?;
    if filter.level_count() > limits.topic_levels_max {
        return Err(FilterError::TooManyLevels);
    }
    Ok(filter)
}

fn conn_ack(frame: &Frame<'_>) -> Result<ConnAck, ProtocolError> {
    // mqttbytes looks at one bit of the first byte, and at no third.
    let mut fields = Fields(frame.body());
    let flags = fields.byte()?;
    fields.byte()?;
    fields.finish()?;
    if flags > 1 {
        return Err(ProtocolError::ConnAckFlags);
    }
    let read = v4::ConnAck::read(frame.header, frame.shared_packet())?;
    let code = match read.code {
        v4::ConnectReturnCode::Success => ConnectReturnCode::Accepted,
        v4::ConnectReturnCode::RefusedProtocolVersion => ConnectReturnCode::UnacceptableProtocolVersion,
        v4::ConnectReturnCode::BadClientId => ConnectReturnCode::IdentifierRejected,
        v4::ConnectReturnCode::ServiceUnavailable => ConnectReturnCode::ServerUnavailable,
        v4::ConnectReturnCode::BadUserNamePassword => ConnectReturnCode::BadUserNameOrPassword,
        v4::ConnectReturnCode::NotAuthorized => ConnectReturnCode::NotAuthorized,
    };
    if read.session_present && code != ConnectReturnCode::Accepted {
        return Err(ProtocolError::SessionPresentWithRefusal);
    }
    Ok(ConnAck { session_present: read.session_present, code })
}

fn sub_ack(frame: &Frame<'_>) -> Result<SubAck, ProtocolError> {
    if frame.body().len() == 2 {
        return Err(ProtocolError::SubAckEmpty);
    }
    let read = v4::SubAck::read(frame.header, frame.shared_packet())?;
    let packet_id = PacketId::new(read.pkid).ok_or(ProtocolError::PacketIdZero)?;
    let codes = read.return_codes.into_iter().map(|code| match code {
        v4::SubscribeReasonCode::Success(mqttbytes::QoS::AtMostOnce) => {
            SubscribeReturnCode::Granted(Qos::AtMostOnce)
        }
        v4::SubscribeReasonCode::Success(mqttbytes::QoS::AtLeastOnce) => {
            SubscribeReturnCode::Granted(Qos::AtLeastOnce)
        }
        v4::SubscribeReasonCode::Success(mqttbytes::QoS::ExactlyOnce) => {
            SubscribeReturnCode::Granted(Qos::ExactlyOnce)
        }
        v4::SubscribeReasonCode::Failure => SubscribeReturnCode::Failure,
    });
    Ok(SubAck { packet_id, codes: codes.collect() })
}
