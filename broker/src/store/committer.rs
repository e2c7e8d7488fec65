//! The one writer: takes what is pending, makes one batch of it, and has it kept. Under load batches grow by
//! themselves, since more is pending when one is done; alone a message costs one sync.
//!
//! Runs on a thread of its own ([`Committer::run`]), since a commit can take long; the simulation calls
//! [`Committer::step`] itself. Always holds: positions are announced only when what they stand for is
//! applied, and, where the configuration says so, synced.

use super::batch::{Batch, Last};
use super::engine::{Engine, EngineError};
use super::fold::Fold;
use super::health::Health;
use super::log::{Log, Taken, Work};
use super::{Durability, Position};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks for room when there was none.
const ROOM_LOOKS: Duration = Duration::from_millis(500);

/// See the module's description.
pub(crate) struct Committer {
    log: Arc<Log>,
    engine: Arc<dyn Engine>,
    health: Arc<Health>,
    fold: Fold,
    last: Last,
    durability: Durability,
    /// What there was no room for.
    unwritten: Option<(Batch, Position)>,
    /// Since when something is applied and not synced.
    unsynced: Option<Instant>,
}

impl Committer {
    /// Goes on behind `last`.
    pub(super) fn new(
        log: Arc<Log>,
        engine: Arc<dyn Engine>,
        health: Arc<Health>,
        fold: Fold,
        last: Last,
        durability: Durability,
    ) -> Self {
        Self { log, engine, health, fold, last, durability, unwritten: None, unsynced: None }
    }

    /// Writes until the log is closed, or something fails that cannot be mended here.
    pub(super) fn run(mut self) -> Result<(), EngineError> {
        loop {
            let until = if self.fold.is_removing() { Some(Instant::now()) } else { self.sync_due() };
            if self.log.await_work(until) == Work::Closed {
                let engine = self.engine.clone();
                return self.watched(|_| engine.sync());
            }
            match self.step() {
                Ok(()) => {}
                Err(EngineError::NoSpace) => self.await_room()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes one batch of what is pending, and syncs what is due.
    pub(crate) fn step(&mut self) -> Result<(), EngineError> {
        self.watched(Self::write)
    }

    /// Does something of which it is said when it takes too long.
    fn watched<T>(&mut self, something: impl FnOnce(&mut Self) -> T) -> T {
        self.health.step_begins();
        let done = something(self);
        self.health.step_ends();
        done
    }

    fn write(&mut self) -> Result<(), EngineError> {
        if self.unwritten.is_none() {
            let taken = self.log.take(self.fold.is_removing());
            self.unwritten = self.fold(&taken)?;
        }
        if let Some((batch, position)) = &self.unwritten {
            let sync = self.durability == Durability::Sync;
            self.engine.commit(batch, sync)?;
            self.last = batch.last();
            let position = *position;
            self.unwritten = None;
            if !sync {
                self.unsynced.get_or_insert_with(Instant::now);
            }
            self.log.advance(position);
        }
        if self.sync_due().is_some_and(|due| due <= Instant::now()) {
            self.engine.sync()?;
            self.unsynced = None;
        }
        Ok(())
    }

    /// A step, and what is said of it, as [`Committer::run`] does both, but for its waiting.
    #[cfg(test)]
    pub(crate) fn step_aloud(&mut self) -> Result<(), EngineError> {
        let stepped = self.step();
        match &stepped {
            Err(EngineError::NoSpace) => self.health.no_space(),
            Ok(()) if self.health.has_no_space() => self.health.space_again(),
            Ok(()) | Err(_) => {}
        }
        stepped
    }

    /// The batch that changes come to; none where they come to nothing, or where there are none.
    fn fold(&mut self, taken: &Taken) -> Result<Option<(Batch, Position)>, EngineError> {
        if taken.positions == 0 {
            return Ok(None);
        }
        let position = Position(taken.first + taken.positions - 1);
        let ops = self.fold.fold(taken.first, &taken.changes, &*self.engine)?;
        if ops.is_empty() {
            self.log.advance(position);
            return Ok(None);
        }
        Ok(Some((Batch::new(position, self.last.checksum, &ops), position)))
    }

    /// When what is applied must be synced; with `sync` it is from the beginning.
    fn sync_due(&self) -> Option<Instant> {
        let Durability::Async { interval } = self.durability else { return None };
        self.unsynced?.checked_add(interval)
    }

    /// There was no room. Nothing is acknowledged until there is; then it goes on as if nothing had been.
    fn await_room(&mut self) -> Result<(), EngineError> {
        self.health.no_space();
        loop {
            if self.engine.make_room(self.unwritten.as_ref().map(|(batch, _)| batch)) {
                match self.watched(|this| this.engine.reopen().and_then(|()| this.write())) {
                    Err(EngineError::NoSpace) => {}
                    done => {
                        done?;
                        self.health.space_again();
                        return Ok(());
                    }
                }
            }
            if self.log.is_closing() {
                return Err(EngineError::NoSpace);
            }
            // Nobody tells when somebody else has made room.
            std::thread::sleep(ROOM_LOOKS);
        }
    }
}
