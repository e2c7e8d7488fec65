//! PUBLISH, read and written (§3.3). It comes by the million: read in place, and written into room that
//! is made once. Without properties nothing is allocated. mqttbytes has no part in it: it copies the
//! topic, and lets empty names, wildcards and U+0000 pass.

use super::body::{BODY_BYTES_MAX, put_binary, put_fixed_header, put_variable_number, variable_number_bytes};
use super::fields::Fields;
use super::frame::{Frame, PacketType};
use super::properties::{MessagePropertiesReader, Properties, id};
use super::{Limits, Taken};
use crate::packet::{
    MessageProperties, OutgoingPublish, PacketId, PayloadFormat, Publish, PublishHeader, SubscriptionId,
    SubscriptionIds, TopicAlias, Version,
};
use crate::topic::STRING_BYTES_MAX;
use crate::{Packet, ProtocolError, Qos, TopicName};
use bytes::{BufMut, Bytes, BytesMut};

/// Who sent a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

#[inline]
pub(super) fn read(frame: &Frame<'_>, version: Version, limits: &Limits, sender: Sender) -> Taken {
    let qos = Qos::from_bits(frame.flags >> 1 & 0b11).ok_or(ProtocolError::QosThree)?; // [MQTT-3.3.1-4]
    let dup = frame.flags & 0b1000 != 0;
    if dup && qos == Qos::AtMostOnce {
        return Err(ProtocolError::DupWithoutQos); // [MQTT-3.3.1-2]
    }
    let mut fields = frame.fields;
    let topic_bytes = fields.binary()?;
    // Only MQTT 5 has a word for no topic.
    let topic = if topic_bytes.is_empty() && version == Version::V5 {
        None
    } else {
        let topic = TopicName::from_bytes(fields.shared(topic_bytes)).map_err(ProtocolError::PublishTopic)?;
        check_levels(&topic, limits)?;
        Some(topic)
    };
    let packet_id = if qos == Qos::AtMostOnce { None } else { Some(fields.packet_id()?) };
    let mut extras = Extras::default();
    if version == Version::V5 {
        extras = read_properties(&mut fields, sender)?;
        if topic.is_none() && extras.topic_alias.is_none() {
            return Err(ProtocolError::NoTopic); // §3.3.2.1
        }
    }
    let Extras { topic_alias, message_expiry_s, subscription_ids, properties } = extras;
    Ok(Some(Packet::Publish(Publish {
        dup,
        qos,
        retain: frame.flags & 1 != 0,
        topic,
        packet_id,
        topic_alias,
        message_expiry_s,
        subscription_ids,
        properties,
        payload: fields.shared(fields.rest()),
    })))
}

/// What MQTT 5 has beside topic and payload.
#[derive(Default)]
struct Extras {
    topic_alias: Option<TopicAlias>,
    message_expiry_s: Option<u32>,
    subscription_ids: SubscriptionIds,
    properties: Option<Box<MessageProperties>>,
}

pub(super) fn check_levels(topic: &TopicName, limits: &Limits) -> Result<(), ProtocolError> {
    // Only a slash makes one more level: most names are too short to need counting.
    let levels_max = limits.topic_levels_max;
    if topic.as_str().len() >= levels_max && topic.level_count() > levels_max {
        return Err(ProtocolError::TooManyTopicLevels);
    }
    Ok(())
}

fn read_properties(fields: &mut Fields<'_>, sender: Sender) -> Result<Extras, ProtocolError> {
    if fields.rest().first() == Some(&0) {
        fields.byte()?;
        return Ok(Extras::default());
    }
    read_some_properties(fields, sender)
}

fn read_some_properties(fields: &mut Fields<'_>, sender: Sender) -> Result<Extras, ProtocolError> {
    let mut extras = Extras::default();
    let mut properties = Properties::take(fields)?;
    let mut message = MessagePropertiesReader::default();
    while let Some(identifier) = properties.next()? {
        match identifier {
            id::MESSAGE_EXPIRY => extras.message_expiry_s = Some(properties.fields.long_number()?),
            id::TOPIC_ALIAS => {
                let alias = TopicAlias::new(properties.fields.number()?);
                extras.topic_alias = Some(alias.ok_or(ProtocolError::TopicAlias)?); // [MQTT-3.3.2-8]
            }
            // [MQTT-3.3.4-6]
            id::SUBSCRIPTION_ID if sender == Sender::Client => {
                return Err(ProtocolError::SubscriptionIdFromClient);
            }
            id::SUBSCRIPTION_ID => {
                let number = SubscriptionId::new(properties.fields.variable_number()?);
                extras.subscription_ids.push(number.ok_or(ProtocolError::PropertyValue)?);
            }
            _ if message.read(identifier, &mut properties)? => {}
            _ => return Err(ProtocolError::MisplacedProperty),
        }
    }
    extras.properties = message.finish(&mut properties);
    Ok(extras)
}

/// The properties of a PUBLISH that a server sends, behind their length, when that is all that `bytes` hold:
/// servers store them in this form. What holds for one hop alone, expiry and topic alias, is passed over.
/// What comes out is slices of `bytes`.
pub fn decode_publish_properties(
    bytes: &Bytes,
) -> Result<(Option<Box<MessageProperties>>, SubscriptionIds), ProtocolError> {
    let mut fields = Fields::new(bytes, bytes);
    let extras = read_properties(&mut fields, Sender::Server)?;
    fields.finish()?;
    Ok((extras.properties, extras.subscription_ids))
}

/// The bytes that [`encode_publish`] appends with a payload of this length, whatever the one that is there;
/// 0 when the packet has no form.
pub fn publish_bytes(publish: &OutgoingPublish<'_>, payload_bytes: usize, version: Version) -> usize {
    match Lengths::of(publish, payload_bytes, version) {
        Some(lengths) => 1 + variable_number_bytes(lengths.body) + lengths.body,
        None => 0,
    }
}

/// Appends a PUBLISH to `out`, and says whether it was written. The payload is copied once, into
/// room that is made once.
#[inline]
pub fn encode_publish(publish: &OutgoingPublish<'_>, version: Version, out: &mut BytesMut) -> bool {
    let Some(lengths) = Lengths::of(publish, publish.payload.len(), version) else { return false };
    let header = publish.header;
    let flags = u8::from(header.dup) << 3 | header.qos.bits() << 1 | u8::from(header.retain);
    put_fixed_header(PacketType::Publish.first_byte() | flags, lengths.body, out);
    put_binary(publish.topic.as_bytes(), out);
    if let Some(id) = packet_id(header) {
        out.put_u16(id.get());
    }
    if version == Version::V5 {
        put_variable_number(lengths.properties, out);
        if lengths.properties > 0 {
            put_properties(publish, out);
        }
    }
    out.put_slice(publish.payload);
    true
}

/// QoS 0 has none.
fn packet_id(header: PublishHeader) -> Option<PacketId> {
    header.packet_id.filter(|_| header.qos > Qos::AtMostOnce)
}

/// What has to be known before the first byte is written.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    body: usize,
    properties: usize,
}

impl Lengths {
    /// `None` for what has no form: a field past 65,535 bytes, a body past 268,435,455, no identifier
    /// above QoS 0, no topic and no alias.
    #[inline]
    fn of(publish: &OutgoingPublish<'_>, payload_bytes: usize, version: Version) -> Option<Self> {
        let OutgoingPublish { header, topic, topic_alias, .. } = *publish;
        let is_v5 = version == Version::V5;
        if topic.len() > STRING_BYTES_MAX || topic.is_empty() && !(is_v5 && topic_alias.is_some()) {
            return None;
        }
        let mut body = 2 + topic.len();
        if header.qos > Qos::AtMostOnce {
            header.packet_id?;
            body += size_of::<PacketId>();
        }
        let mut properties = 0;
        if is_v5 {
            properties = properties_bytes(publish)?;
            body += variable_number_bytes(properties) + properties;
        }
        let body = body.checked_add(payload_bytes).filter(|bytes| *bytes <= BODY_BYTES_MAX)?;
        Some(Self { body, properties })
    }
}

/// The bytes of all properties, their length not counted.
fn properties_bytes(publish: &OutgoingPublish<'_>) -> Option<usize> {
    let mut bytes = publish.topic_alias.map_or(0, |_| 1 + 2) + publish.message_expiry_s.map_or(0, |_| 1 + 4);
    for id in publish.subscription_ids {
        bytes += 1 + variable_number_bytes(number_of(*id));
    }
    if let Some(message) = publish.properties {
        bytes += message.payload_format.map_or(0, |_| 1 + 1);
        for (_, value) in values_of(message) {
            if value.len() > STRING_BYTES_MAX {
                return None;
            }
            bytes += 1 + 2 + value.len();
        }
        bytes += message.user_properties.wire().len();
    }
    Some(bytes)
}

fn put_properties(publish: &OutgoingPublish<'_>, out: &mut BytesMut) {
    if let Some(seconds) = publish.message_expiry_s {
        out.put_u8(id::MESSAGE_EXPIRY);
        out.put_u32(seconds);
    }
    if let Some(alias) = publish.topic_alias {
        out.put_u8(id::TOPIC_ALIAS);
        out.put_u16(alias.get());
    }
    for id in publish.subscription_ids {
        out.put_u8(id::SUBSCRIPTION_ID);
        put_variable_number(number_of(*id), out);
    }
    let Some(message) = publish.properties else { return };
    if let Some(format) = message.payload_format {
        out.put_slice(&[id::PAYLOAD_FORMAT, u8::from(format == PayloadFormat::Utf8)]);
    }
    for (identifier, value) in values_of(message) {
        out.put_u8(identifier);
        put_binary(value, out);
    }
    out.put_slice(message.user_properties.wire());
}

/// What stands behind a length of two bytes.
fn values_of(message: &MessageProperties) -> impl Iterator<Item = (u8, &[u8])> {
    let content_type = message.content_type.as_ref().map(|text| text.as_bytes().as_ref());
    let response_topic = message.response_topic.as_ref().map(|topic| topic.as_str().as_bytes());
    let values = [
        (id::CONTENT_TYPE, content_type),
        (id::RESPONSE_TOPIC, response_topic),
        (id::CORRELATION_DATA, message.correlation_data.as_deref()),
    ];
    values.into_iter().filter_map(|(identifier, value)| Some((identifier, value?)))
}

fn number_of(id: SubscriptionId) -> usize {
    usize::try_from(id.get()).unwrap_or(usize::MAX)
}
