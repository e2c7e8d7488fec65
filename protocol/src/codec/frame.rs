//! From bytes to one whole packet, still in the buffer that it was read into: its type, its flags and
//! its body. mqttbytes finds where it ends; what stands in it is for the packet's own file.

use super::Limits;
use super::fields::Fields;
use crate::ProtocolError;
use crate::packet::Version;
use bytes::Bytes;

/// The packet types (§2.1.2), with their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// Type 0 is reserved, and so is that of AUTH before MQTT 5.
    fn of(first: u8, version: Version) -> Result<Self, ProtocolError> {
        Ok(match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 if version == Version::V5 => Self::Auth,
            _ => return Err(ProtocolError::ReservedPacketType),
        })
    }

    /// The flags that the standard gives each packet but PUBLISH (§2.1.3).
    fn fixed_flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            Self::Connect
            | Self::ConnAck
            | Self::PubAck
            | Self::PubRec
            | Self::PubComp
            | Self::SubAck
            | Self::UnsubAck
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect
            | Self::Auth => Some(0),
        }
    }

    /// The fault of other flags ([MQTT-2.1.3-1]).
    #[cold]
    fn flags_error(self) -> ProtocolError {
        match self {
            Self::PubRel => ProtocolError::PubRelFlags,
            Self::Subscribe => ProtocolError::SubscribeFlags,
            Self::Unsubscribe => ProtocolError::UnsubscribeFlags,
            Self::Disconnect => ProtocolError::DisconnectFlags,
            Self::Auth => ProtocolError::AuthFlags,
            Self::Connect
            | Self::ConnAck
            | Self::Publish
            | Self::PubAck
            | Self::PubRec
            | Self::PubComp
            | Self::SubAck
            | Self::UnsubAck
            | Self::PingReq
            | Self::PingResp => ProtocolError::Flags,
        }
    }

    /// The first byte of such a packet, for all but PUBLISH.
    pub(super) fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.fixed_flags().unwrap_or_default()
    }
}

/// One whole packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) packet_type: PacketType,
    /// The lower half of the first byte.
    pub(super) flags: u8,
    /// What follows the fixed header.
    pub(super) fields: Fields<'a>,
    /// Whether the remaining length takes more bytes than it needs.
    overlong: bool,
}

impl<'a> Frame<'a> {
    /// The packet that the first `bytes` of the buffer are, with its flags checked.
    pub(super) fn new(buffer: &'a Bytes, bytes: usize, version: Version) -> Result<Self, ProtocolError> {
        let packet = buffer.get(..bytes).unwrap_or(buffer);
        let (&first, rest) = packet.split_first().ok_or(ProtocolError::Truncated)?;
        let packet_type = PacketType::of(first, version)?;
        let flags = first & 0x0F;
        if packet_type.fixed_flags().is_some_and(|fixed| flags != fixed) {
            return Err(packet_type.flags_error());
        }
        let continued = rest.iter().take_while(|&&byte| byte & 0x80 != 0).count();
        let (length, body) = rest.split_at_checked(continued + 1).ok_or(ProtocolError::Truncated)?;
        let overlong = continued > 0 && length.last() == Some(&0);
        Ok(Self { packet_type, flags, fields: Fields::new(buffer, body), overlong })
    }

    /// MQTT 5 wants the remaining length in as few bytes as it needs ([MQTT-1.5.5-1]); those before
    /// do not say.
    pub(super) fn check_length(&self, version: Version) -> Result<(), ProtocolError> {
        if self.overlong && version == Version::V5 {
            return Err(ProtocolError::RemainingLength);
        }
        Ok(())
    }
}

/// How far the packet at the front of a buffer is there.
pub(super) enum Framed {
    /// All of it: so many bytes.
    Whole(usize),
    /// So many bytes are missing at least.
    Missing(usize),
}

/// The longest packet whose remaining length is one byte.
const SHORT_BYTES_MAX: usize = 2 + 0x7F;

#[inline]
pub(super) fn frame_length(buffer: &[u8], limits: &Limits) -> Result<Framed, ProtocolError> {
    use mqttbytes::Error;
    // A short packet that is whole needs no more than a look: that is most of them, and each
    // acknowledgement.
    if let [_, body_bytes @ ..0x80, rest @ ..] = buffer
        && rest.len() >= usize::from(*body_bytes)
        && limits.packet_bytes_max >= SHORT_BYTES_MAX
    {
        return Ok(Framed::Whole(2 + usize::from(*body_bytes)));
    }
    // mqttbytes holds the bound against the remaining length, so the fixed header is added after.
    let (framed, packet_bytes) = match mqttbytes::check(buffer.iter(), limits.packet_bytes_max) {
        Ok(header) => (Framed::Whole(header.frame_length()), header.frame_length()),
        Err(Error::InsufficientBytes(bytes)) => (Framed::Missing(bytes), buffer.len() + bytes),
        Err(Error::PayloadSizeLimitExceeded(_)) => return Err(ProtocolError::PacketTooLarge),
        // What else it can say of a fixed header is that the remaining length is malformed.
        Err(_) => return Err(ProtocolError::RemainingLength),
    };
    if packet_bytes > limits.packet_bytes_max {
        return Err(ProtocolError::PacketTooLarge);
    }
    Ok(framed)
}
