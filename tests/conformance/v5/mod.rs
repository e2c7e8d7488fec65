//! MQTT 5, statement by statement, with raw packets: as the chapter of 3.1.1 next to it, in the second
//! part of `docs/conformance.md`.

mod acknowledgements;
mod alias;
mod auth;
mod connack;
mod connect;
mod connect_properties;
mod data;
mod disconnect;
mod envelopes;
mod expiry;
mod flow;
mod groups;
mod identifiers;
mod keep_alive;
mod large;
mod options;
mod order;
mod ping;
mod publish;
mod publish_properties;
mod qos;
mod reasons;
mod retain;
mod retry;
mod scram;
mod session;
mod shared;
mod state;
mod steps;
mod suback;
mod subscribe;
mod topics;
mod unsubscribe;
mod versions;
mod websocket;
mod will;
mod will_delay;
mod window;

use crate::harness::packets5::Answer;
use crate::harness::{Broker, Connect5, Wire};

/// Malformed Packet.
const MALFORMED: u8 = 0x81;
/// Protocol Error.
const PROTOCOL_ERROR: u8 = 0x82;

/// Sends `packet` as the connected client `culprit`: DISCONNECT with `code` comes, then the end.
#[track_caller]
fn assert_disconnected(broker: &Broker, packet: impl AsRef<[u8]>, code: u8) -> Answer {
    let mut culprit = Wire::client5(broker, "culprit");
    culprit.send(packet);
    culprit.expect_disconnect(code)
}

/// The same where the standard forbids the packet and leaves open which of two codes says so: malformed,
/// or against the protocol.
#[track_caller]
fn assert_disconnected_as_wrong(broker: &Broker, packet: impl AsRef<[u8]>) {
    let mut culprit = Wire::client5(broker, "culprit");
    culprit.send(packet);
    let answer = Answer::parse(&culprit.receive());
    assert!(answer.first == 0xE0 && matches!(answer.code(), MALFORMED | PROTOCOL_ERROR), "{answer:02x?}");
    culprit.expect_closed();
}

/// CONNECT gets CONNACK with one of these two codes, then the end.
#[track_caller]
fn assert_refused_as_wrong(broker: &Broker, connect: impl AsRef<[u8]>) {
    let mut wire = Wire::open(broker);
    wire.send(connect);
    let answer = Answer::parse(&wire.receive());
    assert!(answer.first == 0x20 && matches!(answer.code(), MALFORMED | PROTOCOL_ERROR), "{answer:02x?}");
    wire.expect_closed();
}

/// Waits for as long as a silent client with a keep alive of one second lives: 1.5 s, measured by the
/// broker. This is the tests' clock, so that none of them has to sleep.
fn await_one_and_a_half_seconds(broker: &Broker) {
    Wire::connect5(broker, &Connect5::new("").keep_alive(1)).expect_disconnect(0x8D);
}
