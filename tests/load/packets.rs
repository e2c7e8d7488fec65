//! The few packets of MQTT 3.1.1 and 5 that a load needs, as bytes; no code of the broker is used.
//!
//! A PUBLISH is made once as a [`Template`] and copied for each message, with its packet id and its
//! [`Stamp`] put in, so that sending costs next to nothing.

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
    fn properties(self, list: &[u8]) -> Vec<u8> {
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
fn read_variable(bytes: &[u8]) -> Option<(usize, usize)> {
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
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &*variable(body.len()), body].concat()
}

/// CONNECT with a session that ends with the connection, no keep alive, and so many aliases allowed.
pub(crate) fn connect(version: Version, client_id: &str, topic_alias_maximum: u16) -> Vec<u8> {
    let level = if version == Version::V4 { 4 } else { 5 };
    let [high, low] = topic_alias_maximum.to_be_bytes();
    let aliases: &[u8] = if topic_alias_maximum > 0 { &[0x22, high, low] } else { &[] };
    let body = [text("MQTT"), vec![level, 2, 0, 0], version.properties(aliases), text(client_id)];
    packet(0x10, &body.concat())
}

/// SUBSCRIBE to one filter.
pub(crate) fn subscribe(version: Version, filter: &str, qos: u8) -> Vec<u8> {
    let body = [vec![0, 1], version.properties(&[]), text(filter), vec![qos]];
    packet(0x82, &body.concat())
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

/// Bytes of a [`Stamp`].
pub(crate) const STAMP_BYTES: usize = 16;

/// What each payload begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When it was made, in nanoseconds of the run.
    pub(crate) sent_ns: u64,
    /// Who has sent it.
    pub(crate) publisher: u32,
    /// Which of his it is, from 0.
    pub(crate) number: u32,
}

impl Stamp {
    fn bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..8].copy_from_slice(&self.sent_ns.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.publisher.to_le_bytes());
        bytes[12..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (sent, rest) = payload.split_first_chunk()?;
        let (publisher, rest) = rest.split_first_chunk()?;
        let (number, _) = rest.split_first_chunk()?;
        Some(Self {
            sent_ns: u64::from_le_bytes(*sent),
            publisher: u32::from_le_bytes(*publisher),
            number: u32::from_le_bytes(*number),
        })
    }
}

/// What is the same in all messages of one publisher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// Empty if the alias says it.
    pub(crate) topic: &'a str,
    /// With MQTT 5 only.
    pub(crate) alias: Option<u16>,
    /// How many, with MQTT 5 only.
    pub(crate) user_properties: usize,
    /// Its QoS.
    pub(crate) qos: u8,
    /// Its bytes of payload.
    pub(crate) payload: usize,
}

/// A PUBLISH with room for packet id and stamp.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    stamp_at: usize,
}

impl Template {
    /// Makes it.
    pub(crate) fn new(version: Version, message: Message<'_>) -> Self {
        let mut properties = Vec::new();
        if let Some(alias) = message.alias {
            properties.push(0x23);
            properties.extend(alias.to_be_bytes());
        }
        for n in 0..message.user_properties {
            properties.push(0x26);
            properties.extend([text(&format!("name-{n}")), text(&format!("value-{n}"))].concat());
        }
        let mut body = text(message.topic);
        let id_at = (message.qos > 0).then_some(body.len());
        if id_at.is_some() {
            body.extend([0, 0]);
        }
        body.extend(version.properties(&properties));
        let stamp_at = body.len();
        body.resize(stamp_at + message.payload, b'.');
        let bytes = packet(0x30 | message.qos << 1, &body);
        let header = bytes.len() - body.len();
        Self { bytes, id_at: id_at.map(|at| header + at), stamp_at: header + stamp_at }
    }

    /// The bytes of a packet.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a packet to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, id: u16, stamp: Stamp) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.id_at {
            out[start + at..][..2].copy_from_slice(&id.to_be_bytes());
        }
        out[start + self.stamp_at..][..STAMP_BYTES].copy_from_slice(&stamp.bytes());
    }
}

/// A PUBLISH that came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publish {
    /// Its QoS.
    pub(crate) qos: u8,
    /// Its packet id; 0 with QoS 0.
    pub(crate) id: u16,
    /// What its payload begins with.
    pub(crate) stamp: Stamp,
}

impl Publish {
    /// Reads it: its first byte, and what stands behind the length.
    pub(crate) fn read(version: Version, first: u8, body: &[u8]) -> Option<Self> {
        let qos = first >> 1 & 3;
        let (topic, _) = body.split_first_chunk()?;
        let mut rest = body.get(2 + usize::from(u16::from_be_bytes(*topic))..)?;
        let mut id = 0;
        if qos > 0 {
            let (bytes, behind) = rest.split_first_chunk()?;
            (id, rest) = (u16::from_be_bytes(*bytes), behind);
        }
        if version == Version::V5 {
            let (length, at) = read_variable(rest)?;
            rest = rest.get(at + length..)?;
        }
        Some(Self { qos, id, stamp: Stamp::read(rest)? })
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
