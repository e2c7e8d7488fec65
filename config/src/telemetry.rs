//! `[telemetry]`: what the broker tells of itself.

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
