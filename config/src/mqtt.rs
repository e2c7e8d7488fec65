//! `[mqtt]`: what the broker offers to clients.

/// What the broker offers to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// Whether MQTT 3.1 (`MQIsdp`, level 3) is accepted. Default: true.
    pub allow_mqtt31: bool,
    /// Seconds after which an abandoned persistent session is forgotten. Default: never.
    pub session_expiry_s: Option<u64>,
    /// Largest packet taken from a client, bytes, fixed header included. Default: 16 MiB; at most 268,435,460.
    pub packet_bytes_max: usize,
}
