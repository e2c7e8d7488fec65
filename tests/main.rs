//! Integration tests: the real `sealmq` binary, spoken to with raw packets and by foreign clients.
//!
//! The chapters: `conformance` holds the broker against MQTT 3.1.1, clause by clause; `tidy` holds
//! the sources against the project's rules. What all share is in `harness`. Every test starts a broker
//! of its own on ports that the system picks, so that all may run at once.

mod conformance;
mod harness;
mod tidy;
