//! The queue of a client that is away (§3.1.2.4, §4.5): what is kept, how much, and what goes first.

use crate::harness::{Broker, Connect, Publish, Wire};

/// A broker whose persistent client `p` has subscribed to `a` and left.
fn absent(config: &str) -> (Broker, Wire) {
    let broker = Broker::with_config(config);
    let mut receiver = Wire::connect(&broker, &persistent());
    receiver.subscribe("a", 2);
    receiver.disconnect();
    // The socket closes a moment before the session is parked: wait for the latter.
    Wire::resume(&broker, &persistent()).disconnect();
    let sender = Wire::client(&broker, "sender");
    (broker, sender)
}

fn persistent() -> Connect {
    Connect::new("p").persistent()
}

fn assert_kept(broker: &Broker, payloads: &[&str]) {
    let mut receiver = Wire::resume(broker, &persistent());
    for payload in payloads {
        receiver.take(payload);
    }
    receiver.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-5], [MQTT-4.5.0-1]: QoS 1 and 2 are kept, in order, with their QoS.
#[test]
fn qos1_and_qos2_wait_for_an_absent_client() {
    let (broker, mut sender) = absent("");
    let qos = |n: u16| if n.is_multiple_of(2) { 1 } else { 2 };
    for n in 0..500 {
        sender.publish(&Publish::new("a", n.to_string()).qos(qos(n), 1));
    }
    let mut receiver = Wire::resume(&broker, &persistent());
    for n in 0..500 {
        let publish = receiver.take(&n.to_string());
        assert!(publish.qos == qos(n) && !publish.dup && !publish.retain, "{publish:?}");
    }
    receiver.expect_nothing_but_pong();
}

/// §3.1.2.4: QoS 0 is not kept.
#[test]
fn qos0_does_not_wait_for_an_absent_client() {
    let (broker, mut sender) = absent("");
    sender.publish(&Publish::new("a", "1"));
    sender.publish(&Publish::new("a", "2").qos(1, 1));
    assert_kept(&broker, &["2"]);
}

/// `limits.queue_messages_max` with `queue_full = "drop-newest"`: what was acknowledged first stays.
#[test]
fn full_queue_drops_the_newest() {
    let (broker, mut sender) = absent("[limits]\nqueue_messages_max = 3\nqueue_full = \"drop-newest\"");
    for n in 1..=5 {
        sender.publish(&Publish::new("a", n.to_string()).qos(1, 1));
    }
    assert_kept(&broker, &["1", "2", "3"]);
}

/// `limits.queue_messages_max` with `queue_full = "drop-oldest"`: the latest stay.
#[test]
fn full_queue_drops_the_oldest() {
    let (broker, mut sender) = absent("[limits]\nqueue_messages_max = 3\nqueue_full = \"drop-oldest\"");
    for n in 1..=5 {
        sender.publish(&Publish::new("a", n.to_string()).qos(2, 1));
    }
    assert_kept(&broker, &["3", "4", "5"]);
}

/// `limits.queue_bytes_max` counts topic and payload.
#[test]
fn queue_is_bounded_in_bytes() {
    let (broker, mut sender) = absent("[mqtt]\npacket_bytes_max = 3000\n[limits]\nqueue_bytes_max = 3000");
    let payload = |n: u8| n.to_string().repeat(999);
    for n in 1..=5 {
        sender.publish(&Publish::new("a", payload(n)).qos(1, 1));
    }
    assert_kept(&broker, &[&payload(1), &payload(2), &payload(3)]);
}

/// `storage.queued_bytes_max` bounds all queues together.
#[test]
fn all_queues_together_are_bounded_in_bytes() {
    let (broker, mut sender) = absent(
        "[mqtt]\npacket_bytes_max = 3000\n[limits]\nqueue_bytes_max = 3000\n[storage]\nqueued_bytes_max = 3000",
    );
    let other = Connect::new("other").persistent();
    let mut wire = Wire::connect(&broker, &other);
    wire.subscribe("a", 1);
    wire.disconnect();
    Wire::resume(&broker, &other).disconnect();
    broker
        .log()
        .nth_line(1, |line| line.field("client") == Some("other") && line.message() == "disconnected");
    let payload = |n: u8| n.to_string().repeat(999);
    for n in 1..=3 {
        sender.publish(&Publish::new("a", payload(n)).qos(1, 1));
    }
    let mut kept = 0;
    for connect in [persistent(), other] {
        let mut receiver = Wire::resume(&broker, &connect);
        receiver.take(&payload(1));
        kept += 1;
        receiver.send(crate::harness::packets::PINGREQ);
        while let Some(publish) = Publish::parse(&receiver.receive()) {
            receiver.send(crate::harness::packets::puback(publish.id));
            kept += 1;
        }
    }
    assert_eq!(kept, 3);
}

/// A queue that was emptied takes as much as before.
#[test]
fn emptied_queue_takes_messages_again() {
    let (broker, mut sender) = absent("[limits]\nqueue_messages_max = 2");
    for round in ["1", "2"] {
        for _ in 0..3 {
            sender.publish(&Publish::new("a", round).qos(1, 1));
        }
        assert_kept(&broker, &[round, round]);
        let gone = |line: &crate::harness::log::LogLine| {
            line.field("client") == Some("p") && line.message() == "connection lost"
        };
        broker.log().nth_line(usize::from(round == "2"), gone);
    }
}
