//! Integration tests: the real `sealmq` binary, spoken to with raw packets and by foreign clients.
//!
//! The chapters: `conformance` holds the broker against MQTT 3.1.1 and MQTT 5, clause by clause;
//! `durability` kills, fills, breaks and starts again; `encryption` seals and is refused; `lifecycle` starts,
//! reloads and stops; `clients` are foreign ones; `overload` is too much of everything; `websocket` is MQTT in
//! frames, with MQTT.js from node and from a browser; `tidy` holds the sources against the project's rules.
//! What all share is in `harness`. Every test starts a broker of its own on ports that the system picks, so
//! that all may run at once; but for those that need the fixed ports of a start without configuration.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, also in the functions that tests share"
)]

mod clients;
mod conformance;
mod durability;
mod encryption;
mod harness;
mod lifecycle;
mod overload;
mod tidy;
mod websocket;
