//! Variables: each kind of value, and what is wrong with them.

use super::{File, load_env, with_listener};
use crate::limits::QueueFull;
use crate::storage::Durability;
use std::path::Path;

#[test]
fn each_kind_of_value_is_parsed() {
    let config = load_env(&[
        ("SEALMQ_DATA_DIR", "data"),
        ("SEALMQ_LIMITS__CONNECTIONS_MAX", "5"),
        ("SEALMQ_LIMITS__CONNECT_TIMEOUT_S", "7"),
        ("SEALMQ_LIMITS__QUEUE_FULL", "drop-oldest"),
        ("SEALMQ_MQTT__ALLOW_MQTT31", "false"),
        ("SEALMQ_MQTT__PACKET_BYTES_MAX", "1 MiB"),
        ("SEALMQ_MQTT__SESSION_EXPIRY_MAX_S", "3600"),
        ("SEALMQ_LIMITS__INBOX_BYTES_MAX", "2097152"),
        ("SEALMQ_STORAGE__DURABILITY", "async"),
        ("SEALMQ_STORAGE__ASYNC_INTERVAL_MS", "250"),
        ("SEALMQ_STORAGE__PATH", "fast/store"),
        ("SEALMQ_STORAGE__BALLAST_BYTES", "0"),
        ("SEALMQ_STORAGE__QUEUE_QOS0", "true"),
        ("SEALMQ_TELEMETRY__LOG", "warn,sealmq=trace"),
        ("SEALMQ_AUTH__PASSWORD_FILE", "passwd"),
        ("SEALMQ_AUTH__CLIENT_ID_PREFIXES", "a-, b-"),
        ("PATH", "/bin"),
        ("SEALMQX", "not ours"),
    ])
    .unwrap();
    assert_eq!(config.data_dir, Path::new("data"));
    assert_eq!(config.limits.connections_max, 5);
    assert_eq!(config.limits.connect_timeout_s, 7);
    assert_eq!(config.limits.queue_full, QueueFull::DropOldest);
    assert!(!config.mqtt.allow_mqtt31);
    assert_eq!(config.mqtt.packet_bytes_max, 1 << 20);
    assert_eq!(config.mqtt.session_expiry_max_s, Some(3600));
    assert_eq!(config.limits.inbox_bytes_max, 2 << 20);
    assert_eq!(config.storage.durability, Durability::Async);
    assert_eq!(config.storage.async_interval_ms, 250);
    assert_eq!(config.storage.path.as_deref(), Some(Path::new("fast/store")));
    assert_eq!(config.storage.ballast_bytes, 0);
    assert!(config.storage.queue_qos0);
    assert_eq!(config.telemetry.log, "warn,sealmq=trace");
    assert_eq!(config.auth.password_file.as_deref(), Some(Path::new("passwd")));
    assert_eq!(config.auth.client_id_prefixes, ["a-", "b-"]);
}

#[test]
fn a_variable_overrides_the_file_and_leaves_its_neighbours() {
    let file = with_listener("data_dir = \"d\"\n[limits]\nconnections_max = 1\nsessions_max = 2");
    let config = file.load(&[("SEALMQ_LIMITS__CONNECTIONS_MAX", "3"), ("SEALMQ_DATA_DIR", "here")]).unwrap();
    assert_eq!((config.limits.connections_max, config.limits.sessions_max), (3, 2));
    assert_eq!(config.data_dir, Path::new("here"));
}

#[test]
fn an_interval_and_its_durability_may_come_from_different_places() {
    let file = with_listener("storage.async_interval_ms = 5");
    let config = file.load(&[("SEALMQ_STORAGE__DURABILITY", "async")]).unwrap();
    assert_eq!((config.storage.durability, config.storage.async_interval_ms), (Durability::Async, 5));
    let file = with_listener("storage.durability = \"async\"");
    let config = file.load(&[("SEALMQ_STORAGE__ASYNC_INTERVAL_MS", "6")]).unwrap();
    assert_eq!((config.storage.durability, config.storage.async_interval_ms), (Durability::Async, 6));
}

#[test]
fn variables_of_a_kubernetes_service_are_passed_over() {
    let env = [
        ("SEALMQ_SERVICE_HOST", "10.0.0.1"),
        ("SEALMQ_SERVICE_PORT", "1883"),
        ("SEALMQ_SERVICE_PORT_MQTT", "1883"),
        ("SEALMQ_PORT", "tcp://10.0.0.1:1883"),
        ("SEALMQ_PORT_1883_TCP", "tcp://10.0.0.1:1883"),
        ("SEALMQ_PORT_1883_TCP_ADDR", "10.0.0.1"),
        ("SEALMQ_HEADLESS_PORT_8883_TCP_PROTO", "tcp"),
    ];
    load_env(&env).unwrap();
}

#[test]
fn what_is_wrong_with_a_variable_names_it() {
    for (name, value, expected) in [
        (
            "SEALMQ_LIMITS__CONECTIONS_MAX",
            "5",
            "environment variable SEALMQ_LIMITS__CONECTIONS_MAX: unknown variable; did you mean SEALMQ_LIMITS__CONNECTIONS_MAX?",
        ),
        (
            "SEALMQ_LIMITS_CONNECTIONS_MAX",
            "5",
            "environment variable SEALMQ_LIMITS_CONNECTIONS_MAX: unknown variable; did you mean SEALMQ_LIMITS__CONNECTIONS_MAX?",
        ),
        (
            "SEALMQ_limits__connections_max",
            "5",
            "environment variable SEALMQ_limits__connections_max: unknown variable; did you mean SEALMQ_LIMITS__CONNECTIONS_MAX?",
        ),
        (
            "SEALMQ_LOG",
            "debug",
            "environment variable SEALMQ_LOG: unknown variable; did you mean SEALMQ_TELEMETRY__LOG?",
        ),
        (
            "SEALMQ_LISTENER__0__BIND",
            "x",
            "environment variable SEALMQ_LISTENER__0__BIND: unknown variable; [[listener]] can only stand in a file",
        ),
        (
            "SEALMQ_WHATEVER",
            "x",
            "environment variable SEALMQ_WHATEVER: unknown variable; allowed: SEALMQ_DATA_DIR, or SEALMQ_<TABLE>__<KEY> for a key of a table",
        ),
        (
            "SEALMQ_LIMITS__CONNECTIONS_MAX",
            "many",
            "environment variable SEALMQ_LIMITS__CONNECTIONS_MAX: limits.connections_max: found \"many\"; allowed: 1 to 10,000,000",
        ),
        (
            "SEALMQ_MQTT__ALLOW_MQTT31",
            "yes",
            "environment variable SEALMQ_MQTT__ALLOW_MQTT31: mqtt.allow_mqtt31: found \"yes\"; allowed: true or false",
        ),
        (
            "SEALMQ_STORAGE__ASYNC_INTERVAL_MS",
            "250",
            "environment variable SEALMQ_STORAGE__ASYNC_INTERVAL_MS: storage.async_interval_ms: found 250 with storage.durability = \"sync\"; allowed: with storage.durability = \"async\" only",
        ),
        (
            "SEALMQ_DATA_DIR",
            "",
            "environment variable SEALMQ_DATA_DIR: data_dir: found \"\"; allowed: a path",
        ),
    ] {
        assert_eq!(load_env(&[(name, value)]).unwrap_err().to_string(), expected);
    }
}

#[test]
fn an_unknown_variable_keeps_its_value_to_itself() {
    let error = load_env(&[("SEALMQ_PASSWORD", "hunter2")]).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn problems_of_file_and_environment_come_together() {
    let file = File::new("data_dir = 5\n");
    let error = file.load(&[("SEALMQ_LIMITS__SESSIONS_MAX", "0")]).unwrap_err();
    let places: Vec<_> = error.problems().iter().map(|problem| problem.key.as_deref()).collect();
    assert_eq!(places, [Some("data_dir"), Some("limits.sessions_max")]);
}
