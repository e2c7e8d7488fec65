//! Sessions that have ended and of which something is left in the store. Their keys go in slices, one with a
//! batch, so that neither a batch nor a look at the disk becomes long.
//!
//! Owns which sessions have ended, and how far the removal of the first is. Always holds: a slice begins
//! where the one before it ended, since what has been removed is still walked over on disk for a while.

use super::engine::{Engine, EngineError};
use super::layout::{self, Keyspace};
use super::record::{Body, Entry};
use crate::delivery::SessionId;
use bytes::Bytes;
use rustc_hash::FxHashSet;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Where a session has keys, besides its record.
const KEYSPACES: [Keyspace; 4] =
    [Keyspace::Subscription, Keyspace::Inflight, Keyspace::Inbound, Keyspace::Queue];
/// Sessions that have ended and of which a late change is still known to be one.
const ENDED_MAX: usize = 65_536;

/// See the module's description.
pub(super) struct Dying {
    ended: FxHashSet<SessionId>,
    ended_in_turn: VecDeque<SessionId>,
    waiting: VecDeque<SessionId>,
    progress: Progress,
}

/// How far the first of those that wait is.
#[derive(Default)]
struct Progress {
    /// Among [`KEYSPACES`].
    keyspace: usize,
    /// The next key is not before this.
    from: Option<Vec<u8>>,
    /// Something of it could not be read, and stays.
    is_damaged: bool,
}

/// Some of what is left of a session.
#[derive(Default)]
pub(super) struct Slice {
    pub(super) keys: Vec<Left>,
    /// Whether nothing is left behind them.
    pub(super) is_last: bool,
}

/// A key that is left.
pub(super) struct Left {
    pub(super) keyspace: Keyspace,
    pub(super) key: Vec<u8>,
    /// The shared message that it stands for.
    pub(super) shared: Option<u64>,
}

impl Dying {
    /// The sessions whose removal was begun.
    pub(super) fn new(waiting: Vec<SessionId>) -> Self {
        Self {
            ended: waiting.iter().copied().collect(),
            ended_in_turn: waiting.iter().copied().collect(),
            waiting: waiting.into(),
            progress: Progress::default(),
        }
    }

    /// A session has ended.
    pub(super) fn begin(&mut self, session: SessionId) {
        if self.ended.insert(session) {
            self.ended_in_turn.push_back(session);
            self.waiting.push_back(session);
        }
        if self.ended_in_turn.len() > ENDED_MAX
            && let Some(oldest) = self.ended_in_turn.pop_front_if(|oldest| !self.waiting.contains(oldest))
        {
            self.ended.remove(&oldest);
        }
    }

    /// Whether a session has ended.
    pub(super) fn has_ended(&self, session: SessionId) -> bool {
        self.ended.contains(&session)
    }

    /// The session whose keys go next.
    pub(super) fn first(&self) -> Option<SessionId> {
        self.waiting.front().copied()
    }

    /// The next keys of that session, so many at most. What cannot be read stays, and is tried again after a
    /// start: it is no reason to end with all that can be.
    pub(super) fn slice(&mut self, keys_max: usize, engine: &dyn Engine) -> Result<Slice, EngineError> {
        let mut slice = Slice::default();
        let Some(session) = self.first() else { return Ok(slice) };
        let progress = &mut self.progress;
        while let Some(keyspace) = KEYSPACES.get(progress.keyspace).copied() {
            match read(session, keyspace, progress.from.take(), keys_max, &mut slice.keys, engine) {
                Ok(()) if slice.keys.len() < keys_max => progress.keyspace += 1,
                Ok(()) => {
                    // The smallest key behind the last one.
                    progress.from = slice.keys.last().map(|last| [&last.key[..], &[0]].concat());
                    return Ok(slice);
                }
                Err(EngineError::Corrupt(why)) => {
                    tracing::error!(
                        session = session.0,
                        keyspace = keyspace.name(),
                        "what is left of a session that has ended cannot be read, and stays: {why}"
                    );
                    (progress.keyspace, progress.is_damaged) = (progress.keyspace + 1, true);
                }
                Err(error) => return Err(error),
            }
        }
        self.waiting.pop_front();
        slice.is_last = !std::mem::take(&mut self.progress).is_damaged;
        Ok(slice)
    }
}

/// Reads keys of a session until there are so many.
fn read(
    session: SessionId,
    keyspace: Keyspace,
    from: Option<Vec<u8>>,
    keys_max: usize,
    found: &mut Vec<Left>,
    engine: &dyn Engine,
) -> Result<(), EngineError> {
    let prefix = layout::session_key(session);
    let from = from.unwrap_or_else(|| prefix.to_vec());
    engine.scan(keyspace, &prefix, &from, &mut |key, value| {
        if found.len() >= keys_max {
            return ControlFlow::Break(());
        }
        let is_shared = keyspace == Keyspace::Queue
            && Entry::decode(Bytes::copy_from_slice(value)).is_ok_and(|entry| entry.body == Body::Shared);
        let position = layout::parse_queue_key(key).filter(|_| is_shared).map(|(_, position)| position);
        found.push(Left { keyspace, key: key.to_vec(), shared: position });
        ControlFlow::Continue(())
    })
}
