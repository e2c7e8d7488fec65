//! The engine on disk: fjall, with a guard for each fault that was seen in it.
//!
//! - Its recovery takes bad bytes in mid-journal for a torn end and drops what is behind. [`tip`] knows how
//!   far the store was, so a store that opens with less is refused.
//! - A failed write poisons it until it is opened again. [`Disk`] holds all handles behind one lock, and can
//!   let go of them; what was read meanwhile waits.
//! - A thread of its own writes memtables out, and a commit can wait for ever where that one found no room.
//!   So [`room`] stops commits before the device is full.
//! - A reader can see a batch while it is applied, a key after the other: nobody believes what he finds beyond
//!   the position that was announced.
//! - Keyspaces that are seldom written pin journals: [`Disk::tidy`] writes them out.

mod room;
#[cfg(test)]
mod tests;
mod tip;

use super::batch::{Batch, Last, Op};
use super::engine::{Engine, EngineError, KeyspaceSize, Report, Visit, last_of};
use super::layout::{Keyspace, META_LAST};
use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions, PersistMode, Readable};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use room::Room;
use std::error::Error;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tip::{Tip, TipError};

/// Journals that may be on disk before keyspaces are written out for their sake.
const JOURNALS_BYTES_MAX: u64 = 128 << 20;
/// Memtables of the keyspaces through which messages go, and of the others.
const BUSY_MEMTABLE_BYTES: u64 = 4 << 20;
const MEMTABLE_BYTES: u64 = 1 << 20;
/// Open files of tables.
const FILES_MAX: usize = 256;
/// Threads that write memtables out and merge tables.
const WORKERS: usize = 2;
/// What the engine writes last into a new store is a file of so many bytes.
const MARKER_BYTES: u64 = 5;
/// Shorter than any key.
const NOBODYS_KEY: &[u8] = &[0];
/// What a keyspace may take on disk before it is looked at whether it is mostly removed.
const TIDY_BYTES_MIN: u64 = 1 << 20;

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

/// Why a store on disk cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// Somebody has it open.
    #[error("another process has it open")]
    InUse,
    /// Less is there than was written.
    #[error(
        "{missing} changes that were acknowledged are missing (a damaged file, or one that was put back): it is at {found}, and was at {known}; start with --accept-loss to go on without them"
    )]
    Missing {
        /// How many positions.
        missing: u64,
        /// Where it is.
        found: u64,
        /// Where it was.
        known: u64,
    },
    /// Something else is there than was written.
    #[error("what is there is not what was written last: start with --accept-loss to go on with it")]
    Different,
    /// The file that says how far the store was is damaged.
    #[error(
        "the file 'tip' is damaged, so nobody knows whether something is missing; start with --accept-loss to go on"
    )]
    DamagedTip,
    /// Somebody began to fill it, and did not come to the end.
    #[error("an import into it was broken off, so it is not whole: remove its folder, and import again")]
    Incomplete,
    /// A later version of the program wrote it.
    #[error(
        "it was written by a later version: its layout is {found}, and {ours} is the newest that is known here"
    )]
    Newer {
        /// The layout that was found.
        found: u32,
        /// The newest that is known.
        ours: u32,
    },
    /// A file is damaged, or is not what it should be.
    #[error("{0}")]
    Engine(#[from] EngineError),
}

/// See the module's description.
pub(crate) struct Disk {
    options: DiskOptions,
    /// None while it is opened anew.
    handles: RwLock<Option<Handles>>,
    tip: Mutex<Tip>,
    room: Room,
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
    fn open(options: &DiskOptions) -> Result<Self, fjall::Error> {
        catch_unwind(AssertUnwindSafe(|| Self::open_files(options)))
            .unwrap_or(Err(fjall::Error::Unrecoverable))
    }

    fn open_files(options: &DiskOptions) -> Result<Self, fjall::Error> {
        let cache = u64::try_from(options.cache_bytes).unwrap_or(u64::MAX);
        let db = Database::builder(&options.path)
            .cache_size(cache)
            .max_cached_files(Some(FILES_MAX))
            .max_journaling_size(JOURNALS_BYTES_MAX)
            .worker_threads(WORKERS)
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
}

impl Disk {
    /// Opens the store in its folder, or begins one there.
    pub(crate) fn open(options: DiskOptions) -> Result<Self, OpenError> {
        // For its owner alone: it holds messages, and the secrets of topic keys.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&options.path);
        made.map_err(|why| OpenError::Engine(io_error(&why)))?;
        clear_unfinished(&options.path).map_err(|why| OpenError::Engine(io_error(&why)))?;
        let accept_loss = options.accept_loss;
        let (disk, doubt) = Self::look(options)?;
        let last = disk.last()?;
        match doubt {
            Some(doubt) if !accept_loss => return Err(doubt),
            _ if accept_loss => {
                tracing::warn!(position = last.position.0, "going on with what is there: --accept-loss");
            }
            _ => {}
        }
        disk.tip.lock().set(last, true).map_err(|why| OpenError::Engine(io_error(&why)))?;
        disk.room.set_ballast();
        Ok(disk)
    }

    /// Whether there is a store in a folder.
    pub(crate) fn is_there(folder: &Path) -> bool {
        folder.join("keyspaces").is_dir()
    }

    /// Opens the store in its folder to be looked at: with what is missing of it, as far as can be told.
    /// Changes nothing of what tells that.
    pub(crate) fn look(options: DiskOptions) -> Result<(Self, Option<OpenError>), OpenError> {
        let room = Room::new(&options.path, options.ballast_bytes);
        let handles = Handles::open(&options).map_err(|why| {
            if matches!(why, fjall::Error::Locked) { OpenError::InUse } else { OpenError::Engine(error(why)) }
        })?;
        let last = handles.last()?;
        let (tip, known) = Tip::open(&options.path).map_err(|why| OpenError::Engine(io_error(&why)))?;
        let doubt = match known {
            Err(TipError) => Some(OpenError::DamagedTip),
            Ok(known) => compare(last, known).err(),
        };
        Ok((Self { options, handles: RwLock::new(Some(handles)), tip: Mutex::new(tip), room }, doubt))
    }

    /// The handles; waits while they are opened anew.
    fn handles(&self) -> Result<impl std::ops::Deref<Target = Handles> + '_, EngineError> {
        RwLockReadGuard::try_map(self.handles.read(), Option::as_ref)
            .map_err(|_| EngineError::Failed("the store could not be opened again".into()))
    }

    /// What a failure of the engine means: where the device is full, everything can be done again.
    fn judge(&self, why: fjall::Error) -> EngineError {
        let error = error(why);
        // Poisoned, or some error of a thread of its own: the first cause is not told.
        if matches!(error, EngineError::Failed(_)) && self.room.is_full() {
            EngineError::NoSpace
        } else {
            error
        }
    }
}

/// Clears what is left of a first start that was cut short: the engine can neither open that nor begin it
/// again. Nothing was in it, since 'tip' is made once the engine is open.
fn clear_unfinished(folder: &Path) -> io::Result<()> {
    let lock = folder.join("lock");
    let marker = std::fs::metadata(folder.join("version")).map_or(0, |file| file.len());
    if !lock.exists() || marker >= MARKER_BYTES || folder.join("tip").exists() {
        return Ok(());
    }
    let file = File::open(&lock)?;
    if file.try_lock().is_err() {
        // Somebody is at it; opening says so.
        return Ok(());
    }
    let gone = |done: io::Result<()>| match done {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    };
    gone(std::fs::remove_file(folder.join("0.jnl")))?;
    gone(std::fs::remove_dir_all(folder.join("keyspaces")))?;
    gone(std::fs::remove_file(folder.join("version")))
}

/// Holds what was found against what is known to have been written.
fn compare(found: Last, known: Option<Last>) -> Result<(), OpenError> {
    let Some(known) = known else { return Ok(()) };
    if found.position < known.position {
        return Err(OpenError::Missing {
            missing: known.position.0 - found.position.0,
            found: found.position.0,
            known: known.position.0,
        });
    }
    if found.position == known.position && found.checksum != known.checksum {
        return Err(OpenError::Different);
    }
    Ok(())
}

impl Engine for Disk {
    fn commit(&self, batch: &Batch, sync: bool) -> Result<(), EngineError> {
        // What leads to less may take of what is set aside: else nobody could empty a store that is full.
        let brings = |op: Op<'_>| {
            let bodies = [Keyspace::Queue, Keyspace::Message, Keyspace::Retained];
            op.value.is_some() && bodies.contains(&op.keyspace)
        };
        let bytes = batch.as_bytes().len();
        let enough =
            if batch.ops().any(brings) { self.room.has_enough(bytes) } else { self.room.has_some(bytes) };
        if !enough {
            return Err(EngineError::NoSpace);
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
        if sync {
            self.tip.lock().set(batch.last(), false).map_err(|why| io_error(&why))?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let handles = self.handles()?;
        let last = handles.last()?;
        handles.db.persist(PersistMode::SyncData).map_err(|why| self.judge(why))?;
        self.tip.lock().set(last, true).map_err(|why| io_error(&why))
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

    fn make_room(&self) -> bool {
        self.room.make()
    }

    fn reopen(&self) -> Result<(), EngineError> {
        let mut handles = self.handles.write();
        // The lock on the folder goes with the last handle.
        drop(handles.take());
        *handles = Some(Handles::open(&self.options).map_err(|why| self.judge(why))?);
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
        let busy = [Keyspace::Queue, Keyspace::Message, Keyspace::Refs, Keyspace::Inflight];
        for keyspace in busy {
            let keyspace = handles.keyspace(keyspace)?;
            // Nothing is left of it, and its tables are full of what was removed.
            if keyspace.disk_space() >= TIDY_BYTES_MIN && keyspace.is_empty().map_err(error)? {
                keyspace.rotate_memtable_and_wait().map_err(|why| self.judge(why))?;
                keyspace.major_compact().map_err(|why| self.judge(why))?;
                // Files that are not needed any more go when a memtable is written out next, and an empty one
                // never is: so it gets the removal of a key that nobody has.
                keyspace.remove(NOBODYS_KEY).map_err(|why| self.judge(why))?;
                keyspace.rotate_memtable_and_wait().map_err(|why| self.judge(why))?;
            }
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
