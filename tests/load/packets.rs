//! The few packets of MQTT 3.1.1 and 5 that a load needs, as bytes; no code of the broker is used.
//!
//! Shared by the programs of this package that speak MQTT by hand; what one of them alone needs lies with
//! it.

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// CONNACK (§3.2), the first four bits of the packet.
pub(crate) const CONNACK: u8 = 2;
/// PUBLISH (§3.3).
pub(crate) const PUBLISH: u8 = 3;
/// PUBACK (§3.4).
pub(crate) const PUBACK: u8 = 4;
/// PUBREC (§3.5).
pub(crate) const PUBREC: u8 = 5;
/// PUBREL (§3.6).
pub(crate) const PUBREL: u8 = 6;
/// PUBCOMP (§3.7).
pub(crate) const PUBCOMP: u8 = 7;
/// SUBACK (§3.9).
pub(crate) const SUBACK: u8 = 9;

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// 3.1.1.
    #[value(name = "4")]
    V4,
    /// 5.
    #[value(name = "5")]
    V5,
}

impl Version {
    /// As people say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V4 => "3.1.1",
            Self::V5 => "5",
        }
    }

    /// A list of properties with its length; nothing for 3.1.1, which has none.
    pub(crate) fn properties(self, list: &[u8]) -> Vec<u8> {
        match self {
            Self::V4 => Vec::new(),
            Self::V5 => [&variable(list.len()), list].concat(),
        }
    }
}

/// A length in seven bits a byte (§2.2.3).
fn variable(mut left: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = left.to_le_bytes();
        left /= 128;
        if left == 0 {
            bytes.push(low & 0x7F);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Reads such a length: itself, and the bytes that it takes; none if it is not whole.
pub(crate) fn read_variable(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, n + 1));
        }
    }
    None
}

/// A text with its length. What is put in is short.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// A packet of this body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &*variable(body.len()), body].concat()
}

/// CONNECT without keep alive: whether it begins a new session, and with these properties of MQTT 5.
pub(crate) fn connect(version: Version, client_id: &str, clean: bool, properties: &[u8]) -> Vec<u8> {
    let level = if version == Version::V4 { 4 } else { 5 };
    let flags = if clean { 2 } else { 0 };
    let body = [text("MQTT"), vec![level, flags, 0, 0], version.properties(properties), text(client_id)];
    packet(0x10, &body.concat())
}

/// SUBSCRIBE to filters.
pub(crate) fn subscribe(version: Version, id: u16, filters: &[&str], qos: u8) -> Vec<u8> {
    let mut body = [id.to_be_bytes().to_vec(), version.properties(&[])].concat();
    for filter in filters {
        body.extend([text(filter), vec![qos]].concat());
    }
    packet(0x82, &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP, the same in both versions.
pub(crate) fn acknowledgement(kind: u8, id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    let flags = if kind == PUBREL { 2 } else { 0 };
    [kind << 4 | flags, 2, high, low]
}

/// How many messages of QoS 1 and 2 a CONNACK allows on their way; an error if it refuses.
pub(crate) fn receive_maximum(version: Version, connack: &[u8]) -> Result<u32> {
    let [_, code, properties @ ..] = connack else { bail!("a CONNACK is too short") };
    if *code != 0 {
        bail!("the broker refuses: {code:#04x}");
    }
    if version == Version::V4 {
        return Ok(u32::from(u16::MAX));
    }
    let (_, at) = read_variable(properties).context("a CONNACK is too short")?;
    let mut rest = &properties[at..];
    loop {
        rest = match rest {
            [] => return Ok(u32::from(u16::MAX)),
            [0x21, high, low, ..] => return Ok(u32::from(u16::from_be_bytes([*high, *low]))),
            [0x24 | 0x25 | 0x28 | 0x29 | 0x2A, _, rest @ ..]
            | [0x13 | 0x22, _, _, rest @ ..]
            | [0x11 | 0x27, _, _, _, _, rest @ ..] => rest,
            [other, ..] => bail!("a CONNACK has the property {other:#04x}, which was not expected"),
        };
    }
}

/// The packet at the front: its first byte, its body, and its bytes in all; none if it is not whole.
pub(crate) fn front(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, rest) = bytes.split_first()?;
    let (length, at) = read_variable(rest)?;
    Some((*first, rest.get(at..at + length)?, 1 + at + length))
}

/// The packet id that a body begins with.
pub(crate) fn leading_id(body: &[u8]) -> Result<u16> {
    let (id, _) = body.split_first_chunk().context("a packet is too short")?;
    Ok(u16::from_be_bytes(*id))
}
