//! How far the store was: a file of 24 bytes beside it, written after each batch that was synced. Owns the
//! file. Always holds: what it says was synced before, so a store that opens with less has lost something.
//!
//! It is synced itself once a second, so a power cut takes back what it says by as much; it never says too
//! much. The last second before a power cut is the hole that stays.

use super::super::batch::Last;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

/// Between two syncs.
const SYNC: Duration = Duration::from_secs(1);

/// What the file says is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TipError;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Tip {
    file: File,
    synced: Instant,
}

impl Tip {
    /// Opens the file in the store's folder, or makes it; with what it says, if it says something.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Result<Option<Last>, TipError>)> {
        let path = folder.join("tip");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; 24];
        let said = match file.metadata()?.len() {
            0 => Ok(None),
            24 => {
                file.read_exact_at(&mut bytes, 0)?;
                parse(&bytes).map(Some).ok_or(TipError)
            }
            _ => Err(TipError),
        };
        Ok((Self { file, synced: Instant::now() }, said))
    }

    /// Says that the store is so far. Syncs when it is time, or when told to.
    pub(super) fn set(&mut self, last: Last, sync: bool) -> io::Result<()> {
        let mut bytes = [0; 24];
        let (said, checksum) = bytes.split_at_mut(16);
        said.copy_from_slice(&last.to_bytes());
        checksum.copy_from_slice(&xxh3_64(said).to_be_bytes());
        self.file.write_all_at(&bytes, 0)?;
        if sync || self.synced.elapsed() >= SYNC {
            self.file.sync_data()?;
            self.synced = Instant::now();
        }
        Ok(())
    }
}

fn parse(bytes: &[u8; 24]) -> Option<Last> {
    let (said, checksum) = bytes.split_last_chunk()?;
    if xxh3_64(said) != u64::from_be_bytes(*checksum) {
        return None;
    }
    Last::from_bytes(said)
}
