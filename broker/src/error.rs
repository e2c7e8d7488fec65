//! Why the broker, or one of its commands, could not begin: the operator or his system is at fault.
//!
//! Each error prints as one plain line that says where the trouble is and what is wrong there. None holds a
//! secret, a hash or a part of either: what was read from a key or password file is never repeated.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why the broker could not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The system refused something with a file or folder.
    #[error("{}: cannot {what}: {}", file.display(), plain(why))]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What was tried: `read it`.
        what: &'static str,
        /// What the system answered.
        why: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {why}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A line of a file is not what it should be.
    #[error("{}:{line}: {why}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A listener's address cannot be taken.
    #[error("cannot listen on {addr}: {}", plain(why))]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system answered.
        why: io::Error,
    },
    /// Something is wrong with what a key of the configuration names.
    #[error("{key}: {why}")]
    Setting {
        /// The path of the key: `sender[0].key`.
        key: String,
        /// What is wrong; begins with the file where there is one.
        why: String,
    },
}

impl StartError {
    pub(crate) fn io(file: &Path, what: &'static str, why: io::Error) -> Self {
        Self::Io { file: file.to_owned(), what, why }
    }

    pub(crate) fn file(file: &Path, why: impl Into<String>) -> Self {
        Self::File { file: file.to_owned(), why: why.into() }
    }

    pub(crate) fn line(file: &Path, line: usize, why: &'static str) -> Self {
        Self::Line { file: file.to_owned(), line, why }
    }

    /// The same error, told together with the key of the configuration that led to it.
    pub(crate) fn at(self, key: impl Into<String>) -> Self {
        Self::Setting { key: key.into(), why: self.to_string() }
    }
}

/// An error of the system in words, without the number at its end.
pub(crate) fn plain(why: &io::Error) -> String {
    if why.kind() == io::ErrorKind::NotFound {
        return "there is no such file or folder".to_owned();
    }
    if why.kind() == io::ErrorKind::AlreadyExists {
        return "it is there already".to_owned();
    }
    let text = why.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line_that_begins_with_the_place() {
        let file = Path::new("a/b");
        let missing = StartError::io(file, "read it", io::ErrorKind::NotFound.into());
        assert_eq!(missing.to_string(), "a/b: cannot read it: there is no such file or folder");
        assert_eq!(StartError::line(file, 3, "no ':'").to_string(), "a/b:3: no ':'");
        let told = StartError::file(file, "empty").at("listener[0].tls.cert");
        assert_eq!(told.to_string(), "listener[0].tls.cert: a/b: empty");
        let taken =
            StartError::Bind { addr: "[::1]:1883".parse().unwrap(), why: io::Error::from_raw_os_error(98) };
        assert_eq!(taken.to_string(), "cannot listen on [::1]:1883: address already in use");
        let system = StartError::io(file, "read it", io::Error::from_raw_os_error(21));
        assert_eq!(system.to_string(), "a/b: cannot read it: is a directory");
    }
}
