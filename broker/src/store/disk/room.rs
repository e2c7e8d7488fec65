//! Room on the device. Owns the ballast, a file that is removed when the device is full, so that there is
//! something to go on with; and says when to stop before it is.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What must stay free: memtables are written out by a thread that must never find the device full.
const FREE_BYTES_MIN: u64 = 24 << 20;
/// Of these, what is there for nobody but the threads of the engine.
const LAST_BYTES: u64 = 8 << 20;
/// Bytes committed between two looks at what is free.
const LOOK_BYTES: u64 = 1 << 20;

/// See the module's description.
pub(super) struct Room {
    folder: PathBuf,
    ballast: PathBuf,
    ballast_bytes: u64,
    /// Bytes that may be committed before the next look.
    left: AtomicU64,
    /// What is free where the folder is, bytes; where that cannot be told, enough.
    free: Box<dyn Fn(&Path) -> u64 + Send + Sync>,
}

/// What must be free for a batch of so many bytes.
fn needed(bytes: u64) -> u64 {
    FREE_BYTES_MIN.saturating_add(bytes.max(LOOK_BYTES).saturating_mul(4))
}

impl Room {
    pub(super) fn new(folder: &Path, ballast_bytes: usize) -> Self {
        let free = |folder: &Path| {
            statvfs(folder).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
        };
        Self::on(folder, ballast_bytes, free)
    }

    /// On a device of which `free` says what is free.
    pub(super) fn on(
        folder: &Path,
        ballast_bytes: usize,
        free: impl Fn(&Path) -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            folder: folder.to_owned(),
            ballast: folder.join("ballast"),
            ballast_bytes: ballast_bytes as u64,
            left: AtomicU64::new(0),
            free: Box::new(free),
        }
    }

    fn free(&self) -> u64 {
        (self.free)(&self.folder)
    }

    /// Whether a batch of so many bytes can be written without coming near the end.
    pub(super) fn has_enough(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let left = self.left.load(Ordering::Relaxed);
        if bytes <= left {
            self.left.store(left - bytes, Ordering::Relaxed);
            return true;
        }
        let enough = self.free() >= needed(bytes);
        self.left.store(if enough { LOOK_BYTES } else { 0 }, Ordering::Relaxed);
        enough
    }

    /// Whether a batch that brings nothing new can be written.
    pub(super) fn has_some(&self, bytes: usize) -> bool {
        self.left.load(Ordering::Relaxed) >= bytes as u64
            || self.free() >= LAST_BYTES.saturating_add(bytes as u64)
    }

    /// Whether the device is as good as full.
    pub(super) fn is_full(&self) -> bool {
        self.free() < FREE_BYTES_MIN
    }

    /// Whether the threads of the engine can write so much besides, and leave what must stay free.
    pub(super) fn has_spare(&self, bytes: u64) -> bool {
        self.free() >= FREE_BYTES_MIN.saturating_add(bytes)
    }

    /// Removes the ballast; whether there is enough now for a batch of so many bytes, which may bring something.
    pub(super) fn make(&self, bytes: usize, brings: bool) -> bool {
        if std::fs::remove_file(&self.ballast).is_ok() {
            tracing::warn!(file = %self.ballast.display(), "the ballast was removed to make room");
        }
        if brings { self.free() >= needed(bytes as u64) } else { self.has_some(bytes) }
    }

    /// Puts the ballast there, if it is missing and there is plenty of room.
    pub(super) fn set_ballast(&self) {
        let there = std::fs::metadata(&self.ballast).map_or(0, |file| file.len());
        if self.ballast_bytes == 0 || there == self.ballast_bytes {
            return;
        }
        if self.free() < FREE_BYTES_MIN.saturating_add(self.ballast_bytes.saturating_mul(4)) {
            return;
        }
        let made = OpenOptions::new().write(true).create(true).truncate(true).open(&self.ballast);
        if let Err(why) = made.and_then(|file| allocate(&file, self.ballast_bytes)) {
            tracing::warn!(file = %self.ballast.display(), "there is no ballast: {why}");
        }
    }
}

fn allocate(file: &File, bytes: u64) -> std::io::Result<()> {
    fallocate(file, FallocateFlags::empty(), 0, bytes)?;
    Ok(())
}
