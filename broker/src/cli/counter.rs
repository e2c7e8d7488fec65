//! A sender's counter, kept in a file beside his key: `dev-7.jwk.seq`.
//!
//! Owns the number of the last envelope that may have been made. Always holds: a number is given out once,
//! whoever runs at the same time and wherever a run breaks off, for it is on the disk before it is used. The
//! file is written in place, 21 bytes at once: a replacement would part the lock from the number.

use crate::error::StartError;
use crate::files;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Takes the next `count` numbers, and gives the first of them.
pub(super) fn reserve(key_file: &Path, count: u64) -> Result<u64, StartError> {
    let file = file_beside(key_file);
    let failed = |what| move |file: &Path, why: io::Error| StartError::io(file, what, why);
    let opened = open(&file).map_err(|why| failed("open it")(&file, why))?;
    // Let go of when the file is closed.
    opened.lock().map_err(|why| failed("lock it")(&file, why))?;
    let last = read(&opened, &file)?;
    let reserved = last
        .checked_add(count)
        .ok_or_else(|| StartError::file(&file, "the counter is at its end; the sender needs a new key"))?;
    write(&opened, reserved).map_err(|why| failed("write it")(&file, why))?;
    if last == 0 {
        files::sync_folder(&file)?;
    }
    Ok(last + 1)
}

fn file_beside(key_file: &Path) -> PathBuf {
    let mut name = OsString::from(key_file);
    name.push(".seq");
    name.into()
}

fn open(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(files::PRIVATE).open(file)
}

/// The last number; 0 in a new file.
fn read(opened: &File, file: &Path) -> Result<u64, StartError> {
    let mut text = String::new();
    let read = opened.take(64).read_to_string(&mut text);
    read.map_err(|why| StartError::io(file, "read it", why))?;
    match text.trim() {
        "" => Ok(0),
        number => number.parse().map_err(|_| {
            StartError::file(file, "it holds no number; write the last one used into it, or a larger one")
        }),
    }
}

/// Always as many bytes, so that no moment sees half a number.
fn write(opened: &File, number: u64) -> io::Result<()> {
    let line = format!("{number:020}\n");
    opened.write_all_at(line.as_bytes(), 0)?;
    opened.set_len(line.len() as u64)?;
    opened.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn it_starts_at_one_and_rises_by_what_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("dev.jwk");
        for (count, first) in [(1, 1), (1, 2), (10, 3), (1, 13)] {
            assert_eq!(reserve(&key, count).unwrap(), first);
        }
        let text = fs::read_to_string(folder.path().join("dev.jwk.seq")).unwrap();
        assert_eq!(text, "00000000000000000013\n");
    }

    #[test]
    fn two_at_once_never_get_the_same_number() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("dev.jwk");
        let taken: Vec<u64> = std::thread::scope(|scope| {
            let take = || (0..50).map(|_| reserve(&key, 1).unwrap()).collect::<Vec<_>>();
            let threads = [scope.spawn(take), scope.spawn(take)];
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 100);
        assert_eq!(taken.iter().max(), Some(&100));
    }

    #[test]
    fn a_number_written_by_hand_is_read_and_other_text_refused() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("dev.jwk");
        let file = folder.path().join("dev.jwk.seq");
        fs::write(&file, "   41                                  \n").unwrap();
        assert_eq!(reserve(&key, 1).unwrap(), 42);
        assert_eq!(fs::read_to_string(&file).unwrap(), "00000000000000000042\n");
        fs::write(&file, "many").unwrap();
        assert!(reserve(&key, 1).unwrap_err().to_string().contains("it holds no number"));
        fs::write(&file, u64::MAX.to_string()).unwrap();
        assert!(reserve(&key, 1).unwrap_err().to_string().contains("at its end"));
        assert_eq!(fs::read_to_string(&file).unwrap(), u64::MAX.to_string(), "left as it was");
    }
}
