//! CONNACK, read and written (§3.2). mqttbytes has no part in it: it looks at one bit of the flags and
//! lets more follow, and the 14 properties of its MQTT 5 are not checked.

use super::body::Body;
use super::fields::Fields;
use super::frame::PacketType;
use super::properties::{Properties, PropertiesWriter, id};
use crate::packet::{ConnAck, ConnAckProperties, Version};
use crate::{ProtocolError, Qos, ReasonCode};
use bytes::BytesMut;
use std::num::{NonZeroU16, NonZeroU32};

pub(super) fn read(mut fields: Fields<'_>, version: Version) -> Result<ConnAck, ProtocolError> {
    let flags = fields.byte()?;
    if flags > 1 {
        return Err(ProtocolError::ConnAckFlags); // [MQTT-3.2.2-1]
    }
    let session_present = flags == 1;
    let code = fields.byte()?;
    let (reason, properties) = if version == Version::V5 {
        let reason = ReasonCode::from_byte(code).filter(|reason| is_reason(*reason));
        (reason.ok_or(ProtocolError::ReasonCode)?, read_properties(&mut fields)?)
    } else {
        let reason = ReasonCode::from_connect_return_code(code);
        (reason.ok_or(ProtocolError::ConnAckReturnCode)?, ConnAckProperties::default())
    };
    if session_present && reason != ReasonCode::Success {
        return Err(ProtocolError::SessionPresentWithRefusal); // [MQTT-3.2.2-6]
    }
    fields.finish()?;
    Ok(ConnAck { session_present, reason, properties })
}

/// The reason codes of CONNACK ([MQTT-3.2.2-8]).
fn is_reason(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::Success
            | R::UnspecifiedError
            | R::MalformedPacket
            | R::ProtocolError
            | R::ImplementationSpecificError
            | R::UnsupportedProtocolVersion
            | R::ClientIdentifierNotValid
            | R::BadUserNameOrPassword
            | R::NotAuthorized
            | R::ServerUnavailable
            | R::ServerBusy
            | R::Banned
            | R::BadAuthenticationMethod
            | R::TopicNameInvalid
            | R::PacketTooLarge
            | R::QuotaExceeded
            | R::PayloadFormatInvalid
            | R::RetainNotSupported
            | R::QosNotSupported
            | R::UseAnotherServer
            | R::ServerMoved
            | R::ConnectionRateExceeded
    )
}

fn read_properties(fields: &mut Fields<'_>) -> Result<ConnAckProperties, ProtocolError> {
    let mut properties = Properties::take(fields)?;
    let mut read = ConnAckProperties::default();
    while let Some(identifier) = properties.next()? {
        match identifier {
            id::SESSION_EXPIRY => read.session_expiry_s = Some(properties.fields.long_number()?),
            id::RECEIVE_MAXIMUM => {
                let number = NonZeroU16::new(properties.fields.number()?);
                read.receive_maximum = Some(number.ok_or(ProtocolError::PropertyValue)?);
            }
            id::MAXIMUM_QOS => {
                let at_least_once = properties.switch()?;
                read.maximum_qos = Some(if at_least_once { Qos::AtLeastOnce } else { Qos::AtMostOnce });
            }
            id::RETAIN_AVAILABLE => read.retain_unavailable = !properties.switch()?,
            id::MAXIMUM_PACKET_SIZE => {
                let number = NonZeroU32::new(properties.fields.long_number()?);
                read.maximum_packet_size = Some(number.ok_or(ProtocolError::PropertyValue)?);
            }
            id::ASSIGNED_CLIENT_ID => read.assigned_client_id = Some(properties.text()?),
            // 0 says the same as nothing.
            id::TOPIC_ALIAS_MAXIMUM => {
                read.topic_alias_maximum = NonZeroU16::new(properties.fields.number()?);
            }
            id::WILDCARDS_AVAILABLE => read.wildcards_unavailable = !properties.switch()?,
            id::SUBSCRIPTION_IDS_AVAILABLE => read.subscription_ids_unavailable = !properties.switch()?,
            id::SHARED_AVAILABLE => read.shared_unavailable = !properties.switch()?,
            id::SERVER_KEEP_ALIVE => read.server_keep_alive_s = Some(properties.fields.number()?),
            id::RESPONSE_INFORMATION => read.response_information = Some(properties.text()?),
            id::SERVER_REFERENCE => read.server_reference = Some(properties.text()?),
            id::AUTHENTICATION_METHOD => read.authentication_method = Some(properties.text()?),
            id::AUTHENTICATION_DATA => read.authentication_data = Some(properties.data()?),
            id::REASON_STRING => read.diagnostics.reason_string = Some(properties.text()?),
            _ => return Err(ProtocolError::MisplacedProperty),
        }
    }
    if read.authentication_data.is_some() && read.authentication_method.is_none() {
        return Err(ProtocolError::AuthDataWithoutMethod);
    }
    read.diagnostics.user_properties = properties.user_properties();
    Ok(read)
}

pub(super) fn write(ack: &ConnAck, version: Version, out: &mut BytesMut) -> bool {
    let mut body = Body::new();
    body.byte(u8::from(ack.session_present && ack.reason == ReasonCode::Success));
    if version == Version::V5 {
        body.byte(ack.reason.byte());
        properties_of(&ack.properties).write(&mut body);
    } else {
        body.byte(ack.reason.connect_return_code());
    }
    body.write(PacketType::ConnAck.first_byte(), out)
}

fn properties_of(given: &ConnAckProperties) -> PropertiesWriter {
    let mut out = PropertiesWriter::new();
    if let Some(seconds) = given.session_expiry_s {
        out.long_number(id::SESSION_EXPIRY, seconds);
    }
    if let Some(messages) = given.receive_maximum {
        out.number(id::RECEIVE_MAXIMUM, messages.get());
    }
    // 2 is what holds without, and may not be said (§3.2.2.3.4).
    if let Some(qos) = given.maximum_qos.filter(|qos| *qos < Qos::ExactlyOnce) {
        out.byte(id::MAXIMUM_QOS, qos.bits());
    }
    if let Some(bytes) = given.maximum_packet_size {
        out.long_number(id::MAXIMUM_PACKET_SIZE, bytes.get());
    }
    out.text(id::ASSIGNED_CLIENT_ID, given.assigned_client_id.as_ref());
    if let Some(aliases) = given.topic_alias_maximum {
        out.number(id::TOPIC_ALIAS_MAXIMUM, aliases.get());
    }
    let unavailable = [
        (id::RETAIN_AVAILABLE, given.retain_unavailable),
        (id::WILDCARDS_AVAILABLE, given.wildcards_unavailable),
        (id::SUBSCRIPTION_IDS_AVAILABLE, given.subscription_ids_unavailable),
        (id::SHARED_AVAILABLE, given.shared_unavailable),
    ];
    for (identifier, _) in unavailable.into_iter().filter(|(_, unavailable)| *unavailable) {
        out.byte(identifier, 0);
    }
    if let Some(seconds) = given.server_keep_alive_s {
        out.number(id::SERVER_KEEP_ALIVE, seconds);
    }
    out.text(id::RESPONSE_INFORMATION, given.response_information.as_ref());
    out.text(id::SERVER_REFERENCE, given.server_reference.as_ref());
    out.text(id::AUTHENTICATION_METHOD, given.authentication_method.as_ref());
    out.binary(id::AUTHENTICATION_DATA, given.authentication_data.as_deref());
    out.diagnostics(Some(&given.diagnostics));
    out
}
