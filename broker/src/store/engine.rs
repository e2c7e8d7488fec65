//! What the store stands on: something that takes batches in order, and gives values back by key. Two
//! bodies: the disk, and the disk that the simulation makes forget.

use super::batch::{Batch, Last};
use super::layout::{Keyspace, META_LAST};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Why the engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    /// There is no room; nothing of the batch is held, and once there is room it can be given again.
    #[error("no space is left on the device")]
    NoSpace,
    /// A write or a sync failed. What is in the system's cache is not to be trusted any more.
    #[error("{0}")]
    Failed(String),
    /// What is there is not what was written.
    #[error("{0}")]
    Corrupt(String),
}

/// A keyspace's keys in order.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// What a keyspace takes, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyspaceSize {
    /// Which.
    pub(crate) keyspace: Keyspace,
    /// In tables on disk, bytes.
    pub(crate) disk_bytes: u64,
}

/// How the engine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Each keyspace.
    pub(crate) keyspaces: Vec<KeyspaceSize>,
    /// Journals, bytes.
    pub(crate) journal_bytes: u64,
    /// All of it on disk, bytes.
    pub(crate) disk_bytes: u64,
}

/// See the module's description.
pub(crate) trait Engine: Send + Sync {
    /// The newest batch that it holds.
    fn last(&self) -> Result<Last, EngineError> {
        last_of(self.get(Keyspace::Meta, META_LAST)?.as_deref())
    }

    /// Applies a batch, all of it or nothing; with `sync` it holds through a power cut when this returns.
    /// Called by one thread at a time, in the order of the batches.
    fn commit(&self, batch: &Batch, sync: bool) -> Result<(), EngineError>;

    /// Makes everything that was committed hold through a power cut.
    fn sync(&self) -> Result<(), EngineError>;

    /// A value, in memory of its own.
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Visits what begins with `prefix`, in the order of keys, from `from` on, until told to stop. Sees every
    /// batch that was committed before the call.
    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        from: &[u8],
        visit: Visit<'_>,
    ) -> Result<(), EngineError>;

    /// There was no room: makes what room it can. Whether there is enough to go on, with this batch first.
    fn make_room(&self, batch: Option<&Batch>) -> bool;

    /// Begins anew on what is on disk, if something has failed for want of room.
    fn reopen(&self) -> Result<(), EngineError>;

    /// Gives back what is not needed any more. Takes its time, and is called when there is some.
    fn tidy(&self) -> Result<(), EngineError>;

    /// How it is.
    fn report(&self) -> Report;
}

/// The newest batch, as `meta/last` names it; none has been written where there is no such key.
pub(super) fn last_of(value: Option<&[u8]>) -> Result<Last, EngineError> {
    let malformed = || EngineError::Corrupt("meta/last is not what it should be".into());
    value.map_or(Ok(Last::default()), |value| Last::from_bytes(value).ok_or_else(malformed))
}
