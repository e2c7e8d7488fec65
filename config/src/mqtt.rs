//! `[mqtt]`: what the broker offers to clients, and tells those of MQTT 5 in CONNACK.

use crate::reader::{Reader, defaults};

/// What the broker offers to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the standard")]
pub struct Mqtt {
    /// Whether MQTT 3.1 (`MQIsdp`, level 3) is accepted. Default: true.
    pub allow_mqtt31: bool,
    /// Seconds for which a session is kept at most after its client went away. Default: for ever, where
    /// the client asks for it.
    pub session_expiry_max_s: Option<u64>,
    /// Largest packet taken from a client, bytes, fixed header included. Default: 16 MiB; at most
    /// [`PACKET_BYTES`].
    pub packet_bytes_max: usize,
    /// Seconds of keep alive that an MQTT 5 client may have at most; one with more, or none, is given
    /// this. Default: the client's choice.
    pub server_keep_alive_max_s: Option<u16>,
    /// Messages of QoS 1 and 2 that an MQTT 5 client may have sent without their being acknowledged;
    /// one more closes the connection. Default: 4,096.
    pub receive_maximum: u16,
    /// Topic aliases that an MQTT 5 client may use. Default: 32.
    pub topic_alias_maximum: u16,
    /// Highest QoS that clients may publish with, and are granted. Default: 2.
    pub qos_max: u8,
    /// Whether clients may publish retained messages. Default: true.
    pub retain_available: bool,
    /// Whether clients may subscribe with `+` and `#`. Default: true.
    pub wildcard_subscriptions: bool,
    /// Whether MQTT 5 clients may give subscriptions an identifier. Default: true.
    pub subscription_identifiers: bool,
    /// Whether clients may share subscriptions (`$share/name/filter`). Default: true.
    pub shared_subscriptions: bool,
    /// What MQTT 5 clients that ask for it are told to make response topics of; `%c` stands for the
    /// client id, `%u` for the user name. Default: nothing.
    pub response_information: Option<String>,
    /// Another server, to which MQTT 5 clients are sent when this one is full. Default: none.
    pub server_reference: Option<String>,
}

/// The largest packet that MQTT can express: one byte of type, four of length, 268,435,455 of rest (§2.2.3).
pub const PACKET_BYTES: usize = 268_435_460;

impl Mqtt {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        const SERVER_KEEP_ALIVE: &str = "server_keep_alive_max_s";
        Self {
            allow_mqtt31: section.boolean("allow_mqtt31", true),
            session_expiry_max_s: section.seconds_optional("session_expiry_max_s", 1..=3_153_600_000),
            packet_bytes_max: section.bytes("packet_bytes_max", 64..=PACKET_BYTES as u64, 16 << 20),
            server_keep_alive_max_s: section
                .seconds_optional(SERVER_KEEP_ALIVE, 1..=65_535)
                .and_then(|seconds| u16::try_from(seconds).ok()),
            receive_maximum: narrow(section.count("receive_maximum", 1..=65_535, 4_096)),
            topic_alias_maximum: narrow(section.count("topic_alias_maximum", 0..=65_535, 32)),
            qos_max: u8::try_from(section.count("qos_max", 0..=2, 2)).unwrap_or(2),
            retain_available: section.boolean("retain_available", true),
            wildcard_subscriptions: section.boolean("wildcard_subscriptions", true),
            subscription_identifiers: section.boolean("subscription_identifiers", true),
            shared_subscriptions: section.boolean("shared_subscriptions", true),
            response_information: section.string_optional("response_information"),
            server_reference: section.string_optional("server_reference"),
        }
    }
}

/// A number that its key's range keeps below 65,536.
fn narrow(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

impl Default for Mqtt {
    fn default() -> Self {
        defaults(Self::read)
    }
}
