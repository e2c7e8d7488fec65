//! How far the store was: a file of 24 bytes beside it, written after each batch that was synced. Owns the
//! file. Always holds: what it says was synced before, so a store that opens with less has lost something.
//!
//! It is synced itself once a second, so a power cut takes back what it says by as much; it never says too
//! much. The last second before a power cut is the hole that stays.

use super::super::batch::Last;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

const NAME: &str = "tip";
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
    /// What the file in the store's folder says, if it says something.
    pub(super) fn read(folder: &Path) -> io::Result<Result<Option<Last>, TipError>> {
        let file = match File::open(folder.join(NAME)) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
            Err(why) => return Err(why),
        };
        let mut bytes = [0; 24];
        Ok(match file.metadata()?.len() {
            0 => Ok(None),
            24 => {
                file.read_exact_at(&mut bytes, 0)?;
                parse(&bytes).map(Some).ok_or(TipError)
            }
            _ => Err(TipError),
        })
    }

    /// Opens the file to be written, or makes it.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let is_new = !path.exists();
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() > 24 {
            // It was damaged.
            file.set_len(24)?;
        }
        if is_new {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { file, synced: Instant::now() })
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
