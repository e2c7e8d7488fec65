//! Sealed topics and MQTT 5: what of a message's properties is left when its envelope was opened, and what
//! its publisher is told when it was refused.

use super::steps::await_report;
use crate::encryption::{self, Plant, payload_for};
use crate::harness::packets5::{
    CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, PAYLOAD_FORMAT, PUBACK, PUBREC, REASON_STRING,
    REQUEST_PROBLEM, RESPONSE_TOPIC, With,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};
use sealmq_crypto::OpenError;

const TOPIC: &str = "plant/7/level";
/// What RFC 9052 (§11) calls a signed message.
const COSE: &str = "application/cose; cose-type=\"cose-sign1\"";

/// A client of MQTT 5 on TLS that has subscribed to everything.
fn watcher(broker: &Broker) -> Wire {
    let mut wire = Wire::open_tls(broker);
    wire.send(Connect5::new("watcher 5").bytes());
    wire.expect_connack(0);
    wire.subscribe5("#", 2);
    wire
}

/// An envelope with all that may be said of it.
fn described(topic: &str, envelope: &[u8]) -> Publish5 {
    Publish5::new(topic, envelope)
        .with(PAYLOAD_FORMAT, 0)
        .with(CONTENT_TYPE, COSE)
        .with(RESPONSE_TOPIC, "answers")
        .with(CORRELATION_DATA, "7")
        .with(MESSAGE_EXPIRY, 300)
        .pair("unit", "mm")
        .pair("unit", "cm")
}

/// What does not speak of the envelope is there as it was sent.
#[track_caller]
fn assert_rest_is_kept(publish: &Publish5) {
    let properties = &publish.properties;
    assert_eq!(properties.text(RESPONSE_TOPIC).as_deref(), Some("answers"), "{publish:?}");
    assert_eq!(properties.text(CORRELATION_DATA).as_deref(), Some("7"));
    assert!(properties.number(MESSAGE_EXPIRY).is_some_and(|left| (1..=300).contains(&left)));
    assert_eq!(
        properties.pairs(),
        [("unit", "mm"), ("unit", "cm")].map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
}

/// The code for a refusal of this name.
fn code_of(error: OpenError) -> u8 {
    match error.name() {
        "unknown-sender" | "sender-not-allowed" | "bad-stamp" => 0x87,
        _ => 0x99,
    }
}

/// A message that was opened is no COSE any more, and no longer binary: content type and payload format
/// indicator go, the rest stays; live and retained.
#[test]
fn opened_message_loses_what_spoke_of_its_envelope() {
    let plant = Plant::start();
    let mut watcher = watcher(&plant.broker);
    let mut sender = Wire::client5(&plant.broker, "sender");
    for (topic, sealed) in [(TOPIC, true), ("signed/7/a", false)] {
        let text = format!("on {topic}");
        let device = &plant.device;
        let envelope =
            if sealed { device.seal(&plant.key, topic, &text) } else { device.stamp(topic, &text) };
        sender.publish5(&described(topic, &envelope).qos(2, 1).retain());
        for _ in 0..2 {
            let publish = watcher.take5(&text);
            assert_rest_is_kept(&publish);
            assert_eq!(publish.properties.text(CONTENT_TYPE), None);
            assert_eq!(publish.properties.number(PAYLOAD_FORMAT), None);
            if !publish.retain {
                watcher.subscribe5(topic, 2);
            }
        }
    }
}

/// A content type that says something else is the content's own.
#[test]
fn other_content_types_are_kept() {
    let plant = Plant::start();
    let mut watcher = watcher(&plant.broker);
    let mut sender = Wire::client5(&plant.broker, "sender");
    for (n, content_type) in ["text/plain", "application/cose", "application/cbor"].into_iter().enumerate() {
        let text = n.to_string();
        let envelope = plant.device.seal(&plant.key, TOPIC, &text);
        sender.publish5(&Publish5::new(TOPIC, envelope).qos(1, 1).with(CONTENT_TYPE, content_type));
        assert_eq!(watcher.take5(&text).properties.text(CONTENT_TYPE).as_deref(), Some(content_type));
    }
}

/// What is passed on as an envelope keeps all that was said of it.
#[test]
fn end_to_end_message_keeps_everything() {
    let plant = Plant::start();
    let mut watcher = watcher(&plant.broker);
    let mut sender = Wire::client5(&plant.broker, "sender");
    let envelope = plant.device.stamp("private/7/a", "for somebody else");
    sender.publish5(&described("private/7/a", &envelope).qos(1, 1));
    let publish = watcher.expect_publish5();
    assert_eq!(publish.payload, envelope);
    assert_rest_is_kept(&publish);
    assert_eq!(publish.properties.text(CONTENT_TYPE).as_deref(), Some(COSE));
    assert_eq!(publish.properties.number(PAYLOAD_FORMAT), Some(0));
}

/// [MQTT-3.4.2-1]: an envelope is no UTF-8, and who says that it is is refused, where it is passed on as it is,
/// too.
#[test]
fn end_to_end_message_has_the_format_that_it_says() {
    let plant = Plant::start();
    let mut watcher = watcher(&plant.broker);
    let mut sender = Wire::client5(&plant.broker, "sender");
    let envelope = plant.device.stamp("private/7/a", "for somebody else");
    assert!(std::str::from_utf8(&envelope).is_err());
    let publish = Publish5::new("private/7/a", &envelope).qos(1, 1);
    assert_eq!(sender.try_publish5(&publish.clone().with(PAYLOAD_FORMAT, 1)), 0x99);
    // It was not taken for this message, and so is no repetition.
    assert_eq!(sender.try_publish5(&publish.with(PAYLOAD_FORMAT, 0)), 0);
    assert_eq!(watcher.expect_publish5().payload, envelope);
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1]: each refusal by its code: 0x87 where the sender is at fault, 0x99 where
/// the payload is. A reason string for those who ask; the connection lives.
#[test]
fn refused_envelope_is_answered_with_its_code() {
    for error in OpenError::ALL {
        let plant = Plant::start();
        let mut watcher = watcher(&plant.broker);
        let payload = payload_for(&plant, error.name(), TOPIC);
        if error == OpenError::Replayed {
            watcher.take5(encryption::SECRET);
        }
        for (asks, qos, first) in [(1, 1, PUBACK), (1, 2, PUBREC), (0, 1, PUBACK), (0, 2, PUBREC)] {
            let connect = Connect5::new("culprit").with(REQUEST_PROBLEM, asks);
            let mut culprit = Wire::connect5(&plant.broker, &connect);
            culprit.send(Publish5::new(TOPIC, &payload).qos(qos, 7).retain().bytes());
            let answer = culprit.expect_reason(first, 7, code_of(error));
            let reason = answer.properties.text(REASON_STRING);
            assert_eq!(reason.is_some(), asks == 1, "{error:?}: {answer:?}");
            assert!(!reason.is_some_and(|reason| reason.contains(encryption::SECRET)));
            culprit.publish5(&Publish5::new("plain", "lives").qos(2, 7));
            watcher.take5("lives");
            culprit.disconnect5(0);
        }
        watcher.expect_nothing_but_pong();
    }
}

/// With QoS 0 there is nobody to tell; the refusal is counted.
#[test]
fn refused_envelope_of_qos0_is_dropped() {
    let mut plant = Plant::start();
    let mut culprit = Wire::client5(&plant.broker, "culprit");
    culprit.publish5(&Publish5::new(TOPIC, "no envelope"));
    culprit.expect_nothing_but_pong();
    await_report(&plant.broker, "refused/not-an-envelope", 1);
    plant.watcher.expect_nothing_but_pong();
}

/// `on_refusal = "disconnect"`: DISCONNECT with that same code, whatever the QoS, and the will is sent. A
/// reason string for those who ask.
#[test]
fn refusal_disconnects_where_the_policy_says_so() {
    let topic = "strict/7/level";
    for error in OpenError::ALL {
        let plant = Plant::start();
        let mut watcher = watcher(&plant.broker);
        let payload = payload_for(&plant, error.name(), topic);
        if error == OpenError::Replayed {
            watcher.take5(encryption::SECRET);
        }
        for (asks, qos) in [(1, 0), (1, 1), (1, 2), (0, 1)] {
            let will = Publish5::new("will", "gone");
            let connect = Connect5::new("culprit").with(REQUEST_PROBLEM, asks).will(will);
            let mut culprit = Wire::connect5(&plant.broker, &connect);
            culprit.send(Publish5::new(topic, &payload).qos(qos, 7).bytes());
            let disconnect = culprit.expect_disconnect(code_of(error));
            let reason = disconnect.properties.text(REASON_STRING);
            assert_eq!(reason.is_some(), asks == 1, "{error:?}: {disconnect:?}");
            watcher.take5("gone");
        }
        watcher.expect_nothing_but_pong();
    }
}

/// The protocol's own repetition of a packet is no replay: the same id, DUP, the same bytes.
#[test]
fn repetition_of_the_same_packet_is_acknowledged() {
    let plant = Plant::start();
    let mut watcher = watcher(&plant.broker);
    let persistent = Connect5::new("sender").persistent(300);
    let mut sender = Wire::connect5(&plant.broker, &persistent);
    let publish = Publish5::new(TOPIC, plant.device.seal(&plant.key, TOPIC, "1")).qos(1, 7);
    sender.publish5(&publish);
    sender.cut();
    let mut sender = Wire::resume5(&plant.broker, &persistent);
    let code = sender.try_publish5(&publish.dup());
    assert!(code < 0x80, "{code:#04x}");
    watcher.take5("1");
    watcher.expect_nothing_but_pong();
}

/// A sealed message of a shared subscription goes to a member that may have it, in plaintext to none.
#[test]
fn sealed_message_goes_to_a_member_on_tls() {
    let plant = Plant::start();
    let mut plain = Wire::client5(&plant.broker, "plain");
    plain.subscribe5("$share/g/#", 1);
    let mut secure = Wire::open_tls(&plant.broker);
    secure.send(Connect5::new("secure").bytes());
    secure.expect_connack(0);
    secure.subscribe5("$share/g/#", 1);
    let mut sender = Wire::client5(&plant.broker, "sender");
    for n in 0..10 {
        let text = n.to_string();
        sender.publish5(&Publish5::new(TOPIC, plant.device.seal(&plant.key, TOPIC, &text)).qos(1, 1));
        secure.take5(&text);
        plain.expect_nothing_but_pong();
    }
}
