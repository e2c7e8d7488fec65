//! What a peer can do wrong. Each error ends the connection ([MQTT-4.8.0-1]) and names the clause
//! of MQTT 3.1.1 that was broken, for the log.
// Replaced by the real list together with the codec.

/// What the peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A placeholder for the codec's list.
    #[error("malformed packet")]
    Malformed,
}

impl ProtocolError {
    /// The clause of MQTT 3.1.1 that was broken, such as `MQTT-3.8.1-1`.
    pub const fn clause(self) -> &'static str {
        "MQTT-2.2.2-2"
    }
}

/// Why bytes are no topic filter (§4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Empty ([MQTT-4.7.3-1]).
    #[error("a topic filter has at least one character")]
    Empty,
}
