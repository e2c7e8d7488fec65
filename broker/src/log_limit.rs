//! A bound on log lines that the network can cause: so many in a while, then none, then one that says
//! how many were left out. Writing them is synchronous, and a flood would hold the broker up.

use std::time::{Duration, Instant};

const WHILE: Duration = Duration::from_secs(10);
const LINES_MAX: u32 = 100;

/// Counts the lines of one kind.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    since: Option<Instant>,
    lines: u32,
    unsaid: u64,
}

impl LogLimit {
    /// Whether a line may be written now; if so, how many were left out before it.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WHILE) {
            self.since = Some(now);
            self.lines = 0;
        }
        if self.lines == LINES_MAX {
            self.unsaid += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let (mut limit, start) = (LogLimit::default(), Instant::now());
        for _ in 0..LINES_MAX {
            assert_eq!(limit.admit(start), Some(0));
        }
        assert_eq!((limit.admit(start), limit.admit(start)), (None, None));
        assert_eq!(limit.admit(start + WHILE), Some(2));
        assert_eq!(limit.admit(start + WHILE), Some(0));
    }
}
