//! Steps that several chapters take: what a client was sent by now, and what the broker reports.

use crate::harness::packets::{PINGREQ, PINGRESP};
use crate::harness::{Broker, Publish5, Wire};

/// What makes the broker report each second: for [`await_report`].
pub(super) const REPORTS: &str = "[telemetry]\nsys_interval_s = 1\n";

/// What the client was sent by now, acknowledged. Two answers to PINGREQ bound it, as in
/// [`Wire::expect_nothing_but_pong`].
#[track_caller]
pub(super) fn taken(wire: &mut Wire) -> Vec<Publish5> {
    let mut sent = Vec::new();
    for _ in 0..2 {
        wire.send(PINGREQ);
        loop {
            let packet = wire.receive();
            if packet == PINGRESP {
                break;
            }
            sent.push(Publish5::parse(&packet).unwrap_or_else(|| panic!("no PUBLISH: {packet:02x?}")));
        }
    }
    for publish in &sent {
        wire.acknowledge5(publish);
    }
    sent
}

/// The payloads of what was taken.
pub(super) fn texts(taken: &[Publish5]) -> Vec<&str> {
    taken.iter().map(Publish5::text).collect()
}

/// Waits until the broker reports this value of `$SYS/broker/<name>`.
pub(super) fn await_report(broker: &Broker, name: &str, value: u64) {
    let mut wire = Wire::client(broker, "reporter");
    wire.subscribe(format!("$SYS/broker/{name}"), 0);
    while wire.expect_publish().text() != value.to_string() {}
}

/// Numbers as texts: payloads that tell which is which.
pub(super) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}
