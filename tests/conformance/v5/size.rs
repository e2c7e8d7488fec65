//! Messages beyond a client's maximum packet size (§3.1.2.11.4), beside clients of 3.1.1 and in the
//! broker's reports; the numbered statements are in `large`.

use super::steps::{REPORTS, await_report};
use crate::harness::packets5::{MAXIMUM_PACKET_SIZE, With};
use crate::harness::{Broker, Connect5, Publish5, Wire};

const BYTES_MAX: u32 = 200;
const DROPPED: &str = "publish/messages/dropped";

/// A client that takes packets of up to [`BYTES_MAX`].
fn small(id: &str) -> Connect5 {
    Connect5::new(id).with(MAXIMUM_PACKET_SIZE, BYTES_MAX)
}

fn large() -> String {
    "x".repeat(BYTES_MAX as usize)
}

/// §3.1.2.11.4: a message too large for one client is dropped and counted for it, and delivered to others,
/// of 3.1.1 too; the connection lives.
#[test]
fn message_too_large_is_dropped_for_that_client_alone() {
    let broker = Broker::with_config(REPORTS);
    let (mut small, mut other) = (Wire::connect5(&broker, &small("small")), Wire::client5(&broker, "other"));
    let mut old = Wire::client(&broker, "old");
    small.subscribe5("a", 2);
    other.subscribe5("a", 2);
    old.subscribe("a", 2);
    let mut sender = Wire::client5(&broker, "sender");
    for qos in 0..=2 {
        sender.publish5(&Publish5::new("a", large()).qos(qos, 1));
        other.take5(&large());
        old.take(&large());
        small.expect_nothing_but_pong();
    }
    await_report(&broker, DROPPED, 3);
    sender.publish5(&Publish5::new("a", "1").qos(2, 1));
    small.take5("1");
}

/// §3.1.2.11.4: a message too large is dropped also when it had waited, or is to be sent again.
#[test]
fn message_that_waited_is_dropped_too() {
    let broker = Broker::start();
    let roomy = Connect5::new("p").persistent(300);
    let mut client = Wire::connect5(&broker, &roomy);
    client.subscribe5("a", 2);
    let mut sender = Wire::client5(&broker, "sender");
    sender.publish5(&Publish5::new("a", large()).qos(1, 1));
    client.expect_publish5();
    client.cut();
    for payload in [&large(), "1"] {
        sender.publish5(&Publish5::new("a", payload).qos(1, 1));
    }
    let mut client = Wire::resume5(&broker, &small("p").persistent(300));
    client.take5("1");
    client.expect_nothing_but_pong();
}
