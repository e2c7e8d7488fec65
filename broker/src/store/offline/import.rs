//! Reads what [`super::export`] has written into an empty store. Each batch is put together again from its
//! lines, and nothing of it is committed before its checksum holds and it names the batch before it.

use super::super::Position;
use super::super::batch::{Batch, Ops};
use super::super::engine::{Engine, EngineError};
use super::super::layout::{KEY_BYTES_MAX, Keyspace, META_IMPORT, META_LAST, META_SCHEMA, SCHEMA};
use super::Progress;
use super::filling::{FillError, Filling};
use super::lines::{self, BATCH, BatchLine, END, EndLine, FORMAT, Header};
use std::io::{self, BufRead, Read};
use xxhash_rust::xxh3::xxh3_64;

/// The longest packet as base64, and as much again.
const LINE_BYTES_MAX: u64 = 1 << 30;
/// No batch has more lines.
const BATCH_RECORDS_MAX: usize = 100_000;

/// Why an export was not read, or not to the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The text is not what was written.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// What is wrong is in one of these.
    #[error("lines {first} to {last}: {why}")]
    Lines {
        /// From.
        first: u64,
        /// To.
        last: u64,
        /// What is wrong with them.
        why: String,
    },
    /// The text cannot be had.
    #[error("line {line}: cannot read on: {why}")]
    Read {
        /// Which, from 1.
        line: u64,
        /// What the system answered.
        why: io::Error,
    },
    /// The store to be filled.
    #[error(transparent)]
    Fill(#[from] FillError),
}

impl From<EngineError> for ImportError {
    fn from(error: EngineError) -> Self {
        Self::Fill(error.into())
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Imported {
    /// Records of each keyspace, in their order.
    pub(crate) records: [u64; Keyspace::ALL.len()],
    /// In so many batches.
    pub(crate) batches: u64,
}

impl Imported {
    /// All records.
    pub(crate) fn all(&self) -> u64 {
        self.records.iter().sum()
    }
}

/// An export of which the first line was read.
pub(crate) struct Import<R> {
    source: R,
    /// The line at hand, and its number.
    line: String,
    number: u64,
    /// Where the last batch was, and its checksum.
    position: u64,
    previous: u64,
    /// The batch at hand: what it does, and in front of which line it began.
    ops: Ops,
    begun: u64,
    done: Imported,
}

impl<R: BufRead> Import<R> {
    /// Reads the first line.
    pub(crate) fn new(source: R) -> Result<Self, ImportError> {
        let (line, ops, done) = (String::new(), Ops::new(), Imported::default());
        let mut import = Self { source, line, number: 0, position: 0, previous: 0, ops, begun: 1, done };
        let header: Option<Header> = if import.next()? { lines::parse(&import.line).ok() } else { None };
        let header = header.filter(|header| header.sealmq == FORMAT);
        let header = header.ok_or_else(|| import.wrong("this is no export of a store"))?;
        if header.version != lines::VERSION {
            let why = format!(
                "the export has version {}, and {} is what is read here",
                header.version,
                lines::VERSION
            );
            return Err(import.wrong(&why));
        }
        if header.schema != SCHEMA {
            let why = format!("the layout is {}, and {SCHEMA} is what is known here", header.schema);
            return Err(import.wrong(&why));
        }
        import.position = header.position;
        import.previous = xxh3_64(import.line.as_bytes());
        Ok(import)
    }

    /// Reads all of it.
    pub(crate) fn run(
        mut self,
        engine: &dyn Engine,
        progress: Progress<'_>,
    ) -> Result<Imported, ImportError> {
        let mut filling = Filling::begin(engine)?;
        while self.next()? {
            if self.line.starts_with(BATCH) {
                let batch = self.batch()?;
                let ops = std::mem::take(&mut self.ops);
                for (keyspace, _) in ops.keys() {
                    if let Some(records) = self.done.records.get_mut(keyspace.index()) {
                        *records += 1;
                    }
                }
                filling.commit(batch.last().position, &ops)?;
            } else if self.line.starts_with(END) {
                self.end()?;
                filling.finish()?;
                return Ok(self.done);
            } else {
                let bytes = self.record()?;
                progress(bytes);
            }
        }
        self.number += 1;
        Err(self.wrong("the line that ends an export is missing: it is not whole"))
    }

    fn record(&mut self) -> Result<usize, ImportError> {
        let (keyspace, key, value) = match lines::read(&self.line) {
            Ok(record) => record,
            Err(why) => return Err(self.wrong(&why.to_string())),
        };
        if keyspace == Keyspace::Meta && [META_LAST, META_IMPORT].contains(&&*key) {
            return Err(self.wrong("such a record is in no export"));
        }
        if keyspace == Keyspace::Meta && key == META_SCHEMA && value != SCHEMA.to_be_bytes() {
            return Err(self.wrong("the layout is none that is known here"));
        }
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            let why = format!("a key of {} bytes is none: they have 1 to {KEY_BYTES_MAX}", key.len());
            return Err(self.wrong(&why));
        }
        let key = (keyspace, key);
        if self.ops.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(self.wrong("the record is not behind the one before it: a line was moved or doubled"));
        }
        if self.ops.len() == BATCH_RECORDS_MAX {
            return Err(self.wrong("there is no batch of so many records"));
        }
        let bytes = key.1.len() + value.len();
        self.ops.insert(key, Some(value));
        Ok(bytes)
    }

    /// Holds the lines since the last batch against what the line at hand says of them.
    fn batch(&mut self) -> Result<Batch, ImportError> {
        let line: BatchLine = lines::parse(&self.line).map_err(|why| self.wrong(&why.to_string()))?;
        if line.batch != self.done.batches + 1 {
            let why = format!("batch {} stands where {} should", line.batch, self.done.batches + 1);
            return Err(self.wrong(&why));
        }
        if line.records != self.ops.len() {
            let why =
                format!("batch {} has {} records, and {} are here", line.batch, line.records, self.ops.len());
            return Err(self.in_batch(&why));
        }
        if line.previous.0 != self.previous {
            let why = if self.done.batches == 0 {
                "the first line is not the one that this export began with"
            } else {
                "the batch does not name the one before it"
            };
            return Err(self.wrong(why));
        }
        if line.position <= self.position {
            return Err(self.wrong("the batch is not behind the one before it"));
        }
        let batch = Batch::sealed(Position(line.position), line.previous.0, &self.ops, line.checksum.0);
        let batch = batch.map_err(|why| self.in_batch(&format!("{why}: one of these lines was changed")))?;
        self.done.batches += 1;
        (self.position, self.previous, self.begun) = (line.position, line.checksum.0, self.number);
        Ok(batch)
    }

    fn end(&mut self) -> Result<(), ImportError> {
        let line: EndLine = lines::parse(&self.line).map_err(|why| self.wrong(&why.to_string()))?;
        if !self.ops.is_empty() {
            return Err(self.in_batch("these records are in no batch"));
        }
        if !line.end || line.batches != self.done.batches || line.records != self.done.all() {
            let why = format!(
                "the export has {} batches of {} records in all, and {} of {} are here",
                line.batches,
                line.records,
                self.done.batches,
                self.done.all()
            );
            return Err(self.wrong(&why));
        }
        if self.next()? {
            return Err(self.wrong("there is something behind the end"));
        }
        Ok(())
    }

    /// Reads a line; whether there was one.
    fn next(&mut self) -> Result<bool, ImportError> {
        self.number += 1;
        self.line.clear();
        let number = self.number;
        let read = self.source.by_ref().take(LINE_BYTES_MAX).read_line(&mut self.line);
        let read = read.map_err(|why| {
            if why.kind() == io::ErrorKind::InvalidData {
                ImportError::Line { line: number, why: "it is not UTF-8".into() }
            } else {
                ImportError::Read { line: number, why }
            }
        })?;
        if read == 0 {
            self.number -= 1;
            return Ok(false);
        }
        if self.line.pop() != Some('\n') {
            return Err(self.wrong("the line has no end: the file is cut off"));
        }
        Ok(true)
    }

    fn wrong(&self, why: &str) -> ImportError {
        ImportError::Line { line: self.number.max(1), why: why.to_owned() }
    }

    fn in_batch(&self, why: &str) -> ImportError {
        ImportError::Lines { first: self.begun + 1, last: self.number, why: why.to_owned() }
    }
}
