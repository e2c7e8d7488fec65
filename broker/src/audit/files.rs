//! The files: `audit.jsonl`, and those before it as `audit.jsonl.1`, `.2` and so on, the oldest last.
//!
//! Lines come in and are on disk when [`Files::sync`] is back. Always holds: a line is in the file whole or
//! not at all, as far as anybody can tell who opens it here; one process writes at a time; the number of
//! files and the size of each are bounded. What a crash left is found at the next opening.

use super::chain::{Hash, Head, Line, Link};
use super::event::Event;
use crate::files::{PRIVATE, create_folder, sync_folder};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The newest file.
const NAME: &str = "audit.jsonl";
/// No line of ours is longer.
pub(super) const LINE_BYTES_MAX: u64 = 1 << 16;
/// Bytes looked at in one step backward through a file.
const STEP: u64 = 1 << 12;

/// See the module's description.
pub(super) struct Files {
    folder: PathBuf,
    bytes_max: u64,
    count_max: usize,
    current: Option<Current>,
}

struct Current {
    file: File,
    bytes: u64,
    /// Nobody else has the folder while this is open.
    _lock: File,
}

/// What was found in the folder.
pub(super) struct Found {
    /// What the next line goes behind.
    pub(super) head: Head,
    /// What is wrong with the end of the file, to be recorded.
    pub(super) flaw: Option<Event>,
}

/// The path of a file by its age, the newest being 0.
pub(super) fn path(folder: &Path, age: usize) -> PathBuf {
    folder.join(if age == 0 { NAME.to_owned() } else { format!("{NAME}.{age}") })
}

impl Files {
    /// In this folder, which is made when it is needed; each of so many bytes and so many of them at most.
    pub(super) fn new(folder: PathBuf, bytes_max: u64, count_max: usize) -> Self {
        Self { folder, bytes_max, count_max, current: None }
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether lines can be written.
    pub(super) fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// Opens the newest file, and finds the line that the next one goes behind. A last line that is not whole
    /// is cut off.
    pub(super) fn open(&mut self) -> io::Result<Found> {
        self.close();
        create_folder(&self.folder).map_err(io::Error::other)?;
        let lock = File::open(&self.folder)?;
        lock.try_lock().map_err(|why| match why {
            TryLockError::WouldBlock => io::Error::new(ErrorKind::ResourceBusy, "another broker writes here"),
            TryLockError::Error(why) => why,
        })?;
        let newest = path(&self.folder, 0);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(PRIVATE).open(&newest)?;
        let found = file.metadata()?.len();
        let bytes = after_line_feed(&file, found)?;
        let mut flaw = None;
        if bytes < found {
            file.set_len(bytes)?;
            file.sync_all()?;
            flaw = Some(Event::Torn { bytes: found - bytes });
        }
        let head = match last_line(&file, bytes)? {
            Some(line) => Some(line),
            None => self.last_line_before()?,
        };
        let head = head.map_or(Head::BEGINNING, |line| {
            let hash = Hash::of(&line);
            let link = Link::read(&line);
            if link.is_none() {
                flaw = Some(Event::Damaged);
            }
            Head { n: link.map_or(0, |link| link.n), hash }
        });
        sync_folder(&newest).map_err(io::Error::other)?;
        self.current = Some(Current { file, bytes, _lock: lock });
        Ok(Found { head, flaw })
    }

    /// The last line of the file before the newest, if there is one.
    fn last_line_before(&self) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path(&self.folder, 1)) {
            Ok(file) => file,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(why),
        };
        let bytes = after_line_feed(&file, file.metadata()?.len())?;
        last_line(&file, bytes)
    }

    /// Writes lines, in files as they have room. How many were written, and what went wrong with the next;
    /// then the file has to be opened again.
    pub(super) fn append(&mut self, lines: &[Line]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            match self.append_some(rest) {
                Ok(some) => written += some,
                Err(why) => {
                    self.close();
                    return (written, Err(why));
                }
            }
        }
        (written, Ok(()))
    }

    /// Writes as many lines as the file has room for, if need be into a new one.
    fn append_some(&mut self, lines: &[Line]) -> io::Result<usize> {
        let (mut some, mut buffer) = (0, Vec::new());
        let room = self.current.as_ref().map_or(0, |current| self.bytes_max.saturating_sub(current.bytes));
        for line in lines {
            if (buffer.len() + line.bytes.len()) as u64 > room {
                break;
            }
            buffer.extend_from_slice(&line.bytes);
            some += 1;
        }
        if some == 0 {
            self.rotate()?;
            return Ok(0);
        }
        let current = self.current.as_mut().ok_or(ErrorKind::NotConnected)?;
        if let Err(why) = current.file.write_all(&buffer) {
            // Whatever was written of it. Where that fails too, it is found at the next opening.
            drop(current.file.set_len(current.bytes));
            return Err(why);
        }
        current.bytes += buffer.len() as u64;
        Ok(some)
    }

    /// Begins a new file. The others become one older each, up to a place that a crash left empty, or the oldest
    /// goes.
    fn rotate(&mut self) -> io::Result<()> {
        let current = self.current.as_mut().ok_or(ErrorKind::NotConnected)?;
        current.file.sync_all()?;
        let mut last = 1;
        while last + 1 < self.count_max && path(&self.folder, last).try_exists()? {
            last += 1;
        }
        for age in (1..=last).rev() {
            rename(&path(&self.folder, age - 1), &path(&self.folder, age))?;
        }
        // There are more if the configuration asked for more before.
        let (mut age, mut gaps) = (self.count_max, 0);
        while gaps < 2 {
            match fs::remove_file(path(&self.folder, age)) {
                Ok(()) => {}
                Err(why) if why.kind() == ErrorKind::NotFound => gaps += 1,
                Err(_) => break,
            }
            age += 1;
        }
        let newest = path(&self.folder, 0);
        current.file =
            OpenOptions::new().read(true).append(true).create_new(true).mode(PRIVATE).open(&newest)?;
        current.bytes = 0;
        sync_folder(&newest).map_err(io::Error::other)
    }

    /// Has what was written on disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.current.as_ref().map_or(Ok(()), |current| current.file.sync_data());
        if synced.is_err() {
            self.close();
        }
        synced
    }

    fn close(&mut self) {
        self.current = None;
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The place behind the last line feed before `end`.
fn after_line_feed(file: &File, mut end: u64) -> io::Result<u64> {
    let mut buffer = Vec::new();
    while end > 0 {
        let from = end.saturating_sub(STEP);
        buffer.resize(usize::try_from(end - from).unwrap_or(0), 0);
        file.read_exact_at(&mut buffer, from)?;
        if let Some(at) = buffer.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// The line that ends right before `end`, without its line feed.
fn last_line(file: &File, end: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(feed) = end.checked_sub(1) else { return Ok(None) };
    let from = after_line_feed(file, feed)?;
    if feed - from > LINE_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "the last line is no entry of an audit"));
    }
    let mut line = vec![0; usize::try_from(feed - from).unwrap_or(0)];
    file.read_exact_at(&mut line, from)?;
    Ok(Some(line))
}
