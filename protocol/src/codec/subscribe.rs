//! SUBSCRIBE and SUBACK, read and written (§3.8, §3.9). mqttbytes has no part in them: it masks the
//! reserved option bits away, so that they cannot be checked afterwards, and its MQTT 5 lacks reason
//! codes and takes a property twice. Both versions are of one form but for properties and options.

use super::Limits;
use super::body::Body;
use super::fields::Fields;
use super::frame::PacketType;
use super::properties::{Properties, PropertiesWriter, id, read_diagnostics};
use crate::error::FilterError;
use crate::packet::{RetainHandling, SubAck, Subscribe, SubscriptionId, SubscriptionOptions, Version};
use crate::{ProtocolError, Qos, ReasonCode, SubscriptionFilter};
use bytes::BytesMut;

const QOS: u8 = 0b0000_0011;
const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const RETAIN_HANDLING: u8 = 0b0011_0000;
const RESERVED: u8 = 0b1100_0000;

pub(super) fn read(
    mut fields: Fields<'_>,
    version: Version,
    limits: &Limits,
) -> Result<Subscribe, ProtocolError> {
    let packet_id = fields.packet_id()?;
    let mut subscribe = Subscribe {
        packet_id,
        filters: Vec::new(),
        subscription_id: None,
        user_properties: crate::packet::UserProperties::default(),
    };
    if version == Version::V5 {
        read_properties(&mut fields, &mut subscribe)?;
    }
    while !fields.is_empty() {
        let filter = parse_filter(fields.string()?, limits);
        let options = read_options(fields.byte()?, version)?;
        if options.no_local && filter.as_ref().is_ok_and(|filter| filter.share_name().is_some()) {
            return Err(ProtocolError::NoLocalShared); // [MQTT-3.8.3-4]
        }
        if subscribe.filters.len() == limits.filters_max {
            return Err(ProtocolError::TooManyFilters);
        }
        subscribe.filters.push((filter, options));
    }
    if subscribe.filters.is_empty() {
        return Err(ProtocolError::SubscribeEmpty); // [MQTT-3.8.3-2]
    }
    Ok(subscribe)
}

fn read_properties(fields: &mut Fields<'_>, subscribe: &mut Subscribe) -> Result<(), ProtocolError> {
    let mut properties = Properties::take(fields)?;
    while let Some(identifier) = properties.next()? {
        match identifier {
            id::SUBSCRIPTION_ID if subscribe.subscription_id.is_some() => {
                return Err(ProtocolError::DuplicateProperty); // several are for PUBLISH alone
            }
            id::SUBSCRIPTION_ID => {
                let number = SubscriptionId::new(properties.fields.variable_number()?);
                subscribe.subscription_id = Some(number.ok_or(ProtocolError::PropertyValue)?);
            }
            _ => return Err(ProtocolError::MisplacedProperty),
        }
    }
    subscribe.user_properties = properties.user_properties();
    Ok(())
}

/// Before MQTT 5: two bits of QoS below six that are reserved (MQTT 3.1.1 [MQTT-3.8.3-4]).
fn read_options(byte: u8, version: Version) -> Result<SubscriptionOptions, ProtocolError> {
    if version != Version::V5 {
        return Qos::from_bits(byte).map(SubscriptionOptions::of).ok_or(ProtocolError::RequestedQos);
    }
    if byte & RESERVED != 0 {
        return Err(ProtocolError::SubscriptionOptions); // [MQTT-3.8.3-5]
    }
    let retain_handling = match (byte & RETAIN_HANDLING) >> RETAIN_HANDLING_SHIFT {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(ProtocolError::RetainHandling),
    };
    Ok(SubscriptionOptions {
        qos: Qos::from_bits(byte & QOS).ok_or(ProtocolError::RequestedQos)?,
        no_local: byte & NO_LOCAL != 0,
        retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
        retain_handling,
    })
}

/// A filter of a SUBSCRIBE or UNSUBSCRIBE.
pub(super) fn parse_filter(text: &str, limits: &Limits) -> Result<SubscriptionFilter, FilterError> {
    let filter = SubscriptionFilter::try_from(text)?;
    if filter.filter().level_count() > limits.topic_levels_max {
        return Err(FilterError::TooManyLevels);
    }
    Ok(filter)
}

pub(super) fn write(subscribe: &Subscribe, version: Version, out: &mut BytesMut) -> bool {
    let mut body = Body::new();
    body.number(subscribe.packet_id.get());
    if version == Version::V5 {
        let mut properties = PropertiesWriter::new();
        if let Some(number) = subscribe.subscription_id {
            properties.variable_number(id::SUBSCRIPTION_ID, number.get());
        }
        properties.user(&subscribe.user_properties);
        properties.write(&mut body);
    }
    for (filter, options) in &subscribe.filters {
        if let Ok(filter) = filter {
            body.string(&filter.to_string());
            body.byte(options_byte(*options, version));
        }
    }
    body.write(PacketType::Subscribe.first_byte(), out)
}

fn options_byte(options: SubscriptionOptions, version: Version) -> u8 {
    let mut byte = options.qos.bits();
    if version == Version::V5 {
        byte |= (options.retain_handling as u8) << RETAIN_HANDLING_SHIFT;
        if options.no_local {
            byte |= NO_LOCAL;
        }
        if options.retain_as_published {
            byte |= RETAIN_AS_PUBLISHED;
        }
    }
    byte
}

pub(super) fn read_ack(mut fields: Fields<'_>, version: Version) -> Result<SubAck, ProtocolError> {
    let packet_id = fields.packet_id()?;
    let diagnostics = if version == Version::V5 { read_diagnostics(&mut fields)? } else { None };
    let mut reasons = Vec::with_capacity(fields.rest().len());
    for byte in fields.rest() {
        reasons.push(read_reason(*byte, version)?);
    }
    if reasons.is_empty() {
        return Err(ProtocolError::SubAckEmpty);
    }
    Ok(SubAck { packet_id, reasons, diagnostics })
}

/// Before MQTT 5 the four return codes of MQTT 3.1.1 (MQTT 3.1.1 [MQTT-3.9.3-2]).
fn read_reason(byte: u8, version: Version) -> Result<ReasonCode, ProtocolError> {
    let reason = ReasonCode::from_byte(byte).filter(|reason| is_reason(*reason));
    if version == Version::V5 {
        return reason.ok_or(ProtocolError::ReasonCode);
    }
    reason.filter(|reason| reason.subscribe_return_code() == byte).ok_or(ProtocolError::SubAckReturnCode)
}

/// The reason codes of SUBACK ([MQTT-3.9.3-2]).
fn is_reason(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::Success
            | R::GrantedQos1
            | R::GrantedQos2
            | R::UnspecifiedError
            | R::ImplementationSpecificError
            | R::NotAuthorized
            | R::TopicFilterInvalid
            | R::PacketIdentifierInUse
            | R::QuotaExceeded
            | R::SharedSubscriptionsNotSupported
            | R::SubscriptionIdentifiersNotSupported
            | R::WildcardSubscriptionsNotSupported
    )
}

pub(super) fn write_ack(ack: &SubAck, version: Version, out: &mut BytesMut) -> bool {
    let mut body = Body::new();
    body.number(ack.packet_id.get());
    if version == Version::V5 {
        let mut properties = PropertiesWriter::new();
        properties.diagnostics(ack.diagnostics.as_deref());
        properties.write(&mut body);
    }
    for reason in &ack.reasons {
        body.byte(if version == Version::V5 { reason.byte() } else { reason.subscribe_return_code() });
    }
    body.write(PacketType::SubAck.first_byte(), out)
}
