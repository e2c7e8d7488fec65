//! A message as it is kept: all that a subscriber is sent of it, with its confidential mark.

use super::fields::{Malformed, Reader, Writer};
use crate::ingress::message::{Kept, Message};
use crate::now::Clock;
use bytes::Bytes;
use sealmq_protocol::packet::{MessageProperties, PayloadFormat, UserProperties};
use sealmq_protocol::{Qos, TopicName};

const VERSION: u8 = 1;

const QOS: u8 = 0b0000_0011;
const RETAIN: u8 = 0b0000_0100;
const CONFIDENTIAL: u8 = 0b0000_1000;
const EXPIRES: u8 = 0b0001_0000;
const PROPERTIES: u8 = 0b0010_0000;
const PUBLISHER: u8 = 0b0100_0000;

const FORMAT: u8 = 0b0000_0001;
const FORMAT_UTF8: u8 = 0b0000_0010;
const CONTENT_TYPE: u8 = 0b0000_0100;
const RESPONSE_TOPIC: u8 = 0b0000_1000;
const CORRELATION_DATA: u8 = 0b0001_0000;
const USER_PROPERTIES: u8 = 0b0010_0000;

/// A message's bytes.
pub(crate) fn encode_message(message: &Message, clock: Clock) -> Vec<u8> {
    let mut writer = Writer::new(VERSION, message.size() + 32);
    let flags = message.qos().bits()
        | flag(message.retain(), RETAIN)
        | flag(message.confidential(), CONFIDENTIAL)
        | flag(message.expires().is_some(), EXPIRES)
        | flag(message.properties().is_some(), PROPERTIES)
        | flag(message.publisher().is_some(), PUBLISHER);
    writer.u8(flags).bytes(message.topic().as_str().as_bytes()).bytes(message.payload());
    if let Some(expires) = message.expires() {
        writer.u64(clock.unix_ms(expires));
    }
    if let Some(properties) = message.properties() {
        encode_properties(&mut writer, properties);
    }
    if let Some(publisher) = message.publisher() {
        writer.bytes(publisher.as_bytes());
    }
    writer.finish()
}

/// The message of these bytes, of which it keeps slices.
pub(crate) fn decode_message(record: Bytes, clock: Clock) -> Result<Message, Malformed> {
    let mut reader = Reader::new(record, VERSION)?;
    let flags = reader.u8()?;
    let has = |flag| flags & flag != 0;
    let topic = TopicName::from_bytes(reader.bytes()?).map_err(|_| Malformed)?;
    let payload = reader.bytes()?;
    let expires = has(EXPIRES).then(|| reader.u64()).transpose()?.map(|at| clock.instant(at));
    let properties = has(PROPERTIES).then(|| decode_properties(&mut reader)).transpose()?.map(Box::new);
    let publisher = has(PUBLISHER).then(|| reader.text()).transpose()?;
    reader.end()?;
    Ok(Message::of_store(Kept {
        topic,
        payload,
        qos: Qos::from_bits(flags & QOS).ok_or(Malformed)?,
        retain: has(RETAIN),
        confidential: has(CONFIDENTIAL),
        expires,
        properties,
        publisher,
    }))
}

fn flag(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

pub(super) fn encode_properties(writer: &mut Writer, properties: &MessageProperties) {
    let MessageProperties { payload_format, content_type, response_topic, correlation_data, user_properties } =
        properties;
    writer.u8(flag(payload_format.is_some(), FORMAT)
        | flag(*payload_format == Some(PayloadFormat::Utf8), FORMAT_UTF8)
        | flag(content_type.is_some(), CONTENT_TYPE)
        | flag(response_topic.is_some(), RESPONSE_TOPIC)
        | flag(correlation_data.is_some(), CORRELATION_DATA)
        | flag(!user_properties.is_empty(), USER_PROPERTIES));
    if let Some(content_type) = content_type {
        writer.bytes(content_type.as_bytes());
    }
    if let Some(topic) = response_topic {
        writer.bytes(topic.as_str().as_bytes());
    }
    if let Some(data) = correlation_data {
        writer.bytes(data);
    }
    if !user_properties.is_empty() {
        writer.bytes(user_properties.wire());
    }
}

pub(super) fn decode_properties(reader: &mut Reader) -> Result<MessageProperties, Malformed> {
    let flags = reader.u8()?;
    let has = |flag| flags & flag != 0;
    let format = if has(FORMAT_UTF8) { PayloadFormat::Utf8 } else { PayloadFormat::Unspecified };
    let content_type = has(CONTENT_TYPE).then(|| reader.text()).transpose()?;
    let response_topic = has(RESPONSE_TOPIC).then(|| reader.bytes()).transpose()?;
    let response_topic = response_topic.map(TopicName::from_bytes).transpose().map_err(|_| Malformed)?;
    let correlation_data = has(CORRELATION_DATA).then(|| reader.bytes()).transpose()?;
    let user_properties = if has(USER_PROPERTIES) { reader.bytes()? } else { Bytes::new() };
    Ok(MessageProperties {
        payload_format: has(FORMAT).then_some(format),
        content_type,
        response_topic,
        correlation_data,
        user_properties: UserProperties::from_wire(user_properties).ok_or(Malformed)?,
    })
}
