//! `[audit]`: the record of refusals and of what happened to keys.

use crate::reader::{Reader, defaults};
use std::path::{Path, PathBuf};

/// The record of refusals and of what happened to keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Whether there is one. Default: true.
    pub enabled: bool,
    /// Users who may see it as messages, on secure connections. Default: none.
    pub users: Vec<String>,
    /// Entries that wait to be written. More are counted and not kept. Default: 4,096.
    pub queue_max: usize,
    /// Size of the file at which another is begun. Default: 64 MiB.
    pub file_bytes_max: usize,
    /// Files that are kept, the newest included; the oldest goes. Default: 8.
    pub files_max: usize,
}

impl Audit {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            enabled: section.boolean("enabled", true),
            users: section.strings("users"),
            queue_max: section.count("queue_max", 16..=1_000_000, 4_096),
            file_bytes_max: section.bytes("file_bytes_max", (64 << 10)..=(1 << 40), 64 << 20),
            files_max: section.count("files_max", 2..=10_000, 8),
        }
    }

    /// The folder of the files: `audit` in the data folder.
    pub fn folder(data_dir: &Path) -> PathBuf {
        data_dir.join("audit")
    }
}

impl Default for Audit {
    fn default() -> Self {
        defaults(Self::read)
    }
}
