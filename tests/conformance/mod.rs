//! MQTT 3.1.1, clause by clause, with raw packets: each test is named by its claim and says in its
//! description which normative statement it proves. `docs/conformance.md` is the table of them all.

mod acl;
mod connect;
mod delivery;
mod keep_alive;
mod malformed;
mod publish;
mod qos;
mod queue;
mod resend;
mod retained;
mod return_codes;
mod session;
mod subscribe;
mod take_over;
mod topics;
mod unsubscribe;
mod v5;
mod websocket;
mod will;

use crate::harness::{Broker, Wire};

/// Sends `packet` as the connected client `culprit`: the connection is closed, nothing is said before,
/// and a log line names the client, its address and `clause`.
#[track_caller]
fn assert_breach(broker: &Broker, packet: impl AsRef<[u8]>, clause: &str) {
    let mut culprit = Wire::client(broker, "culprit");
    culprit.send(packet);
    culprit.expect_closed();
    let line = broker.closed_for(culprit.local_addr(), clause);
    assert_eq!(line.field("client"), Some("culprit"), "{}", line.text);
}

/// Sends `packet` as the first of a connection: it is closed without a CONNACK, and a log line names
/// the address and `clause`.
#[track_caller]
fn assert_breach_at_once(broker: &Broker, packet: impl AsRef<[u8]>, clause: &str) {
    let mut culprit = Wire::open(broker);
    culprit.send(packet);
    culprit.expect_closed();
    broker.closed_for(culprit.local_addr(), clause);
}
