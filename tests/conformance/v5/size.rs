//! A client's maximum packet size (§3.1.2.11.4) and the messages that go beyond it: dropped for that
//! client alone, as if it had got them.

use super::steps::{REPORTS, await_report};
use crate::harness::packets5::{
    MAXIMUM_PACKET_SIZE, RECEIVE_MAXIMUM, SUBACK, SUBSCRIPTION_ID, With, subscribe5,
};
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

/// §3.1.2.11.4: dropped and counted for the one, delivered to the others; the connection lives.
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

/// §3.1.2.11.4: exactly as large is not too large; the whole packet counts, with id, topic and properties.
#[test]
fn whole_packet_counts() {
    let broker = Broker::start();
    let mut client = Wire::connect5(&broker, &small("c"));
    client.send(subscribe5(1, &[("#", 1)]).with(SUBSCRIPTION_ID, 200).bytes());
    client.expect_reason(SUBACK, 1, 1);
    // Header 3, topic 5, id 2, length of properties 1, identifier 3, user property 7.
    let room = BYTES_MAX as usize - 21;
    for length in [room, room + 1, room - 1] {
        let payload = "x".repeat(length);
        client.publish5(&Publish5::new("abc", &payload).qos(1, 1).pair("n", "v"));
        if length <= room {
            assert_eq!(client.take5(&payload).bytes().len(), BYTES_MAX as usize - (room - length));
        }
        client.expect_nothing_but_pong();
    }
}

/// §3.1.2.11.4: it takes no room in the window, and is not sent again to a client that takes more.
#[test]
fn message_too_large_counts_as_delivered() {
    let broker = Broker::start();
    let connect = small("p").persistent(300).with(RECEIVE_MAXIMUM, 1);
    let mut client = Wire::connect5(&broker, &connect);
    client.subscribe5("a", 2);
    let mut sender = Wire::client5(&broker, "sender");
    for qos in [1, 2, 1, 2] {
        sender.publish5(&Publish5::new("a", large()).qos(qos, 1));
    }
    for payload in ["1", "2"] {
        sender.publish5(&Publish5::new("a", payload).qos(2, 1));
        client.take5(payload);
    }
    client.expect_nothing_but_pong();
    client.cut();
    Wire::resume5(&broker, &Connect5::new("p").persistent(300)).expect_nothing_but_pong();
}

/// §3.1.2.11.4: the same for what waited in its queue, and for what is sent again.
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

/// §3.1.2.11.4: the same for retained messages.
#[test]
fn retained_message_too_large_is_dropped() {
    let broker = Broker::start();
    let mut client = Wire::connect5(&broker, &small("c"));
    for (topic, payload) in [("a/1", "1"), ("a/2", &large()), ("a/3", "3")] {
        client.publish5(&Publish5::new(topic, payload).qos(1, 1).retain());
    }
    client.subscribe5("a/#", 1);
    client.take5("1");
    client.take5("3");
    client.expect_nothing_but_pong();
}
