//! Writes a store out as lines of text: records in the order of their keys, and behind each batch of them
//! what the batch is as bytes, so that a line that was changed, lost or moved is found when it is read.

use super::super::batch::{Batch, Ops};
use super::super::engine::{Engine, EngineError};
use super::super::layout::{self, Keyspace, SCHEMA};
use super::super::record::decode_enrolled;
use super::super::{OpenError, Position};
use super::lines::{self, BatchLine, Checksum, EndLine, FORMAT, Header};
use super::{Progress, is_incomplete};
use crate::enrolment::Kind;
use crate::now::Clock;
use bytes::Bytes;
use serde::Serialize;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// Records in one batch, and their bytes, about.
const BATCH_RECORDS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Why a store was not written out, or not to the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// Half a store is not handed on as a whole one.
    #[error("{0}")]
    Incomplete(OpenError),
    /// Another program's store.
    #[error("its layout is {found}, and {SCHEMA} is what is known here: start the broker with it once")]
    Layout {
        /// What was found.
        found: u32,
    },
    /// The disk.
    #[error("the store: {0}")]
    Engine(#[from] EngineError),
    /// Where it goes to.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exported {
    /// Records.
    pub(crate) records: u64,
    /// In so many batches.
    pub(crate) batches: u64,
    /// How many of the records hold a topic key's secret.
    pub(crate) topic_keys: u64,
}

struct Writing<'a> {
    to: &'a mut dyn Write,
    ops: Ops,
    bytes: usize,
    /// Where the next batch is said to be, and behind which.
    position: u64,
    previous: u64,
    done: Exported,
}

/// Writes all of a store.
pub(crate) fn export(
    engine: &dyn Engine,
    to: &mut dyn Write,
    progress: Progress<'_>,
) -> Result<Exported, ExportError> {
    if is_incomplete(engine)? {
        return Err(ExportError::Incomplete(OpenError::Incomplete));
    }
    let schema = engine.get(Keyspace::Meta, layout::META_SCHEMA)?;
    let schema = schema.and_then(|value| value.as_ref().try_into().ok()).map_or(SCHEMA, u32::from_be_bytes);
    if schema != SCHEMA {
        return Err(ExportError::Layout { found: schema });
    }
    let position = engine.last()?.position.0;
    let exported_ms = Clock::read().unix_ms(Instant::now());
    let header = Header { sealmq: FORMAT.to_owned(), version: lines::VERSION, schema, position, exported_ms };
    let header = text(&header)?;
    writeln!(to, "{header}")?;
    let done = Exported { records: 0, batches: 0, topic_keys: 0 };
    // Behind the store's own, so that whoever goes on with it gives no position twice.
    let (position, previous) = (position.saturating_add(1), xxh3_64(header.as_bytes()));
    let mut writing = Writing { to, ops: Ops::new(), bytes: 0, position, previous, done };
    for keyspace in Keyspace::ALL {
        let mut failed = None;
        engine.scan(keyspace, &[], &[], &mut |key, value| {
            if (keyspace, key) == (Keyspace::Meta, layout::META_LAST) {
                return ControlFlow::Continue(());
            }
            progress(key.len() + value.len());
            match writing.take(keyspace, key, value) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    writing.finish()
}

impl Writing<'_> {
    fn take(&mut self, keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<(), ExportError> {
        let line = lines::write(keyspace, key, value).map_err(io::Error::from)?;
        writeln!(self.to, "{line}")?;
        self.bytes += key.len() + value.len();
        self.done.topic_keys += u64::from(keyspace == Keyspace::Enrolled && holds_a_secret(key, value));
        self.ops.insert((keyspace, key.to_vec()), Some(value.to_vec()));
        if self.ops.len() >= BATCH_RECORDS_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.end_batch()?;
        }
        Ok(())
    }

    fn end_batch(&mut self) -> Result<(), ExportError> {
        let ops = std::mem::take(&mut self.ops);
        let batch = Batch::new(Position(self.position), self.previous, &ops);
        self.done.batches += 1;
        self.done.records += ops.len() as u64;
        let line = BatchLine {
            batch: self.done.batches,
            records: ops.len(),
            position: self.position,
            previous: Checksum(batch.previous()),
            checksum: Checksum(batch.last().checksum),
        };
        writeln!(self.to, "{}", text(&line)?)?;
        (self.bytes, self.previous, self.position) = (0, batch.last().checksum, self.position + 1);
        Ok(())
    }

    fn finish(mut self) -> Result<Exported, ExportError> {
        if !self.ops.is_empty() {
            self.end_batch()?;
        }
        let Exported { records, batches, topic_keys: _ } = self.done;
        writeln!(self.to, "{}", text(&EndLine { end: true, batches, records })?)?;
        self.to.flush()?;
        Ok(self.done)
    }
}

/// Whether what is kept of somebody is a topic key, which opens.
fn holds_a_secret(key: &[u8], value: &[u8]) -> bool {
    let name = layout::parse_enrolled_key(key).filter(|name| name.kind == Kind::TopicKey);
    let record = name.and_then(|name| decode_enrolled(name, Bytes::copy_from_slice(value)).ok());
    record.is_some_and(|record| record.entry.is_some())
}

fn text(line: &impl Serialize) -> Result<String, io::Error> {
    Ok(serde_json::to_string(line)?)
}
