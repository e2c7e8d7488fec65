//! PUBACK, PUBREC, PUBREL and PUBCOMP, read and written (§3.4 to §3.7): of one form, with two sets of
//! reason codes. Nearly all of them are a packet identifier and no more, which is the whole of them
//! before MQTT 5: one comes and goes with every message, so they are written in one piece. mqttbytes has
//! no part in it: it lets trailing bytes pass, and writes field by field.

use super::body::Body;
use super::fields::Fields;
use super::frame::PacketType;
use super::properties::{PropertiesWriter, read_diagnostics};
use crate::packet::{Ack, PacketId, Version};
use crate::{ProtocolError, ReasonCode};
use bytes::{BufMut, BytesMut};

/// PUBACK and PUBREC ([MQTT-3.4.2-1], [MQTT-3.5.2-1]).
#[inline]
pub(super) fn read(fields: Fields<'_>, version: Version) -> Result<Ack, ProtocolError> {
    use ReasonCode as R;
    read_with(fields, version, |reason| {
        matches!(
            reason,
            R::Success
                | R::NoMatchingSubscribers
                | R::UnspecifiedError
                | R::ImplementationSpecificError
                | R::NotAuthorized
                | R::TopicNameInvalid
                | R::PacketIdentifierInUse
                | R::QuotaExceeded
                | R::PayloadFormatInvalid
        )
    })
}

/// PUBREL and PUBCOMP ([MQTT-3.6.2-1], [MQTT-3.7.2-1]).
#[inline]
pub(super) fn read_release(fields: Fields<'_>, version: Version) -> Result<Ack, ProtocolError> {
    read_with(fields, version, |reason| {
        matches!(reason, ReasonCode::Success | ReasonCode::PacketIdentifierNotFound)
    })
}

#[inline]
fn read_with(
    mut fields: Fields<'_>,
    version: Version,
    is_reason: fn(ReasonCode) -> bool,
) -> Result<Ack, ProtocolError> {
    let packet_id = fields.packet_id()?;
    // Success goes without saying (§3.4.2.1).
    if fields.is_empty() {
        Ok(Ack::success(packet_id))
    } else {
        read_rest(packet_id, fields, version, is_reason)
    }
}

/// What MQTT 5 can have behind the packet identifier.
#[inline(never)]
fn read_rest(
    packet_id: PacketId,
    mut fields: Fields<'_>,
    version: Version,
    is_reason: fn(ReasonCode) -> bool,
) -> Result<Ack, ProtocolError> {
    if version != Version::V5 {
        return Err(ProtocolError::TrailingBytes);
    }
    let reason = ReasonCode::from_byte(fields.byte()?).filter(|reason| is_reason(*reason));
    let reason = reason.ok_or(ProtocolError::ReasonCode)?;
    // So does having no properties (§3.4.2.2.1).
    let diagnostics = if fields.is_empty() { None } else { read_diagnostics(&mut fields)? };
    fields.finish()?;
    Ok(Ack { packet_id, reason, diagnostics })
}

/// Appends the acknowledgement of this type, one of the four. Only with properties is anything allocated.
#[inline]
pub(super) fn write(packet_type: PacketType, ack: &Ack, version: Version, out: &mut BytesMut) -> bool {
    let (first, [high, low]) = (packet_type.first_byte(), ack.packet_id.get().to_be_bytes());
    if version != Version::V5 || ack.reason == ReasonCode::Success && ack.diagnostics.is_none() {
        out.put_slice(&[first, 2, high, low]);
        return true;
    }
    if ack.diagnostics.is_none() {
        out.put_slice(&[first, 3, high, low, ack.reason.byte()]);
        return true;
    }
    let mut properties = PropertiesWriter::new();
    properties.diagnostics(ack.diagnostics.as_deref());
    let mut body = Body::new();
    body.number(ack.packet_id.get());
    body.byte(ack.reason.byte());
    properties.write(&mut body);
    body.write(first, out)
}

/// Appends a PUBACK, and says whether it was written.
pub fn encode_puback(ack: &Ack, version: Version, out: &mut BytesMut) -> bool {
    write(PacketType::PubAck, ack, version, out)
}

/// Appends a PUBREC, and says whether it was written.
pub fn encode_pubrec(ack: &Ack, version: Version, out: &mut BytesMut) -> bool {
    write(PacketType::PubRec, ack, version, out)
}
