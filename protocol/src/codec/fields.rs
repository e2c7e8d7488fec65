//! The fields that packets are made of, taken one after the other from the front of a body. Nothing
//! is read past its end; what was taken is checked as far as a field alone can be. A field is borrowed
//! from the read buffer, and shared or copied by whoever keeps it.

use crate::ProtocolError;
use crate::packet::PacketId;
use bytes::Bytes;
use bytestring::ByteString;

/// What is left of a packet's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    buffer: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// `body` is a part of `buffer`.
    pub(super) fn new(buffer: &'a Bytes, body: &'a [u8]) -> Self {
        Self { buffer, rest: body }
    }

    pub(super) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    /// What was not taken yet.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn byte(&mut self) -> Result<u8, ProtocolError> {
        let (&byte, rest) = self.rest.split_first().ok_or(ProtocolError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    /// A number of two bytes (§1.5.2).
    pub(super) fn number(&mut self) -> Result<u16, ProtocolError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ProtocolError::Truncated)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    /// A number of four bytes (MQTT 5 §1.5.3).
    pub(super) fn long_number(&mut self) -> Result<u32, ProtocolError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ProtocolError::Truncated)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// A number of one to four bytes, and of no more than it needs ([MQTT-1.5.5-1]).
    pub(super) fn variable_number(&mut self) -> Result<u32, ProtocolError> {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let overlong = byte == 0 && shift > 0;
                return if overlong { Err(ProtocolError::VariableNumber) } else { Ok(number) };
            }
        }
        Err(ProtocolError::VariableNumber)
    }

    /// Never zero ([MQTT-2.2.1-3]).
    pub(super) fn packet_id(&mut self) -> Result<PacketId, ProtocolError> {
        PacketId::new(self.number()?).ok_or(ProtocolError::PacketIdZero)
    }

    /// So many bytes, as fields of their own.
    pub(super) fn section(&mut self, length: usize) -> Result<Self, ProtocolError> {
        let (section, rest) = self.rest.split_at_checked(length).ok_or(ProtocolError::Truncated)?;
        self.rest = rest;
        Ok(Self { buffer: self.buffer, rest: section })
    }

    /// Bytes after their length, such as a password or the message of a will.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], ProtocolError> {
        let length = self.number()?;
        Ok(self.section(length.into())?.rest)
    }

    /// A string after its length (§1.5.4): well formed ([MQTT-1.5.4-1]), no U+0000 ([MQTT-1.5.4-2]).
    pub(super) fn string(&mut self) -> Result<&'a str, ProtocolError> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes).map_err(|_| ProtocolError::IllFormedUtf8)?;
        if bytes.contains(&0) {
            return Err(ProtocolError::NulInString);
        }
        Ok(text)
    }

    /// A string that keeps the read buffer alive.
    pub(super) fn shared_string(&mut self) -> Result<ByteString, ProtocolError> {
        let bytes = self.binary()?;
        if bytes.contains(&0) {
            return Err(ProtocolError::NulInString);
        }
        ByteString::try_from(self.shared(bytes)).map_err(|_| ProtocolError::IllFormedUtf8)
    }

    /// What was taken, or what is left, as a slice that keeps the read buffer alive.
    pub(super) fn shared(self, part: &[u8]) -> Bytes {
        self.buffer.slice_ref(part)
    }

    /// A packet ends with its last field.
    pub(super) fn finish(self) -> Result<(), ProtocolError> {
        if self.is_empty() { Ok(()) } else { Err(ProtocolError::TrailingBytes) }
    }
}
