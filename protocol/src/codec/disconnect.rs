//! DISCONNECT, read and written (§3.14): before MQTT 5 a client's alone, and empty. The empty one is
//! written by mqttbytes in all versions; it reads none, since it lets a body pass, and its MQTT 5
//! refuses a DISCONNECT without one.

use super::body::Body;
use super::fields::Fields;
use super::frame::PacketType;
use super::properties::{Properties, PropertiesWriter, diagnostics, id};
use crate::packet::{Disconnect, Version};
use crate::{ProtocolError, ReasonCode};
use bytes::BytesMut;
use mqttbytes::v4;

pub(super) fn read_from_client(fields: Fields<'_>, version: Version) -> Result<Disconnect, ProtocolError> {
    if version != Version::V5 {
        fields.finish()?;
        return Ok(Disconnect::of(ReasonCode::Success));
    }
    let disconnect = read(fields, is_reason_of_client)?;
    if disconnect.server_reference.is_some() {
        return Err(ProtocolError::MisplacedProperty); // §3.14.2.2.5: the server's
    }
    Ok(disconnect)
}

pub(super) fn read_from_server(fields: Fields<'_>) -> Result<Disconnect, ProtocolError> {
    let disconnect = read(fields, is_reason_of_server)?;
    if disconnect.session_expiry_s.is_some() {
        return Err(ProtocolError::SessionExpiryFromServer); // [MQTT-3.14.2-2]
    }
    Ok(disconnect)
}

fn read(mut fields: Fields<'_>, is_reason: fn(ReasonCode) -> bool) -> Result<Disconnect, ProtocolError> {
    let mut disconnect = Disconnect::of(ReasonCode::Success);
    // A normal disconnection goes without saying, and so does having no properties (§3.14.2.1,
    // §3.14.2.2.1).
    if !fields.is_empty() {
        let reason = ReasonCode::from_byte(fields.byte()?).filter(|reason| is_reason(*reason));
        disconnect.reason = reason.ok_or(ProtocolError::ReasonCode)?; // [MQTT-3.14.2-1]
    }
    if !fields.is_empty() {
        read_properties(&mut fields, &mut disconnect)?;
    }
    fields.finish()?;
    Ok(disconnect)
}

fn read_properties(fields: &mut Fields<'_>, disconnect: &mut Disconnect) -> Result<(), ProtocolError> {
    let mut properties = Properties::take(fields)?;
    let mut reason_string = None;
    while let Some(identifier) = properties.next()? {
        match identifier {
            id::SESSION_EXPIRY => disconnect.session_expiry_s = Some(properties.fields.long_number()?),
            id::SERVER_REFERENCE => disconnect.server_reference = Some(properties.text()?),
            id::REASON_STRING => reason_string = Some(properties.text()?),
            _ => return Err(ProtocolError::MisplacedProperty),
        }
    }
    disconnect.diagnostics = diagnostics(reason_string, &properties);
    Ok(())
}

fn is_reason_of_client(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::Success | ReasonCode::DisconnectWithWill) || is_reason_of_either(reason)
}

/// Bad Authentication Method is in the list of all codes (§2.4) and not in that of DISCONNECT.
fn is_reason_of_server(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    let of_server = matches!(
        reason,
        R::Success
            | R::NotAuthorized
            | R::ServerBusy
            | R::ServerShuttingDown
            | R::BadAuthenticationMethod
            | R::KeepAliveTimeout
            | R::SessionTakenOver
            | R::TopicFilterInvalid
            | R::RetainNotSupported
            | R::QosNotSupported
            | R::UseAnotherServer
            | R::ServerMoved
            | R::SharedSubscriptionsNotSupported
            | R::ConnectionRateExceeded
            | R::MaximumConnectTime
            | R::SubscriptionIdentifiersNotSupported
            | R::WildcardSubscriptionsNotSupported
    );
    of_server || is_reason_of_either(reason)
}

fn is_reason_of_either(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::UnspecifiedError
            | R::MalformedPacket
            | R::ProtocolError
            | R::ImplementationSpecificError
            | R::TopicNameInvalid
            | R::ReceiveMaximumExceeded
            | R::TopicAliasInvalid
            | R::PacketTooLarge
            | R::MessageRateTooHigh
            | R::QuotaExceeded
            | R::AdministrativeAction
            | R::PayloadFormatInvalid
    )
}

/// Before MQTT 5 only a client's, which says nothing, has a form.
pub(super) fn write(disconnect: &Disconnect, version: Version, out: &mut BytesMut) -> bool {
    if *disconnect == Disconnect::of(ReasonCode::Success) {
        return v4::Disconnect.write(out).is_ok();
    }
    if version != Version::V5 {
        return false;
    }
    let mut properties = PropertiesWriter::new();
    if let Some(seconds) = disconnect.session_expiry_s {
        properties.long_number(id::SESSION_EXPIRY, seconds);
    }
    properties.text(id::SERVER_REFERENCE, disconnect.server_reference.as_ref());
    properties.diagnostics(disconnect.diagnostics.as_deref());
    let mut body = Body::new();
    body.byte(disconnect.reason.byte());
    if !properties.is_empty() {
        properties.write(&mut body);
    }
    body.write(PacketType::Disconnect.first_byte(), out)
}
