//! Files that hold secrets, or that must never be seen half written.
//!
//! Bytes come in and go out whole. Always holds: a file appears under its name complete and with its mode,
//! or not at all; a file that is there is replaced only by [`replace`]; what is read here is wiped.

use crate::error::StartError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use zeroize::Zeroizing;

/// For the owner alone.
pub(crate) const PRIVATE: u32 = 0o600;
/// For everybody to read.
pub(crate) const PUBLIC: u32 = 0o644;

/// No key or certificate file is larger.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// Reads a small file that may hold a secret, into memory that is wiped.
pub(crate) fn read_secret(file: &Path) -> Result<Zeroizing<Vec<u8>>, StartError> {
    read_with_mode(file).map(|(bytes, _)| bytes)
}

/// The same, and who may do what with the file that was read.
pub(crate) fn read_with_mode(file: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), StartError> {
    let read = || {
        let opened = File::open(file)?;
        let metadata = opened.metadata()?;
        let size = metadata.len().min(SECRET_BYTES_MAX);
        // Room for all of it at once: a vector that grows leaves its bytes behind.
        let room = usize::try_from(size).unwrap_or(0).saturating_add(64);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        opened.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok((bytes, metadata.permissions().mode() & 0o7777))
    };
    let (bytes, mode) = read().map_err(|why| StartError::io(file, "read it", why))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(StartError::file(file, "it is larger than 1 MiB, and so no key or certificate"));
    }
    Ok((bytes, mode))
}

/// Makes a file that is not there yet; one that is there stays as it is, and is an error.
pub(crate) fn create(file: &Path, mode: u32, bytes: &[u8]) -> Result<(), StartError> {
    let temporary = write_beside(file, mode, bytes)?;
    // A link fails where the name is taken; a rename would overwrite.
    let linked = fs::hard_link(&temporary, file).map_err(|why| StartError::io(file, "make it", why));
    let removed = fs::remove_file(&temporary).map_err(|why| StartError::io(&temporary, "remove it", why));
    linked.and(removed)?;
    sync_folder(file)
}

/// Puts a file in the place of whatever was there, whose owner it keeps.
pub(crate) fn replace(file: &Path, mode: u32, bytes: &[u8]) -> Result<(), StartError> {
    // A link stays a link: what it leads to is replaced.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let temporary = write_beside(file, mode, bytes)?;
    let owned = match (fs::metadata(file), fs::metadata(&temporary)) {
        (Ok(old), Ok(new)) if (old.uid(), old.gid()) != (new.uid(), new.gid()) => {
            chown(&temporary, Some(old.uid()), Some(old.gid()))
        }
        _ => Ok(()),
    };
    if let Err(why) = owned.and_then(|()| fs::rename(&temporary, file)) {
        // The error is the one to tell; a file left beside does no harm.
        drop(fs::remove_file(&temporary));
        return Err(StartError::io(file, "write it", why));
    }
    sync_folder(file)
}

/// Makes a folder for the owner alone, and its parents, where they are missing.
pub(crate) fn create_folder(folder: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|why| StartError::io(folder, "make the folder", why))
}

/// Whether others than the owner may read a file; false where that cannot be told.
pub(crate) fn others_may_read(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| is_open(metadata.permissions().mode()))
}

/// Whether a file's mode lets others than its owner read it.
pub(crate) fn is_open(mode: u32) -> bool {
    mode & 0o044 != 0
}

/// Whether others than the owner may enter a folder, or list it; false where that cannot be told.
pub(crate) fn others_may_enter(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o055 != 0)
}

/// The whole of a file under a name of its own beside the right one, on the disk.
fn write_beside(file: &Path, mode: u32, bytes: &[u8]) -> Result<PathBuf, StartError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = file.with_file_name(format!(".sealmq-{}-{count}.new", std::process::id()));
    let write = || -> io::Result<()> {
        let mut open = OpenOptions::new();
        let mut opened = open.write(true).create_new(true).mode(mode).open(&temporary)?;
        opened.write_all(bytes)?;
        opened.sync_all()
    };
    write().map_err(|why| {
        if why.kind() != io::ErrorKind::AlreadyExists {
            drop(fs::remove_file(&temporary));
        }
        StartError::io(&temporary, "write it", why)
    })?;
    Ok(temporary)
}

/// Makes a new name last.
pub(crate) fn sync_folder(file: &Path) -> Result<(), StartError> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|why| StartError::io(folder, "write the folder", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        create(&file, PRIVATE, b"first").unwrap();
        let error = create(&file, PRIVATE, b"second").unwrap_err();
        assert!(error.to_string().ends_with("cannot make it: it is there already"), "{error}");
        assert_eq!(*read_secret(&file).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn files_have_their_mode_before_and_after_a_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        for bytes in [b"one".as_slice(), b"two"] {
            replace(&file, PRIVATE, bytes).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, PRIVATE);
            assert_eq!(*read_secret(&file).unwrap(), bytes);
            assert!(!others_may_read(&file));
        }
    }

    #[test]
    fn a_huge_file_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        File::create(&file).unwrap().set_len(SECRET_BYTES_MAX + 1).unwrap();
        assert!(read_secret(&file).unwrap_err().to_string().contains("larger than 1 MiB"));
    }
}
