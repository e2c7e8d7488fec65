//! QoS (§4.3): what each of the three promises, on the way in and on the way out.

use super::await_one_and_a_half_seconds;
use super::steps::numbers;
use crate::harness::packets5::{MESSAGE_EXPIRY, PUBACK, PUBCOMP, PUBREC, PUBREL, With, ack5};
use crate::harness::{Broker, Connect5, Publish5, Wire};
use std::collections::BTreeSet;

/// A broker, a client that has subscribed to `a` with QoS 2, and one that publishes and has a session.
fn pair(config: &str) -> (Broker, Wire, Wire) {
    let broker = Broker::with_config(config);
    let mut receiver = Wire::client5(&broker, "receiver");
    receiver.subscribe5("a", 2);
    let sender = Wire::connect5(&broker, &lasting());
    (broker, receiver, sender)
}

fn lasting() -> Connect5 {
    Connect5::new("sender").persistent(300)
}

/// Sends a PUBLISH of QoS 2, and expects PUBREC with this code.
#[track_caller]
fn begin(sender: &mut Wire, publish: &Publish5, code: u8) {
    sender.send(publish.bytes());
    sender.expect_reason(PUBREC, publish.id, code);
}

/// Sends PUBREL, and expects PUBCOMP with this code.
#[track_caller]
fn end(sender: &mut Wire, id: u16, code: u8) {
    sender.send(ack5(PUBREL, id, 0).bytes());
    sender.expect_reason(PUBCOMP, id, code);
}

/// [MQTT-4.3.1-1]: QoS 0 goes out with QoS 0, DUP 0 and no id, and is not answered.
#[test]
fn qos0_is_sent_once_and_not_answered() {
    let (_broker, mut receiver, mut sender) = pair("");
    sender.send(Publish5::new("a", "1").bytes());
    sender.expect_nothing_but_pong();
    receiver.expect([0x30, 5, 0, 1, b'a', 0, b'1']);
}

/// [MQTT-4.3.2-1], [MQTT-4.3.2-2], [MQTT-4.3.3-1], [MQTT-4.3.3-2]: QoS 1 and 2 go out with DUP 0, each
/// with an id that is not in use.
#[test]
fn deliveries_have_ids_of_their_own_and_no_dup() {
    let (_broker, mut receiver, mut sender) = pair("");
    let mut ids = BTreeSet::new();
    for (payload, qos) in numbers(0..300).iter().zip([1, 2, 2].into_iter().cycle()) {
        sender.publish5(&Publish5::new("a", payload).qos(qos, 500));
        let publish = receiver.expect_publish5();
        assert!(publish.qos == qos && publish.id != 0 && !publish.dup, "{publish:?}");
        assert!(ids.insert(publish.id), "{publish:?}");
        // One in three is finished, and its id may come again.
        if qos == 1 {
            receiver.acknowledge5(&publish);
            receiver.expect_nothing_but_pong();
            ids.remove(&publish.id);
        }
    }
}

/// [MQTT-4.3.3-4], [MQTT-4.3.3-5]: PUBREC is answered with PUBREL of the same id, as often as it comes
/// before PUBCOMP.
#[test]
fn pubrec_is_answered_with_pubrel() {
    let (_broker, mut receiver, mut sender) = pair("");
    for payload in ["1", "2"] {
        sender.publish5(&Publish5::new("a", payload).qos(2, 1));
        let id = receiver.expect_publish5().id;
        for code in [0, 0x10, 0] {
            receiver.send(ack5(PUBREC, id, code).bytes());
            receiver.expect_reason(PUBREL, id, 0);
        }
        receiver.send(ack5(PUBCOMP, id, 0).bytes());
        receiver.send(ack5(PUBREC, id, 0).bytes());
        receiver.expect_reason(PUBREL, id, 0x92);
    }
}

/// [MQTT-4.3.2-4]: QoS 1 is answered with PUBACK and the same id.
#[test]
fn qos1_publish_is_answered_with_its_id() {
    let (_broker, mut receiver, mut sender) = pair("");
    for id in [1, 2, 0x1234, 65_535] {
        sender.send(Publish5::new("a", "1").qos(1, id).bytes());
        sender.expect_reason(PUBACK, id, 0);
        receiver.take5("1");
    }
    sender.expect_nothing_but_pong();
}

/// [MQTT-4.3.2-5]: after PUBACK the same id is a new message, whatever its DUP.
#[test]
fn qos1_id_is_free_after_puback() {
    let (_broker, mut receiver, mut sender) = pair("");
    sender.publish5(&Publish5::new("a", "1").qos(1, 7));
    sender.publish5(&Publish5::new("a", "1").qos(1, 7).dup());
    sender.publish5(&Publish5::new("a", "2").qos(1, 7));
    for payload in ["1", "1", "2"] {
        receiver.take5(payload);
    }
}

/// [MQTT-4.3.3-8], [MQTT-4.3.3-11]: PUBREC, and PUBCOMP after PUBREL, with the same id; delivered once.
#[test]
fn qos2_publish_is_answered_in_two_steps_with_its_id() {
    let (_broker, mut receiver, mut sender) = pair("");
    for id in [1, 0x1234, 65_535] {
        begin(&mut sender, &Publish5::new("a", "1").qos(2, id), 0);
        sender.expect_nothing_but_pong();
        end(&mut sender, id, 0);
        receiver.take5("1");
        receiver.expect_nothing_but_pong();
    }
}

/// [MQTT-4.3.3-10]: until PUBREL the same id is the same message: answered again, delivered once.
#[test]
fn qos2_duplicate_is_delivered_once() {
    let (_broker, mut receiver, mut sender) = pair("");
    let publish = Publish5::new("a", "1").qos(2, 7);
    begin(&mut sender, &publish, 0);
    for again in [publish.clone().dup(), publish] {
        sender.send(again.bytes());
        assert!(sender.await_answer(PUBREC, 7).code() < 0x80);
    }
    end(&mut sender, 7, 0);
    receiver.take5("1");
    receiver.expect_nothing_but_pong();
}

/// [MQTT-4.3.3-10]: also on another connection of the session.
#[test]
fn qos2_duplicate_after_reconnect_is_delivered_once() {
    let (broker, mut receiver, mut sender) = pair("");
    let publish = Publish5::new("a", "1").qos(2, 7);
    begin(&mut sender, &publish, 0);
    sender.cut();
    let mut sender = Wire::resume5(&broker, &lasting());
    sender.send(publish.clone().dup().bytes());
    assert!(sender.await_answer(PUBREC, 7).code() < 0x80);
    sender.cut();
    let mut sender = Wire::resume5(&broker, &lasting());
    end(&mut sender, 7, 0);
    receiver.take5("1");
    receiver.expect_nothing_but_pong();
}

/// [MQTT-4.3.3-12]: after PUBCOMP the same id is a new message, whatever its DUP.
#[test]
fn qos2_id_is_free_after_pubcomp() {
    let (_broker, mut receiver, mut sender) = pair("");
    for publish in [Publish5::new("a", "1").qos(2, 7), Publish5::new("a", "1").qos(2, 7).dup()] {
        begin(&mut sender, &publish, 0);
        end(&mut sender, 7, 0);
        end(&mut sender, 7, 0x92);
        receiver.take5("1");
    }
}

/// [MQTT-4.3.3-9]: after a PUBREC that refuses, the same id is a new message.
#[test]
fn qos2_id_is_free_after_a_refusal() {
    let rules = "[[acl]]\naccess = \"publish\"\npermission = \"deny\"\ntopics = [\"closed\"]\n\
                 [[acl]]\naccess = \"all\"\ntopics = [\"#\"]";
    let (_broker, mut receiver, mut sender) = pair(rules);
    begin(&mut sender, &Publish5::new("closed", "1").qos(2, 7), 0x87);
    begin(&mut sender, &Publish5::new("closed", "1").qos(2, 7).dup(), 0x87);
    begin(&mut sender, &Publish5::new("a", "2").qos(2, 7), 0);
    end(&mut sender, 7, 0);
    end(&mut sender, 7, 0x92);
    receiver.take5("2");
}

/// [MQTT-4.3.3-13]: the exchange is finished though the message has expired.
#[test]
fn expired_message_is_finished_with_its_publisher() {
    let (broker, _receiver, mut sender) = pair("");
    let publish = Publish5::new("a", "1").qos(2, 7).with(MESSAGE_EXPIRY, 1);
    begin(&mut sender, &publish, 0);
    await_one_and_a_half_seconds(&broker);
    sender.send(publish.dup().bytes());
    assert!(sender.await_answer(PUBREC, 7).code() < 0x80);
    end(&mut sender, 7, 0);
}
