//! `[storage]`: how durably state is kept, where, and within which bounds.

use crate::reader::{Reader, defaults};
use std::path::{Path, PathBuf};

/// How durably state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// What an acknowledgement promises. Default: sync.
    pub durability: Durability,
    /// With [`Durability::Async`]: milliseconds after which everything acknowledged is synced, at most; an
    /// error with any other. Default: 1,000.
    pub async_interval_ms: u64,
    /// Where the store lies. None: where [`Storage::folder`] says.
    pub path: Option<PathBuf>,
    /// Bytes of messages kept for persistent sessions, all sessions together; beyond it, as
    /// `limits.queue_full` says for the session at hand. Default: 1 GiB.
    pub queued_bytes_max: usize,
    /// Bytes that the store may keep in memory of what lies on disk; what is used least goes. Default: 8 MiB.
    pub cache_bytes: usize,
    /// Bytes of changes that the store has been given and has not committed yet; beyond it publishers'
    /// sockets are not read. Default: 64 MiB.
    pub pending_bytes_max: usize,
    /// Size of a file that is deleted when the disk is full, to have room to go on; 0: no such file.
    /// Default: 16 MiB.
    pub ballast_bytes: usize,
    /// Whether messages of QoS 0 are kept for persistent sessions that are away, too. Default: false.
    pub queue_qos0: bool,
}

impl Storage {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            durability: section.choice_or("durability", &Durability::NAMES, Durability::Sync),
            async_interval_ms: section.milliseconds("async_interval_ms", 1..=60_000, 1_000),
            path: section.path_optional("path"),
            queued_bytes_max: section.bytes("queued_bytes_max", 1_024..=(1 << 50), 1 << 30),
            cache_bytes: section.bytes("cache_bytes", (1 << 20)..=(1 << 40), 8 << 20),
            pending_bytes_max: section.bytes("pending_bytes_max", (64 << 10)..=(1 << 40), 64 << 20),
            ballast_bytes: section.bytes("ballast_bytes", 0..=(1 << 30), 16 << 20),
            queue_qos0: section.boolean("queue_qos0", false),
        }
    }

    /// The store's folder: `path`, or else `store` in the data folder.
    pub fn folder(&self, data_dir: &Path) -> PathBuf {
        self.path.clone().unwrap_or_else(|| data_dir.join("store"))
    }
}

impl Default for Storage {
    fn default() -> Self {
        defaults(Self::read)
    }
}

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The message is held in memory; a restart forgets it.
    Memory,
    /// The message is held in memory, and on disk after `async_interval_ms` at most.
    Async,
    /// The message is on disk.
    Sync,
}

impl Durability {
    const NAMES: [(&'static str, Self); 3] = [
        (Self::Sync.name(), Self::Sync),
        (Self::Async.name(), Self::Async),
        (Self::Memory.name(), Self::Memory),
    ];

    /// As it is written in a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Async => "async",
            Self::Sync => "sync",
        }
    }
}
