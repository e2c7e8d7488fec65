//! CONNECT, read and written (§3.1). mqttbytes has no part in it: it knows no MQTT 3.1, takes a
//! password for text, drops an empty user name and lets reserved flags pass.
//!
//! The version is settled before anything else is looked at, since a level that is not spoken here
//! has other fields behind it. MQTT 3.1 leaves the reserved bit and, without a will, the will's bits
//! open, and so they are ignored there.

use super::Limits;
use super::decode::check_levels;
use super::encode::{put_binary, put_fixed_header};
use super::fields::Fields;
use crate::packet::{Connect, Version, Will};
use crate::topic::STRING_BYTES_MAX;
use crate::{ProtocolError, Qos, TopicName};
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

const RESERVED: u8 = 0b0000_0001;
const CLEAN_SESSION: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

pub(super) fn read(body: &[u8], limits: &Limits) -> Result<Connect, ProtocolError> {
    let mut fields = Fields(body);
    let version = read_version(&mut fields)?;
    let flags = fields.byte()?;
    check_flags(flags, version)?;
    let keep_alive_s = fields.number()?;
    let client_id = ByteString::from(fields.string()?);
    let will = if flags & WILL == 0 { None } else { Some(read_will(&mut fields, flags, limits)?) };
    let user_name = if flags & USER_NAME == 0 { None } else { Some(ByteString::from(fields.string()?)) };
    let password = if flags & PASSWORD == 0 { None } else { Some(Bytes::copy_from_slice(fields.binary()?)) };
    fields.finish()?;
    let clean_session = flags & CLEAN_SESSION != 0;
    Ok(Connect { version, client_id, clean_session, keep_alive_s, will, user_name, password })
}

fn read_version(fields: &mut Fields<'_>) -> Result<Version, ProtocolError> {
    let name = fields.binary()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(ProtocolError::ProtocolName); // [MQTT-3.1.2-1]
    }
    match (name, fields.byte()?) {
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQIsdp", 3) => Ok(Version::V31),
        (_, level) => Err(ProtocolError::UnacceptableProtocolVersion { level }), // [MQTT-3.1.2-2]
    }
}

fn check_flags(flags: u8, version: Version) -> Result<(), ProtocolError> {
    if version == Version::V311 {
        if flags & RESERVED != 0 {
            return Err(ProtocolError::ConnectReservedFlag); // [MQTT-3.1.2-3]
        }
        if flags & WILL == 0 && flags & WILL_QOS != 0 {
            return Err(ProtocolError::WillQosWithoutWill); // [MQTT-3.1.2-13]
        }
        if flags & WILL == 0 && flags & WILL_RETAIN != 0 {
            return Err(ProtocolError::WillRetainWithoutWill); // [MQTT-3.1.2-15]
        }
    }
    if flags & PASSWORD != 0 && flags & USER_NAME == 0 {
        return Err(ProtocolError::PasswordWithoutUserName); // [MQTT-3.1.2-22]
    }
    Ok(())
}

fn read_will(fields: &mut Fields<'_>, flags: u8, limits: &Limits) -> Result<Will, ProtocolError> {
    let bits = (flags & WILL_QOS) >> WILL_QOS_SHIFT;
    let qos = Qos::from_bits(bits).ok_or(ProtocolError::WillQosThree)?; // [MQTT-3.1.2-14]
    let topic = TopicName::from_bytes(Bytes::copy_from_slice(fields.binary()?));
    let topic = topic.map_err(ProtocolError::WillTopic)?;
    check_levels(&topic, limits)?;
    let payload = Bytes::copy_from_slice(fields.binary()?);
    Ok(Will { topic, payload, qos, retain: flags & WILL_RETAIN != 0 })
}

/// Whether it was written: a field can be longer than two bytes can say.
pub(super) fn write(connect: &Connect, out: &mut BytesMut) -> bool {
    let (name, level): (&[u8], u8) = match connect.version {
        Version::V31 => (b"MQIsdp", 3),
        Version::V311 => (b"MQTT", 4),
    };
    let will = connect.will.as_ref();
    let fields: [Option<&[u8]>; 5] = [
        Some(connect.client_id.as_bytes().as_ref()),
        will.map(|will| will.topic.as_str().as_bytes()),
        will.map(|will| will.payload.as_ref()),
        connect.user_name.as_ref().map(|name| name.as_bytes().as_ref()),
        connect.password.as_ref().map(AsRef::as_ref),
    ];
    if fields.iter().flatten().any(|field| field.len() > STRING_BYTES_MAX) {
        return false;
    }
    let fixed = 2 + name.len() + 1 + 1 + 2;
    let body_bytes = fixed + fields.iter().flatten().map(|field| 2 + field.len()).sum::<usize>();
    if !put_fixed_header(0x10, body_bytes, out) {
        return false;
    }
    put_binary(name, out);
    out.put_u8(level);
    out.put_u8(flags(connect));
    out.put_u16(connect.keep_alive_s);
    for field in fields.into_iter().flatten() {
        put_binary(field, out);
    }
    true
}

fn flags(connect: &Connect) -> u8 {
    let mut flags = 0;
    if connect.clean_session {
        flags |= CLEAN_SESSION;
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
