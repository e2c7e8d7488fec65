//! `[limits]`: every bound in the broker, with unit, default and what happens when it is reached.

use crate::reader::{Reader, defaults};

/// Every bound in the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; one more gets return code 3. Default: 100,000.
    pub connections_max: usize,
    /// Seconds from accept to a whole CONNECT (TLS and WebSocket handshake included); then closed.
    /// Default: 10.
    pub connect_timeout_s: u64,
    /// Bytes of a client id; a longer one gets return code 2. Default: 1,024.
    pub client_id_bytes_max: usize,
    /// Payload of one WebSocket frame; a larger one closes the connection with code 1009. Default: 16 MiB.
    pub websocket_frame_bytes_max: usize,
    /// Persistent sessions kept while their clients are away or there; one more gets return code 3.
    /// Default: 1,000,000.
    pub sessions_max: usize,
    /// Levels of a topic name or filter; a PUBLISH with more closes the connection, a filter with more
    /// is answered with 0x80. Default: 128.
    pub topic_levels_max: usize,
    /// Filters in one SUBSCRIBE or UNSUBSCRIBE; one more closes the connection. Default: 10,000.
    pub filters_per_packet_max: usize,
    /// Subscriptions of one client; one more is answered with 0x80. Default: 100,000.
    pub subscriptions_per_client_max: usize,
    /// What the subscriptions of one client may cost, counting 512 bytes for each level of a filter
    /// and its text; one more is answered with 0x80. Default: 128 MiB.
    pub subscription_bytes_per_client_max: usize,
    /// Messages of QoS 1 and 2 sent to a client and not yet acknowledged; more wait. Default: 4,096.
    pub inflight_messages_max: usize,
    /// The same in bytes of topic and payload. Default: 32 MiB.
    pub inflight_bytes_max: usize,
    /// Messages of QoS 2 received from an MQTT 3.1.1 client and not yet released; one more closes the
    /// connection. Default: 65,535.
    pub inbound_qos2_max: usize,
    /// Topic aliases given to one MQTT 5 client at most. Default: 256.
    pub outbound_topic_aliases_max: usize,
    /// Messages waiting for a connected client. Beyond it QoS 0 messages are dropped, oldest first,
    /// and publishers of QoS 1 and 2 are slowed down; beyond twice as many the client is
    /// disconnected. Default: 32,768.
    pub inbox_messages_max: usize,
    /// The same in bytes of topic and payload. Default: 32 MiB.
    pub inbox_bytes_max: usize,
    /// How long a publisher is not read for, at most, because of one full inbox, milliseconds;
    /// then it is read on for one turn. Default: 100.
    pub slow_receiver_pause_ms: u64,
    /// Seconds for which a client may take nothing of what is written to it; then closed. Default: 60.
    pub write_stall_s: u64,
    /// Messages of QoS 1 and 2 kept for a client that is away. What happens to one more says
    /// `queue_full`. Default: 100,000.
    pub queue_messages_max: usize,
    /// The same in bytes of topic and payload. Default: 64 MiB.
    pub queue_bytes_max: usize,
    /// Which message goes when the queue of an absent client is full. Default: the new one.
    pub queue_full: QueueFull,
    /// Retained messages; one more is delivered and not kept. Default: 1,000,000.
    pub retained_messages_max: usize,
    /// Bytes of topic and payload of all retained messages; the same. Default: 1 GiB.
    pub retained_bytes_max: usize,
    /// Bytes of the messages of one client that wait for their envelope to be examined, or for one before them; from
    /// there on the client is not read. Default: 1 MiB.
    pub unchecked_bytes_max: usize,
    /// Bytes of envelopes that one thread examines at once, unless it is a single one; they are copied
    /// meanwhile, and one client gets a quarter of it at a time. Default: 1 MiB.
    pub examined_batch_bytes_max: usize,
    /// Stamps of one connection that may fail within `failed_stamps_window_s`; with one more it is closed.
    /// 0: any number. Default: 16.
    pub failed_stamps_per_connection: usize,
    /// The same of one address, all its connections together; with one more, new connections from it are
    /// refused for `failed_stamps_refuse_s`. 0: any number. Default: 64.
    pub failed_stamps_per_address: usize,
    /// Seconds within which failed stamps are counted. Default: 60.
    pub failed_stamps_window_s: u64,
    /// Seconds for which an address is refused, from its last failure on. Default: 60.
    pub failed_stamps_refuse_s: u64,
    /// Addresses whose failed stamps are counted; with one more, the one that would be forgotten next is
    /// forgotten. Default: 10,000.
    pub failed_stamp_addresses_max: usize,
    /// Seconds that a shutdown may take; then what is left is cut off. Default: 10.
    pub shutdown_timeout_s: u64,
    /// Senders that are enrolled or disabled at run time; one more is refused. As many that were removed are
    /// remembered; then the one that was removed first is forgotten. Default: 100,000.
    pub enrolled_senders_max: usize,
    /// Topic keys that are enrolled or disabled at run time; one more is refused. Default: 10,000.
    pub enrolled_topic_keys_max: usize,
    /// Bytes of a sender or a topic key that is enrolled at run time, of which each topic filter counts 32 more than
    /// it has; a larger one is refused. Default: 64 KiB.
    pub enrolled_entry_bytes_max: usize,
    /// Connections to the admin socket; one more is told so and closed. Default: 8.
    pub admin_connections_max: usize,
    /// Bytes of one request on the admin socket; a longer one is refused and its connection closed. Default:
    /// 16 MiB.
    pub admin_request_bytes_max: usize,
    /// Seconds in which a whole request has to come, an answer to be taken, and a change to be kept; then the
    /// connection is closed, or the answer says that the change is not kept yet. Default: 10.
    pub admin_timeout_s: u64,
}

impl Limits {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            connections_max: section.count("connections_max", 1..=10_000_000, 100_000),
            connect_timeout_s: section.seconds("connect_timeout_s", 1..=3_600, 10),
            client_id_bytes_max: section.count("client_id_bytes_max", 23..=65_535, 1_024),
            websocket_frame_bytes_max: section.bytes(
                "websocket_frame_bytes_max",
                1_024..=(1 << 40),
                16 << 20,
            ),
            sessions_max: section.count("sessions_max", 1..=100_000_000, 1_000_000),
            topic_levels_max: section.count("topic_levels_max", 1..=1_024, 128),
            filters_per_packet_max: section.count("filters_per_packet_max", 1..=1_000_000, 10_000),
            subscriptions_per_client_max: section.count(
                "subscriptions_per_client_max",
                1..=10_000_000,
                100_000,
            ),
            subscription_bytes_per_client_max: section.bytes(
                "subscription_bytes_per_client_max",
                1_024..=(1 << 40),
                128 << 20,
            ),
            inflight_messages_max: section.count("inflight_messages_max", 1..=65_535, 4_096),
            inflight_bytes_max: section.bytes("inflight_bytes_max", 1_024..=(1 << 40), 32 << 20),
            inbound_qos2_max: section.count("inbound_qos2_max", 1..=65_535, 65_535),
            outbound_topic_aliases_max: section.count("outbound_topic_aliases_max", 0..=65_535, 256),
            inbox_messages_max: section.count("inbox_messages_max", 1..=16_777_216, 32_768),
            inbox_bytes_max: section.bytes("inbox_bytes_max", 1_024..=(1 << 40), 32 << 20),
            slow_receiver_pause_ms: section.milliseconds("slow_receiver_pause_ms", 1..=60_000, 100),
            write_stall_s: section.seconds("write_stall_s", 1..=3_600, 60),
            queue_messages_max: section.count("queue_messages_max", 1..=100_000_000, 100_000),
            queue_bytes_max: section.bytes("queue_bytes_max", 1_024..=(1 << 40), 64 << 20),
            queue_full: section.choice_or("queue_full", &QueueFull::NAMES, QueueFull::DropNewest),
            retained_messages_max: section.count("retained_messages_max", 1..=100_000_000, 1_000_000),
            retained_bytes_max: section.bytes("retained_bytes_max", 1_024..=(1 << 40), 1 << 30),
            unchecked_bytes_max: section.bytes("unchecked_bytes_max", 1_024..=(1 << 40), 1 << 20),
            examined_batch_bytes_max: section.bytes("examined_batch_bytes_max", 1_024..=(1 << 40), 1 << 20),
            failed_stamps_per_connection: section.count("failed_stamps_per_connection", 0..=1_000_000, 16),
            failed_stamps_per_address: section.count("failed_stamps_per_address", 0..=1_000_000, 64),
            failed_stamps_window_s: section.seconds("failed_stamps_window_s", 1..=86_400, 60),
            failed_stamps_refuse_s: section.seconds("failed_stamps_refuse_s", 1..=86_400, 60),
            failed_stamp_addresses_max: section.count("failed_stamp_addresses_max", 1..=10_000_000, 10_000),
            shutdown_timeout_s: section.seconds("shutdown_timeout_s", 1..=3_600, 10),
            enrolled_senders_max: section.count("enrolled_senders_max", 0..=10_000_000, 100_000),
            enrolled_topic_keys_max: section.count("enrolled_topic_keys_max", 0..=10_000_000, 10_000),
            enrolled_entry_bytes_max: section.bytes("enrolled_entry_bytes_max", 1_024..=(16 << 20), 64 << 10),
            admin_connections_max: section.count("admin_connections_max", 1..=1_024, 8),
            admin_request_bytes_max: section.bytes("admin_request_bytes_max", 65_536..=(1 << 30), 16 << 20),
            admin_timeout_s: section.seconds("admin_timeout_s", 1..=3_600, 10),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        defaults(Self::read)
    }
}

/// Which message goes when the queue of an absent client is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueFull {
    /// The new one: what was acknowledged first is kept.
    DropNewest,
    /// The oldest: the latest readings are kept.
    DropOldest,
}

impl QueueFull {
    const NAMES: [(&'static str, Self); 2] =
        [("drop-newest", Self::DropNewest), ("drop-oldest", Self::DropOldest)];
}
