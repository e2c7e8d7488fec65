//! Messages of a load: what their payload begins with, and how they are written and read.
//!
//! A PUBLISH is made once as a [`Template`] and copied for each message, with its packet id and its
//! [`Stamp`] put in, so that sending costs next to nothing.

use crate::packets::{Version, packet, read_variable, text};

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
    /// As they stand in a payload.
    pub(crate) fn bytes(self) -> [u8; STAMP_BYTES] {
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
        let (_, id, payload) = parts(version, first, body)?;
        Some(Self { qos: qos(first), id, stamp: Stamp::read(payload)? })
    }
}

/// Topic and payload of a PUBLISH, of which both are text.
pub(crate) fn text_of(version: Version, first: u8, body: &[u8]) -> Option<(&str, &str)> {
    let (topic, _, payload) = parts(version, first, body)?;
    Some((std::str::from_utf8(topic).ok()?, std::str::from_utf8(payload).ok()?))
}

fn qos(first: u8) -> u8 {
    first >> 1 & 3
}

/// Topic, packet id and payload.
fn parts(version: Version, first: u8, body: &[u8]) -> Option<(&[u8], u16, &[u8])> {
    let (length, rest) = body.split_first_chunk()?;
    let (topic, mut rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let mut id = 0;
    if qos(first) > 0 {
        let (bytes, behind) = rest.split_first_chunk()?;
        (id, rest) = (u16::from_be_bytes(*bytes), behind);
    }
    if version == Version::V5 {
        let (length, at) = read_variable(rest)?;
        rest = rest.get(at + length..)?;
    }
    Some((topic, id, rest))
}
