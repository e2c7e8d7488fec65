//! A packet's body on its way out, field by field, with the fixed header put before it at the end. A
//! field that has no form on the wire spoils the body, which is then not written at all. PUBLISH does
//! without it and writes straight into the buffer, by the functions below.

use crate::topic::STRING_BYTES_MAX;
use bytes::{BufMut, BytesMut};

/// The longest body that four bytes of remaining length can state (§2.1.4).
pub(super) const BODY_BYTES_MAX: usize = 268_435_455;
/// First byte, and four of remaining length.
const FIXED_HEADER_BYTES_MAX: usize = 5;

/// A body, or the part of it that has a length of its own.
#[derive(Debug)]
pub(super) struct Body {
    bytes: BytesMut,
    /// Whether all of it has a form on the wire.
    fits: bool,
}

impl Body {
    pub(super) fn new() -> Self {
        Self { bytes: BytesMut::new(), fits: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.put_u8(byte);
    }

    pub(super) fn number(&mut self, number: u16) {
        self.bytes.put_u16(number);
    }

    pub(super) fn long_number(&mut self, number: u32) {
        self.bytes.put_u32(number);
    }

    pub(super) fn variable_number(&mut self, number: usize) {
        put_variable_number(number, &mut self.bytes);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.put_slice(bytes);
    }

    /// Bytes after their length.
    pub(super) fn binary(&mut self, bytes: &[u8]) {
        self.fits &= bytes.len() <= STRING_BYTES_MAX;
        put_binary(bytes, &mut self.bytes);
    }

    pub(super) fn string(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }

    /// Another body behind its length, as properties stand (MQTT 5 §2.2.2).
    pub(super) fn section(&mut self, section: &Self) {
        self.fits &= section.fits && section.bytes.len() <= BODY_BYTES_MAX;
        self.variable_number(section.bytes.len());
        self.raw(&section.bytes);
    }

    /// Appends the packet that begins with `first` to `out`, and says whether it was written.
    pub(super) fn write(&self, first: u8, out: &mut BytesMut) -> bool {
        if !self.fits || self.bytes.len() > BODY_BYTES_MAX {
            return false;
        }
        put_fixed_header(first, self.bytes.len(), out);
        out.put_slice(&self.bytes);
        true
    }
}

/// Makes room for the whole packet, and begins it. The caller has seen to it that its length has a form.
#[inline]
pub(super) fn put_fixed_header(first: u8, body_bytes: usize, out: &mut BytesMut) {
    out.reserve(FIXED_HEADER_BYTES_MAX + body_bytes);
    out.put_u8(first);
    put_variable_number(body_bytes, out);
}

/// A number in seven bits a byte, the lowest first (MQTT 5 §1.5.5).
pub(super) fn put_variable_number(number: usize, out: &mut BytesMut) {
    let mut left = number;
    while left > 0x7F {
        out.put_u8(low_byte(left) | 0x80);
        left >>= 7;
    }
    out.put_u8(low_byte(left));
}

/// The bytes that [`put_variable_number`] takes.
pub(super) const fn variable_number_bytes(number: usize) -> usize {
    match number {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

fn low_byte(number: usize) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

/// Bytes after their length. The caller has seen to it that they are at most 65,535.
pub(super) fn put_binary(bytes: &[u8], out: &mut BytesMut) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(bytes);
}
