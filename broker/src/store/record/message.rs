//! A message as it is kept: all that a subscriber is sent of it, with its confidential mark.

use super::fields::{Malformed, Reader, Writer};
use crate::egress::Egress;
use crate::ingress::message::{Kept, Message};
use crate::now::Clock;
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_protocol::packet::{MessageProperties, PayloadFormat, UserProperties};
use sealmq_protocol::{Qos, TopicName};

const VERSION: u8 = 1;

const QOS: u8 = 0b0000_0011;
const RETAIN: u8 = 0b0000_0100;
const CONFIDENTIAL: u8 = 0b0000_1000;
const EXPIRES: u8 = 0b0001_0000;
const PROPERTIES: u8 = 0b0010_0000;
const PUBLISHER: u8 = 0b0100_0000;
/// Of what is confidential, what may leave in an envelope too. Records of before it was there are stricter.
const SEALED_AGAIN: u8 = 0b1000_0000;

const FORMAT: u8 = 0b0000_0001;
const FORMAT_UTF8: u8 = 0b0000_0010;
const CONTENT_TYPE: u8 = 0b0000_0100;
const RESPONSE_TOPIC: u8 = 0b0000_1000;
const CORRELATION_DATA: u8 = 0b0001_0000;
const USER_PROPERTIES: u8 = 0b0010_0000;

/// A message as it stands in a record: its expiry is a time of the calendar.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MessageRecord {
    pub(crate) topic: TopicName,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) egress: Egress,
    /// Milliseconds since 1970.
    pub(crate) expires_ms: Option<u64>,
    pub(crate) properties: Option<Box<MessageProperties>>,
    /// The client id of who published it, where it is retained.
    pub(crate) publisher: Option<ByteString>,
}

impl std::fmt::Debug for MessageRecord {
    /// Without payload: payloads are never logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageRecord")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// The same, of something else.
struct Parts<'a> {
    topic: &'a TopicName,
    payload: &'a [u8],
    qos: Qos,
    retain: bool,
    egress: Egress,
    expires_ms: Option<u64>,
    properties: Option<&'a MessageProperties>,
    publisher: Option<&'a ByteString>,
}

/// A message's bytes.
pub(crate) fn encode_message(message: &Message, clock: Clock) -> Vec<u8> {
    let parts = Parts {
        topic: message.topic(),
        payload: message.payload(),
        qos: message.qos(),
        retain: message.retain(),
        egress: message.egress(),
        expires_ms: message.expires().map(|expires| clock.unix_ms(expires)),
        properties: message.properties(),
        publisher: message.publisher(),
    };
    parts.encode(message.size() + 32)
}

/// The message of these bytes, of which it keeps slices.
pub(crate) fn decode_message(record: Bytes, clock: Clock) -> Result<Message, Malformed> {
    let MessageRecord { topic, payload, qos, retain, egress, expires_ms, properties, publisher } =
        MessageRecord::decode(record)?;
    let expires = expires_ms.map(|at| clock.instant(at));
    Ok(Message::of_store(Kept { topic, payload, qos, retain, egress, expires, properties, publisher }))
}

impl Parts<'_> {
    fn encode(&self, room: usize) -> Vec<u8> {
        let mut writer = Writer::new(VERSION, room);
        let flags = self.qos.bits()
            | flag(self.retain, RETAIN)
            | flag(self.egress.is_confidential(), CONFIDENTIAL)
            | flag(self.egress == Egress::SecureOrSealed, SEALED_AGAIN)
            | flag(self.expires_ms.is_some(), EXPIRES)
            | flag(self.properties.is_some(), PROPERTIES)
            | flag(self.publisher.is_some(), PUBLISHER);
        writer.u8(flags).bytes(self.topic.as_str().as_bytes()).bytes(self.payload);
        if let Some(expires_ms) = self.expires_ms {
            writer.u64(expires_ms);
        }
        if let Some(properties) = self.properties {
            encode_properties(&mut writer, properties);
        }
        if let Some(publisher) = self.publisher {
            writer.bytes(publisher.as_bytes());
        }
        writer.finish()
    }
}

impl MessageRecord {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let parts = Parts {
            topic: &self.topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            egress: self.egress,
            expires_ms: self.expires_ms,
            properties: self.properties.as_deref(),
            publisher: self.publisher.as_ref(),
        };
        parts.encode(self.payload.len() + 128)
    }

    /// The message of these bytes, of which it keeps slices.
    pub(crate) fn decode(record: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(record, VERSION)?;
        let flags = reader.u8()?;
        let has = |flag| flags & flag != 0;
        let topic = TopicName::from_bytes(reader.bytes()?).map_err(|_| Malformed)?;
        let payload = reader.bytes()?;
        let expires_ms = has(EXPIRES).then(|| reader.u64()).transpose()?;
        let properties = has(PROPERTIES).then(|| decode_properties(&mut reader)).transpose()?.map(Box::new);
        let publisher = has(PUBLISHER).then(|| reader.text()).transpose()?;
        reader.end()?;
        let qos = Qos::from_bits(flags & QOS).ok_or(Malformed)?;
        let retain = has(RETAIN);
        let egress = match (has(CONFIDENTIAL), has(SEALED_AGAIN)) {
            (false, false) => Egress::Any,
            (true, false) => Egress::Secure,
            (true, true) => Egress::SecureOrSealed,
            (false, true) => return Err(Malformed),
        };
        Ok(Self { topic, payload, qos, retain, egress, expires_ms, properties, publisher })
    }
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
