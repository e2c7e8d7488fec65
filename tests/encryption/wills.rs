//! Wills go through ingress like any message: on a sealed topic a will is an envelope.

use super::{Plant, SECRET, await_report};
use crate::harness::{Connect, Publish, Wire};

const TOPIC: &str = "plant/7/will";

#[test]
fn sealed_will_is_opened_with_its_qos() {
    let mut plant = Plant::start();
    let mut open = Wire::client(&plant.broker, "open");
    open.subscribe("#", 2);
    for qos in 0..=2 {
        let will = Publish::new(TOPIC, plant.seal(TOPIC, "gone")).qos(qos, 0);
        Wire::connect(&plant.broker, &Connect::new("mortal").will(will)).cut();
        let publish = plant.watcher.take("gone");
        assert!(publish.qos == qos && !publish.retain && publish.topic() == TOPIC, "{publish:?}");
    }
    open.expect_nothing_but_pong();
}

#[test]
fn sealed_will_is_retained_if_it_says_so() {
    let mut plant = Plant::start();
    let will = Publish::new(TOPIC, plant.seal(TOPIC, "gone")).qos(1, 0).retain();
    Wire::connect(&plant.broker, &Connect::new("mortal").will(will)).cut();
    assert!(!plant.watcher.take("gone").retain);
    let mut late = Wire::client_tls(&plant.broker, "late");
    late.subscribe("plant/#", 1);
    assert!(late.take("gone").retain);
    let mut open = Wire::client(&plant.broker, "open");
    open.subscribe("#", 1);
    open.expect_nothing_but_pong();
}

/// The client was let in with it; it is refused when it is published.
#[test]
fn will_that_is_no_envelope_is_refused() {
    let mut plant = Plant::start();
    for (n, retain) in [(0, false), (1, true)] {
        let will = Publish { retain, ..Publish::new(TOPIC, SECRET).qos(1, 0) };
        let mortal = Wire::connect(&plant.broker, &Connect::new("mortal").will(will));
        let addr = mortal.local_addr().to_string();
        mortal.cut();
        let line = plant.broker.log().nth_line(n, |line| line.message() == "message refused");
        let fields = ["reason", "client", "addr"].map(|name| line.field(name).unwrap().to_owned());
        assert_eq!(fields, ["not-an-envelope", "mortal", &addr]);
    }
    plant.watcher.expect_nothing_but_pong();
    let mut late = Wire::client_tls(&plant.broker, "late");
    late.subscribe("plant/#", 1);
    late.expect_nothing_but_pong();
    await_report(&plant.broker, "refused/not-an-envelope", 2);
    assert!(!plant.broker.log().text().contains(SECRET));
}

/// A will is taken once, like any envelope: a device needs a new one for every connection.
#[test]
fn will_used_again_is_replayed() {
    let mut plant = Plant::start();
    let will = Publish::new(TOPIC, plant.seal(TOPIC, "gone")).qos(1, 0);
    let connect = Connect::new("mortal").will(will);
    Wire::connect(&plant.broker, &connect).cut();
    plant.watcher.take("gone");
    Wire::connect(&plant.broker, &connect).cut();
    await_report(&plant.broker, "refused/replayed", 1);
    plant.watcher.expect_nothing_but_pong();
}

/// After DISCONNECT its number was never used.
#[test]
fn will_that_was_not_needed_can_be_used_again() {
    let mut plant = Plant::start();
    let will = Publish::new(TOPIC, plant.seal(TOPIC, "gone")).qos(1, 0);
    let connect = Connect::new("mortal").will(will);
    Wire::connect(&plant.broker, &connect).disconnect();
    Wire::connect(&plant.broker, &connect).cut();
    plant.watcher.take("gone");
}
