//! One typed [`Config`]: read from TOML and the environment, unknown keys refused, checked, resolved.
//!
//! Everything that the broker may do without asking has a bound here, with unit and default. Paths
//! come out resolved against the file's folder; times come out as seconds since 1970.

pub mod auth;
pub mod encryption;
pub mod error;
pub mod limits;
pub mod listener;
pub mod mqtt;
pub mod storage;
pub mod telemetry;
pub mod units;

pub use error::ConfigError;

use std::path::PathBuf;

/// The whole configuration of a broker.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(default)]
pub struct Config {
    /// Folder for everything that the broker makes and keeps.
    pub data_dir: PathBuf,
    /// Where to listen.
    #[serde(rename = "listener")]
    pub listeners: Vec<listener::Listener>,
    /// Who may connect.
    pub auth: auth::Auth,
    /// Who may publish and subscribe where; empty: everybody everywhere.
    pub acl: Vec<auth::AclRule>,
    /// Enrolled senders: whose stamps count, and on which topics.
    #[serde(rename = "sender")]
    pub senders: Vec<encryption::Sender>,
    /// Keys that open sealed payloads.
    #[serde(rename = "topic_key")]
    pub topic_keys: Vec<encryption::TopicKey>,
    /// What a payload must be, by topic; the first that matches counts.
    #[serde(rename = "policy")]
    pub policies: Vec<encryption::Policy>,
    /// Settings of the envelope.
    pub encryption: encryption::Encryption,
    /// What the broker offers to clients.
    pub mqtt: mqtt::Mqtt,
    /// Bounds.
    pub limits: limits::Limits,
    /// How durably state is kept.
    pub storage: storage::Storage,
    /// What the broker tells of itself.
    pub telemetry: telemetry::Telemetry,
}
