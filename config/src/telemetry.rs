//! `[telemetry]`: what the broker tells of itself.

use crate::reader::{Reader, defaults};

/// What the broker tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter as of `tracing-subscriber`. Default: `info`.
    pub log: String,
    /// Whether log lines are JSON objects. Default: false.
    pub log_json: bool,
    /// Seconds between two refreshes of `$SYS/broker/...`; 0 publishes none. Default: 10.
    pub sys_interval_s: u64,
}

impl Telemetry {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            log: section.log_filter("log", "info"),
            log_json: section.boolean("log_json", false),
            sys_interval_s: section.seconds("sys_interval_s", 0..=86_400, 10),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        defaults(Self::read)
    }
}
