//! `[identity]`: the name and the key by which others know the broker.

use crate::reader::{Reader, defaults};
use std::path::{Path, PathBuf};

/// Who the broker is to those who check what it stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The key id in the broker's stamps. Default: `sealmq`.
    pub id: String,
    /// File with its Ed25519 key, the secret half. None: [`Identity::file`] says which.
    pub key: Option<PathBuf>,
}

impl Identity {
    /// The file with the key: the one that is named, or `keys/identity.jwk` in the data folder.
    pub fn file(&self, data_dir: &Path) -> PathBuf {
        self.key.clone().unwrap_or_else(|| data_dir.join("keys").join("identity.jwk"))
    }

    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self { id: section.id_or("id", "sealmq"), key: section.path_optional("key") }
    }
}

impl Default for Identity {
    fn default() -> Self {
        defaults(Self::read)
    }
}
