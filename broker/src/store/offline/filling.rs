//! Fills an empty store, batch by batch, each of them synced. Owns the mark that says that it is not whole
//! yet: set before anything else, and taken away with the last batch.

use super::super::Position;
use super::super::batch::{Batch, Last, Ops};
use super::super::change::Change;
use super::super::engine::{Engine, EngineError};
use super::super::fold::Fold;
use super::super::layout::{self, Keyspace, SCHEMA};
use super::is_incomplete;
use crate::now::Clock;
use std::ops::ControlFlow;

/// Changes in one batch, and their bytes, about.
const BATCH_CHANGES_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Why a store cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FillError {
    /// Something is there.
    #[error("there is something in this store already (in '{0}'): only an empty one is filled")]
    NotEmpty(&'static str),
    /// Somebody began before.
    #[error("an import into this store was broken off: remove its folder, and import again")]
    BrokenOff,
    /// The disk.
    #[error("the store: {0}")]
    Engine(#[from] EngineError),
}

/// See the module's description.
pub(crate) struct Filling<'a> {
    engine: &'a dyn Engine,
    last: Last,
}

impl<'a> Filling<'a> {
    /// Begins, if nothing is there.
    pub(crate) fn begin(engine: &'a dyn Engine) -> Result<Self, FillError> {
        if is_incomplete(engine)? {
            return Err(FillError::BrokenOff);
        }
        for keyspace in Keyspace::ALL {
            let mut is_empty = true;
            engine.scan(keyspace, &[], &[], &mut |key, _| {
                // A broker that was started once has left these.
                let trace = keyspace == Keyspace::Meta && !key.starts_with(layout::META_DYING);
                is_empty &= trace;
                if trace { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            if !is_empty {
                return Err(FillError::NotEmpty(keyspace.name()));
            }
        }
        let mut filling = Self { engine, last: engine.last()? };
        filling.commit(filling.next(), &meta(layout::META_IMPORT, Some(Vec::new())))?;
        Ok(filling)
    }

    /// The position behind all that is there.
    pub(crate) fn next(&self) -> Position {
        Position(self.last.position.0.saturating_add(1))
    }

    /// One batch. Positions rise, whatever is asked for.
    pub(crate) fn commit(&mut self, position: Position, ops: &Ops) -> Result<(), EngineError> {
        let batch = Batch::new(position.max(self.next()), self.last.checksum, ops);
        self.engine.commit(&batch, true)?;
        self.last = batch.last();
        Ok(())
    }

    /// All is there.
    pub(crate) fn finish(mut self) -> Result<(), EngineError> {
        let mut ops = meta(layout::META_SCHEMA, Some(SCHEMA.to_be_bytes().to_vec()));
        ops.append(&mut meta(layout::META_IMPORT, None));
        self.commit(self.next(), &ops)?;
        self.engine.sync()
    }
}

/// Fills a store with what has happened, as a broker would: change by change.
pub(crate) struct Happening<'a> {
    filling: Filling<'a>,
    fold: Fold,
    /// The position of the first of the changes.
    first: u64,
    changes: Vec<Change>,
    bytes: usize,
}

impl<'a> Happening<'a> {
    /// Begins, if nothing is there.
    pub(crate) fn begin(engine: &'a dyn Engine, clock: Clock) -> Result<Self, FillError> {
        let filling = Filling::begin(engine)?;
        let (fold, first) = (Fold::new(clock, 1, Vec::new()), filling.next().0);
        Ok(Self { filling, fold, first, changes: Vec::new(), bytes: 0 })
    }

    /// The position of the next change.
    pub(crate) fn next(&self) -> Position {
        Position(self.first.saturating_add(self.changes.len() as u64))
    }

    /// One more change.
    pub(crate) fn take(&mut self, change: Change) -> Result<(), EngineError> {
        self.bytes += change.bytes();
        self.changes.push(change);
        if self.changes.len() >= BATCH_CHANGES_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), EngineError> {
        let next = self.next();
        if next.0 > self.first {
            let ops = self.fold.fold(self.first, &self.changes, self.filling.engine)?;
            self.filling.commit(Position(next.0 - 1), &ops)?;
        }
        (self.first, self.bytes) = (next.0, 0);
        self.changes.clear();
        Ok(())
    }

    /// All is there.
    pub(crate) fn finish(mut self) -> Result<(), EngineError> {
        self.commit()?;
        self.filling.finish()
    }
}

fn meta(key: &[u8], value: Option<Vec<u8>>) -> Ops {
    Ops::from([((Keyspace::Meta, key.to_vec()), value)])
}
