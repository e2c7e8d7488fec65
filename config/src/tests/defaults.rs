//! Every default.

use super::{load, load_env};
use crate::Config;
use crate::audit::Audit;
use crate::auth::Auth;
use crate::encryption::Encryption;
use crate::identity::Identity;
use crate::limits::{Limits, QueueFull};
use crate::listener::{Listener, Tls};
use crate::mqtt::Mqtt;
use crate::secrets::Secrets;
use crate::storage::{Durability, Storage};
use crate::telemetry::Telemetry;

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

fn limits() -> Limits {
    Limits {
        connections_max: 100_000,
        connect_timeout_s: 10,
        client_id_bytes_max: 1_024,
        websocket_frame_bytes_max: 16 * MIB,
        sessions_max: 1_000_000,
        topic_levels_max: 128,
        filters_per_packet_max: 10_000,
        subscription_bytes_per_client_max: 128 * MIB,
        subscriptions_per_client_max: 100_000,
        inflight_messages_max: 4_096,
        inflight_bytes_max: 32 * MIB,
        inbound_qos2_max: 65_535,
        outbound_topic_aliases_max: 256,
        inbox_messages_max: 32_768,
        inbox_bytes_max: 32 * MIB,
        slow_receiver_pause_ms: 100,
        write_stall_s: 60,
        queue_messages_max: 100_000,
        queue_bytes_max: 64 * MIB,
        queue_full: QueueFull::DropNewest,
        retained_messages_max: 1_000_000,
        retained_bytes_max: GIB,
        unchecked_bytes_max: MIB,
        examined_batch_bytes_max: MIB,
        failed_stamps_per_connection: 16,
        failed_stamps_per_address: 64,
        failed_stamps_window_s: 60,
        failed_stamps_refuse_s: 60,
        failed_stamp_addresses_max: 10_000,
        shutdown_timeout_s: 10,
        enrolled_senders_max: 100_000,
        enrolled_topic_keys_max: 10_000,
        enrolled_entry_bytes_max: 65_536,
        admin_connections_max: 8,
        admin_request_bytes_max: 16 * MIB,
        admin_timeout_s: 10,
    }
}

#[test]
fn every_default_is_as_promised() {
    let expected = Config {
        data_dir: "sealmq-data".into(),
        listeners: Vec::new(),
        auth: Auth { allow_anonymous: true, password_file: None, client_id_prefixes: Vec::new() },
        acl: Vec::new(),
        identity: Identity { id: "sealmq".to_owned(), key: None },
        senders: Vec::new(),
        topic_keys: Vec::new(),
        subscriber_keys: Vec::new(),
        policies: Vec::new(),
        encryption: Encryption {
            max_clock_skew_s: 300,
            timed_stamps_max: 65_536,
            derived_keys_max: 4_096,
            unchecked_max: 256,
        },
        secrets: Secrets { passphrase_file: None },
        mqtt: Mqtt {
            allow_mqtt31: true,
            session_expiry_max_s: None,
            packet_bytes_max: 16 * MIB,
            server_keep_alive_max_s: None,
            receive_maximum: 4_096,
            topic_alias_maximum: 32,
            qos_max: 2,
            retain_available: true,
            wildcard_subscriptions: true,
            subscription_identifiers: true,
            shared_subscriptions: true,
            response_information: None,
            server_reference: None,
        },
        limits: limits(),
        storage: Storage {
            durability: Durability::Sync,
            async_interval_ms: 1_000,
            path: None,
            queued_bytes_max: GIB,
            cache_bytes: 8 * MIB,
            pending_bytes_max: 64 * MIB,
            ballast_bytes: 16 * MIB,
            queue_qos0: false,
        },
        telemetry: Telemetry { log: "info".to_owned(), log_json: false, sys_interval_s: 10 },
        audit: Audit {
            enabled: true,
            users: Vec::new(),
            queue_max: 4_096,
            file_bytes_max: 64 * MIB,
            files_max: 8,
        },
    };
    assert_eq!(Config::default(), expected);
    assert_eq!(Limits::default(), expected.limits);
    assert_eq!(Mqtt::default(), expected.mqtt);
    assert_eq!(Storage::default(), expected.storage);
}

#[test]
fn without_file_the_broker_listens_locally() {
    let config = load_env(&[]).unwrap();
    assert_eq!(config, Config::embedded());
    let tls = Tls {
        cert: "sealmq-data/tls/server.pem".into(),
        key: "sealmq-data/tls/server.key".into(),
        client_ca: None,
    };
    let expected =
        [("1883", false, false), ("8883", true, false), ("8083", false, true), ("8084", true, true)];
    let expected = expected.map(|(port, secure, websocket)| Listener {
        bind: format!("127.0.0.1:{port}").parse().unwrap(),
        tls: secure.then(|| tls.clone()),
        websocket,
        origins: None,
    });
    assert_eq!(config.listeners, expected);
}

#[test]
fn without_file_the_certificate_stands_in_the_data_folder_of_the_environment() {
    let config = load_env(&[("SEALMQ_DATA_DIR", "/srv/mq")]).unwrap();
    let tls = config.listeners[1].tls.clone().unwrap();
    assert_eq!(tls.cert, std::path::Path::new("/srv/mq/tls/server.pem"));
    assert_eq!(tls, Tls::development(&config.data_dir));
}

#[test]
fn state_is_on_disk_with_and_without_file() {
    for config in [load_env(&[]).unwrap(), load("").unwrap(), Config::embedded()] {
        assert_eq!(config.storage, Storage::default());
        assert_eq!(config.storage.durability, Durability::Sync);
    }
}
