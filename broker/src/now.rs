//! The time, as a value that is read at the edge and handed inward.

use std::time::{Instant, SystemTime};

/// The time as of the turn at hand: for timers, and in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For whatever lasts.
    pub(crate) instant: Instant,
    /// For what others have dated.
    pub(crate) unix_s: u64,
}

impl Now {
    /// Reads both clocks.
    pub(crate) fn read() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self { instant: Instant::now(), unix_s: since.map_or(0, |since| since.as_secs()) }
    }
}
