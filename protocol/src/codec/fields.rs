//! The fields that packets are made of, taken one after the other from the front of a body. Nothing
//! is read past its end; what was taken is checked as far as a field alone can be.

use crate::ProtocolError;
use crate::packet::PacketId;

/// What is left of a packet's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, ProtocolError> {
        let (&byte, rest) = self.0.split_first().ok_or(ProtocolError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    /// A number of two bytes (§1.5.2).
    pub(super) fn number(&mut self) -> Result<u16, ProtocolError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(ProtocolError::Truncated)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    /// Never zero ([MQTT-2.3.1-1]).
    pub(super) fn packet_id(&mut self) -> Result<PacketId, ProtocolError> {
        PacketId::new(self.number()?).ok_or(ProtocolError::PacketIdZero)
    }

    /// Bytes after their length, such as a password or the message of a will.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], ProtocolError> {
        let length = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(length.into()).ok_or(ProtocolError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A string after its length (§1.5.3): well formed ([MQTT-1.5.3-1]), no U+0000 ([MQTT-1.5.3-2]).
    pub(super) fn string(&mut self) -> Result<&'a str, ProtocolError> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes).map_err(|_| ProtocolError::IllFormedUtf8)?;
        if bytes.contains(&0) {
            return Err(ProtocolError::NulInString);
        }
        Ok(text)
    }

    /// A packet ends with its last field.
    pub(super) fn finish(self) -> Result<(), ProtocolError> {
        if self.is_empty() { Ok(()) } else { Err(ProtocolError::TrailingBytes) }
    }
}
