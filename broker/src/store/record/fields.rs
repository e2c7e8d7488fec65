//! What records are made of: numbers big-endian, texts and bytes with their length in front, and a
//! version byte before all. Written by [`Writer`]; read by [`Reader`], which takes nothing on trust: a
//! record that is too short, too long or of a version that is not known is [`Malformed`].

use bytes::Bytes;
use bytestring::ByteString;

/// A record is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record is not of a form that is known")]
pub(crate) struct Malformed;

/// Puts a record together.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// A record of this version, with room for so many bytes.
    pub(crate) fn new(version: u8, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(room + 1);
        bytes.push(version);
        Self(bytes)
    }

    pub(crate) fn u8(&mut self, number: u8) -> &mut Self {
        self.0.push(number);
        self
    }

    pub(crate) fn u32(&mut self, number: u32) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn u64(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Bytes of a known length.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes with their length.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        // What is kept was a part of a packet, which is far shorter than 4 GiB.
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a record apart.
pub(crate) struct Reader {
    left: Bytes,
}

impl Reader {
    /// A record of this version. What is read of it are slices of `record`.
    pub(crate) fn new(record: Bytes, version: u8) -> Result<Self, Malformed> {
        let mut reader = Self { left: record };
        if reader.u8()? == version { Ok(reader) } else { Err(Malformed) }
    }

    pub(crate) fn raw(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.left.len() {
            return Err(Malformed);
        }
        Ok(self.left.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.raw(N)?.as_ref().try_into().map_err(|_| Malformed)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        self.raw(length)
    }

    pub(crate) fn text(&mut self) -> Result<ByteString, Malformed> {
        ByteString::try_from(self.bytes()?).map_err(|_| Malformed)
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.left.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
