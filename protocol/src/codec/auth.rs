//! AUTH, read and written (§3.15): of MQTT 5 alone. mqttbytes does not know it.

use super::body::Body;
use super::fields::Fields;
use super::frame::PacketType;
use super::properties::{Properties, PropertiesWriter, diagnostics, id};
use crate::packet::{Auth, Version};
use crate::{ProtocolError, ReasonCode};
use bytes::BytesMut;

pub(super) fn read_from_client(fields: Fields<'_>) -> Result<Auth, ProtocolError> {
    use ReasonCode as R;
    read(fields, |reason| matches!(reason, R::ContinueAuthentication | R::Reauthenticate))
}

pub(super) fn read_from_server(fields: Fields<'_>) -> Result<Auth, ProtocolError> {
    use ReasonCode as R;
    read(fields, |reason| matches!(reason, R::Success | R::ContinueAuthentication))
}

fn read(mut fields: Fields<'_>, is_reason: fn(ReasonCode) -> bool) -> Result<Auth, ProtocolError> {
    // Success without properties goes without saying (§3.15.2.1), but both or neither.
    let byte = if fields.is_empty() { 0 } else { fields.byte()? };
    let reason = ReasonCode::from_byte(byte).filter(|reason| is_reason(*reason));
    let reason = reason.ok_or(ProtocolError::ReasonCode)?; // [MQTT-3.15.2-1]
    let mut auth = Auth { reason, method: None, data: None, diagnostics: None };
    if byte != 0 || !fields.is_empty() {
        read_properties(&mut fields, &mut auth)?;
    }
    fields.finish()?;
    Ok(auth)
}

fn read_properties(fields: &mut Fields<'_>, auth: &mut Auth) -> Result<(), ProtocolError> {
    let mut properties = Properties::take(fields)?;
    let mut reason_string = None;
    while let Some(identifier) = properties.next()? {
        match identifier {
            id::AUTHENTICATION_METHOD => auth.method = Some(properties.text()?),
            id::AUTHENTICATION_DATA => auth.data = Some(properties.data()?),
            id::REASON_STRING => reason_string = Some(properties.text()?),
            _ => return Err(ProtocolError::MisplacedProperty),
        }
    }
    if auth.data.is_some() && auth.method.is_none() {
        return Err(ProtocolError::AuthDataWithoutMethod);
    }
    auth.diagnostics = diagnostics(reason_string, &properties);
    Ok(())
}

pub(super) fn write(auth: &Auth, version: Version, out: &mut BytesMut) -> bool {
    if version != Version::V5 {
        return false;
    }
    let mut properties = PropertiesWriter::new();
    properties.text(id::AUTHENTICATION_METHOD, auth.method.as_ref());
    properties.binary(id::AUTHENTICATION_DATA, auth.data.as_deref());
    properties.diagnostics(auth.diagnostics.as_deref());
    let mut body = Body::new();
    if auth.reason != ReasonCode::Success || !properties.is_empty() {
        body.byte(auth.reason.byte());
        properties.write(&mut body);
    }
    body.write(PacketType::Auth.first_byte(), out)
}
