//! A strict reader and a deterministic writer of CBOR (RFC 8949), as much of it as COSE needs.
//!
//! Own code, and not `coset` over `ciborium`, because the refusals are the point. Those build a tree of owned
//! values first (2.8 µs an envelope, a copy of every byte), accept indefinite lengths, and nest far deeper
//! than 8. This reader borrows everything, allocates only for maps of more than eight labels, believes no
//! length that the input cannot hold, goes at most [`DEPTH_MAX`] deep and reads [`ENTRIES_MAX`] map entries.
//!
//! Always holds: whatever comes in, the reader ends with a value or [`Malformed`], never with a panic.
//! Integers and lengths in a longer form than needed are accepted, since RFC 8949 calls them valid.

use std::collections::BTreeSet;

/// How many arrays, maps and tags may lie within each other.
pub(crate) const DEPTH_MAX: u8 = 8;

/// How many entries all maps of one input may have together, since finding a label twice costs most of all.
pub(crate) const ENTRIES_MAX: u16 = 256;

/// How many labels of one map are compared without allocating.
const FEW_LABELS: usize = 8;

const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// The simple value `null`, head and all: a float has the same major type and may have the same argument.
const NULL: u8 = 0xf6;

// The length of the argument that follows a head (RFC 8949 §3).
const ARGUMENT_1: u8 = 0x18;
const ARGUMENT_2: u8 = 0x19;
const ARGUMENT_4: u8 = 0x1a;
const ARGUMENT_8: u8 = 0x1b;

/// The input is not the CBOR that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The key of a map's entry, comparable by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label<'a> {
    /// Any integer of CBOR.
    Int(i128),
    /// Text, in UTF-8.
    Text(&'a [u8]),
    /// Another type, as it is encoded; no header has these.
    Other(&'a [u8]),
}

/// Reads items from the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    depth: u8,
    entries_left: u16,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0, entries_left: ENTRIES_MAX }
    }

    /// Refuses bytes after the last item.
    pub(crate) const fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    /// Reads this very tag.
    pub(crate) fn tag(&mut self, number: u64) -> Result<(), Malformed> {
        if self.head()? == (TAG, number) { Ok(()) } else { Err(Malformed) }
    }

    /// Reads any tag's number.
    pub(crate) fn any_tag(&mut self) -> Result<u64, Malformed> {
        self.argument(TAG)
    }

    /// Reads the head of an array of exactly this many items.
    pub(crate) fn array(&mut self, items: u64) -> Result<(), Malformed> {
        if self.head()? == (ARRAY, items) { Ok(()) } else { Err(Malformed) }
    }

    /// Reads the head of an array of any length; it is believed only as far as items follow.
    pub(crate) fn any_array(&mut self) -> Result<u64, Malformed> {
        self.argument(ARRAY)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.argument(BYTES)?;
        self.take(length)
    }

    /// Reads a byte string of exactly `N` bytes.
    pub(crate) fn bytes_exact<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        self.bytes()?.try_into().map_err(|_| Malformed)
    }

    /// Whether a byte string comes next.
    pub(crate) fn at_bytes(&self) -> bool {
        self.rest.first().is_some_and(|first| first >> 5 == BYTES)
    }

    /// Reads a null.
    pub(crate) fn null(&mut self) -> Result<(), Malformed> {
        self.rest = self.rest.strip_prefix(&[NULL]).ok_or(Malformed)?;
        Ok(())
    }

    pub(crate) fn uint(&mut self) -> Result<u64, Malformed> {
        self.argument(UINT)
    }

    /// Reads an integer or a text, and gives nothing for a text.
    pub(crate) fn int_or_text(&mut self) -> Result<Option<i128>, Malformed> {
        match self.label()? {
            Label::Int(number) => Ok(Some(number)),
            Label::Text(_) => Ok(None),
            Label::Other(_) => Err(Malformed),
        }
    }

    /// Reads a map without entries.
    pub(crate) fn empty_map(&mut self) -> Result<(), Malformed> {
        if self.head()? == (MAP, 0) { Ok(()) } else { Err(Malformed) }
    }

    /// Reads a map of headers, whose labels are integers or texts (RFC 9052 §1.5) and all differ. `entry` is
    /// given each integer, or nothing for a text, and must read the value.
    pub(crate) fn header(
        &mut self,
        mut entry: impl FnMut(&mut Self, Option<i128>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.map(|reader, label| match label {
            Label::Int(number) => entry(reader, Some(number)),
            Label::Text(_) => entry(reader, None),
            Label::Other(_) => Err(Malformed),
        })
    }

    /// Passes over one item of any type, with everything in it.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        let before = self.rest;
        let (major, argument) = self.head()?;
        match major {
            BYTES => self.take(argument).map(drop),
            TEXT => self.text(argument).map(drop),
            ARRAY => self.nested(|reader| (0..argument).try_for_each(|_| reader.skip())),
            MAP => {
                self.rest = before;
                self.map(|reader, _| reader.skip())
            }
            TAG => self.nested(Self::skip),
            _ => Ok(()),
        }
    }

    /// Reads a map whose labels all differ, `entry` the values.
    fn map(
        &mut self,
        mut entry: impl FnMut(&mut Self, Label<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let pairs = self.argument(MAP)?;
        self.nested(|reader| {
            let mut seen = Seen::default();
            for _ in 0..pairs {
                reader.entries_left = reader.entries_left.checked_sub(1).ok_or(Malformed)?;
                let label = reader.label()?;
                seen.insert(label)?;
                entry(reader, label)?;
            }
            Ok(())
        })
    }

    fn label(&mut self) -> Result<Label<'a>, Malformed> {
        let before = self.rest;
        let (major, argument) = self.head()?;
        match major {
            UINT => Ok(Label::Int(i128::from(argument))),
            NEGATIVE => Ok(Label::Int(-1 - i128::from(argument))),
            TEXT => self.text(argument).map(Label::Text),
            _ => {
                self.rest = before;
                self.skip()?;
                let length = before.len() - self.rest.len();
                before.get(..length).map(Label::Other).ok_or(Malformed)
            }
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        if self.depth >= DEPTH_MAX {
            return Err(Malformed);
        }
        self.depth += 1;
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn text(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| Malformed)?;
        Ok(bytes)
    }

    fn argument(&mut self, wanted: u8) -> Result<u64, Malformed> {
        let (major, argument) = self.head()?;
        if major == wanted { Ok(argument) } else { Err(Malformed) }
    }

    /// Reads major type and argument; refuses indefinite lengths, reserved forms and badly formed simple values.
    #[inline]
    fn head(&mut self) -> Result<(u8, u64), Malformed> {
        let (&first, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        let (major, info) = (first >> 5, first & 0x1f);
        let argument = match info {
            0..=23 => u64::from(info),
            ARGUMENT_1 => u64::from(u8::from_be_bytes(self.take_array()?)),
            ARGUMENT_2 => u64::from(u16::from_be_bytes(self.take_array()?)),
            ARGUMENT_4 => u64::from(u32::from_be_bytes(self.take_array()?)),
            ARGUMENT_8 => u64::from_be_bytes(self.take_array()?),
            _ => return Err(Malformed),
        };
        // RFC 8949 §3.3: simple values below 32 have no two-byte form.
        if first == 0xf8 && argument < 32 {
            return Err(Malformed);
        }
        Ok((major, argument))
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// The labels of one map so far. Only a map of unusual size costs an allocation.
#[derive(Default)]
struct Seen<'a> {
    few: [Option<Label<'a>>; FEW_LABELS],
    many: BTreeSet<Label<'a>>,
}

impl<'a> Seen<'a> {
    fn insert(&mut self, label: Label<'a>) -> Result<(), Malformed> {
        for slot in &mut self.few {
            match slot {
                Some(other) if *other == label => return Err(Malformed),
                Some(_) => {}
                None => {
                    *slot = Some(label);
                    return Ok(());
                }
            }
        }
        if self.many.insert(label) { Ok(()) } else { Err(Malformed) }
    }
}

/// Writes items in the deterministic encoding: every head in its shortest form.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn tag(&mut self, number: u64) -> &mut Self {
        self.head(TAG, number)
    }

    pub(crate) fn array(&mut self, items: u64) -> &mut Self {
        self.head(ARRAY, items)
    }

    pub(crate) fn map(&mut self, pairs: u64) -> &mut Self {
        self.head(MAP, pairs)
    }

    pub(crate) fn uint(&mut self, number: u64) -> &mut Self {
        self.head(UINT, number)
    }

    /// Writes an integer; one beyond what CBOR's plain integers hold becomes the last of them.
    pub(crate) fn int(&mut self, number: i128) -> &mut Self {
        // -1 - n is the bitwise complement of n, which cannot overflow.
        let (major, argument) = if number < 0 { (NEGATIVE, !number) } else { (UINT, number) };
        self.head(major, u64::try_from(argument).unwrap_or(u64::MAX))
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes_head(bytes.len()).raw(bytes)
    }

    /// Writes the head of a byte string whose bytes follow.
    pub(crate) fn bytes_head(&mut self, length: usize) -> &mut Self {
        self.head(BYTES, length as u64)
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, text.len() as u64).raw(text.as_bytes())
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.raw(&[NULL])
    }

    /// Writes bytes that are encoded already.
    pub(crate) fn raw(&mut self, encoded: &[u8]) -> &mut Self {
        self.0.extend_from_slice(encoded);
        self
    }

    fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let major = major << 5;
        let [_, _, _, _, b3, b2, b1, b0] = argument.to_be_bytes();
        match argument {
            0..=23 => self.0.push(major | b0),
            24..=0xff => self.0.extend_from_slice(&[major | ARGUMENT_1, b0]),
            0x100..=0xffff => self.0.extend_from_slice(&[major | ARGUMENT_2, b1, b0]),
            0x1_0000..=0xffff_ffff => self.0.extend_from_slice(&[major | ARGUMENT_4, b3, b2, b1, b0]),
            _ => {
                self.0.push(major | ARGUMENT_8);
                self.0.extend_from_slice(&argument.to_be_bytes());
            }
        }
        self
    }
}

/// How many bytes the head of an item with this length takes.
pub(crate) const fn head_bytes(length: usize) -> usize {
    match length {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skip(bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        reader.skip()?;
        reader.end()
    }

    #[test]
    fn nesting_ends_at_eight() {
        for (opening, closing) in
            [(vec![0x81], vec![0x00]), (vec![0xc1], vec![0x00]), (vec![0xa1, 0x00], vec![0x00])]
        {
            let nested = |depth: usize| [opening.repeat(depth), closing.clone()].concat();
            assert_eq!(skip(&nested(8)), Ok(()));
            assert_eq!(skip(&nested(9)), Err(Malformed));
            assert_eq!(skip(&nested(100_000)), Err(Malformed));
        }
    }

    #[test]
    fn what_is_not_strict_is_refused() {
        let refused: [&[u8]; 12] = [
            b"",
            b"\x9f\xff",                             // an array of indefinite length
            b"\xbf\xff",                             // a map of indefinite length
            b"\x5f\x41\x00\xff",                     // a byte string of indefinite length
            b"\xff",                                 // a break
            b"\x1c",                                 // a reserved length
            b"\xf8\x14",                             // a simple value in the wrong form
            b"\x62\xc3\x28",                         // text that is not UTF-8
            b"\xa2\x04\x00\x04\x00",                 // a label twice
            b"\xa2\x04\x00\x18\x04\x00",             // a label twice, once in a longer form
            b"\xa2\x81\x00\x00\x81\x00\x00",         // a label of another type twice
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", // a length beyond all memory
        ];
        for bytes in refused {
            assert_eq!(skip(bytes), Err(Malformed), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_label_twice_is_found_in_maps_of_any_size() {
        for size in [2_u32, 8, 9, 10, 200] {
            for twin in [0, (size - 1) / 2, size - 2] {
                let mut writer = Writer::default();
                writer.map(u64::from(size));
                for label in 0..size {
                    writer.int(i128::from(if label == size - 1 { twin } else { label })).null();
                }
                assert_eq!(skip(&writer.finish()), Err(Malformed), "{twin} twice among {size}");
            }
        }
    }

    #[test]
    fn the_entries_of_all_maps_are_bounded() {
        let maps = |count: u64, size: u8| {
            let mut writer = Writer::default();
            writer.array(count);
            for _ in 0..count {
                writer.map(u64::from(size));
                for label in 0..size {
                    writer.uint(u64::from(label)).null();
                }
            }
            writer.finish()
        };
        assert_eq!(skip(&maps(2, 128)), Ok(()));
        assert_eq!(skip(&maps(257, 1)), Err(Malformed));
        assert_eq!(skip(&maps(2, 129)), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = skip(&bytes);
        }

        #[test]
        fn integers_come_back(number in -(1_i128 << 64)..(1_i128 << 64)) {
            let mut writer = Writer::default();
            writer.int(number);
            let bytes = writer.finish();
            prop_assert_eq!(Reader::new(&bytes).int_or_text(), Ok(Some(number)));
        }
    }
}
