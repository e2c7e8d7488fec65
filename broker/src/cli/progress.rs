//! How far a long command is: one line on stderr, rewritten in place; nothing where stderr is no terminal.

use super::numbers::{grouped, size};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two looks at the clock, in records.
const LOOK: u64 = 256;
/// Between two lines.
const PAUSE: Duration = Duration::from_millis(200);

/// See the module's description.
pub(super) struct Progress {
    what: &'static str,
    begun: Instant,
    told: Option<Instant>,
    is_seen: bool,
    records: u64,
    bytes: u64,
}

impl Progress {
    /// Of something that is done to records: `read`.
    pub(super) fn new(what: &'static str) -> Self {
        let is_seen = io::stderr().is_terminal();
        Self { what, begun: Instant::now(), told: None, is_seen, records: 0, bytes: 0 }
    }

    /// One more record.
    pub(super) fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        if self.is_seen && self.records.is_multiple_of(LOOK) {
            let now = Instant::now();
            // What is over at once is not told.
            if now.duration_since(self.told.unwrap_or(self.begun)) >= PAUSE {
                self.told = Some(now);
                Self::tell(&self.line(now));
            }
        }
    }

    fn line(&self, now: Instant) -> String {
        let millis = now.duration_since(self.begun).as_millis().max(1);
        let rate = u64::try_from(u128::from(self.records) * 1_000 / millis).unwrap_or(u64::MAX);
        let (records, bytes) = (grouped(self.records), size(self.bytes));
        format!("{}: {records} records, {bytes}, {} records/s", self.what, grouped(rate))
    }

    fn tell(line: &str) {
        // Back to the beginning of the line, and away with the rest of the one before.
        let text = format!("\r{line}\x1b[K");
        let mut stderr = io::stderr().lock();
        drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
    }
}

impl Drop for Progress {
    /// What follows begins on a clean line.
    fn drop(&mut self) {
        if self.told.is_some() {
            Self::tell("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_much_and_how_fast() {
        let mut progress = Progress::new("read");
        progress.is_seen = false;
        for _ in 0..3_000 {
            progress.add(1_024);
        }
        let line = progress.line(progress.begun + Duration::from_secs(2));
        assert_eq!(line, "read: 3,000 records, 2.9 MiB, 1,500 records/s");
    }
}
