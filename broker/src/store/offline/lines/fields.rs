//! What the lines of an export are made of: a message, its properties, bytes as base64.

use super::super::super::record::MessageRecord;
use crate::egress::Egress;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use sealmq_protocol::packet::{MessageProperties, PayloadFormat, UserProperties};
use sealmq_protocol::{Qos, TopicName};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, written as base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base64(pub(super) Bytes);

impl From<&[u8]> for Base64 {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What stands there can be a payload, and is not repeated.
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| D::Error::custom("bytes that are no base64"))?;
        Ok(Self(bytes.into()))
    }
}

/// A message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageFields {
    topic: String,
    qos: u8,
    retain: bool,
    confidential: bool,
    /// Whether it may leave in an envelope too; lines of before it was there are stricter.
    #[serde(default, skip_serializing_if = "is_false")]
    sealed_again: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<PropertyFields>,
    payload: Base64,
}

impl MessageFields {
    pub(super) fn of(record: Bytes) -> Option<Self> {
        let message = MessageRecord::decode(record).ok()?;
        Some(Self {
            topic: message.topic.as_str().to_owned(),
            qos: message.qos.bits(),
            retain: message.retain,
            confidential: message.egress.is_confidential(),
            sealed_again: message.egress == Egress::SecureOrSealed,
            expires_ms: message.expires_ms,
            publisher: message.publisher.map(Into::into),
            properties: message.properties.map(|properties| PropertyFields::of(&properties)),
            payload: Base64(message.payload),
        })
    }

    /// The record; none where something is out of its range.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let message = MessageRecord {
            topic: TopicName::try_from(self.topic.as_str()).ok()?,
            payload: self.payload.0.clone(),
            qos: Qos::from_bits(self.qos)?,
            retain: self.retain,
            egress: match (self.confidential, self.sealed_again) {
                (false, false) => Egress::Any,
                (true, false) => Egress::Secure,
                (true, true) => Egress::SecureOrSealed,
                (false, true) => return None,
            },
            expires_ms: self.expires_ms,
            properties: match &self.properties {
                Some(properties) => Some(Box::new(properties.parsed()?)),
                None => None,
            },
            publisher: self.publisher.as_deref().map(Into::into),
        };
        Some(message.encode())
    }
}

/// The form is serde's.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What MQTT 5 passes on with a message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PropertyFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_format: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_data: Option<Base64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    user_properties: Vec<(String, String)>,
}

impl PropertyFields {
    pub(super) fn of(properties: &MessageProperties) -> Self {
        let MessageProperties {
            payload_format,
            content_type,
            response_topic,
            correlation_data,
            user_properties,
        } = properties;
        let pairs = user_properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            payload_format: payload_format.map(|format| u8::from(format == PayloadFormat::Utf8)),
            content_type: content_type.as_deref().map(str::to_owned),
            response_topic: response_topic.as_ref().map(|topic| topic.as_str().to_owned()),
            correlation_data: correlation_data.clone().map(Base64),
            user_properties: pairs.collect(),
        }
    }

    pub(super) fn parsed(&self) -> Option<MessageProperties> {
        let format = match self.payload_format {
            None => None,
            Some(0) => Some(PayloadFormat::Unspecified),
            Some(1) => Some(PayloadFormat::Utf8),
            Some(_) => return None,
        };
        let response_topic = match &self.response_topic {
            Some(topic) => Some(TopicName::try_from(topic.as_str()).ok()?),
            None => None,
        };
        Some(MessageProperties {
            payload_format: format,
            content_type: self.content_type.as_deref().map(Into::into),
            response_topic,
            correlation_data: self.correlation_data.as_ref().map(|data| data.0.clone()),
            user_properties: self.user_properties.iter().cloned().collect::<UserProperties>(),
        })
    }
}
