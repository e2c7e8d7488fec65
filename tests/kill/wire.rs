//! Packets that only clients with a session to lose need, as bytes.

use crate::packets::{self, Version, packet, read_variable, text};
use anyhow::{Result, bail};

/// UNSUBACK (§3.11), the first four bits of the packet.
pub(crate) const UNSUBACK: u8 = 11;
/// DISCONNECT (§3.14) without anything to say, the same in both versions.
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// CONNECT to a session that never ends.
pub(crate) fn connect(version: Version, client_id: &str) -> Vec<u8> {
    // A session expiry interval of 0xFFFFFFFF: never.
    packets::connect(version, client_id, false, &[0x11, 0xFF, 0xFF, 0xFF, 0xFF])
}

/// UNSUBSCRIBE from one filter.
pub(crate) fn unsubscribe(version: Version, id: u16, filter: &str) -> Vec<u8> {
    let body = [id.to_be_bytes().to_vec(), version.properties(&[]), text(filter)];
    packet(0xA2, &body.concat())
}

/// What a CONNACK says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connack {
    /// Whether the broker still has the session.
    pub(crate) session_present: bool,
    /// How many messages of QoS 1 and 2 may be on their way to the broker.
    pub(crate) receive_maximum: u32,
}

impl Connack {
    /// Reads its body; an error if it refuses.
    pub(crate) fn read(version: Version, body: &[u8]) -> Result<Self> {
        let receive_maximum = packets::receive_maximum(version, body)?;
        Ok(Self { session_present: body.first() == Some(&1), receive_maximum })
    }
}

/// The reason codes of a SUBACK, or of an UNSUBACK, which has none in MQTT 3.1.1.
pub(crate) fn codes(version: Version, body: &[u8]) -> Result<&[u8]> {
    let [_, _, rest @ ..] = body else { bail!("an acknowledgement is too short") };
    let at = match version {
        Version::V4 => 0,
        Version::V5 => read_variable(rest).map_or(usize::MAX, |(length, at)| at.saturating_add(length)),
    };
    match rest.get(at..) {
        Some(codes) => Ok(codes),
        None => bail!("an acknowledgement is too short"),
    }
}

/// A PUBLISH of QoS 1 or 2 that is to be sent, or that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    /// Whether it is said to be sent again.
    pub(crate) dup: bool,
    /// Its QoS.
    pub(crate) qos: u8,
    /// Whether it is to be kept, or was.
    pub(crate) retain: bool,
    /// Its topic.
    pub(crate) topic: &'a str,
    /// Its packet id; 0 with QoS 0, which is never sent here, but may come from a broken broker.
    pub(crate) id: u16,
    /// Its payload.
    pub(crate) payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// As bytes.
    pub(crate) fn write(&self, version: Version) -> Vec<u8> {
        let first = 0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        let head = [text(self.topic), self.id.to_be_bytes().to_vec(), version.properties(&[])].concat();
        packet(first, &[&head, self.payload].concat())
    }

    /// Reads it: its first byte, and what stands behind the length.
    pub(crate) fn read(version: Version, first: u8, body: &'a [u8]) -> Option<Self> {
        let qos = first >> 1 & 3;
        let (length, rest) = body.split_first_chunk()?;
        let (topic, mut rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let mut id = 0;
        if qos > 0 {
            let (bytes, behind) = rest.split_first_chunk()?;
            (id, rest) = (u16::from_be_bytes(*bytes), behind);
        }
        if version == Version::V5 {
            let (length, at) = read_variable(rest)?;
            rest = rest.get(at + length..)?;
        }
        let topic = std::str::from_utf8(topic).ok()?;
        Some(Self { dup: first & 8 != 0, qos, retain: first & 1 != 0, topic, id, payload: rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_read_as_it_was_written() {
        for version in [Version::V4, Version::V5] {
            let publish =
                Publish { dup: true, qos: 2, retain: true, topic: "a/b", id: 700, payload: &[7; 300] };
            let bytes = publish.write(version);
            let (first, body, length) = packets::front(&bytes).unwrap();
            assert_eq!(length, bytes.len());
            assert_eq!(Publish::read(version, first, body), Some(publish));
        }
    }
}
