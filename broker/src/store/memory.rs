//! `durability = "memory"`: the broker's own memory is all there is. Nothing is logged, every
//! position is reached at once, and a restart forgets everything.

use super::{Change, Position, Store};
use std::task::{Context, Poll};

/// Keeps nothing beyond the process.
pub(crate) struct Memory;

impl Store for Memory {
    fn keeps(&self) -> bool {
        false
    }

    fn append(&self, changes: &mut Vec<Change>) -> Position {
        changes.clear();
        Position::START
    }

    fn poll_reached(&self, _: Position, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
