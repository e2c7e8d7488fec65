//! Properties of MQTT 5 (§2.2.2) as bytes, written down here a second time, apart from the codec: put
//! together for what the tests send, taken apart and asked for what they receive.

/// Payload Format Indicator.
pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
/// Message Expiry Interval.
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
/// Content Type.
pub(crate) const CONTENT_TYPE: u8 = 0x03;
/// Response Topic.
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
/// Correlation Data.
pub(crate) const CORRELATION_DATA: u8 = 0x09;
/// Subscription Identifier.
pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
/// Session Expiry Interval.
pub(crate) const SESSION_EXPIRY: u8 = 0x11;
/// Assigned Client Identifier.
pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
/// Server Keep Alive.
pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
/// Authentication Method.
pub(crate) const AUTH_METHOD: u8 = 0x15;
/// Authentication Data.
pub(crate) const AUTH_DATA: u8 = 0x16;
/// Request Problem Information.
pub(crate) const REQUEST_PROBLEM: u8 = 0x17;
/// Will Delay Interval.
pub(crate) const WILL_DELAY: u8 = 0x18;
/// Request Response Information.
pub(crate) const REQUEST_RESPONSE: u8 = 0x19;
/// Response Information.
pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
/// Server Reference.
pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
/// Reason String.
pub(crate) const REASON_STRING: u8 = 0x1F;
/// Receive Maximum.
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
/// Topic Alias Maximum.
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
/// Topic Alias.
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
/// Maximum QoS.
pub(crate) const MAXIMUM_QOS: u8 = 0x24;
/// Retain Available.
pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
/// User Property.
pub(crate) const USER_PROPERTY: u8 = 0x26;
/// Maximum Packet Size.
pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
/// Wildcard Subscription Available.
pub(crate) const WILDCARD_AVAILABLE: u8 = 0x28;
/// Subscription Identifiers Available.
pub(crate) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
/// Shared Subscription Available.
pub(crate) const SHARED_AVAILABLE: u8 = 0x2A;

use super::packets::field;

/// How the value of a property is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Byte,
    TwoBytes,
    FourBytes,
    Variable,
    Field,
    Pair,
}

fn kind(id: u8) -> Option<Kind> {
    Some(match id {
        PAYLOAD_FORMAT
        | REQUEST_PROBLEM
        | REQUEST_RESPONSE
        | MAXIMUM_QOS
        | RETAIN_AVAILABLE
        | WILDCARD_AVAILABLE
        | SUBSCRIPTION_IDS_AVAILABLE
        | SHARED_AVAILABLE => Kind::Byte,
        SERVER_KEEP_ALIVE | RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM | TOPIC_ALIAS => Kind::TwoBytes,
        MESSAGE_EXPIRY | SESSION_EXPIRY | WILL_DELAY | MAXIMUM_PACKET_SIZE => Kind::FourBytes,
        SUBSCRIPTION_ID => Kind::Variable,
        CONTENT_TYPE | RESPONSE_TOPIC | CORRELATION_DATA | ASSIGNED_CLIENT_ID | AUTH_METHOD | AUTH_DATA
        | RESPONSE_INFORMATION | SERVER_REFERENCE | REASON_STRING => Kind::Field,
        USER_PROPERTY => Kind::Pair,
        _ => return None,
    })
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A byte, or an integer of any length.
    Number(u32),
    /// A string or binary data.
    Bytes(Vec<u8>),
    /// A name and a value.
    Pair(Vec<u8>, Vec<u8>),
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// The properties of one packet, as they stand there, in their order.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties(Vec<u8>);

impl Properties {
    /// Their length, then themselves.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [variable(self.0.len()), self.0.clone()].concat()
    }

    /// Takes them from the front of `bytes`; gives what stands behind them too.
    pub(crate) fn parse(bytes: &[u8]) -> (Self, &[u8]) {
        let (length, rest) = take_variable(bytes);
        let (own, rest) = rest.split_at(length);
        let properties = Self(own.to_vec());
        // A value that ends behind them, or an unknown one, fails here rather than where it is asked for.
        properties.list();
        (properties, rest)
    }

    /// All of them.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<(u8, Value)> {
        let mut rest = self.0.as_slice();
        let mut list = Vec::new();
        while let Some((&id, value)) = rest.split_first() {
            let kind = kind(id).unwrap_or_else(|| panic!("property {id:#04x} is unknown: {:02x?}", self.0));
            let (value, behind) = take_value(kind, value);
            list.push((id, value));
            rest = behind;
        }
        list
    }

    /// The value of the only property with this identifier.
    #[track_caller]
    pub(crate) fn property(&self, id: u8) -> Option<Value> {
        let mut found = self.list().into_iter().filter(|(other, _)| *other == id);
        let first = found.next();
        assert!(found.next().is_none(), "property {id:#04x} stands twice: {self:?}");
        first.map(|(_, value)| value)
    }

    /// The same, for one that is a number.
    #[track_caller]
    pub(crate) fn number(&self, id: u8) -> Option<u32> {
        self.property(id).map(|value| match value {
            Value::Number(number) => number,
            Value::Bytes(_) | Value::Pair(..) => panic!("property {id:#04x} is no number"),
        })
    }

    /// The same, for one that is binary data.
    #[track_caller]
    pub(crate) fn data(&self, id: u8) -> Option<Vec<u8>> {
        self.property(id).map(|value| match value {
            Value::Bytes(bytes) => bytes,
            Value::Number(_) | Value::Pair(..) => panic!("property {id:#04x} is no string"),
        })
    }

    /// The same, for one that is a string.
    #[track_caller]
    pub(crate) fn text(&self, id: u8) -> Option<String> {
        self.data(id).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// The subscription identifiers, smallest first: their order means nothing.
    pub(crate) fn subscription_ids(&self) -> Vec<u32> {
        let number = |(id, value)| match value {
            Value::Number(number) => (id == SUBSCRIPTION_ID).then_some(number),
            Value::Bytes(_) | Value::Pair(..) => None,
        };
        let mut ids: Vec<u32> = self.list().into_iter().filter_map(number).collect();
        ids.sort_unstable();
        ids
    }

    /// The user properties, in their order.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let pair = |(_, value)| match value {
            Value::Pair(name, value) => Some((text(name), text(value))),
            Value::Number(_) | Value::Bytes(_) => None,
        };
        self.list().into_iter().filter_map(pair).collect()
    }

    /// The identifiers, in their order.
    pub(crate) fn ids(&self) -> Vec<u8> {
        self.list().into_iter().map(|(id, _)| id).collect()
    }
}

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &[u8]| String::from_utf8_lossy(value).chars().take(80).collect::<String>();
        let mut map = f.debug_map();
        for (id, value) in self.list() {
            let value = match value {
                Value::Number(number) => number.to_string(),
                Value::Bytes(bytes) => shown(&bytes),
                Value::Pair(name, value) => format!("{}={}", shown(&name), shown(&value)),
            };
            map.entry(&format_args!("{id:#04x}"), &value);
        }
        map.finish()
    }
}

/// What is built up and has properties. The properties come in the order in which they are given, and
/// may be given twice.
pub(crate) trait With: Sized {
    /// Where the next one is put.
    fn properties_mut(&mut self) -> &mut Properties;

    /// A property that is a number, a string or binary data; any bytes.
    #[must_use]
    fn with(self, id: u8, value: impl Into<Value>) -> Self {
        let value = match (kind(id), value.into()) {
            (Some(Kind::Byte), Value::Number(number)) => vec![u8::try_from(number).unwrap()],
            (Some(Kind::TwoBytes), Value::Number(number)) => {
                u16::try_from(number).unwrap().to_be_bytes().to_vec()
            }
            (Some(Kind::FourBytes), Value::Number(number)) => number.to_be_bytes().to_vec(),
            (Some(Kind::Variable), Value::Number(number)) => variable(number as usize),
            (Some(Kind::Field), Value::Bytes(bytes)) => field(bytes),
            (_, value) => panic!("property {id:#04x} is no {value:?}"),
        };
        self.raw([&[id], value.as_slice()].concat())
    }

    /// A user property; any bytes.
    #[must_use]
    fn pair(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.raw([&[USER_PROPERTY], field(name).as_slice(), &field(value)].concat())
    }

    /// These bytes, identifier and all: for properties that are wrong.
    #[must_use]
    fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.properties_mut().0.extend_from_slice(bytes.as_ref());
        self
    }
}

impl With for Properties {
    fn properties_mut(&mut self) -> &mut Properties {
        self
    }
}

/// A variable byte integer (§1.5.5).
pub(crate) fn variable(value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = value;
    loop {
        let low = u8::try_from(left % 128).unwrap();
        left /= 128;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            return bytes;
        }
    }
}

/// Takes a variable byte integer from the front.
fn take_variable(bytes: &[u8]) -> (usize, &[u8]) {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let (own, rest) = bytes.split_at(length);
    let value = own.iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7F));
    assert_eq!(variable(value), own, "the shortest form of {value}");
    (value, rest)
}

fn take_value(kind: Kind, bytes: &[u8]) -> (Value, &[u8]) {
    let number = |length| {
        let (own, rest) = bytes.split_at(length);
        (Value::Number(own.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))), rest)
    };
    match kind {
        Kind::Byte => number(1),
        Kind::TwoBytes => number(2),
        Kind::FourBytes => number(4),
        Kind::Variable => {
            let (value, rest) = take_variable(bytes);
            (Value::Number(u32::try_from(value).unwrap()), rest)
        }
        Kind::Field => {
            let (value, rest) = take_field(bytes);
            (Value::Bytes(value), rest)
        }
        Kind::Pair => {
            let (name, rest) = take_field(bytes);
            let (value, rest) = take_field(rest);
            (Value::Pair(name, value), rest)
        }
    }
}

/// Takes a string or binary data from the front.
pub(crate) fn take_field(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let (length, rest) = bytes.split_at(2);
    let (own, rest) = rest.split_at(usize::from(u16::from_be_bytes([length[0], length[1]])));
    (own.to_vec(), rest)
}
