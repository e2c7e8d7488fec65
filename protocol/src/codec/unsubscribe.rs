//! UNSUBSCRIBE and UNSUBACK, read and written (§3.10, §3.11). mqttbytes has no part in them: its MQTT 5
//! prints what it reads and takes any reason code, and both versions are of one form but for properties
//! and reason codes.

use super::Limits;
use super::body::Body;
use super::fields::Fields;
use super::frame::PacketType;
use super::properties::{Properties, PropertiesWriter, read_diagnostics};
use super::subscribe::parse_filter;
use crate::packet::{UnsubAck, Unsubscribe, UserProperties, Version};
use crate::{ProtocolError, ReasonCode};
use bytes::BytesMut;

pub(super) fn read(
    mut fields: Fields<'_>,
    version: Version,
    limits: &Limits,
) -> Result<Unsubscribe, ProtocolError> {
    let packet_id = fields.packet_id()?;
    let mut user_properties = UserProperties::default();
    if version == Version::V5 {
        let mut properties = Properties::take(&mut fields)?;
        if properties.next()?.is_some() {
            return Err(ProtocolError::MisplacedProperty); // it has no other
        }
        user_properties = properties.user_properties();
    }
    let mut filters = Vec::new();
    while !fields.is_empty() {
        let filter = parse_filter(fields.string()?, limits);
        if filters.len() == limits.filters_max {
            return Err(ProtocolError::TooManyFilters);
        }
        filters.push(filter);
    }
    if filters.is_empty() {
        return Err(ProtocolError::UnsubscribeEmpty); // [MQTT-3.10.3-2]
    }
    Ok(Unsubscribe { packet_id, filters, user_properties })
}

pub(super) fn write(unsubscribe: &Unsubscribe, version: Version, out: &mut BytesMut) -> bool {
    let mut body = Body::new();
    body.number(unsubscribe.packet_id.get());
    if version == Version::V5 {
        let mut properties = PropertiesWriter::new();
        properties.user(&unsubscribe.user_properties);
        properties.write(&mut body);
    }
    for filter in unsubscribe.filters.iter().flatten() {
        body.string(&filter.to_string());
    }
    body.write(PacketType::Unsubscribe.first_byte(), out)
}

pub(super) fn read_ack(mut fields: Fields<'_>, version: Version) -> Result<UnsubAck, ProtocolError> {
    let mut ack = UnsubAck { packet_id: fields.packet_id()?, reasons: Vec::new(), diagnostics: None };
    if version != Version::V5 {
        fields.finish()?;
        return Ok(ack);
    }
    ack.diagnostics = read_diagnostics(&mut fields)?;
    for byte in fields.rest() {
        let reason = ReasonCode::from_byte(*byte).filter(|reason| is_reason(*reason));
        ack.reasons.push(reason.ok_or(ProtocolError::ReasonCode)?);
    }
    if ack.reasons.is_empty() {
        return Err(ProtocolError::UnsubAckEmpty); // [MQTT-3.11.3-1]
    }
    Ok(ack)
}

/// The reason codes of UNSUBACK ([MQTT-3.11.3-2]).
fn is_reason(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::Success
            | R::NoSubscriptionExisted
            | R::UnspecifiedError
            | R::ImplementationSpecificError
            | R::NotAuthorized
            | R::TopicFilterInvalid
            | R::PacketIdentifierInUse
    )
}

pub(super) fn write_ack(ack: &UnsubAck, version: Version, out: &mut BytesMut) -> bool {
    let mut body = Body::new();
    body.number(ack.packet_id.get());
    if version == Version::V5 {
        let mut properties = PropertiesWriter::new();
        properties.diagnostics(ack.diagnostics.as_deref());
        properties.write(&mut body);
        for reason in &ack.reasons {
            body.byte(reason.byte());
        }
    }
    body.write(PacketType::UnsubAck.first_byte(), out)
}
