//! What was removed and still takes space: a removal is one more entry in a table, and what it removes goes
//! when tables are merged. The engine merges by what there is, not by what of it is gone, so removals are
//! counted here.

use super::super::batch::Batch;
use super::super::layout::Keyspace;
use super::Handles;
use fjall::AbstractTree;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a keyspace may take on disk before it is looked at.
const BYTES_MIN: u64 = 1 << 20;

/// How many removals each keyspace may hold, about.
#[derive(Debug, Default)]
pub(super) struct Removed([AtomicU64; Keyspace::ALL.len()]);

/// Tables that are mostly of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waste {
    /// Whose.
    pub(super) keyspace: Keyspace,
    /// What would be left of them, bytes, about.
    pub(super) left: u64,
}

impl Removed {
    /// Begins with what tables say, and with what came out of the journals: that may be removals.
    pub(super) fn of(handles: &Handles) -> Self {
        let removed = Self::default();
        for (count, keyspace) in removed.0.iter().zip(&handles.keyspaces) {
            let in_memory = keyspace.tree.active_memtable().len() as u64;
            count.store(keyspace.tree.tombstone_count() + in_memory, Ordering::Relaxed);
        }
        removed
    }

    /// A batch was committed.
    pub(super) fn count(&self, batch: &Batch) {
        for op in batch.ops().filter(|op| op.value.is_none()) {
            if let Some(count) = self.0.get(op.keyspace.index()) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The keyspaces of which at least half of what was put is removed. What has just been put and removed
    /// counts twice in their lengths, once as it is and once as its removal. So merging them writes no more than
    /// it gives back, however long the queues are that stay.
    pub(super) fn waste(&self, handles: &Handles) -> Vec<Waste> {
        let look = |((keyspace, count), handle): ((Keyspace, &AtomicU64), &fjall::Keyspace)| {
            let (bytes, entries) = (handle.disk_space(), handle.approximate_len() as u64);
            let removed = count.load(Ordering::Relaxed);
            let is_much = bytes >= BYTES_MIN && removed.saturating_mul(3) >= entries;
            let left = bytes / entries.max(1) * entries.saturating_sub(removed.saturating_mul(2));
            is_much.then_some(Waste { keyspace, left })
        };
        Keyspace::ALL.into_iter().zip(&self.0).zip(&handles.keyspaces).filter_map(look).collect()
    }

    /// Its tables are about to be merged.
    pub(super) fn forget(&self, keyspace: Keyspace) {
        if let Some(count) = self.0.get(keyspace.index()) {
            count.store(0, Ordering::Relaxed);
        }
    }
}
