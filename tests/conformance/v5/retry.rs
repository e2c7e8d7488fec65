//! Delivery retry (§4.4): what a session was sent and has not acknowledged is sent again when its client
//! comes back, and at no other time.

use super::await_one_and_a_half_seconds;
use crate::harness::packets5::{
    CONTENT_TYPE, MESSAGE_EXPIRY, PUBACK, PUBCOMP, PUBREC, PUBREL, SESSION_EXPIRY, SUBACK, SUBSCRIPTION_ID,
    With, ack5, disconnect5, subscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

fn persistent() -> Connect5 {
    Connect5::new("p").persistent(300)
}

/// A broker, a client `p` with a session that has subscribed to `a` with QoS 2, and one that publishes.
fn pair() -> (Broker, Wire, Wire) {
    let broker = Broker::start();
    let mut receiver = Wire::connect5(&broker, &persistent());
    receiver.subscribe5("a", 2);
    let sender = Wire::client5(&broker, "sender");
    (broker, receiver, sender)
}

/// Publishes so many messages, QoS 1 and 2 by turns; they are there and unacknowledged.
#[track_caller]
fn in_flight(receiver: &mut Wire, sender: &mut Wire, messages: usize) -> Vec<Publish5> {
    for n in 0..messages {
        let qos = if n.is_multiple_of(2) { 1 } else { 2 };
        sender.publish5(&Publish5::new("a", n.to_string()).qos(qos, 1).pair("n", n.to_string()));
    }
    let sent: Vec<Publish5> = (0..messages).map(|_| receiver.expect_publish5()).collect();
    assert!(sent.iter().all(|publish| !publish.dup), "{sent:?}");
    sent
}

/// [MQTT-4.4.0-1], [MQTT-4.6.0-1]: with the same ids and properties, DUP set, in order, as often as the
/// client comes back.
#[test]
fn unacknowledged_messages_are_sent_again_in_order() {
    let (broker, mut receiver, mut sender) = pair();
    let sent = in_flight(&mut receiver, &mut sender, 6);
    receiver.cut();
    for _ in 0..3 {
        let mut again = Wire::resume5(&broker, &persistent());
        for publish in &sent {
            assert_eq!(again.expect_publish5(), publish.clone().dup());
        }
        again.expect_nothing_but_pong();
        again.cut();
    }
}

/// [MQTT-4.4.0-1]: after DISCONNECT and after a take-over just the same.
#[test]
fn messages_are_sent_again_after_any_end() {
    let (broker, mut receiver, mut sender) = pair();
    let sent = in_flight(&mut receiver, &mut sender, 2);
    receiver.send(disconnect5(0).bytes());
    receiver.expect_closed();
    let mut second = Wire::resume5(&broker, &persistent());
    let mut third = Wire::resume5(&broker, &persistent());
    for publish in &sent {
        assert_eq!(third.expect_publish5(), publish.clone().dup());
    }
    second.expect_disconnect(0x8E);
}

/// [MQTT-4.4.0-1]: at no other time: as long as the connection lives nothing is sent twice.
#[test]
fn nothing_is_sent_again_on_the_same_connection() {
    let (broker, mut receiver, mut sender) = pair();
    let sent = in_flight(&mut receiver, &mut sender, 4);
    receiver.send(ack5(PUBREC, sent[1].id, 0).bytes());
    receiver.expect_reason(PUBREL, sent[1].id, 0);
    await_one_and_a_half_seconds(&broker);
    receiver.send(ack5(PUBACK, sent[0].id, 0).bytes());
    receiver.expect_nothing_but_pong();
}

/// [MQTT-4.4.0-1], [MQTT-4.3.3-5], [MQTT-4.3.3-6]: after PUBREC it is PUBREL that is sent again, until
/// PUBCOMP, and never the message.
#[test]
fn unacknowledged_pubrel_is_sent_again() {
    let (broker, mut receiver, mut sender) = pair();
    let sent = in_flight(&mut receiver, &mut sender, 3);
    receiver.send(ack5(PUBREC, sent[1].id, 0).bytes());
    receiver.expect_reason(PUBREL, sent[1].id, 0);
    receiver.cut();
    for _ in 0..2 {
        let mut again = Wire::resume5(&broker, &persistent());
        assert_eq!(again.expect_publish5(), sent[0].clone().dup());
        again.expect_reason(PUBREL, sent[1].id, 0);
        assert_eq!(again.expect_publish5(), sent[2].clone().dup());
        again.cut();
    }
    let mut again = Wire::resume5(&broker, &persistent());
    again.send(ack5(PUBCOMP, sent[1].id, 0).bytes());
    again.acknowledge5(&sent[0]);
    assert_eq!(again.expect_publish5().id, sent[0].id);
    again.cut();
    let mut again = Wire::resume5(&broker, &persistent());
    assert_eq!(again.expect_publish5(), sent[2].clone().dup());
    again.expect_nothing_but_pong();
}

/// [MQTT-4.3.2-3], [MQTT-4.3.3-3], [MQTT-4.4.0-2]: what was acknowledged, with or without an error, is not
/// sent again; what was not, is.
#[test]
fn acknowledged_messages_are_not_sent_again() {
    let (broker, mut receiver, mut sender) = pair();
    let sent = in_flight(&mut receiver, &mut sender, 6);
    receiver.acknowledge5(&sent[1]);
    receiver.acknowledge5(&sent[0]);
    receiver.send(ack5(PUBACK, sent[2].id, 0x80).bytes());
    receiver.send(ack5(PUBREC, sent[3].id, 0x99).bytes());
    receiver.expect_nothing_but_pong();
    receiver.cut();
    let mut again = Wire::resume5(&broker, &persistent());
    for publish in &sent[4..] {
        assert_eq!(again.expect_publish5(), publish.clone().dup());
        again.acknowledge5(publish);
    }
    again.expect_nothing_but_pong();
    again.cut();
    Wire::resume5(&broker, &persistent()).expect_nothing_but_pong();
}

/// [MQTT-4.3.1-1]: QoS 0 is sent once.
#[test]
fn qos0_is_not_sent_again() {
    let (broker, mut receiver, mut sender) = pair();
    sender.publish5(&Publish5::new("a", "1"));
    receiver.take5("1");
    receiver.cut();
    Wire::resume5(&broker, &persistent()).expect_nothing_but_pong();
}

/// [MQTT-4.4.0-1]: with clean start, or with a session that ended with its connection, there is nothing.
#[test]
fn ended_session_is_sent_nothing_again() {
    let (broker, mut receiver, mut sender) = pair();
    in_flight(&mut receiver, &mut sender, 2);
    receiver.cut();
    let mut clean = Wire::connect5(&broker, &persistent().flags(0x02));
    clean.expect_nothing_but_pong();
    clean.subscribe5("a", 2);
    in_flight(&mut clean, &mut sender, 2);
    clean.send(disconnect5(0).with(SESSION_EXPIRY, 0).bytes());
    clean.expect_closed();
    Wire::connect5(&broker, &persistent()).expect_nothing_but_pong();
}

/// §3.3.4: what is sent again has the identifiers with which it was sent first.
#[test]
fn identifiers_are_sent_again() {
    let (broker, mut receiver, mut sender) = pair();
    receiver.send(subscribe5(1, &[("a", 1)]).with(SUBSCRIPTION_ID, 3).bytes());
    receiver.expect_reason(SUBACK, 1, 1);
    sender.publish5(&Publish5::new("a", "1").qos(1, 1).with(CONTENT_TYPE, "text/plain"));
    let sent = receiver.expect_publish5();
    assert_eq!(sent.properties.subscription_ids(), [3]);
    receiver.cut();
    assert_eq!(Wire::resume5(&broker, &persistent()).expect_publish5(), sent.dup());
}

/// [MQTT-4.3.3-7]: a message of QoS 2 that was begun is finished though its time is over, whichever of its
/// packets was the last.
#[test]
fn qos2_message_that_was_begun_outlives_its_expiry() {
    let (broker, mut receiver, mut sender) = pair();
    for payload in ["1", "2"] {
        sender.publish5(&Publish5::new("a", payload).qos(2, 1).with(MESSAGE_EXPIRY, 1));
    }
    let sent = [receiver.expect_publish5(), receiver.expect_publish5()];
    receiver.send(ack5(PUBREC, sent[0].id, 0).bytes());
    receiver.expect_reason(PUBREL, sent[0].id, 0);
    receiver.cut();
    await_one_and_a_half_seconds(&broker);
    let mut again = Wire::resume5(&broker, &persistent());
    again.expect_reason(PUBREL, sent[0].id, 0);
    let publish = again.expect_publish5();
    assert!(publish.dup && publish.id == sent[1].id && publish.text() == "2", "{publish:?}");
    again.acknowledge5(&publish);
    again.send(ack5(PUBCOMP, sent[0].id, 0).bytes());
    again.expect_nothing_but_pong();
}

/// §3.3.2.3.3: one of QoS 1 whose time is over is not sent again, and holds up nothing behind it.
#[test]
fn expired_qos1_message_is_not_sent_again() {
    let (broker, mut receiver, mut sender) = pair();
    sender.publish5(&Publish5::new("a", "1").qos(1, 1).with(MESSAGE_EXPIRY, 1));
    sender.publish5(&Publish5::new("a", "2").qos(1, 1));
    let sent = [receiver.expect_publish5(), receiver.expect_publish5()];
    receiver.cut();
    await_one_and_a_half_seconds(&broker);
    let mut again = Wire::resume5(&broker, &persistent());
    assert_eq!(again.expect_publish5(), sent[1].clone().dup());
    again.acknowledge5(&sent[1]);
    again.expect_nothing_but_pong();
}
