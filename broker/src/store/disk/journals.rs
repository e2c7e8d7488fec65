//! The engine's journals, read before the engine opens them: whether they are whole, and how far they go. It
//! takes bytes that make no sense for a torn end, cuts the file there, and goes on without what was behind.
//!
//! A journal is `<number>.jnl`. The one with the highest number is being written; those before it are full, and
//! were synced to their end. Numbers are little-endian; behind the last batch are zeros.
//!
//! ```text
//! batch  1  items u32  sequence u64   items   3  XXH3 of the items u64  "FJL" 3
//! item   2  kind u8  compression u8 = 0  keyspace u64  key length u16  length u32  the same u32  key  value
//!        4  keyspace u64
//! ```
//!
//! Always holds: nothing is written, and what is read takes a buffer, however long it is. That the last item of
//! each batch of ours is `meta/last` is what tells where a journal ends.

use super::super::batch::Last;
use super::super::layout::META_LAST;
use super::tails::{has_data, is_accepted};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

const BUFFER_BYTES: usize = 1 << 18;
/// The engine begins another journal when one is longer.
const FULL_BYTES: u64 = 64_000_000;
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Kinds of items from 0 on: a value, and two of removals.
const KINDS: u8 = 3;

/// What is wrong with a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Something in a batch is not what it can be.
    Malformed,
    /// The file ends in a batch.
    CutShort,
    /// The checksum of a batch does not hold.
    Checksum,
    /// A batch is older than the one before it.
    Order,
    /// It ends before it is full, and there is a newer one.
    Short,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "what stands there makes no sense",
            Self::CutShort => "the file ends too early",
            Self::Checksum => "the checksum does not hold",
            Self::Order => "what stands there is older than what stands before it",
            Self::Short => "it ends there, and is not full",
        })
    }
}

/// Where a journal stops making sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The file.
    pub(crate) file: PathBuf,
    /// Up to this byte it is sound.
    pub(crate) at: u64,
    /// What is wrong with what is behind.
    pub(crate) flaw: Flaw,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, flaw } = self;
        let name = file.file_name().unwrap_or_default();
        write!(f, "the journal '{}' is damaged from byte {at} on: {flaw}", name.display())
    }
}

/// What the journals of a store hold.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// From the oldest to the newest.
    pub(super) journals: Vec<PathBuf>,
    /// The newest batch; none where no journal has one.
    pub(super) last: Option<Last>,
    /// In those that are not the newest: what was there is missing.
    pub(super) damaged: Vec<Damage>,
    /// Behind the last batch of the newest: what was being written, or what was acknowledged and is damaged.
    pub(super) torn: Option<Damage>,
}

impl Survey {
    /// Reads the journals in a folder.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let mut survey = Self { journals: journals(folder)?, ..Self::default() };
        let mut reading = Reading { last: None, sequence: None };
        let newest = survey.journals.last().cloned();
        for file in &survey.journals {
            let (at, flaw) = reading.read(file)?;
            let is_newest = Some(file) == newest.as_ref();
            let is_short = at < FULL_BYTES && !is_newest && !is_accepted(file, at);
            let Some(flaw) = flaw.or(is_short.then_some(Flaw::Short)) else { continue };
            let damage = Damage { file: file.clone(), at, flaw };
            if is_newest {
                survey.torn = Some(damage);
            } else {
                survey.damaged.push(damage);
            }
        }
        survey.last = reading.last;
        Ok(survey)
    }
}

/// The journals in a folder, the newest last. Another file with such a name is the engine's to refuse.
fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".jnl")).and_then(|number| number.parse().ok());
        if let Some(number) = number {
            journals.push((number, path));
        }
    }
    journals.sort_by_key(|(number, _): &(u64, _)| *number);
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// What is known after some of the journals.
struct Reading {
    last: Option<Last>,
    /// Of the batch before.
    sequence: Option<u64>,
}

impl Reading {
    /// Reads a journal: up to where it is sound, and why no further, if something is there.
    fn read(&mut self, file: &Path) -> io::Result<(u64, Option<Flaw>)> {
        let mut journal = Journal::open(file)?;
        loop {
            let sound = journal.at;
            match journal.batch() {
                Ok(Some(batch)) if self.sequence.is_some_and(|before| batch.sequence <= before) => {
                    return Ok((sound, Some(Flaw::Order)));
                }
                Ok(Some(batch)) => {
                    self.sequence = Some(batch.sequence);
                    self.last = batch.last.or(self.last);
                }
                Ok(None) => return Ok((sound, None)),
                Err(Stop::Flaw(flaw)) => return Ok((sound, Some(flaw))),
                Err(Stop::Io(why)) => return Err(why),
            }
        }
    }
}

struct Batch {
    sequence: u64,
    /// Where the store is with it.
    last: Option<Last>,
}

enum Stop {
    Flaw(Flaw),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(why: io::Error) -> Self {
        if why.kind() == io::ErrorKind::UnexpectedEof { Self::Flaw(Flaw::CutShort) } else { Self::Io(why) }
    }
}

/// The lengths of key and value in the head of an item, if it is one.
fn item_lengths(tag: u8, head: &[u8; 20]) -> Option<(u16, u32)> {
    let ([kind, compression], rest) = head.split_first_chunk()?;
    let (_keyspace, rest) = rest.split_first_chunk::<8>()?;
    let (key_bytes, rest) = rest.split_first_chunk()?;
    let (bytes, again) = rest.split_first_chunk()?;
    let is_sound = tag == ITEM && *kind < KINDS && *compression == 0 && bytes == again;
    is_sound.then_some((u16::from_le_bytes(*key_bytes), u32::from_le_bytes(*bytes)))
}

/// A journal that is read from its beginning.
struct Journal {
    reader: BufReader<File>,
    at: u64,
    /// Over the items of the batch at hand.
    hash: Xxh3,
}

impl Journal {
    fn open(file: &Path) -> io::Result<Self> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, File::open(file)?);
        Ok(Self { reader, at: 0, hash: Xxh3::new() })
    }

    /// The next batch; none where nothing but zeros is left.
    fn batch(&mut self) -> Result<Option<Batch>, Stop> {
        match self.reader.fill_buf()?.first() {
            None => return Ok(None),
            Some(0) => {
                let has_data = has_data(self.reader.get_ref(), self.at)?;
                return if has_data { Err(Stop::Flaw(Flaw::Malformed)) } else { Ok(None) };
            }
            Some(_) => {}
        }
        self.expect(START)?;
        let items = u32::from_le_bytes(self.take()?);
        let sequence = u64::from_le_bytes(self.take()?);
        self.hash.reset();
        let mut last = None;
        for _ in 0..items {
            last = self.item()?;
        }
        let is = self.hash.digest();
        self.expect(END)?;
        let said = u64::from_le_bytes(self.take()?);
        if self.take()? != TRAILER {
            return Err(Stop::Flaw(Flaw::Malformed));
        }
        if is != said {
            return Err(Stop::Flaw(Flaw::Checksum));
        }
        Ok(Some(Batch { sequence, last }))
    }

    /// The next item: where the store is, if it says that.
    fn item(&mut self) -> Result<Option<Last>, Stop> {
        let [tag] = self.take()?;
        if tag == CLEAR {
            let _keyspace: [u8; 8] = self.take()?;
            return Ok(None);
        }
        let (key_bytes, bytes) = item_lengths(tag, &self.take()?).ok_or(Stop::Flaw(Flaw::Malformed))?;
        if usize::from(key_bytes) != META_LAST.len() {
            self.pass(u64::from(key_bytes) + u64::from(bytes))?;
            return Ok(None);
        }
        let key: [u8; META_LAST.len()] = self.take()?;
        if key != META_LAST || bytes != 16 {
            self.pass(bytes.into())?;
            return Ok(None);
        }
        Ok(Last::from_bytes(&self.take::<16>()?))
    }

    fn expect(&mut self, tag: u8) -> Result<(), Stop> {
        let [found] = self.take()?;
        if found == tag { Ok(()) } else { Err(Stop::Flaw(Flaw::Malformed)) }
    }

    /// The next bytes.
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        self.at += N as u64;
        Ok(bytes)
    }

    /// Goes past so many.
    fn pass(&mut self, mut bytes: u64) -> io::Result<()> {
        while bytes > 0 {
            let buffer = self.reader.fill_buf()?;
            let most = usize::try_from(bytes).unwrap_or(usize::MAX);
            let here = buffer.get(..most).unwrap_or(buffer);
            if here.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.hash.update(here);
            let passed = here.len();
            self.reader.consume(passed);
            self.at += passed as u64;
            bytes -= passed as u64;
        }
        Ok(())
    }
}
