//! A sync that fails: what was not acknowledged is not promised, and the broker ends, since what the system has
//! in its cache is not to be trusted any more. At the next start all that was acknowledged is there.

use super::SYS;
use super::preload::{Library, preloaded};
use crate::harness::packets::{PINGREQ, puback};
use crate::harness::{Broker, Connect, Publish, Setup, Wire};

/// The exit status of a broker whose store failed.
const FAILED: i32 = 74;
/// So many packets are on their way at a time, so that a batch is more than one message.
const WINDOW: usize = 8;

fn away() -> Connect {
    Connect::new("away").persistent()
}

/// Publishes until the connection ends. How many were acknowledged, and how many sent.
fn publish(wire: &mut Wire) -> (usize, usize) {
    let id = |n: usize| u16::try_from(n % 60_000 + 1).unwrap();
    let (mut sent, mut acknowledged) = (0, 0);
    loop {
        while sent < acknowledged + WINDOW {
            if wire.try_send(Publish::new("a", sent.to_string()).qos(1, id(sent)).bytes()).is_err() {
                return (acknowledged, sent);
            }
            sent += 1;
        }
        match wire.try_receive() {
            Ok(packet) => assert_eq!(packet, puback(id(acknowledged))),
            Err(_) => return (acknowledged, sent),
        }
        acknowledged += 1;
    }
}

/// How many came for the client that was away, in order and without a gap.
fn delivered(broker: &Broker) -> usize {
    let mut wire = Wire::resume(broker, &away());
    let mut n = 0;
    let mut pongs = 0;
    while pongs < 2 {
        wire.send(PINGREQ);
        while let Some(publish) = Publish::parse(&wire.receive()) {
            assert_eq!(publish.text(), n.to_string());
            wire.acknowledge(&publish);
            n += 1;
            pongs = 0;
        }
        pongs += 1;
    }
    n
}

/// The `at`th sync of a journal fails. What was acknowledged, what was delivered at the next start, what was sent.
fn fail_at(storage: &str, at: usize) -> (usize, usize, usize) {
    let broker = Setup::new().config(&format!("[storage]\n{storage}\n")).config(SYS).start();
    Wire::connect(&broker, &away()).subscribe("a", 1);
    let mut broker = preloaded(broker.end(), Library::Fail, "TEST_FAIL_AT", &at.to_string()).start();
    let (acknowledged, sent) = publish(&mut Wire::client(&broker, "publisher"));
    broker.log_line(|line| line.level() == "ERROR" && line.contains("the store has failed"));
    assert_eq!(broker.wait().code(), Some(FAILED), "sync {at}");
    (acknowledged, delivered(&broker.again().start()), sent)
}

#[test]
fn failed_sync_ends_the_broker_and_loses_nothing_acknowledged() {
    for at in [20, 57, 300] {
        let (acknowledged, delivered, sent) = fail_at("durability = \"sync\"", at);
        assert!(acknowledged > 0, "sync {at} came too soon");
        assert!((acknowledged..=sent).contains(&delivered), "{acknowledged} {delivered} {sent}");
    }
}

/// Behind acknowledgements: some of what they promised within the interval may be gone, but never from the
/// middle.
#[test]
fn failed_sync_behind_acknowledgements_ends_the_broker() {
    for at in [3, 10] {
        let storage = "durability = \"async\"\nasync_interval_ms = 20";
        let (acknowledged, delivered, sent) = fail_at(storage, at);
        assert!(acknowledged > 0 && delivered > 0 && delivered <= sent, "{acknowledged} {delivered} {sent}");
    }
}

/// A first start that is cut short at one of its syncs says so; the next one succeeds.
#[test]
fn first_start_that_is_cut_short_can_be_done_again() {
    // The broker's own key, the engine's beginnings, then its keyspaces, which are all alike.
    for at in (1..8).chain((8..).step_by(11)) {
        let setup = Setup::new().config("[storage]\nballast_bytes = 0\n").env("TEST_FAIL_ANY", "1");
        let mut broker = preloaded(setup, Library::Fail, "TEST_FAIL_AT", &at.to_string()).spawn();
        let first = broker.log_line(|line| {
            let ends = ["cannot be opened", "input/output error"].into_iter().any(|why| line.contains(why));
            line.message() == "listening" || ends
        });
        if first.message() == "listening" {
            assert!(at > 10, "the store is begun with {at} syncs?");
            return;
        }
        assert!(!broker.wait().success());
        let again = broker.again().start();
        Wire::connect(&again, &away()).disconnect();
    }
}
