//! RETAIN (§3.3.1.3): what is kept, what is cleared, when it is sent, and with which flag it is forwarded.

use crate::harness::packets5::{SUBACK, SUBSCRIPTION_ID, With, subscribe5, unsubscribe5};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// Retain as published.
const AS_PUBLISHED: u8 = 0x08;
/// Retain handling 1: only with a new subscription.
const IF_NEW: u8 = 0x10;
/// Retain handling 2: never.
const NEVER: u8 = 0x20;

/// What a new subscriber to `a` gets at once.
fn kept(broker: &Broker) -> Vec<String> {
    let mut late = Wire::client5(broker, "late");
    late.subscribe5("a", 2);
    late.publish5(&Publish5::new("a", "end"));
    let mut payloads = Vec::new();
    loop {
        let got = late.expect_publish5();
        if !got.retain {
            assert_eq!(got.text(), "end");
            return payloads;
        }
        late.acknowledge5(&got);
        payloads.push(got.text().to_owned());
    }
}

/// [MQTT-3.3.1-5]: the last message with RETAIN is kept, and takes the place of the one before.
#[test]
fn last_message_with_retain_is_kept() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for (n, qos) in [0, 1, 2, 1, 0].into_iter().enumerate() {
        client.publish5(&Publish5::new("a", n.to_string()).qos(qos, 1).retain());
        assert_eq!(kept(&broker), [n.to_string()]);
    }
}

/// [MQTT-3.3.1-6], [MQTT-3.3.1-7]: an empty one is delivered, clears what was kept, and is not kept.
#[test]
fn empty_message_with_retain_clears() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.publish5(&Publish5::new("a", "1").qos(1, 1).retain());
    client.subscribe5("a", NEVER);
    client.publish5(&Publish5::new("a", "").qos(1, 2).retain().pair("n", "v"));
    assert!(client.expect_publish5().payload.is_empty());
    assert!(kept(&broker).is_empty());
}

/// [MQTT-3.3.1-8]: a message without RETAIN is not kept, and neither replaces nor clears.
#[test]
fn message_without_retain_leaves_what_is_kept() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.publish5(&Publish5::new("a", "0").qos(1, 1));
    assert!(kept(&broker).is_empty());
    client.publish5(&Publish5::new("a", "1").qos(1, 1).retain());
    client.publish5(&Publish5::new("a", "2").qos(1, 2));
    client.publish5(&Publish5::new("a", "").qos(1, 3));
    assert_eq!(kept(&broker), ["1"]);
}

/// A broker that keeps `1` for `a`, and a client that is not subscribed.
fn keeping() -> (Broker, Wire) {
    let broker = Broker::start();
    let mut client = Wire::connect5(&broker, &Connect5::new("c").persistent(60));
    client.publish5(&Publish5::new("a", "1").qos(1, 1).retain());
    (broker, client)
}

/// [MQTT-3.3.1-9]: retain handling 0: with every SUBSCRIBE.
#[test]
fn retain_handling_0_sends_each_time() {
    let (_broker, mut client) = keeping();
    for _ in 0..3 {
        client.subscribe5("a", 1);
        assert!(client.take5("1").retain);
    }
    client.expect_nothing_but_pong();
}

/// [MQTT-3.3.1-10]: retain handling 1: where there was no such subscription, in this session.
#[test]
fn retain_handling_1_sends_for_a_new_subscription() {
    let (broker, mut client) = keeping();
    client.subscribe5("a", 1 | IF_NEW);
    assert!(client.take5("1").retain);
    // The same filter again, with other options too.
    client.subscribe5("a", 1 | IF_NEW);
    client.subscribe5("a", IF_NEW | AS_PUBLISHED);
    client.send(subscribe5(7, &[("a", IF_NEW)]).with(SUBSCRIPTION_ID, 7).bytes());
    client.await_answer(SUBACK, 7);
    client.expect_nothing_but_pong();
    // After the session was resumed.
    client.cut();
    let mut client = Wire::resume5(&broker, &Connect5::new("c").persistent(60));
    client.subscribe5("a", 1 | IF_NEW);
    client.expect_nothing_but_pong();
    // Once given up, it is a new one.
    client.send(unsubscribe5(8, &["a"]).bytes());
    client.await_answer(0xB0, 8);
    client.subscribe5("a", 1 | IF_NEW);
    client.take5("1");
    // Another filter is another subscription.
    client.subscribe5("+", 1 | IF_NEW);
    client.take5("1");
    client.expect_nothing_but_pong();
}

/// [MQTT-3.3.1-11]: retain handling 2: never.
#[test]
fn retain_handling_2_sends_nothing() {
    let (_broker, mut client) = keeping();
    client.subscribe5("a", 1 | NEVER);
    client.subscribe5("#", 1 | NEVER);
    client.expect_nothing_but_pong();
    client.publish5(&Publish5::new("a", "2").qos(1, 1));
    client.take5("2");
}

/// [MQTT-3.3.1-12]: without retain as published, what is forwarded has RETAIN 0.
#[test]
fn retain_is_0_on_what_is_forwarded() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 1);
    client.publish5(&Publish5::new("a", "1").qos(1, 1).retain());
    assert!(!client.take5("1").retain);
    client.publish5(&Publish5::new("a", "2").qos(1, 1));
    assert!(!client.take5("2").retain);
}

/// [MQTT-3.3.1-13]: with it, RETAIN is as it was published, also for who was away; where subscriptions
/// overlap, one of them is enough.
#[test]
fn retain_as_published_is_forwarded() {
    let broker = Broker::start();
    let connect = Connect5::new("c").persistent(60);
    let mut client = Wire::connect5(&broker, &connect);
    client.subscribe5("a", 1 | AS_PUBLISHED | NEVER);
    client.publish5(&Publish5::new("a", "1").qos(1, 1).retain());
    assert!(client.take5("1").retain);
    client.publish5(&Publish5::new("a", "2").qos(1, 1));
    assert!(!client.take5("2").retain);
    client.disconnect5(0);
    let mut publisher = Wire::client5(&broker, "publisher");
    publisher.publish5(&Publish5::new("a", "3").qos(1, 1).retain());
    publisher.publish5(&Publish5::new("a", "4").qos(1, 2));
    let mut client = Wire::resume5(&broker, &connect);
    assert!(client.take5("3").retain);
    assert!(!client.take5("4").retain);
}
