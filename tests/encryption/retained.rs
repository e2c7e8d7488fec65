//! Retained messages of sealed topics: kept open, shown over TLS alone, replaced and cleared by
//! envelopes alone.

use super::{Plant, SECRET};
use crate::harness::clients::{Subscriber, plain, publish_stdin};
use crate::harness::{Connect, Publish, Wire};

const TOPIC: &str = "plant/7/level";

fn retain(plant: &Plant, text: &str) {
    let envelope = plant.seal(TOPIC, text);
    Wire::client(&plant.broker, "sender").publish(&Publish::new(TOPIC, envelope).qos(1, 1).retain());
}

#[test]
fn retained_message_is_for_tls_alone() {
    let plant = Plant::start();
    retain(&plant, "21.5");
    let mut secure = Wire::client_tls(&plant.broker, "secure");
    secure.subscribe("plant/+/level", 1);
    let publish = secure.take("21.5");
    assert!(publish.retain && publish.qos == 1 && publish.topic() == TOPIC, "{publish:?}");
    let mut open = Wire::client(&plant.broker, "open");
    open.subscribe("#", 1);
    open.expect_nothing_but_pong();
}

/// Also for a persistent session that subscribed over TLS and reads its retained messages on plaintext.
#[test]
fn retained_message_does_not_follow_a_session_to_plaintext() {
    let plant = Plant::start();
    retain(&plant, "21.5");
    let connect = Connect::new("mobile").persistent();
    let mut secure = Wire::open_tls(&plant.broker).connected(&connect, false);
    secure.subscribe("#", 1);
    secure.cut();
    let mut open = Wire::resume(&plant.broker, &connect);
    open.expect_nothing_but_pong();
}

#[test]
fn retained_message_is_replaced_by_an_envelope() {
    let plant = Plant::start();
    retain(&plant, "1");
    retain(&plant, "2");
    let mut secure = Wire::client_tls(&plant.broker, "secure");
    secure.subscribe(TOPIC, 0);
    secure.take("2");
    secure.expect_nothing_but_pong();
}

/// The envelope of an empty plaintext clears; it is delivered, empty, to those who listen.
#[test]
fn retained_message_is_cleared_by_an_envelope_of_nothing() {
    let mut plant = Plant::start();
    retain(&plant, "21.5");
    plant.watcher.take("21.5");
    retain(&plant, "");
    plant.watcher.take("");
    let mut late = Wire::client_tls(&plant.broker, "late");
    late.subscribe("plant/#", 1);
    late.expect_nothing_but_pong();
}

/// An empty payload is no envelope, and clears nothing on a sealed topic.
#[test]
fn retained_message_is_not_cleared_by_an_empty_payload() {
    let mut plant = Plant::start();
    retain(&plant, "21.5");
    plant.watcher.take("21.5");
    Wire::client(&plant.broker, "culprit").publish(&Publish::new(TOPIC, "").qos(1, 1).retain());
    plant.watcher.expect_nothing_but_pong();
    let mut late = Wire::client_tls(&plant.broker, "late");
    late.subscribe("plant/#", 1);
    late.take("21.5");
}

/// The same with real clients.
#[test]
fn retained_message_reaches_mosquitto_sub_over_tls() {
    let plant = Plant::start();
    let envelope = super::sealed(&plant.broker, "dev-7", Some("aes256"), TOPIC, SECRET);
    let sent = publish_stdin(&plant.broker, &["-t", TOPIC, "-q", "1", "-r"], &envelope);
    assert!(sent.status.success(), "{sent:?}");
    let secure = Subscriber::start_tls(&plant.broker, &["-t", "#"]);
    let message = secure.message(0);
    assert!(message.retain && message.text() == SECRET, "{message:?}");
    let open = Subscriber::spawn(plain(&plant.broker), &["-t", "#", "-E"]);
    let output = open.output().clone();
    assert_eq!(open.wait(), 0);
    assert!(output.lines(|line| line.text.starts_with("message|")).is_empty());
}
