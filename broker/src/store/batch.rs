//! A batch: what is written at once, as bytes with a format of its own. The disk applies it, an export
//! carries it, and it names the batch before it, so that a missing or changed one cannot go unseen.
//!
//! ```text
//! "SMQB"  version u8 = 1  position u64  previous u64  count u32
//! count times: keyspace u8  kind u8 (1 put, 2 delete)  key length u32  key  [value length u32  value]
//! checksum u64: XXH3 over all before it
//! ```
//!
//! Numbers are big-endian. `position` is that of the newest change in the batch; `previous` is the checksum of
//! the batch before, 0 for the first. Always holds: no key twice in a keyspace, keys in order.

use super::Position;
use super::layout::Keyspace;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 4] = b"SMQB";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 25;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// What one batch does: for each key its new value, or none.
pub(crate) type Ops = BTreeMap<(Keyspace, Vec<u8>), Option<Vec<u8>>>;

/// The newest batch that a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Last {
    /// Its position.
    pub(crate) position: Position,
    /// Its checksum.
    pub(crate) checksum: u64,
}

impl Last {
    /// 16 bytes.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.position.0) << 64 | u128::from(self.checksum)).to_be_bytes()
    }

    /// Of 16 bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (position, checksum) = bytes.split_first_chunk()?;
        let checksum = u64::from_be_bytes(checksum.try_into().ok()?);
        Some(Self { position: Position(u64::from_be_bytes(*position)), checksum })
    }
}

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    last: Last,
    previous: u64,
}

/// Bytes are not a batch, or not a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    /// They end too early, or go on behind the end.
    #[error("the batch is cut short, or has something behind it")]
    Length,
    /// They do not begin like a batch of a version that is known.
    #[error("this is no batch of version {VERSION}")]
    Version,
    /// They are not what they were.
    #[error("the checksum of the batch does not hold")]
    Checksum,
    /// Something in them makes no sense.
    #[error("something in the batch makes no sense")]
    Malformed,
}

/// One change of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Op<'a> {
    /// In which keyspace.
    pub(crate) keyspace: Keyspace,
    /// Of which key.
    pub(crate) key: &'a [u8],
    /// The new value; none removes the key.
    pub(crate) value: Option<&'a [u8]>,
}

impl Batch {
    /// A batch up to `position`, behind the one with the checksum `previous`.
    pub(crate) fn new(position: Position, previous: u64, ops: &Ops) -> Self {
        let room = ops.iter().map(|((_, key), value)| key.len() + value.as_ref().map_or(0, Vec::len) + 10);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + room.sum::<usize>() + 8);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&position.0.to_be_bytes());
        bytes.extend_from_slice(&previous.to_be_bytes());
        bytes.extend_from_slice(&length(ops.len()).to_be_bytes());
        for ((keyspace, key), value) in ops {
            bytes.push(*keyspace as u8);
            bytes.push(if value.is_some() { PUT } else { DELETE });
            bytes.extend_from_slice(&length(key.len()).to_be_bytes());
            bytes.extend_from_slice(key);
            if let Some(value) = value {
                bytes.extend_from_slice(&length(value.len()).to_be_bytes());
                bytes.extend_from_slice(value);
            }
        }
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        Self { bytes, last: Last { position, checksum }, previous }
    }

    /// The batch that these changes were when somebody else gave it this checksum.
    pub(crate) fn sealed(
        position: Position,
        previous: u64,
        ops: &Ops,
        checksum: u64,
    ) -> Result<Self, BatchError> {
        let Self { mut bytes, .. } = Self::new(position, previous, ops);
        bytes.truncate(bytes.len().saturating_sub(8));
        bytes.extend_from_slice(&checksum.to_be_bytes());
        Self::decode(bytes)
    }

    /// The batch of these bytes, all of it checked.
    pub(crate) fn decode(bytes: Vec<u8>) -> Result<Self, BatchError> {
        let (body, checksum) = bytes.split_last_chunk().ok_or(BatchError::Length)?;
        let checksum = u64::from_be_bytes(*checksum);
        let mut rest = body.get(MAGIC.len() + 1..).ok_or(BatchError::Length)?;
        if !body.starts_with(MAGIC) || body.get(MAGIC.len()) != Some(&VERSION) {
            return Err(BatchError::Version);
        }
        if xxh3_64(body) != checksum {
            return Err(BatchError::Checksum);
        }
        let position = Position(take(&mut rest).map(u64::from_be_bytes).ok_or(BatchError::Length)?);
        let previous = take(&mut rest).map(u64::from_be_bytes).ok_or(BatchError::Length)?;
        let count = take(&mut rest).map(u32::from_be_bytes).ok_or(BatchError::Length)?;
        let mut before = None;
        for _ in 0..count {
            let op = take_op(&mut rest).ok_or(BatchError::Malformed)?;
            if before.is_some_and(|before| before >= (op.keyspace, op.key)) {
                return Err(BatchError::Malformed);
            }
            before = Some((op.keyspace, op.key));
        }
        if !rest.is_empty() {
            return Err(BatchError::Length);
        }
        Ok(Self { last: Last { position, checksum }, previous, bytes })
    }

    /// What it does, in the order of keyspaces and keys.
    pub(crate) fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        let end = self.bytes.len().saturating_sub(8);
        let mut rest = self.bytes.get(HEAD_BYTES..end).unwrap_or_default();
        std::iter::from_fn(move || take_op(&mut rest))
    }

    /// Its position and its checksum.
    pub(crate) fn last(&self) -> Last {
        self.last
    }

    /// The checksum of the batch before.
    pub(crate) fn previous(&self) -> u64 {
        self.previous
    }

    /// All of it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Keys and values are made of packets, which are far shorter than 4 GiB, and a batch of some thousands.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::from_be_bytes(take(rest)?)).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn take_op<'a>(rest: &mut &'a [u8]) -> Option<Op<'a>> {
    let [keyspace, kind] = take(rest)?;
    let keyspace = Keyspace::of(keyspace)?;
    let key = take_bytes(rest)?;
    let value = match kind {
        PUT => Some(take_bytes(rest)?),
        DELETE => None,
        _ => return None,
    };
    Some(Op { keyspace, key, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ops() -> impl Strategy<Value = Ops> {
        let key = (0..11_u8, proptest::collection::vec(any::<u8>(), 0..20));
        let key = key.prop_map(|(keyspace, key)| (Keyspace::of(keyspace).unwrap(), key));
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50));
        proptest::collection::btree_map(key, value, 0..20)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ops in ops(), position: u64, previous: u64) {
            let batch = Batch::new(Position(position), previous, &ops);
            let read = Batch::decode(batch.as_bytes().to_vec()).unwrap();
            prop_assert_eq!(&read, &batch);
            prop_assert_eq!((read.last().position, read.previous()), (Position(position), previous));
            let again: Ops = read
                .ops()
                .map(|op| ((op.keyspace, op.key.to_vec()), op.value.map(<[u8]>::to_vec)))
                .collect();
            prop_assert_eq!(again, ops);
        }

        #[test]
        fn a_flipped_bit_is_found(ops in ops(), at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = Batch::new(Position(7), 9, &ops).as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Batch::decode(bytes).is_err());
        }

        #[test]
        fn a_part_of_a_batch_is_none(ops in ops(), cut: prop::sample::Index) {
            let mut bytes = Batch::new(Position(7), 9, &ops).as_bytes().to_vec();
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(Batch::decode(bytes).is_err());
        }

        #[test]
        fn any_bytes_are_a_batch_or_an_error(bytes: Vec<u8>) {
            let _ = Batch::decode(bytes);
        }
    }
}
