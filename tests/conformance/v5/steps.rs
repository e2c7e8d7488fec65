//! Steps that several chapters take: a breach and its answer, what a client was sent by now, and time
//! that passes, told by the broker's own reports.

use crate::harness::packets::{PINGREQ, PINGRESP};
use crate::harness::packets5::DISCONNECT5;
use crate::harness::{Broker, Publish5, Wire};

/// What makes the broker report each second: for [`pass_seconds`] and [`await_report`].
pub(super) const REPORTS: &str = "[telemetry]\nsys_interval_s = 1\n";

/// Sends `packet` as a connected client: DISCONNECT comes with `code`, then the end.
#[track_caller]
pub(super) fn assert_disconnected(broker: &Broker, packet: impl AsRef<[u8]>, code: u8) {
    assert_disconnected_by(broker, packet, &[code]);
}

/// The same, where the standard names no code, or more than one: any of these.
#[track_caller]
pub(super) fn assert_disconnected_by(broker: &Broker, packet: impl AsRef<[u8]>, codes: &[u8]) {
    let packet = packet.as_ref();
    let mut culprit = Wire::client5(broker, "culprit");
    culprit.send(packet);
    let answer = culprit.await_answer(DISCONNECT5, 0);
    assert!(codes.contains(&answer.code()), "expected {codes:02x?}, got {answer:02x?} for {packet:02x?}");
    culprit.expect_closed();
}

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
    sent.iter().for_each(|publish| wire.acknowledge5(publish));
    sent
}

/// The payloads of what was taken.
pub(super) fn texts(taken: &[Publish5]) -> Vec<&str> {
    taken.iter().map(Publish5::text).collect()
}

/// Waits until more than this many seconds have gone by, as the broker counts them.
pub(super) fn pass_seconds(broker: &Broker, seconds: u64) {
    let mut clock = Wire::client(broker, "clock");
    clock.subscribe("$SYS/broker/uptime", 0);
    let mut read = || clock.expect_publish().text().parse::<u64>().unwrap();
    // The first report may be a second old already.
    let end = read() + seconds + 2;
    while read() < end {}
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
