//! `[mqtt]`: what the broker offers to clients.

use crate::reader::{Reader, defaults};

/// What the broker offers to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// Whether MQTT 3.1 (`MQIsdp`, level 3) is accepted. Default: true.
    pub allow_mqtt31: bool,
    /// Seconds after which an abandoned persistent session is forgotten. Default: never.
    pub session_expiry_s: Option<u64>,
    /// Largest packet taken from a client, bytes, fixed header included. Default: 16 MiB; at most
    /// [`PACKET_BYTES`].
    pub packet_bytes_max: usize,
}

/// The largest packet that MQTT can express: one byte of type, four of length, 268,435,455 of rest (§2.2.3).
pub const PACKET_BYTES: usize = 268_435_460;

impl Mqtt {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            allow_mqtt31: section.boolean("allow_mqtt31", true),
            session_expiry_s: section.seconds_optional("session_expiry_s", 1..=3_153_600_000),
            packet_bytes_max: section.bytes("packet_bytes_max", 64..=PACKET_BYTES as u64, 16 << 20),
        }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        defaults(Self::read)
    }
}
