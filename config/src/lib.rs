//! One typed [`Config`]: read from a TOML file and the environment, unknown keys refused, checked, resolved.
//!
//! Everything that the broker may do without asking has a bound here, with unit and default. A [`Config`]
//! that [`Config::load`] gives out has passed every check. Paths come out resolved against the file's
//! folder; times come out as seconds since 1970.
//!
//! A key's name, range and default stand in one place: the `read` function of its section. The defaults,
//! the check for unknown keys, the environment's variables and the test of `docs/configuration.md` are
//! all taken from there.

pub mod audit;
pub mod auth;
pub mod egress;
pub mod encryption;
pub mod error;
pub mod identity;
pub mod limits;
pub mod listener;
pub mod mqtt;
pub mod secrets;
pub mod storage;
pub mod telemetry;
pub mod units;

mod check;
mod environment;
mod load;
mod reader;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod unknown;
mod value;

pub use error::ConfigError;

use reader::{Reader, defaults};
use std::path::PathBuf;

/// The whole configuration of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder for everything that the broker makes and keeps.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listeners: Vec<listener::Listener>,
    /// Who may connect.
    pub auth: auth::Auth,
    /// Who may publish and subscribe where; empty: everybody everywhere.
    pub acl: Vec<auth::AclRule>,
    /// Who the broker is to those who check its stamps.
    pub identity: identity::Identity,
    /// Enrolled senders: whose stamps count, and on which topics.
    pub senders: Vec<encryption::Sender>,
    /// Keys that open sealed payloads.
    pub topic_keys: Vec<encryption::TopicKey>,
    /// Subscribers who can open envelopes.
    pub subscriber_keys: Vec<egress::SubscriberKey>,
    /// What a payload must be, by topic; the first that matches counts.
    pub policies: Vec<encryption::Policy>,
    /// Settings of the envelope.
    pub encryption: encryption::Encryption,
    /// How secrets lie at rest.
    pub secrets: secrets::Secrets,
    /// What the broker offers to clients.
    pub mqtt: mqtt::Mqtt,
    /// Bounds.
    pub limits: limits::Limits,
    /// How durably state is kept.
    pub storage: storage::Storage,
    /// What the broker tells of itself.
    pub telemetry: telemetry::Telemetry,
    /// The record of refusals and of what happened to keys.
    pub audit: audit::Audit,
}

impl Config {
    /// The configuration of a broker started without file and environment: every default, and what
    /// [`Config::set_development`] adds.
    pub fn embedded() -> Self {
        let mut config = Self::default();
        config.set_development();
        config
    }

    /// Listeners, keys and a policy to try everything with, all in the data folder: the four of
    /// [`Listener::development`](listener::Listener::development), and one sender and one topic key for
    /// the sealed topics `sealed/#`.
    pub fn set_development(&mut self) {
        self.listeners = listener::Listener::development(&self.data_dir).into();
        self.senders = vec![encryption::Sender::development(&self.data_dir)];
        self.topic_keys = vec![encryption::TopicKey::development(&self.data_dir)];
        self.policies = vec![encryption::Policy::development()];
    }

    fn read(root: &mut Reader<'_>) -> Self {
        Self {
            data_dir: root.path("data_dir", "sealmq-data"),
            listeners: root.list("listener", listener::Listener::read),
            auth: root.section("auth", auth::Auth::read),
            acl: root.list("acl", auth::AclRule::read),
            identity: root.section("identity", identity::Identity::read),
            senders: root.list("sender", encryption::Sender::read),
            topic_keys: root.list("topic_key", encryption::TopicKey::read),
            subscriber_keys: root.list("subscriber_key", egress::SubscriberKey::read),
            policies: root.list("policy", encryption::Policy::read),
            encryption: root.section("encryption", encryption::Encryption::read),
            secrets: root.section("secrets", secrets::Secrets::read),
            mqtt: root.section("mqtt", mqtt::Mqtt::read),
            limits: root.section("limits", limits::Limits::read),
            storage: root.section("storage", storage::Storage::read),
            telemetry: root.section("telemetry", telemetry::Telemetry::read),
            audit: root.section("audit", audit::Audit::read),
        }
    }
}

impl Default for Config {
    /// Every default and no listener: for a broker whose listeners the caller adds.
    fn default() -> Self {
        defaults(Self::read)
    }
}
