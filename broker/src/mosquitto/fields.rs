//! The fields of one chunk, taken one after the other from its front, never past its end. Mosquitto writes
//! C structs as they lie in memory: numbers that it converts are in network order; those of eight bytes it
//! does not convert, and they are read as the little-endian machines write them that it runs on.

use bytes::{Buf, Bytes, TryGetError};
use bytestring::ByteString;

/// The chunk ends before its fields do.
#[derive(Debug)]
pub(super) struct Short;

impl From<TryGetError> for Short {
    fn from(_: TryGetError) -> Self {
        Self
    }
}

/// What is left of a chunk.
pub(super) struct Fields(Bytes);

impl Fields {
    pub(super) fn new(body: Bytes) -> Self {
        Self(body)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Short> {
        Ok(self.0.try_get_u8()?)
    }

    pub(super) fn number(&mut self) -> Result<u16, Short> {
        Ok(self.0.try_get_u16()?)
    }

    pub(super) fn long_number(&mut self) -> Result<u32, Short> {
        Ok(self.0.try_get_u32()?)
    }

    /// A number in the order of the machine.
    pub(super) fn id(&mut self) -> Result<u64, Short> {
        Ok(self.0.try_get_u64_le()?)
    }

    /// A time in seconds since 1970, in the order of the machine; 0 is none.
    pub(super) fn time(&mut self) -> Result<Option<i64>, Short> {
        Ok(Some(self.0.try_get_i64_le()?).filter(|&time| time != 0))
    }

    /// So many bytes, as a slice of the chunk.
    pub(super) fn bytes(&mut self, length: usize) -> Result<Bytes, Short> {
        if length > self.0.len() {
            return Err(Short);
        }
        Ok(self.0.split_to(length))
    }

    /// What fills a struct up to where the next thing may begin.
    pub(super) fn padding(&mut self, length: usize) -> Result<(), Short> {
        self.bytes(length).map(drop)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }
}

/// Text in an allocation of its own; `None` where it is empty, or no text that MQTT has.
pub(super) fn text(bytes: &[u8]) -> Option<ByteString> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.is_empty() || text.contains('\0') { None } else { Some(text.into()) }
}
