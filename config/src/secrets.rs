//! `[secrets]`: how secrets lie at rest.

use crate::reader::{Reader, defaults};
use std::path::PathBuf;

/// How secrets lie at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// File with the passphrase under which `sealmq keys` encrypts the key files that it makes, and with
    /// which encrypted key files are read. None: key files are made unencrypted, and read only so.
    pub passphrase_file: Option<PathBuf>,
}

impl Secrets {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self { passphrase_file: section.path_optional("passphrase_file") }
    }
}

impl Default for Secrets {
    fn default() -> Self {
        defaults(Self::read)
    }
}
