//! CONNECT, read and written (§3.1). mqttbytes has no part in it: it knows no MQTT 3.1, takes a
//! password for text, drops an empty user name and lets reserved flags pass.
//!
//! The version is settled before anything else is looked at, since a level that is not spoken here
//! has other fields behind it. MQTT 3.1 leaves the reserved bit and, without a will, the will's bits
//! open, and so they are ignored there.

use super::Limits;
use super::body::Body;
use super::fields::Fields;
use super::frame::{Frame, PacketType};
use super::properties::{MessagePropertiesReader, Properties, PropertiesWriter, id};
use super::publish::check_levels;
use crate::packet::{Connect, ConnectProperties, Version, Will};
use crate::{ProtocolError, Qos, TopicName};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use std::num::{NonZeroU16, NonZeroU32};

const RESERVED: u8 = 0b0000_0001;
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// The protocol level that the CONNECT at the front of `buffer` asks for, as far as it is there and its
/// protocol name is one of MQTT: what a refusal is to be answered in, where there is no packet.
pub fn connect_level(buffer: &[u8]) -> Option<u8> {
    let (first, rest) = buffer.split_first()?;
    if *first != PacketType::Connect.first_byte() {
        return None;
    }
    let length = rest.iter().take(4).position(|&byte| byte & 0x80 == 0)?;
    let body = rest.get(length + 1..)?;
    let after = body.strip_prefix(b"\0\x04MQTT").or_else(|| body.strip_prefix(b"\0\x06MQIsdp"))?;
    after.first().copied()
}

pub(super) fn read(frame: &Frame<'_>, limits: &Limits) -> Result<Connect, ProtocolError> {
    let mut fields = frame.fields;
    let version = read_version(&mut fields)?;
    frame.check_length(version)?;
    let flags = fields.byte()?;
    check_flags(flags, version)?;
    let keep_alive_s = fields.number()?;
    let clean_start = flags & CLEAN_START != 0;
    let (session_expiry_s, properties) = if version == Version::V5 {
        read_properties(&mut fields)?
    } else {
        (if clean_start { 0 } else { u32::MAX }, ConnectProperties::default())
    };
    let client_id = ByteString::from(fields.string()?);
    let will = if flags & WILL == 0 { None } else { Some(read_will(&mut fields, flags, version, limits)?) };
    let user_name = if flags & USER_NAME == 0 { None } else { Some(ByteString::from(fields.string()?)) };
    let password = if flags & PASSWORD == 0 { None } else { Some(Bytes::copy_from_slice(fields.binary()?)) };
    fields.finish()?;
    Ok(Connect {
        version,
        client_id,
        clean_start,
        session_expiry_s,
        keep_alive_s,
        will,
        user_name,
        password,
        properties,
    })
}

fn read_version(fields: &mut Fields<'_>) -> Result<Version, ProtocolError> {
    let name = fields.binary()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(ProtocolError::ProtocolName); // [MQTT-3.1.2-1]
    }
    match (name, fields.byte()?) {
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQIsdp", 3) => Ok(Version::V31),
        (_, level) => Err(ProtocolError::UnacceptableProtocolVersion { level }), // [MQTT-3.1.2-2]
    }
}

fn check_flags(flags: u8, version: Version) -> Result<(), ProtocolError> {
    if version != Version::V31 {
        if flags & RESERVED != 0 {
            return Err(ProtocolError::ConnectReservedFlag); // [MQTT-3.1.2-3]
        }
        if flags & WILL == 0 && flags & WILL_QOS != 0 {
            return Err(ProtocolError::WillQosWithoutWill); // [MQTT-3.1.2-11]
        }
        if flags & WILL == 0 && flags & WILL_RETAIN != 0 {
            return Err(ProtocolError::WillRetainWithoutWill); // [MQTT-3.1.2-13]
        }
    }
    if version != Version::V5 && flags & PASSWORD != 0 && flags & USER_NAME == 0 {
        return Err(ProtocolError::PasswordWithoutUserName); // MQTT 3.1.1 [MQTT-3.1.2-22]
    }
    Ok(())
}

/// The session expiry and the others (§3.1.2.11).
fn read_properties(fields: &mut Fields<'_>) -> Result<(u32, ConnectProperties), ProtocolError> {
    let mut properties = Properties::take(fields)?;
    let mut session_expiry_s = 0;
    let mut read = ConnectProperties::default();
    while let Some(identifier) = properties.next()? {
        match identifier {
            id::SESSION_EXPIRY => session_expiry_s = properties.fields.long_number()?,
            id::RECEIVE_MAXIMUM => {
                let number = NonZeroU16::new(properties.fields.number()?);
                read.receive_maximum = number.ok_or(ProtocolError::PropertyValue)?;
            }
            id::MAXIMUM_PACKET_SIZE => {
                let number = NonZeroU32::new(properties.fields.long_number()?);
                read.maximum_packet_size = Some(number.ok_or(ProtocolError::PropertyValue)?);
            }
            id::TOPIC_ALIAS_MAXIMUM => read.topic_alias_maximum = properties.fields.number()?,
            id::REQUEST_RESPONSE_INFORMATION => read.request_response_information = properties.switch()?,
            id::REQUEST_PROBLEM_INFORMATION => read.request_problem_information = properties.switch()?,
            id::AUTHENTICATION_METHOD => read.authentication_method = Some(properties.text()?),
            id::AUTHENTICATION_DATA => read.authentication_data = Some(properties.data()?),
            _ => return Err(ProtocolError::MisplacedProperty),
        }
    }
    if read.authentication_data.is_some() && read.authentication_method.is_none() {
        return Err(ProtocolError::AuthDataWithoutMethod);
    }
    read.user_properties = properties.user_properties();
    Ok((session_expiry_s, read))
}

fn read_will(
    fields: &mut Fields<'_>,
    flags: u8,
    version: Version,
    limits: &Limits,
) -> Result<Will, ProtocolError> {
    let bits = (flags & WILL_QOS) >> WILL_QOS_SHIFT;
    let qos = Qos::from_bits(bits).ok_or(ProtocolError::WillQosThree)?; // [MQTT-3.1.2-12]
    let (mut delay_s, mut message_expiry_s, mut properties) = (0, None, None);
    if version == Version::V5 {
        let mut taken = Properties::take(fields)?;
        let mut message = MessagePropertiesReader::default();
        while let Some(identifier) = taken.next()? {
            match identifier {
                id::WILL_DELAY => delay_s = taken.fields.long_number()?,
                id::MESSAGE_EXPIRY => message_expiry_s = Some(taken.fields.long_number()?),
                _ if message.read(identifier, &mut taken)? => {}
                _ => return Err(ProtocolError::MisplacedProperty),
            }
        }
        properties = message.finish(&mut taken).map(|shared| Box::new(shared.detached()));
    }
    let topic = TopicName::from_bytes(Bytes::copy_from_slice(fields.binary()?));
    let topic = topic.map_err(ProtocolError::WillTopic)?;
    check_levels(&topic, limits)?;
    let payload = Bytes::copy_from_slice(fields.binary()?);
    let retain = flags & WILL_RETAIN != 0;
    Ok(Will { topic, payload, qos, retain, delay_s, message_expiry_s, properties })
}

/// Whether it was written: a field can be longer than two bytes can say.
pub(super) fn write(connect: &Connect, out: &mut BytesMut) -> bool {
    let mut body = Body::new();
    let (name, level) = match connect.version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    body.string(name);
    body.byte(level);
    body.byte(flags(connect));
    body.number(connect.keep_alive_s);
    if connect.version == Version::V5 {
        properties_of(connect).write(&mut body);
    }
    body.string(&connect.client_id);
    if let Some(will) = &connect.will {
        if connect.version == Version::V5 {
            will_properties_of(will).write(&mut body);
        }
        body.string(will.topic.as_str());
        body.binary(&will.payload);
    }
    if let Some(user_name) = &connect.user_name {
        body.string(user_name);
    }
    if let Some(password) = &connect.password {
        body.binary(password);
    }
    body.write(PacketType::Connect.first_byte(), out)
}

fn flags(connect: &Connect) -> u8 {
    let mut flags = 0;
    if connect.clean_start {
        flags |= CLEAN_START;
    }
    if let Some(will) = &connect.will {
        flags |= WILL | will.qos.bits() << WILL_QOS_SHIFT;
        if will.retain {
            flags |= WILL_RETAIN;
        }
    }
    if connect.user_name.is_some() {
        flags |= USER_NAME;
    }
    if connect.password.is_some() {
        flags |= PASSWORD;
    }
    flags
}

/// What differs from the default.
fn properties_of(connect: &Connect) -> PropertiesWriter {
    let (given, default) = (&connect.properties, ConnectProperties::default());
    let mut out = PropertiesWriter::new();
    if connect.session_expiry_s != 0 {
        out.long_number(id::SESSION_EXPIRY, connect.session_expiry_s);
    }
    if given.receive_maximum != default.receive_maximum {
        out.number(id::RECEIVE_MAXIMUM, given.receive_maximum.get());
    }
    if let Some(bytes) = given.maximum_packet_size {
        out.long_number(id::MAXIMUM_PACKET_SIZE, bytes.get());
    }
    if given.topic_alias_maximum != default.topic_alias_maximum {
        out.number(id::TOPIC_ALIAS_MAXIMUM, given.topic_alias_maximum);
    }
    if given.request_response_information {
        out.byte(id::REQUEST_RESPONSE_INFORMATION, 1);
    }
    if !given.request_problem_information {
        out.byte(id::REQUEST_PROBLEM_INFORMATION, 0);
    }
    out.text(id::AUTHENTICATION_METHOD, given.authentication_method.as_ref());
    out.binary(id::AUTHENTICATION_DATA, given.authentication_data.as_deref());
    out.user(&given.user_properties);
    out
}

fn will_properties_of(will: &Will) -> PropertiesWriter {
    let mut out = PropertiesWriter::new();
    if will.delay_s != 0 {
        out.long_number(id::WILL_DELAY, will.delay_s);
    }
    if let Some(seconds) = will.message_expiry_s {
        out.long_number(id::MESSAGE_EXPIRY, seconds);
    }
    out.message(will.properties.as_deref());
    out
}
