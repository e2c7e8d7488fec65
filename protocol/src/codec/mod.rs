//! Bytes to [`Packet`] and back; the only folder that names mqttbytes. It frames packets and reads
//! and writes those whose form leaves nothing to get wrong. Whatever it is lenient about, or where
//! speed counts, is read here: `decode.rs` and `connect.rs`. Writing is in `encode.rs`.
//!
//! What comes out is well formed: flags, identifiers, UTF-8, topics, and no byte too many. Topic and
//! payload of a PUBLISH are slices of what was read; all else is copied, and keeps no buffer alive.

mod connect;
mod decode;
mod encode;
mod fields;
#[cfg(test)]
mod tests;

pub use encode::{encode, encode_publish};

use crate::{Packet, ProtocolError};
use bytes::{Buf, Bytes};
use mqttbytes::{FixedHeader, PacketType};

/// What a peer may not pass, though the standard allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest packet in bytes, fixed header included.
    pub packet_bytes_max: usize,
    /// The most levels of a topic name, of a will too, and of a topic filter.
    pub topic_levels_max: usize,
    /// The most filters in one SUBSCRIBE or UNSUBSCRIBE: each costs many times its bytes.
    pub filters_max: usize,
}

/// Takes one whole packet of a client from the front of `buffer`. Gives `None` and leaves the buffer
/// as it was when the packet is not whole; [`missing`] then says how much to wait for. After an
/// error the connection is to be closed.
pub fn decode(buffer: &mut Bytes, limits: &Limits) -> Result<Option<Packet>, ProtocolError> {
    take(buffer, limits, decode::from_client)
}

/// The same as [`decode()`] for what a server sends: for clients and for tests.
pub fn decode_from_server(buffer: &mut Bytes, limits: &Limits) -> Result<Option<Packet>, ProtocolError> {
    take(buffer, limits, decode::from_server)
}

/// How many more bytes the packet at the front of `buffer` needs at least; 0 when it is whole. A
/// packet that is too long is an error as soon as its length is known.
pub fn missing(buffer: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    match frame_length(buffer, limits)? {
        Framed::Whole(_) => Ok(0),
        Framed::Missing(bytes) => Ok(bytes),
    }
}

fn take(
    buffer: &mut Bytes,
    limits: &Limits,
    read: fn(&Frame<'_>, &Limits) -> Result<Packet, ProtocolError>,
) -> Result<Option<Packet>, ProtocolError> {
    let Framed::Whole(header) = frame_length(buffer, limits)? else {
        return Ok(None);
    };
    let frame = Frame::new(buffer, header)?;
    let packet = read(&frame, limits)?;
    buffer.advance(header.frame_length());
    Ok(Some(packet))
}

enum Framed {
    Whole(FixedHeader),
    Missing(usize),
}

fn frame_length(buffer: &[u8], limits: &Limits) -> Result<Framed, ProtocolError> {
    // mqttbytes holds the bound against the remaining length, so the fixed header is added after.
    let (framed, packet_bytes) = match mqttbytes::check(buffer.iter(), limits.packet_bytes_max) {
        Ok(header) => (Framed::Whole(header), header.frame_length()),
        Err(mqttbytes::Error::InsufficientBytes(bytes)) => (Framed::Missing(bytes), buffer.len() + bytes),
        Err(error) => return Err(error.into()),
    };
    if packet_bytes > limits.packet_bytes_max {
        return Err(ProtocolError::PacketTooLarge);
    }
    Ok(framed)
}

/// One whole packet, still in the buffer that it was read into.
struct Frame<'a> {
    buffer: &'a Bytes,
    header: FixedHeader,
    packet_type: PacketType,
    /// The lower half of the first byte.
    flags: u8,
    /// The length of the fixed header.
    body_at: usize,
}

impl<'a> Frame<'a> {
    /// The buffer must hold the whole of the packet that the header was read from.
    fn new(buffer: &'a Bytes, header: FixedHeader) -> Result<Self, ProtocolError> {
        let packet_type = header.packet_type()?;
        let (flags, length) = buffer.split_first().ok_or(ProtocolError::Truncated)?;
        let continued = length.iter().take_while(|&&byte| byte & 0x80 != 0).count();
        Ok(Self { buffer, header, packet_type, flags: flags & 0x0F, body_at: continued + 2 })
    }

    /// What follows the fixed header.
    fn body(&self) -> &'a [u8] {
        self.buffer.get(self.body_at..self.header.frame_length()).unwrap_or_default()
    }

    /// The body, sharing the buffer.
    fn shared_body(&self) -> Bytes {
        self.buffer.slice(self.body_at..self.header.frame_length())
    }

    /// The whole packet, sharing the buffer: what mqttbytes reads from.
    fn shared_packet(&self) -> Bytes {
        self.buffer.slice(..self.header.frame_length())
    }
}

impl From<mqttbytes::Error> for ProtocolError {
    fn from(error: mqttbytes::Error) -> Self {
        use mqttbytes::Error;
        match error {
            Error::MalformedRemainingLength => Self::RemainingLength,
            Error::PayloadSizeLimitExceeded(_) | Error::PayloadTooLong => Self::PacketTooLarge,
            Error::InvalidPacketType(_) => Self::ReservedPacketType,
            Error::TopicNotUtf8 => Self::IllFormedUtf8,
            Error::PacketIdZero => Self::PacketIdZero,
            Error::InvalidConnectReturnCode(_) => Self::ConnAckReturnCode,
            Error::InvalidSubscribeReasonCode(_) => Self::SubAckReturnCode,
            // The first five are a body that is too short. mqttbytes reads no CONNECT, PUBLISH or
            // SUBSCRIBE for us, nor anything of MQTT 5, so that the others cannot come.
            Error::InsufficientBytes(_)
            | Error::BoundaryCrossed(_)
            | Error::MalformedPacket
            | Error::PayloadRequired
            | Error::PayloadSizeIncorrect
            | Error::NotConnect(_)
            | Error::UnexpectedConnect
            | Error::InvalidReason(_)
            | Error::InvalidProtocol
            | Error::InvalidProtocolLevel(_)
            | Error::IncorrectPacketFormat
            | Error::InvalidPropertyType(_)
            | Error::InvalidRetainForwardRule(_)
            | Error::InvalidQoS(_)
            | Error::SubscriptionIdZero => Self::Truncated,
        }
    }
}
