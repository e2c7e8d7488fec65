//! sealmq: an MQTT broker that opens sealed payloads on ingress.
//!
//! The road of a PUBLISH, from one socket to another; the value changes its type when it has earned
//! a new promise:
//!
//! | step | file | takes | gives |
//! |---|---|---|---|
//! | 1 | `protocol/src/codec/` | bytes | `Publish`, well formed |
//! | 2 | `connection/mod.rs` | `Publish` | the same, fed to the session; actions carried out |
//! | 3 | `session/inbound.rs` | `Publish` | `Submission`: alias resolved, duplicate stopped, ack owed |
//! | 4 | `ingress/mod.rs` | `Submission` | `Message`: permitted, opened, fresh; or a `Refusal` |
//! | 5 | `router/mod.rs` | `Message` | one `Delivery` for each match; retained and stored first |
//! | 6 | `session/outbound.rs` | `Delivery` | packet with QoS and id, inside the window |
//!
//! then 2 and 1 again, outward. The API is [`cli::run`] with
//! [`daemon::serve`]: this is a program, in a library so that it can be tested.

mod admin;
mod audit;
mod auth;
mod broker;
pub mod cli;
mod connection;
pub mod daemon;
mod delivery;
mod egress;
mod enrolment;
mod error;
mod failed_stamps;
mod files;
mod handout;
mod identity;
mod ingress;
mod keeper;
mod key_watch;
mod keys;
mod listener;
mod log_limit;
mod mailbox;
mod metrics;
mod mosquitto;
mod now;
mod registry;
mod retained;
mod router;
mod rulebook;
mod secrets;
mod server;
mod session;
#[cfg(test)]
#[allow(
    clippy::similar_names,
    clippy::struct_excessive_bools,
    clippy::maybe_infinite_iter,
    clippy::wildcard_enum_match_arm,
    clippy::range_minus_one,
    clippy::range_plus_one,
    reason = "a model says what it sees; what it did not expect is an error of any kind"
)]
mod simulation;
mod store;
mod sys_topics;
mod verifier;
mod wills;
