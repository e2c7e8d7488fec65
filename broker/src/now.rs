//! The time, as a value that is read at the edge and handed inward.

use std::time::{Duration, Instant, SystemTime};

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

/// Both clocks read at one moment, so that what lasts can be written down and read again by another
/// process: a time that was kept holds through a restart, and a clock that is set meanwhile moves nothing
/// that is known already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    instant: Instant,
    unix_ms: u64,
}

impl Clock {
    /// Reads both clocks.
    pub(crate) fn read() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_ms: millis(since) }
    }

    /// Milliseconds since 1970.
    pub(crate) fn unix_ms(self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.unix_ms.saturating_add(millis(later)),
            None => self.unix_ms.saturating_sub(millis(self.instant.saturating_duration_since(instant))),
        }
    }

    /// The same time for timers. What lies too far back for one is the beginning of this clock, and as much
    /// over.
    pub(crate) fn instant(self, unix_ms: u64) -> Instant {
        let moved = if unix_ms >= self.unix_ms {
            self.instant.checked_add(Duration::from_millis(unix_ms - self.unix_ms))
        } else {
            self.instant.checked_sub(Duration::from_millis(self.unix_ms - unix_ms))
        };
        moved.unwrap_or(self.instant)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_was_written_down_is_the_same_when_it_is_read() {
        let clock = Clock::read();
        for offset in [Duration::ZERO, Duration::from_secs(3), Duration::from_hours(1_000)] {
            let later = clock.instant + offset;
            assert_eq!(clock.instant(clock.unix_ms(later)), later);
        }
        assert!(clock.instant(0) <= clock.instant);
    }
}
