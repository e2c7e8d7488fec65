//! Opens a store on disk, if nothing of it is missing. All that can be told is told from the journals and from
//! the file 'tip', before the engine opens anything: it changes files while it does. Always holds: a store that
//! is refused, and one that is only looked at, is left as it was.

use super::super::Position;
use super::super::batch::Last;
use super::super::engine::EngineError;
use super::journals::{Damage, Survey};
use super::tails::{AsFound, set_aside};
use super::tip::{Tip, TipError};
use super::{Disk, DiskOptions, Handles, Removed, Room, WORKERS, error, io_error};
use parking_lot::{Mutex, RwLock};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

/// What the engine writes last into a new store is a file of so many bytes.
const MARKER_BYTES: u64 = 5;
/// How often, and how far apart, a store is asked for that another process has.
const LOCK_TRIES: usize = 3;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Why a store on disk cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// Somebody has it open.
    #[error("another process has it open")]
    InUse,
    /// A journal that was full and synced is damaged.
    #[error(
        "{0}, and there is a newer one: start with --accept-loss to go on without what is behind that byte of it"
    )]
    Damaged(Damage),
    /// Less is there than was written.
    #[error(
        "{missing} changes that were acknowledged are missing ({}): it is at {found}, and was at {known}; start with --accept-loss to go on without them",
        cause(.damage.as_ref())
    )]
    Missing {
        /// How many positions.
        missing: u64,
        /// Where it is.
        found: u64,
        /// Where it was.
        known: u64,
        /// Of the newest journal, if that is why.
        damage: Option<Damage>,
    },
    /// Something else is there than was written.
    #[error("what is there is not what was written last: start with --accept-loss to go on with it")]
    Different,
    /// The file that says how far the store was is damaged, or is not there.
    #[error(
        "the file 'tip' is missing or damaged, so nobody knows whether something else is missing; start with --accept-loss to go on"
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

fn cause(damage: Option<&Damage>) -> String {
    damage.map_or_else(|| "an older copy was put back, or files are missing".into(), ToString::to_string)
}

impl Disk {
    /// Opens the store in its folder, or begins one there.
    pub(crate) fn open(options: DiskOptions) -> Result<Self, OpenError> {
        let (folder, accept_loss) = (options.path.clone(), options.accept_loss);
        // For its owner alone: it holds messages, and the secrets of topic keys.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        clear_unfinished(&folder).map_err(failed)?;
        let lock = lock(&folder)?;
        let mut found = Found::read(&folder)?;
        if accept_loss {
            found.set_aside(&folder)?;
        } else if let Some(doubt) = found.doubt() {
            return Err(doubt);
        }
        let as_found = AsFound::cut(&found.survey).map_err(failed)?;
        drop(lock);
        let handles = Handles::open(&options, WORKERS).map_err(refused)?;
        let last = handles.last()?;
        if accept_loss {
            tracing::warn!(position = last.position.0, "going on with what is there: --accept-loss");
            // Journals that were cut say so too, from now on.
            handles.say(last).map_err(refused)?;
        } else if let Some(doubt) = found.doubt_of(last) {
            return Err(doubt);
        }
        as_found.leave();
        let mut tip = Tip::create(&folder).map_err(failed)?;
        tip.set(last, true).map_err(failed)?;
        let disk = Self::over(options, handles, Some(tip), None);
        disk.room.set_ballast();
        Ok(disk)
    }

    /// Opens the store in its folder to be looked at: with what is missing of it, as far as can be told. It is
    /// as it was once this is dropped.
    pub(crate) fn look(options: DiskOptions) -> Result<(Self, Option<OpenError>), OpenError> {
        let lock = lock(&options.path)?;
        let found = Found::read(&options.path)?;
        let doubt = match found.doubt() {
            // The engine would not open it, or cut it where it is damaged.
            Some(why @ (OpenError::Damaged(_) | OpenError::Missing { damage: Some(_), .. })) => {
                return Err(why);
            }
            doubt => doubt,
        };
        let as_found = AsFound::cut(&found.survey).map_err(failed)?;
        drop(lock);
        // Without threads of its own it merges nothing, and writes nothing out.
        let handles = Handles::open(&options, 0).map_err(refused)?;
        let last = handles.last()?;
        let disk = Self::over(options, handles, None, Some(as_found));
        Ok((disk, doubt.or_else(|| found.doubt_of(last))))
    }

    /// Whether there is a store in a folder.
    pub(crate) fn is_there(folder: &Path) -> bool {
        folder.join("keyspaces").is_dir()
    }

    fn over(options: DiskOptions, handles: Handles, tip: Option<Tip>, as_found: Option<AsFound>) -> Self {
        let room = Room::new(&options.path, options.ballast_bytes);
        let removed = Removed::of(&handles);
        let handles = RwLock::new(Some(handles));
        Self { options, handles, tip: Mutex::new(tip), room, removed, _as_found: as_found }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn failed(why: io::Error) -> OpenError {
    OpenError::Engine(io_error(&why))
}

fn refused(why: fjall::Error) -> OpenError {
    if matches!(why, fjall::Error::Locked) { OpenError::InUse } else { OpenError::Engine(error(why)) }
}

/// What can be told of a store without opening it.
struct Found {
    survey: Survey,
    /// Where it is known to have been.
    known: Result<Option<Last>, TipError>,
}

impl Found {
    fn read(folder: &Path) -> Result<Self, OpenError> {
        let survey = Survey::of(folder).map_err(failed)?;
        Ok(Self { survey, known: Tip::read(folder).map_err(failed)? })
    }

    /// Why it should not be opened. Where no journal has a batch, the tables have the newest: nothing is said
    /// of that here.
    fn doubt(&self) -> Option<OpenError> {
        let damaged = self.survey.damaged.first().cloned().map(OpenError::Damaged);
        damaged.or_else(|| match (self.survey.last, self.known) {
            (Some(last), _) => self.compare(last),
            (None, known) => known.err().map(|TipError| OpenError::DamagedTip),
        })
    }

    /// The same, once it is known where it is.
    fn doubt_of(&self, last: Last) -> Option<OpenError> {
        let seen = self.survey.last.filter(|seen| seen.position > last.position);
        self.compare(last).or_else(|| seen.map(|seen| missing(last, seen, None)))
    }

    /// Holds what was found against what is known to have been written.
    fn compare(&self, found: Last) -> Option<OpenError> {
        match self.known {
            Err(TipError) => Some(OpenError::DamagedTip),
            // Made before anything was written.
            Ok(None) => (found.position > Position::START).then_some(OpenError::DamagedTip),
            Ok(Some(known)) if found.position < known.position => {
                Some(missing(found, known, self.survey.torn.clone()))
            }
            Ok(Some(known)) if found.position == known.position && found.checksum != known.checksum => {
                Some(OpenError::Different)
            }
            Ok(Some(_)) => None,
        }
    }

    /// What is lost where the store is opened nevertheless goes into files of its own.
    fn set_aside(&mut self, folder: &Path) -> Result<(), OpenError> {
        let is_lost = self.survey.last.is_none_or(|last| self.compare(last).is_some());
        let torn = self.survey.torn.iter().filter(|_| is_lost);
        let mut any = false;
        for damage in self.survey.damaged.iter().chain(torn) {
            let file = set_aside(damage).map_err(failed)?;
            tracing::warn!(file = %file.display(), "{damage}; what is behind it was put into a file of its own");
            any = true;
        }
        if any {
            *self = Self::read(folder)?;
        }
        Ok(())
    }
}

fn missing(found: Last, known: Last, damage: Option<Damage>) -> OpenError {
    let (found, known) = (found.position.0, known.position.0);
    OpenError::Missing { missing: known.saturating_sub(found), found, known, damage }
}

/// Holds the lock of the store, if it has one yet, so that nobody writes while its journals are read. The
/// engine takes it itself when it opens the store.
fn lock(folder: &Path) -> Result<Option<File>, OpenError> {
    let file = match File::open(folder.join("lock")) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(failed(why)),
    };
    for _ in 1..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            // It may be about to end.
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(why)) => return Err(failed(why)),
        }
    }
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(why)) => Err(failed(why)),
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
    if Survey::of(folder)?.last.is_some() {
        // Something was in it, and is not lost yet.
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
