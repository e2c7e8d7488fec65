//! The properties of MQTT 5 (§2.2.2), read and written. Which of them a packet has is for the packet's
//! own file; here are their numbers, the forms of their values, and the rules that hold for all: known,
//! once only, within the length. User properties, which every packet has, are gathered on the way.
//! mqttbytes has no part in it: it takes a property twice, and makes a string of each user property.

use super::body::Body;
use super::fields::Fields;
use crate::packet::{Diagnostics, MessageProperties, PayloadFormat, UserProperties};
use crate::{ProtocolError, TopicName};
use bytes::{Bytes, BytesMut};

/// The identifiers (§2.2.2.2).
pub(super) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
    pub(crate) const REASON_STRING: u8 = 0x1F;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const MAXIMUM_QOS: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER_PROPERTY: u8 = crate::packet::UserProperties::IDENTIFIER;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(crate) const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub(crate) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_AVAILABLE: u8 = 0x2A;
}

/// A bit for each identifier that there is.
const KNOWN: u64 = {
    let runs = [(0x01, 0x03), (0x08, 0x09), (0x0B, 0x0B), (0x11, 0x13), (0x15, 0x1A), (0x1C, 0x1C)];
    let more = [(0x1F, 0x1F), (0x21, 0x2A)];
    bits(&runs) | bits(&more)
};

const fn bits(runs: &[(u8, u8)]) -> u64 {
    let mut bits = 0;
    let mut left = runs;
    while let [(first, last), rest @ ..] = left {
        bits |= (1 << (*last + 1)) - (1 << *first);
        left = rest;
    }
    bits
}

/// The properties of one packet, taken one by one.
pub(super) struct Properties<'a> {
    /// What is left, at the value of the property that was named last.
    pub(super) fields: Fields<'a>,
    /// A bit for each identifier that came.
    seen: u64,
    user: Pairs<'a>,
}

impl<'a> Properties<'a> {
    /// Takes the properties, with the length before them, from the front of a body.
    pub(super) fn take(fields: &mut Fields<'a>) -> Result<Self, ProtocolError> {
        let length = fields.variable_number()?;
        let section = fields.section(usize::try_from(length).unwrap_or(usize::MAX))?;
        let user = Pairs { section: section.rest(), ..Pairs::default() };
        Ok(Self { fields: section, seen: 0, user })
    }

    /// The identifier of the next property, whose value is then to be taken from `fields`; `None` at
    /// the end. A property may be there once only, but user properties and, where the packet can
    /// have several, subscription identifiers.
    pub(super) fn next(&mut self) -> Result<Option<u8>, ProtocolError> {
        while !self.fields.is_empty() {
            let at = self.fields.rest();
            let identifier = self.fields.byte()?;
            if identifier == id::USER_PROPERTY {
                self.fields.string()?;
                self.fields.string()?;
                self.user.add(at, self.fields.rest());
                continue;
            }
            // There is no bit for 64 and above, and no property. One of two bytes would begin with 0x80.
            let bit = 1_u64.checked_shl(identifier.into()).unwrap_or(0);
            if KNOWN & bit == 0 {
                return Err(ProtocolError::UnknownProperty);
            }
            if self.seen & bit != 0 && identifier != id::SUBSCRIPTION_ID {
                return Err(ProtocolError::DuplicateProperty);
            }
            self.seen |= bit;
            return Ok(Some(identifier));
        }
        Ok(None)
    }

    /// The next value, 0 or 1.
    pub(super) fn switch(&mut self) -> Result<bool, ProtocolError> {
        match self.fields.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ProtocolError::PropertyValue),
        }
    }

    /// The next value, a string, in an allocation of its own.
    pub(super) fn text(&mut self) -> Result<bytestring::ByteString, ProtocolError> {
        self.fields.string().map(Into::into)
    }

    /// The next value, bytes, in an allocation of its own.
    pub(super) fn data(&mut self) -> Result<Bytes, ProtocolError> {
        self.fields.binary().map(Bytes::copy_from_slice)
    }

    /// The user properties, in an allocation of its own. For when all were taken.
    pub(super) fn user_properties(&self) -> UserProperties {
        UserProperties::from_checked(Bytes::copy_from_slice(self.user.wire()))
    }

    /// The user properties; they keep the read buffer alive where they stand together in it.
    fn shared_user_properties(&mut self) -> UserProperties {
        let wire = if self.user.apart.is_empty() {
            self.fields.shared(self.user.run)
        } else {
            std::mem::take(&mut self.user.apart).freeze()
        };
        UserProperties::from_checked(wire)
    }
}

/// The user properties of a packet. As a rule they stand together, and need not be put together.
#[derive(Default)]
struct Pairs<'a> {
    section: &'a [u8],
    /// Those that stand together, as long as all do.
    run: &'a [u8],
    /// All of them, once two do not.
    apart: BytesMut,
}

impl<'a> Pairs<'a> {
    /// The pair from where the section was `at` to where it is now.
    fn add(&mut self, at: &'a [u8], now: &'a [u8]) {
        let (from, to) = (self.section.len() - at.len(), self.section.len() - now.len());
        let run_ends = self.run.as_ptr_range().end == at.as_ptr();
        let joined = if self.run.is_empty() {
            self.section.get(from..to)
        } else if self.apart.is_empty() && run_ends {
            self.section.get(from - self.run.len()..to)
        } else {
            None
        };
        if let Some(joined) = joined {
            self.run = joined;
            return;
        }
        if self.apart.is_empty() {
            self.apart.extend_from_slice(self.run);
        }
        self.apart.extend_from_slice(self.section.get(from..to).unwrap_or_default());
    }

    fn wire(&self) -> &[u8] {
        if self.apart.is_empty() { self.run } else { &self.apart }
    }
}

/// The properties of a packet that has a reason string, user properties and no other.
pub(super) fn read_diagnostics(fields: &mut Fields<'_>) -> Result<Option<Box<Diagnostics>>, ProtocolError> {
    let mut properties = Properties::take(fields)?;
    let mut reason_string = None;
    while let Some(identifier) = properties.next()? {
        match identifier {
            id::REASON_STRING => reason_string = Some(properties.text()?),
            _ => return Err(ProtocolError::MisplacedProperty),
        }
    }
    Ok(diagnostics(reason_string, &properties))
}

/// What was said, if anything was.
pub(super) fn diagnostics(
    reason_string: Option<bytestring::ByteString>,
    properties: &Properties<'_>,
) -> Option<Box<Diagnostics>> {
    let user_properties = properties.user_properties();
    if reason_string.is_none() && user_properties.is_empty() {
        return None;
    }
    Some(Box::new(Diagnostics { reason_string, user_properties }))
}

/// The properties of a message, as they come among others: of a PUBLISH or of a will.
#[derive(Default)]
pub(super) struct MessagePropertiesReader(Option<Box<MessageProperties>>);

impl MessagePropertiesReader {
    /// Takes the value of this property, if it is one of them, and else says `false`.
    pub(super) fn read(&mut self, identifier: u8, from: &mut Properties<'_>) -> Result<bool, ProtocolError> {
        match identifier {
            id::PAYLOAD_FORMAT => {
                let utf8 = from.switch()?;
                let format = if utf8 { PayloadFormat::Utf8 } else { PayloadFormat::Unspecified };
                self.message().payload_format = Some(format);
            }
            id::CONTENT_TYPE => self.message().content_type = Some(from.fields.shared_string()?),
            id::RESPONSE_TOPIC => {
                let bytes = from.fields.binary()?;
                let topic = TopicName::from_bytes(from.fields.shared(bytes));
                // [MQTT-3.3.2-13], [MQTT-3.3.2-14]
                self.message().response_topic = Some(topic.map_err(ProtocolError::ResponseTopic)?);
            }
            id::CORRELATION_DATA => {
                let bytes = from.fields.binary()?;
                self.message().correlation_data = Some(from.fields.shared(bytes));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// All of them, if there is one.
    pub(super) fn finish(mut self, from: &mut Properties<'_>) -> Option<Box<MessageProperties>> {
        let user_properties = from.shared_user_properties();
        if !user_properties.is_empty() {
            self.message().user_properties = user_properties;
        }
        self.0
    }

    fn message(&mut self) -> &mut MessageProperties {
        self.0.get_or_insert_default()
    }
}

/// Properties on their way out.
pub(super) struct PropertiesWriter(Body);

impl PropertiesWriter {
    pub(super) fn new() -> Self {
        Self(Body::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self, identifier: u8, byte: u8) {
        self.0.byte(identifier);
        self.0.byte(byte);
    }

    pub(super) fn number(&mut self, identifier: u8, number: u16) {
        self.0.byte(identifier);
        self.0.number(number);
    }

    pub(super) fn long_number(&mut self, identifier: u8, number: u32) {
        self.0.byte(identifier);
        self.0.long_number(number);
    }

    pub(super) fn variable_number(&mut self, identifier: u8, number: u32) {
        self.0.byte(identifier);
        self.0.variable_number(usize::try_from(number).unwrap_or(usize::MAX));
    }

    /// A string or bytes, if there are some.
    pub(super) fn binary(&mut self, identifier: u8, bytes: Option<&[u8]>) {
        if let Some(bytes) = bytes {
            self.0.byte(identifier);
            self.0.binary(bytes);
        }
    }

    pub(super) fn text(&mut self, identifier: u8, text: Option<&bytestring::ByteString>) {
        self.binary(identifier, text.map(|text| text.as_bytes().as_ref()));
    }

    pub(super) fn user(&mut self, user_properties: &UserProperties) {
        self.0.raw(user_properties.wire());
    }

    pub(super) fn diagnostics(&mut self, diagnostics: Option<&Diagnostics>) {
        if let Some(diagnostics) = diagnostics {
            self.text(id::REASON_STRING, diagnostics.reason_string.as_ref());
            self.user(&diagnostics.user_properties);
        }
    }

    pub(super) fn message(&mut self, message: Option<&MessageProperties>) {
        let Some(message) = message else { return };
        if let Some(format) = message.payload_format {
            self.byte(id::PAYLOAD_FORMAT, u8::from(format == PayloadFormat::Utf8));
        }
        self.text(id::CONTENT_TYPE, message.content_type.as_ref());
        let response_topic = message.response_topic.as_ref();
        self.binary(id::RESPONSE_TOPIC, response_topic.map(|topic| topic.as_str().as_bytes()));
        self.binary(id::CORRELATION_DATA, message.correlation_data.as_deref());
        self.user(&message.user_properties);
    }

    /// Appends them, behind their length.
    pub(super) fn write(self, body: &mut Body) {
        body.section(&self.0);
    }
}
