//! The socket file: made so that nobody but its owner can ever connect, and taken away at the end.
//!
//! A data folder goes in; a listening socket comes out, and a guard for its file. Always holds: the file
//! appears with mode 0600 (it is made in a folder of its own that nobody else may enter, and then moved); the
//! socket of a broker that runs is not touched, and one that a dead broker has left is replaced.

use crate::error::StartError;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Its name in the data folder.
const NAME: &str = "admin.sock";
/// The folder in which it is made.
const MAKING: &str = "admin.new";

/// Where the socket of a data folder is.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// A socket's address has no more bytes than this, on any system.
const ADDRESS_BYTES_MAX: usize = 103;

/// Runs with a path to this socket that is short enough for an address, however deep its folder lies.
pub(super) fn reach<T>(path: &Path, run: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if path.as_os_str().len() > ADDRESS_BYTES_MAX => {
            let folder = File::open(folder)?;
            let folder = format!("/proc/self/fd/{}", folder.as_raw_fd());
            run(&Path::new(&folder).join(name))
        }
        _ => run(path),
    }
}

/// A bound admin socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) listener: UnixListener,
    file: SocketFile,
}

/// Takes the file away when it is dropped, if it is still the same.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    owner: u32,
}

impl Socket {
    /// Binds it in a data folder.
    pub(crate) fn bind(data_dir: &Path) -> Result<Self, StartError> {
        let path = path(data_dir);
        refuse_if_there(&path)?;
        let folder = data_dir.join(MAKING);
        let bound = make(&folder, &path);
        // Empty by now, or not there at all.
        drop(fs::remove_dir(&folder));
        let listener = bound.map_err(|why| StartError::io(&path, "listen on it", why))?;
        let file = SocketFile::of(path.clone()).map_err(|why| StartError::io(&path, "look at it", why))?;
        Ok(Self { listener, file })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    /// Whether somebody of this user id may speak here: the broker's own user, and root.
    pub(super) fn admits(&self, uid: u32) -> bool {
        uid == self.file.owner || uid == 0
    }
}

/// What is there already may be of a broker that lives, or no socket at all.
fn refuse_if_there(path: &Path) -> Result<(), StartError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(StartError::io(path, "look at it", why)),
    };
    if !metadata.file_type().is_socket() {
        return Err(StartError::file(path, "something is there that is no socket"));
    }
    match reach(path, |path| net::UnixStream::connect(path)) {
        Ok(_) => Err(StartError::file(path, "another broker listens there")),
        // Nobody listens: it was left behind.
        Err(why) if why.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(why) => Err(StartError::io(path, "connect to it", why)),
    }
}

fn make(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        // A start that was cut short has left it.
        Err(why) if why.kind() == ErrorKind::AlreadyExists => {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        made => made?,
    }
    let within = folder.join(NAME);
    match fs::remove_file(&within) {
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let listener = reach(&within, |within| net::UnixListener::bind(within))?;
    fs::set_permissions(&within, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    fs::rename(&within, path)?;
    UnixListener::from_std(listener)
}

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<Self> {
        // Made a moment ago: its owner is who we are.
        let metadata = fs::symlink_metadata(&path)?;
        Ok(Self { path, identity: (metadata.dev(), metadata.ino()), owner: metadata.uid() })
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another broker may have put its own there since.
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn it_is_its_owners_alone_and_goes_with_the_broker() {
        let folder = tempfile::tempdir().unwrap();
        let socket = Socket::bind(folder.path()).unwrap();
        let file = socket.path().to_owned();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
        drop(socket);
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn one_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        // A listener of the standard library leaves its file behind, as a killed broker does.
        drop(net::UnixListener::bind(path(folder.path())).unwrap());
        fs::create_dir(folder.path().join(MAKING)).unwrap();
        drop(net::UnixListener::bind(folder.path().join(MAKING).join(NAME)).unwrap());
        let socket = Socket::bind(folder.path()).unwrap();
        let error = Socket::bind(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("admin.sock: another broker listens there"), "{error}");
        assert!(net::UnixStream::connect(socket.path()).is_ok());
    }

    #[tokio::test]
    async fn it_may_lie_as_deep_as_it_likes() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let socket = Socket::bind(&deep).unwrap();
        assert_eq!(mode(socket.path()), 0o600);
        assert!(reach(socket.path(), |path| net::UnixStream::connect(path)).is_ok());
        assert!(Socket::bind(&deep).unwrap_err().to_string().ends_with("another broker listens there"));
    }

    #[tokio::test]
    async fn what_is_no_socket_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let file = path(folder.path());
        fs::write(&file, "mine").unwrap();
        let error = Socket::bind(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("something is there that is no socket"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }

    #[tokio::test]
    async fn the_file_of_another_is_not_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let socket = Socket::bind(folder.path()).unwrap();
        let file = socket.path().to_owned();
        fs::remove_file(&file).unwrap();
        let other = net::UnixListener::bind(&file).unwrap();
        drop(socket);
        assert!(file.exists());
        drop(other);
    }
}
