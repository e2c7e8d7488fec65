//! PUBACK, PUBREC, PUBREL and PUBCOMP, read and written (§3.4 to §3.7): of one form, with two sets of
//! reason codes. Nearly all of them are a packet identifier and no more, which is the whole of them
//! before MQTT 5, and is written by mqttbytes. It does not read them: it lets trailing bytes pass.

use super::body::{Body, put_fixed_header};
use super::fields::Fields;
use super::frame::PacketType;
use super::properties::{PropertiesWriter, read_diagnostics};
use crate::packet::{Ack, Version};
use crate::{ProtocolError, ReasonCode};
use bytes::{BufMut, BytesMut};
use mqttbytes::v4;

/// PUBACK and PUBREC ([MQTT-3.4.2-1], [MQTT-3.5.2-1]).
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
pub(super) fn read_release(fields: Fields<'_>, version: Version) -> Result<Ack, ProtocolError> {
    read_with(fields, version, |reason| {
        matches!(reason, ReasonCode::Success | ReasonCode::PacketIdentifierNotFound)
    })
}

fn read_with(
    mut fields: Fields<'_>,
    version: Version,
    is_reason: fn(ReasonCode) -> bool,
) -> Result<Ack, ProtocolError> {
    let mut ack = Ack::success(fields.packet_id()?);
    // Success goes without saying, and so does having no properties (§3.4.2.1, §3.4.2.2.1).
    if version == Version::V5 && !fields.is_empty() {
        let reason = ReasonCode::from_byte(fields.byte()?).filter(|reason| is_reason(*reason));
        ack.reason = reason.ok_or(ProtocolError::ReasonCode)?;
        if !fields.is_empty() {
            ack.diagnostics = read_diagnostics(&mut fields)?;
        }
    }
    fields.finish()?;
    Ok(ack)
}

/// Appends the acknowledgement of this type, one of the four. Only with properties is anything allocated.
pub(super) fn write(packet_type: PacketType, ack: &Ack, version: Version, out: &mut BytesMut) -> bool {
    let mut properties = PropertiesWriter::new();
    properties.diagnostics(ack.diagnostics.as_deref());
    if version != Version::V5 || ack.reason == ReasonCode::Success && properties.is_empty() {
        return write_short(packet_type, ack.packet_id.get(), out);
    }
    if properties.is_empty() {
        let written = put_fixed_header(packet_type.first_byte(), 3, out);
        out.put_u16(ack.packet_id.get());
        out.put_u8(ack.reason.byte());
        return written;
    }
    let mut body = Body::new();
    body.number(ack.packet_id.get());
    body.byte(ack.reason.byte());
    properties.write(&mut body);
    body.write(packet_type.first_byte(), out)
}

fn write_short(packet_type: PacketType, id: u16, out: &mut BytesMut) -> bool {
    let written = if packet_type == PacketType::PubAck {
        v4::PubAck::new(id).write(out)
    } else if packet_type == PacketType::PubRec {
        v4::PubRec::new(id).write(out)
    } else if packet_type == PacketType::PubRel {
        v4::PubRel::new(id).write(out)
    } else {
        v4::PubComp::new(id).write(out)
    };
    written.is_ok()
}
