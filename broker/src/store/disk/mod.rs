//! The engine on disk: fjall, with a guard for each fault that was seen in it.
//!
//! - Its recovery takes bad bytes in mid-journal for a torn end and drops what is behind. [`journals`] reads
//!   them before, and [`tip`] knows how far the store was, so a store that holds less is refused as it is.
//! - A failed write poisons it until it is opened again. [`Disk`] holds all handles behind one lock, and can
//!   let go of them; what was read meanwhile waits.
//! - A thread of its own writes memtables out, and a commit can wait for ever where that one found no room.
//!   So [`room`] stops commits before the device is full.
//! - A reader can see a batch while it is applied, a key after the other: nobody believes what he finds beyond
//!   the position that was announced.
//! - Keyspaces that are seldom written pin journals: [`Disk::tidy`] writes them out.

mod journals;
mod opening;
mod removed;
mod room;
mod tails;
#[cfg(test)]
mod tests;
mod tip;

pub(crate) use opening::OpenError;

use super::batch::{Batch, Last};
use super::engine::{Engine, EngineError, KeyspaceSize, Report, Visit, last_of};
use super::layout::{KEY_BYTES_MAX, Keyspace, META_LAST};
use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions, PersistMode, Readable};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use removed::{Removed, Waste};
use room::Room;
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use tails::AsFound;
use tip::Tip;

/// Journals that may be on disk before keyspaces are written out for their sake.
const JOURNALS_BYTES_MAX: u64 = 128 << 20;
/// Memtables of the keyspaces through which messages go, and of the others.
const BUSY_MEMTABLE_BYTES: u64 = 4 << 20;
const MEMTABLE_BYTES: u64 = 1 << 20;
/// Open files of tables.
const FILES_MAX: usize = 256;
/// Threads that write memtables out and merge tables.
const WORKERS: usize = 2;
/// Shorter than any key.
const NOBODYS_KEY: &[u8] = &[0];

/// How a store on disk is opened.
#[derive(Debug, Clone)]
pub(crate) struct DiskOptions {
    /// Its folder.
    pub(crate) path: PathBuf,
    /// What it may keep in memory of what was read, bytes.
    pub(crate) cache_bytes: usize,
    /// What is set aside for when the device is full, bytes.
    pub(crate) ballast_bytes: usize,
    /// Whether to go on where something is missing.
    pub(crate) accept_loss: bool,
}

/// See the module's description.
pub(crate) struct Disk {
    options: DiskOptions,
    /// None while it is opened anew.
    handles: RwLock<Option<Handles>>,
    /// None where it is only looked at.
    tip: Mutex<Option<Tip>>,
    room: Room,
    removed: Removed,
    /// Where it is only looked at: behind the handles, since these are dropped first.
    _as_found: Option<AsFound>,
}

struct Handles {
    db: Database,
    keyspaces: Vec<fjall::Keyspace>,
}

impl Handles {
    fn keyspace(&self, keyspace: Keyspace) -> Result<&fjall::Keyspace, EngineError> {
        let missing = || EngineError::Failed("a keyspace is not open".into());
        self.keyspaces.get(keyspace.index()).ok_or_else(missing)
    }

    /// Opens it. The engine asserts some of what it reads instead of checking it, so that a damaged file can be
    /// a panic: that is an error like others.
    fn open(options: &DiskOptions, workers: usize) -> Result<Self, fjall::Error> {
        catch_unwind(AssertUnwindSafe(|| Self::open_files(options, workers)))
            .unwrap_or(Err(fjall::Error::Unrecoverable))
    }

    fn open_files(options: &DiskOptions, workers: usize) -> Result<Self, fjall::Error> {
        let cache = u64::try_from(options.cache_bytes).unwrap_or(u64::MAX);
        let db = Database::builder(&options.path)
            .cache_size(cache)
            .max_cached_files(Some(FILES_MAX))
            .max_journaling_size(JOURNALS_BYTES_MAX)
            .worker_threads_unchecked(workers)
            .manual_journal_persist(true)
            .open()?;
        let open = |keyspace: &Keyspace| {
            let busy = matches!(keyspace, Keyspace::Queue | Keyspace::Message);
            let memtable = if busy { BUSY_MEMTABLE_BYTES } else { MEMTABLE_BYTES };
            let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable);
            db.keyspace(keyspace.name(), options)
        };
        let keyspaces = Keyspace::ALL.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { db, keyspaces })
    }

    fn last(&self) -> Result<Last, EngineError> {
        let value = self.keyspace(Keyspace::Meta)?.get(META_LAST).map_err(error)?;
        last_of(value.as_deref())
    }

    /// Says where the store is, in the newest journal.
    fn say(&self, last: Last) -> Result<(), fjall::Error> {
        let Some(meta) = self.keyspaces.get(Keyspace::Meta.index()) else { return Ok(()) };
        let mut writes = self.db.batch().durability(Some(PersistMode::SyncData));
        writes.insert(meta, META_LAST, last.to_bytes());
        writes.commit()
    }
}

impl Disk {
    /// The handles; waits while they are opened anew.
    fn handles(&self) -> Result<impl std::ops::Deref<Target = Handles> + '_, EngineError> {
        RwLockReadGuard::try_map(self.handles.read(), Option::as_ref)
            .map_err(|_| EngineError::Failed("the store could not be opened again".into()))
    }

    fn tell_tip(&self, last: Last, sync: bool) -> Result<(), EngineError> {
        let mut tip = self.tip.lock();
        tip.as_mut().map_or(Ok(()), |tip| tip.set(last, sync)).map_err(|why| io_error(&why))
    }

    /// What a failure of the engine means. That it failed before has a cause that it does not tell: where the
    /// device is full, everything can be done again. A write or a sync that fails here tells its cause.
    fn judge(&self, why: fjall::Error) -> EngineError {
        if matches!(why, fjall::Error::Poisoned) && self.room.is_full() {
            EngineError::NoSpace
        } else {
            error(why)
        }
    }
}

/// What leads to less may take of what is set aside: else nobody could empty a store that is full.
fn brings(batch: &Batch) -> bool {
    let bodies = [Keyspace::Queue, Keyspace::Message, Keyspace::Retained];
    batch.ops().any(|op| op.value.is_some() && bodies.contains(&op.keyspace))
}

impl Engine for Disk {
    fn commit(&self, batch: &Batch, sync: bool) -> Result<(), EngineError> {
        let bytes = batch.as_bytes().len();
        let enough = if brings(batch) { self.room.has_enough(bytes) } else { self.room.has_some(bytes) };
        if !enough {
            return Err(EngineError::NoSpace);
        }
        // The engine asserts it, and would take the writer with it.
        if let Some(op) = batch.ops().find(|op| !(1..=KEY_BYTES_MAX).contains(&op.key.len())) {
            let (bytes, keyspace) = (op.key.len(), op.keyspace.name());
            let why =
                format!("a key of {bytes} bytes in '{keyspace}' cannot be kept: 1 to {KEY_BYTES_MAX} can");
            return Err(EngineError::Failed(why));
        }
        let handles = self.handles()?;
        let mode = if sync { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut writes = handles.db.batch().durability(Some(mode));
        for op in batch.ops() {
            let keyspace = handles.keyspace(op.keyspace)?;
            match op.value {
                Some(value) => writes.insert(keyspace, op.key, value),
                None => writes.remove(keyspace, op.key),
            }
        }
        writes.insert(handles.keyspace(Keyspace::Meta)?, META_LAST, batch.last().to_bytes());
        writes.commit().map_err(|why| self.judge(why))?;
        self.removed.count(batch);
        if sync { self.tell_tip(batch.last(), false) } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), EngineError> {
        let handles = self.handles()?;
        let last = handles.last()?;
        handles.db.persist(PersistMode::SyncData).map_err(|why| self.judge(why))?;
        self.tell_tip(last, true)
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.handles()?.keyspace(keyspace)?.get(key).map_err(error)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        from: &[u8],
        visit: Visit<'_>,
    ) -> Result<(), EngineError> {
        let handles = self.handles()?;
        // A keyspace asked itself shows a batch that is being applied in parts. So may a snapshot, while a
        // memtable is written out: who pages through a queue goes by what is announced.
        let snapshot = handles.db.snapshot();
        for guard in snapshot.range(handles.keyspace(keyspace)?, from..) {
            let (key, value) = guard.into_inner().map_err(error)?;
            if !key.starts_with(prefix) || visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn make_room(&self, batch: Option<&Batch>) -> bool {
        self.room.make(batch.map_or(0, |batch| batch.as_bytes().len()), batch.is_none_or(brings))
    }

    fn reopen(&self) -> Result<(), EngineError> {
        // Nothing has failed yet where it was stopped before the device was full.
        if self.handles().is_ok_and(|handles| handles.db.persist(PersistMode::Buffer).is_ok()) {
            return Ok(());
        }
        let mut handles = self.handles.write();
        let before = handles.as_ref().map(Handles::last).transpose()?.unwrap_or_default();
        // The lock on the folder goes with the last handle.
        drop(handles.take());
        let opened = Handles::open(&self.options, WORKERS).map_err(|why| self.judge(why))?;
        let after = opened.last()?;
        if after.position < before.position {
            let (after, before) = (after.position.0, before.position.0);
            return Err(EngineError::Failed(format!(
                "it was at {before}, and is at {after} when opened again"
            )));
        }
        *handles = Some(opened);
        Ok(())
    }

    fn tidy(&self) -> Result<(), EngineError> {
        self.room.set_ballast();
        let handles = self.handles()?;
        for keyspace in &handles.keyspaces {
            // What lies in a memtable pins the journals that it came by.
            if handles.db.journal_count() > 2 {
                keyspace.rotate_memtable().map_err(|why| self.judge(why))?;
            }
        }
        for Waste { keyspace, left } in self.removed.waste(&handles) {
            if !self.room.has_spare(left) {
                continue;
            }
            self.removed.forget(keyspace);
            let keyspace = handles.keyspace(keyspace)?;
            keyspace.rotate_memtable_and_wait().map_err(|why| self.judge(why))?;
            keyspace.major_compact().map_err(|why| self.judge(why))?;
            // Files that are not needed any more go when a memtable is written out next, and an empty one
            // never is: so it gets the removal of a key that nobody has.
            keyspace.remove(NOBODYS_KEY).map_err(|why| self.judge(why))?;
            keyspace.rotate_memtable_and_wait().map_err(|why| self.judge(why))?;
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let Ok(handles) = self.handles() else { return Report::default() };
        let size = |(keyspace, handle): (Keyspace, &fjall::Keyspace)| KeyspaceSize {
            keyspace,
            disk_bytes: handle.disk_space(),
        };
        Report {
            keyspaces: Keyspace::ALL.into_iter().zip(&handles.keyspaces).map(size).collect(),
            journal_bytes: handles.db.journal_disk_space().unwrap_or(0),
            disk_bytes: handles.db.disk_space().unwrap_or(0),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn error(why: fjall::Error) -> EngineError {
    if let fjall::Error::Io(why) = &why {
        return io_error(why);
    }
    if matches!(why, fjall::Error::Poisoned) {
        return EngineError::Failed("a write or a sync failed before".into());
    }
    // What went wrong in a table can be an error of the system as well.
    let io = |why: &(dyn Error + 'static)| why.downcast_ref::<io::Error>().map(io_error);
    let found = why.source().and_then(|inner| io(inner).or_else(|| inner.source().and_then(io)));
    found.unwrap_or_else(|| EngineError::Corrupt(format!("a file of the store is damaged: {why:?}")))
}

fn io_error(why: &io::Error) -> EngineError {
    if matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        EngineError::NoSpace
    } else {
        EngineError::Failed(why.to_string())
    }
}
