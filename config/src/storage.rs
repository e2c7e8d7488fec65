//! `[storage]`: how durably state is kept.

/// How durably state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// What an acknowledgement promises. Default, and all there is for now: memory.
    pub durability: Durability,
    /// Bytes of messages kept for absent clients, all sessions together; beyond it, as `limits.queue_full`
    /// says for the session at hand. Default: 1 GiB.
    pub queued_bytes_max: usize,
}

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The message is held in memory; a restart forgets it.
    Memory,
}
