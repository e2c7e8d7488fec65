//! The broker's log, kept in memory line by line, so that a test can await a line and read its fields.
//!
//! Two threads (stdout and stderr) put lines in; anybody may look, or wait for one that fits. The end
//! of both streams is the end of the process, which is how [`Log::await_end`] learns of it.

use super::PATIENCE;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One line of the log.
#[derive(Debug, Clone)]
pub(crate) struct LogLine {
    /// As it was written.
    pub(crate) text: String,
    /// The JSON object that it is; null for a line of another kind.
    json: Value,
}

impl LogLine {
    fn new(text: String) -> Self {
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { text, json }
    }

    /// Whether the line holds `part`, anywhere.
    pub(crate) fn contains(&self, part: &str) -> bool {
        self.text.contains(part)
    }

    /// The log message, without its fields.
    pub(crate) fn message(&self) -> &str {
        self.field("message").unwrap_or("")
    }

    /// A field that is a string.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str()
    }

    /// A field of any kind.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.json.get("fields")?.get(name)
    }

    /// `ERROR`, `WARN`, `INFO`, ...
    pub(crate) fn level(&self) -> &str {
        self.json.get("level").and_then(Value::as_str).unwrap_or("")
    }
}

/// All lines so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<LogLine>,
    streams: usize,
}

impl Log {
    /// Reads `stream` to its end, in a thread of its own.
    pub(crate) fn follow(&self, stream: impl Read + Send + 'static) {
        self.lock().streams += 1;
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                log.lock().lines.push(LogLine::new(line));
                log.shared.1.notify_all();
            }
            log.lock().streams -= 1;
            log.shared.1.notify_all();
        });
    }

    /// The first line that fits, from the start of the log; waits for it.
    pub(crate) fn line(&self, fits: impl Fn(&LogLine) -> bool) -> LogLine {
        self.nth_line(0, fits)
    }

    /// The line that fits after `n` others that do; waits for it.
    pub(crate) fn nth_line(&self, n: usize, fits: impl Fn(&LogLine) -> bool) -> LogLine {
        let found = |lines: &Lines| lines.lines.iter().filter(|line| fits(line)).nth(n).cloned();
        self.wait(|lines| found(lines).map(Some).or((lines.streams == 0).then_some(None)))
            .flatten()
            .unwrap_or_else(|| panic!("no such line in the log:\n{}", self.text()))
    }

    /// All lines so far that fit.
    pub(crate) fn lines(&self, fits: impl Fn(&LogLine) -> bool) -> Vec<LogLine> {
        self.lock().lines.iter().filter(|line| fits(line)).cloned().collect()
    }

    /// The whole log so far.
    pub(crate) fn text(&self) -> String {
        self.lines(|_| true).into_iter().flat_map(|line| [line.text, "\n".to_owned()]).collect()
    }

    /// Whether both streams ended within the time: the process is gone, or about to be.
    pub(crate) fn await_end(&self, within: Duration) -> bool {
        self.wait_for(within, |lines| (lines.streams == 0).then_some(())).is_some()
    }

    fn wait<T>(&self, ready: impl Fn(&Lines) -> Option<T>) -> Option<T> {
        self.wait_for(PATIENCE, ready)
    }

    fn wait_for<T>(&self, within: Duration, ready: impl Fn(&Lines) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut lines = self.lock();
        loop {
            if let Some(value) = ready(&lines) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            lines = self.shared.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.shared.0.lock().unwrap()
    }
}
