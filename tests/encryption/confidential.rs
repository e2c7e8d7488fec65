//! A message opened from a sealed envelope goes out over TLS alone, wherever it was kept meanwhile.

use super::{Plant, await_report};
use crate::harness::packets::{suback, subscribe};
use crate::harness::{Connect, Publish, Wire};

const TOPIC: &str = "plant/7/level";

/// Publishes a sealed reading as a client on the plaintext listener.
fn publish(plant: &Plant, text: &str, qos: u8) {
    let envelope = plant.seal(TOPIC, text);
    Wire::client(&plant.broker, "sender").publish(&Publish::new(TOPIC, envelope).qos(qos, 1));
}

#[test]
fn plaintext_wildcard_does_not_see_it() {
    let mut plant = Plant::start();
    let mut open = Wire::client(&plant.broker, "open");
    for filter in ["#", "+/7/level", "+/+/+"] {
        open.subscribe(filter, 2);
    }
    for qos in 0..=2 {
        publish(&plant, "21.5", qos);
        assert_eq!(plant.watcher.take("21.5").qos, qos);
    }
    open.expect_nothing_but_pong();
    Wire::client(&plant.broker, "sender").publish(&Publish::new("open/7/level", "for all"));
    open.take("for all");
    await_report(&plant.broker, "envelopes/withheld", 3);
    await_report(&plant.broker, "envelopes/opened", 3);
}

#[test]
fn subscription_wholly_under_sealed_topics_needs_tls() {
    let plant = Plant::start();
    let filters = [("plant/#", 2), (TOPIC, 1), ("plant/+/level", 0), ("#", 1), ("+/7/#", 1), ("signed/#", 2)];
    let mut open = Wire::client(&plant.broker, "open");
    open.send(subscribe(1, &filters));
    open.expect(suback(1, &[0x80, 0x80, 0x80, 1, 1, 2]));
    let mut secure = Wire::client_tls(&plant.broker, "secure");
    secure.send(subscribe(1, &filters));
    secure.expect(suback(1, &[2, 1, 0, 1, 1, 2]));
}

/// A subscription made over TLS does not show anything on plaintext later on.
#[test]
fn subscription_made_on_tls_is_silent_on_plaintext() {
    let mut plant = Plant::start();
    let connect = Connect::new("mobile").persistent();
    let mut secure = Wire::open_tls(&plant.broker).connected(&connect, false);
    secure.subscribe("plant/#", 1);
    let mut open = Wire::resume(&plant.broker, &connect);
    publish(&plant, "21.5", 1);
    plant.watcher.take("21.5");
    open.expect_nothing_but_pong();
}

/// A client that is away, whose persistent session has subscribed over TLS.
fn absent(plant: &Plant) -> Connect {
    let connect = Connect::new("absent").persistent();
    let mut wire = Wire::open_tls(&plant.broker).connected(&connect, false);
    wire.subscribe("plant/#", 2);
    wire.subscribe("open", 2);
    wire.disconnect();
    Wire::resume(&plant.broker, &connect).disconnect();
    connect
}

#[test]
fn queued_message_is_delivered_on_tls() {
    let plant = Plant::start();
    let connect = absent(&plant);
    for (text, qos) in [("1", 1), ("2", 2), ("3", 1)] {
        publish(&plant, text, qos);
    }
    let mut secure = Wire::open_tls(&plant.broker).connected(&connect, true);
    for (text, qos) in [("1", 1), ("2", 2), ("3", 1)] {
        assert_eq!(secure.take(text).qos, qos);
    }
    secure.expect_nothing_but_pong();
}

#[test]
fn queued_message_is_not_delivered_on_plaintext() {
    let plant = Plant::start();
    let connect = absent(&plant);
    publish(&plant, "1", 1);
    Wire::client(&plant.broker, "sender").publish(&Publish::new("open", "for all").qos(1, 1));
    publish(&plant, "2", 2);
    let mut open = Wire::resume(&plant.broker, &connect);
    open.take("for all");
    open.expect_nothing_but_pong();
    await_report(&plant.broker, "envelopes/withheld", 2);
}

/// In flight on TLS and not acknowledged: sent again on TLS.
#[test]
fn message_in_flight_is_sent_again_on_tls() {
    let plant = Plant::start();
    let connect = absent(&plant);
    let mut secure = Wire::open_tls(&plant.broker).connected(&connect, true);
    publish(&plant, "1", 1);
    let first = secure.expect_publish();
    secure.cut();
    let mut again = Wire::open_tls(&plant.broker).connected(&connect, true);
    assert_eq!(again.take("1"), first.dup());
}

#[test]
fn message_in_flight_is_not_sent_again_on_plaintext() {
    let plant = Plant::start();
    let connect = absent(&plant);
    let mut secure = Wire::open_tls(&plant.broker).connected(&connect, true);
    for qos in 1..=2 {
        publish(&plant, "1", qos);
        secure.expect_publish();
    }
    secure.cut();
    let mut open = Wire::resume(&plant.broker, &connect);
    open.expect_nothing_but_pong();
    // The window is free for what may be sent.
    Wire::client(&plant.broker, "sender").publish(&Publish::new("open", "for all").qos(1, 1));
    open.take("for all");
}

/// A client that takes its session from TLS to plaintext while messages come sees none of them there.
#[test]
fn take_over_by_plaintext_shows_nothing() {
    let plant = Plant::start();
    let connect = absent(&plant);
    let mut secure = Wire::open_tls(&plant.broker).connected(&connect, true);
    for n in 0..20 {
        publish(&plant, &n.to_string(), 1);
    }
    let mut open = Wire::resume(&plant.broker, &connect);
    publish(&plant, "20", 1);
    open.expect_nothing_but_pong();
    assert_eq!(secure.take("0").qos, 1);
}

/// All flows of QoS out on TLS: what was sealed keeps the QoS of its PUBLISH, up to the subscription's.
#[test]
fn qos_is_that_of_publish_and_subscription() {
    let plant = Plant::start();
    for granted in 0..=2 {
        let mut secure = Wire::client_tls(&plant.broker, "secure");
        secure.subscribe("plant/#", granted);
        for qos in 0..=2 {
            publish(&plant, "21.5", qos);
            let publish = secure.take("21.5");
            assert!(publish.qos == qos.min(granted) && !publish.retain && !publish.dup, "{publish:?}");
        }
    }
}

/// Stamped and end-to-end messages are no secret of the broker's: they are for everybody.
#[test]
fn what_is_not_sealed_is_not_confidential() {
    let plant = Plant::start();
    let mut open = Wire::client(&plant.broker, "open");
    open.subscribe("#", 1);
    for topic in ["signed/7/a", "private/7/a"] {
        let envelope = plant.device.stamp(topic, "21.5");
        Wire::client(&plant.broker, "sender").publish(&Publish::new(topic, &envelope).qos(1, 1));
        assert_eq!(open.expect_publish().topic(), topic);
    }
}
