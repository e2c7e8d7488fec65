//! `[storage]`: how durably state is kept.

use crate::reader::{Reader, defaults};
use crate::value::text;

/// How durably state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// What an acknowledgement promises. Default, and all there is for now: memory.
    pub durability: Durability,
    /// Bytes of messages kept for absent clients, all sessions together; beyond it, as `limits.queue_full`
    /// says for the session at hand. Default: 1 GiB.
    pub queued_bytes_max: usize,
}

impl Storage {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            durability: Durability::read(section),
            queued_bytes_max: section.bytes("queued_bytes_max", 1_024..=(1 << 50), 1 << 30),
        }
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
}

impl Durability {
    /// The two that a durable store will bring are refused by name, so that nobody takes memory for a disk.
    fn read(section: &mut Reader<'_>) -> Self {
        const ALLOWED: &str =
            "\"memory\" (\"async\" and \"sync\" need the durable store, which is not there yet)";
        let found = section.value("durability", ALLOWED, "\"memory\"", |value| {
            (text(value)? == "memory").then_some(Self::Memory)
        });
        found.unwrap_or(Durability::Memory)
    }
}
