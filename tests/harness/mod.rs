//! What every chapter uses: a real broker, raw packets, and foreign clients.
//!
//! A test starts a [`Broker`], speaks to it by [`Wire`] (bytes made by [`packets`]) or by the runners in
//! [`clients`], and awaits events: a packet, a log line, the end of a process. Nothing here sleeps, and
//! every wait is bounded by [`PATIENCE`]; a test that outlasts it fails and prints the broker's log.

pub(crate) mod broker;
pub(crate) mod certificates;
pub(crate) mod clients;
pub(crate) mod log;
pub(crate) mod packets;
pub(crate) mod packets5;
mod properties5;
pub(crate) mod scram;
pub(crate) mod websocket;
pub(crate) mod wire;
mod wire5;

pub(crate) use broker::{Broker, Setup};
pub(crate) use packets::{Connect, Publish};
pub(crate) use packets5::{Connect5, Publish5};
pub(crate) use wire::Wire;

use std::time::Duration;

/// How long any single event is waited for. Far longer than it ever takes, so that a loaded machine
/// fails no test; short enough that a hanging one says so soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
