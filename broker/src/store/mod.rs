//! What is kept, and how durably. The broker's state lives with its owners (sessions, retained messages,
//! subscriptions); the store keeps what must outlive them, and the queues of those who are away.
//!
//! [`Store::append`] takes the changes that belong together and never waits. It answers with positions; an
//! acknowledgement that promises those changes is held back by `connection/` until the store has reached
//! them. With `durability = "memory"` nothing is kept, and every position is reached at once.

mod batch;
mod change;
mod committer;
mod disk;
mod dying;
mod engine;
mod fold;
mod health;
pub(crate) mod layout;
mod log;
pub(crate) mod offline;
mod open;
mod read;
mod record;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

pub(crate) use change::{Change, Receivers};
#[cfg(test)]
pub(crate) use committer::Committer;
pub(crate) use disk::{DiskOptions, OpenError};
pub(crate) use engine::{Engine, EngineError, Report};
pub(crate) use fold::packet_id;
pub(crate) use health::State;
pub(crate) use open::{Recovered, RecoveredSession};
pub(crate) use read::{InFlight, Page, Waiting};
pub(crate) use record::{FlightState, Held, KeptWill, SessionRecord};

use crate::ingress::message::Message;
use crate::now::Clock;
use health::Health;
use log::{Log, Urgency};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

/// How far the store must be before a promise may be made. Positions rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    /// Before the first change: reached from the start.
    pub(crate) const START: Self = Self(0);
}

/// What an acknowledgement promises where something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// That it will be on disk within this time.
    Async {
        /// Between two syncs.
        interval: Duration,
    },
    /// That it is on disk.
    Sync,
}

/// See the module's description.
pub(crate) struct Store {
    kept: Option<Kept>,
}

struct Kept {
    log: Arc<Log>,
    engine: Arc<dyn Engine>,
    health: Arc<Health>,
    clock: Clock,
    durability: Durability,
    /// Where it stood when it was opened.
    opened: Position,
    /// Tasks that read the disk at the moment.
    readers: AtomicUsize,
    thread: parking_lot::Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Store {
    /// Keeps nothing beyond the process.
    pub(crate) fn memory() -> Self {
        Self { kept: None }
    }

    /// Whether anything is kept at all; where not, nobody needs to gather changes.
    pub(crate) fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// Takes changes that belong together, in order, and drains `changes`. Somebody waits for them: they are
    /// written once [`Store::kick`] is called. Never waits. The positions of the first and the last.
    pub(crate) fn append(&self, changes: &mut Vec<Change>) -> (Position, Position) {
        self.append_as(changes, Urgency::Awaited)
    }

    /// The same for changes that nobody waits for: they ride with others, or are written within 100 ms.
    pub(crate) fn append_lazily(&self, changes: &mut Vec<Change>) -> (Position, Position) {
        self.append_as(changes, Urgency::Lazy)
    }

    fn append_as(&self, changes: &mut Vec<Change>, urgency: Urgency) -> (Position, Position) {
        match &self.kept {
            Some(kept) if !changes.is_empty() => kept.log.append(changes, urgency),
            Some(_) | None => {
                changes.clear();
                (Position::START, Position::START)
            }
        }
    }

    /// Has what somebody waits for written now. Called at the end of a turn, so that all of it goes at once.
    pub(crate) fn kick(&self) {
        if let Some(kept) = &self.kept {
            kept.log.kick();
        }
    }

    /// Ready once everything up to `position` is kept as durably as the configuration says; until then the
    /// waker in `cx` is kept, and woken when it is.
    pub(crate) fn poll_reached(&self, position: Position, cx: &mut Context<'_>) -> Poll<()> {
        match &self.kept {
            Some(kept) if kept.durability == Durability::Sync => kept.log.poll_applied(position, cx),
            Some(_) | None => Poll::Ready(()),
        }
    }

    /// Waits for that.
    pub(crate) async fn reached(&self, position: Position) {
        std::future::poll_fn(|cx| self.poll_reached(position, cx)).await;
    }

    /// Whether everything up to `position` is kept as durably as the configuration says.
    pub(crate) fn has_reached(&self, position: Position) -> bool {
        match &self.kept {
            Some(kept) if kept.durability == Durability::Sync => position <= kept.log.applied(),
            Some(_) | None => true,
        }
    }

    /// The position of the newest change.
    pub(crate) fn newest(&self) -> Position {
        self.kept.as_ref().map_or(Position::START, |kept| kept.log.newest())
    }

    /// Whether everything up to `position` can be read.
    pub(crate) fn has_applied(&self, position: Position) -> bool {
        self.kept.as_ref().is_none_or(|kept| position <= kept.log.applied())
    }

    /// Ready once everything up to `position` can be read.
    pub(crate) fn poll_applied(&self, position: Position, cx: &mut Context<'_>) -> Poll<()> {
        let Some(kept) = &self.kept else { return Poll::Ready(()) };
        if position > kept.log.applied() {
            kept.log.hurry();
        }
        kept.log.poll_applied(position, cx)
    }

    /// Waits for that.
    pub(crate) async fn applied(&self, position: Position) {
        std::future::poll_fn(|cx| self.poll_applied(position, cx)).await;
    }

    /// The newest position of which everything is written.
    pub(crate) fn written(&self) -> Position {
        self.kept.as_ref().map_or(Position::START, |kept| kept.log.applied())
    }

    /// Ready when there is room for more changes: who brings them is to be read no further meanwhile.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.kept.as_ref().map_or(Poll::Ready(()), |kept| kept.log.poll_room(cx))
    }

    /// Waits for that.
    pub(crate) async fn room(&self) {
        std::future::poll_fn(|cx| self.poll_room(cx)).await;
    }

    /// The bytes of the changes that are not written.
    #[cfg(test)]
    pub(crate) fn pending_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.log.pending_bytes())
    }

    /// Whether there is room for more changes.
    pub(crate) fn has_room(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| !kept.log.is_full())
    }

    /// Whether there is no space for anything that would have to be kept.
    pub(crate) fn has_no_space(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.health.has_no_space())
    }

    /// Whether it does what it is there for; none where nothing is kept.
    pub(crate) fn health(&self) -> Option<State> {
        self.kept.as_ref().map(|kept| kept.health.state())
    }

    /// Has the log say what is wrong with it; called now and then.
    pub(crate) fn watch(&self) {
        if let Some(kept) = &self.kept {
            kept.health.watch();
        }
    }

    /// How its engine is.
    pub(crate) fn report(&self) -> Report {
        self.kept.as_ref().map_or_else(Report::default, |kept| kept.engine.report())
    }

    /// Gives back on disk what is not needed any more. Takes its time.
    pub(crate) fn tidy(&self) -> Result<(), EngineError> {
        self.kept.as_ref().map_or(Ok(()), |kept| kept.engine.tidy())
    }

    /// Writes and syncs what is pending, and ends the writer.
    pub(crate) fn close(&self) {
        let Some(kept) = &self.kept else { return };
        kept.log.close();
        if let Some(thread) = kept.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer has ended with a panic");
        }
    }
}

/// Whether the body of a message lies apart from the queues of its receivers.
pub(crate) fn is_shared(to: &Receivers, message: &Message) -> bool {
    fold::is_shared(to, message)
}
