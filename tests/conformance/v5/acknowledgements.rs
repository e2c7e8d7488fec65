//! PUBACK, PUBREC, PUBREL, PUBCOMP (§3.4 to §3.7): their reason codes, their short forms, and what each
//! of them frees.

use super::{assert_disconnected, assert_disconnected_as_wrong};
use crate::harness::packets::packet;
use crate::harness::packets5::{
    Answer, CONTENT_TYPE, MAXIMUM_PACKET_SIZE, PUBACK, PUBCOMP, PUBREC, PUBREL, REASON_STRING,
    RECEIVE_MAXIMUM, REQUEST_PROBLEM, With, ack5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// Nobody may publish under `closed`; everything else is free.
const RULES: &str = r##"
[[acl]]
access = "publish"
permission = "deny"
topics = ["closed/#"]
[[acl]]
access = "all"
topics = ["#"]
"##;
/// The codes with which a client may refuse a PUBLISH.
const REFUSALS: [u8; 7] = [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/// A broker, a client with a window of one message that has subscribed to `a`, and one that publishes.
fn narrow() -> (Broker, Wire, Wire) {
    let broker = Broker::start();
    let connect = Connect5::new("receiver").with(RECEIVE_MAXIMUM, 1);
    let mut receiver = Wire::connect5(&broker, &connect);
    receiver.subscribe5("a", 2);
    let sender = Wire::client5(&broker, "sender");
    (broker, receiver, sender)
}

/// Publishes two messages; the first is there, the second waits for its acknowledgement.
#[track_caller]
fn first_of_two(receiver: &mut Wire, sender: &mut Wire, qos: u8) -> u16 {
    for payload in ["1", "2"] {
        sender.publish5(&Publish5::new("a", payload).qos(qos, 1));
    }
    let first = receiver.expect_publish5();
    assert_eq!(first.text(), "1");
    receiver.expect_nothing_but_pong();
    first.id
}

/// The three ways to write an acknowledgement that says success.
fn forms(first: u8, id: u16) -> [Vec<u8>; 3] {
    let short = |rest: &[u8]| packet(first, [&id.to_be_bytes(), rest].concat());
    [short(&[]), short(&[0]), short(&[0, 0])]
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1]: 0x10 where nobody has subscribed, 0x00 where somebody has.
#[test]
fn publisher_is_told_that_nobody_was_there() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    for qos in [1, 2] {
        assert_eq!(sender.try_publish5(&Publish5::new("a/b", "1").qos(qos, 1)), 0x10);
    }
    let mut receiver = Wire::client5(&broker, "receiver");
    receiver.subscribe5("a/#", 0);
    for qos in [1, 2] {
        assert_eq!(sender.try_publish5(&Publish5::new("a/b", "2").qos(qos, 1)), 0x00);
        receiver.take5("2");
    }
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1]: 0x87 for a message that may not be published; it goes nowhere, and
/// the connection lives.
#[test]
fn publish_without_permission_gets_0x87() {
    let broker = Broker::with_config(RULES);
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 2);
    let mut sender = Wire::client5(&broker, "sender");
    let publish = Publish5::new("closed/a", "1").retain();
    sender.send(publish.bytes());
    for (qos, first) in [(1, PUBACK), (2, PUBREC)] {
        sender.send(publish.clone().qos(qos, 7).bytes());
        let answer = sender.expect_reason(first, 7, 0x87);
        assert!(answer.properties.text(REASON_STRING).is_some(), "{answer:?}");
    }
    sender.publish5(&Publish5::new("open", "2").qos(2, 7));
    watcher.take5("2");
    watcher.subscribe5("#", 2);
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1]: 0x97 for a retained message for which there is no room; another value
/// of one that is kept needs none.
#[test]
fn retained_message_without_room_gets_0x97() {
    let broker = Broker::with_config("[limits]\nretained_messages_max = 1");
    let mut sender = Wire::client5(&broker, "sender");
    sender.publish5(&Publish5::new("a", "1").qos(1, 1).retain());
    for qos in [1, 2] {
        assert_eq!(sender.try_publish5(&Publish5::new("b", "2").qos(qos, 1).retain()), 0x97);
    }
    sender.publish5(&Publish5::new("a", "3").qos(2, 1).retain());
    let mut receiver = Wire::client5(&broker, "receiver");
    receiver.subscribe5("#", 1);
    receiver.take5("3");
    receiver.expect_nothing_but_pong();
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1]: 0x97 for a message that nobody can be given, all queues being full.
#[test]
fn message_that_fits_no_queue_gets_0x97() {
    let broker = Broker::with_config("[limits]\nqueue_messages_max = 1\nqueue_full = \"drop-newest\"");
    let persistent = Connect5::new("receiver").persistent(300);
    let mut receiver = Wire::connect5(&broker, &persistent);
    receiver.subscribe5("a", 2);
    receiver.disconnect5(0);
    Wire::resume5(&broker, &persistent).disconnect5(0);
    let mut sender = Wire::client5(&broker, "sender");
    assert_eq!(sender.try_publish5(&Publish5::new("a", "1").qos(1, 1)), 0x00);
    for qos in [1, 2] {
        assert_eq!(sender.try_publish5(&Publish5::new("a", "2").qos(qos, 1)), 0x97);
    }
    // There is one who takes it.
    let mut other = Wire::client5(&broker, "other");
    other.subscribe5("a", 1);
    assert_eq!(sender.try_publish5(&Publish5::new("a", "3").qos(1, 1)), 0x00);
    other.take5("3");
    let mut receiver = Wire::resume5(&broker, &persistent);
    receiver.take5("1");
    receiver.expect_nothing_but_pong();
}

/// §3.4.2.1, §3.5.2.1, §3.7.2.1: without properties, and for success without code, they are as short as
/// in 3.1.1.
#[test]
fn acknowledgements_of_every_length_are_taken() {
    let (_broker, mut receiver, mut sender) = narrow();
    for form in 0..3 {
        let id = first_of_two(&mut receiver, &mut sender, 1);
        receiver.send(&forms(PUBACK, id)[form]);
        receiver.take5("2");
        let id = first_of_two(&mut receiver, &mut sender, 2);
        receiver.send(&forms(PUBREC, id)[form]);
        receiver.expect_reason(PUBREL, id, 0);
        receiver.send(&forms(PUBCOMP, id)[form]);
        receiver.take5("2");
    }
}

/// §3.6.2.1, [MQTT-4.3.3-11]: the same of PUBREL, whatever its code.
#[test]
fn pubrel_of_every_length_is_answered() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let with_code = ack5(PUBREL, 9, 0x92).bytes();
    let with_properties = ack5(PUBREL, 9, 0).with(REASON_STRING, "why").pair("a", "b").bytes();
    for pubrel in forms(PUBREL, 9).into_iter().chain([with_code, with_properties]) {
        sender.send(Publish5::new("a", "1").qos(2, 9).bytes());
        sender.expect_reason(PUBREC, 9, 0x10);
        sender.send(pubrel);
        sender.expect_reason(PUBCOMP, 9, 0);
    }
}

/// §3.4.2.2: a client may say why, and add what it likes.
#[test]
fn acknowledgements_may_carry_properties() {
    let (_broker, mut receiver, mut sender) = narrow();
    let said = |first, id, code| {
        ack5(first, id, code).with(REASON_STRING, "why").pair("a", "1").pair("a", "2").bytes()
    };
    let id = first_of_two(&mut receiver, &mut sender, 1);
    receiver.send(said(PUBACK, id, 0x80));
    receiver.take5("2");
    let id = first_of_two(&mut receiver, &mut sender, 2);
    receiver.send(said(PUBREC, id, 0x10));
    receiver.expect_reason(PUBREL, id, 0);
    receiver.send(said(PUBCOMP, id, 0x92));
    receiver.take5("2");
}

/// [MQTT-4.4.0-2]: PUBACK with an error ends the exchange like one without.
#[test]
fn puback_with_an_error_frees_the_window() {
    let (_broker, mut receiver, mut sender) = narrow();
    for code in REFUSALS {
        let id = first_of_two(&mut receiver, &mut sender, 1);
        receiver.send(ack5(PUBACK, id, code).bytes());
        receiver.take5("2");
        receiver.expect_nothing_but_pong();
    }
}

/// [MQTT-4.4.0-2], [MQTT-4.3.3-4]: PUBREC with an error ends it too: no PUBREL, and the window is free.
#[test]
fn pubrec_with_an_error_ends_the_exchange() {
    let (_broker, mut receiver, mut sender) = narrow();
    for code in REFUSALS {
        let id = first_of_two(&mut receiver, &mut sender, 2);
        receiver.send(ack5(PUBREC, id, code).bytes());
        receiver.take5("2");
        receiver.expect_nothing_but_pong();
        // Nobody knows the id any more.
        receiver.send(ack5(PUBREC, id, 0).bytes());
        receiver.expect_reason(PUBREL, id, 0x92);
    }
}

/// [MQTT-3.6.2-1]: 0x92 for a PUBREC that nothing was sent for; one that says an error is left alone.
#[test]
fn pubrec_of_an_unknown_id_gets_pubrel_with_0x92() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for id in [1, 77, 65_535] {
        client.send(ack5(PUBREC, id, 0).bytes());
        client.expect_reason(PUBREL, id, 0x92);
        client.send(ack5(PUBCOMP, id, 0x92).bytes());
        client.send(ack5(PUBREC, id, 0x80).bytes());
        client.expect_nothing_but_pong();
    }
}

/// [MQTT-3.7.2-1]: 0x92 for a PUBREL without message: never sent, finished, or refused.
#[test]
fn pubrel_of_an_unknown_id_gets_pubcomp_with_0x92() {
    let broker = Broker::with_config(RULES);
    let mut client = Wire::client5(&broker, "c");
    client.publish5(&Publish5::new("a", "1").qos(2, 7));
    assert_eq!(client.try_publish5(&Publish5::new("closed/a", "1").qos(2, 8)), 0x87);
    for id in [1, 7, 8, 65_535] {
        for pubrel in forms(PUBREL, id) {
            client.send(pubrel);
            client.expect_reason(PUBCOMP, id, 0x92);
        }
    }
    client.publish5(&Publish5::new("a", "1").qos(2, 1));
}

/// §4.3: PUBACK and PUBCOMP of something that was never sent do no harm.
#[test]
fn puback_and_pubcomp_of_unknown_ids_are_ignored() {
    let (_broker, mut receiver, mut sender) = narrow();
    for (first, code) in [(PUBACK, 0), (PUBACK, 0x80), (PUBCOMP, 0), (PUBCOMP, 0x92)] {
        receiver.send(ack5(first, 999, code).bytes());
    }
    first_of_two(&mut receiver, &mut sender, 1);
}

/// §3.1.2.11.7: no reason string for a client that asked for no problem information.
#[test]
fn reason_strings_are_only_for_those_who_ask() {
    let broker = Broker::with_config(RULES);
    for (asked, said) in [(Some(0), false), (Some(1), true), (None, true)] {
        let connect = Connect5::new("c");
        let connect = asked.map_or(connect.clone(), |asked| connect.with(REQUEST_PROBLEM, asked));
        let mut client = Wire::connect5(&broker, &connect);
        for (qos, first) in [(1, PUBACK), (2, PUBREC)] {
            client.send(Publish5::new("closed/a", "1").qos(qos, 7).bytes());
            let answer = client.expect_reason(first, 7, 0x87);
            assert_eq!(answer.properties.text(REASON_STRING).is_some(), said, "{answer:?}");
        }
        if !said {
            client.send([ack5(PUBREC, 7, 0).bytes(), ack5(PUBREL, 7, 0).bytes()].concat());
            for first in [PUBREL, PUBCOMP] {
                assert!(client.expect_reason(first, 7, 0x92).properties.ids().is_empty());
            }
        }
        client.disconnect5(0);
    }
}

/// [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3], [MQTT-3.6.2-2], [MQTT-3.6.2-3],
/// [MQTT-3.7.2-2], [MQTT-3.7.2-3]: reason string and user properties are left out where they would make
/// the packet larger than the client takes; the packet itself comes.
#[test]
fn answers_are_no_larger_than_the_client_takes() {
    const BYTES_MAX: usize = 20;
    let broker = Broker::with_config(RULES);
    let connect = Connect5::new("c").with(MAXIMUM_PACKET_SIZE, u32::try_from(BYTES_MAX).unwrap());
    let mut client = Wire::connect5(&broker, &connect);
    for (sent, first, code) in [
        (Publish5::new("closed/a", "1").qos(1, 7).bytes(), PUBACK, 0x87),
        (Publish5::new("closed/a", "1").qos(2, 7).bytes(), PUBREC, 0x87),
        (ack5(PUBREC, 7, 0).bytes(), PUBREL, 0x92),
        (ack5(PUBREL, 7, 0).bytes(), PUBCOMP, 0x92),
    ] {
        client.send(sent);
        let packet = client.receive();
        assert!(packet.len() <= BYTES_MAX, "{packet:02x?}");
        let answer = Answer::parse(&packet);
        assert_eq!((answer.first, answer.id, answer.code()), (first, 7, code));
    }
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]: a code that the packet does not have
/// closes.
#[test]
fn undefined_reason_codes_close() {
    let broker = Broker::start();
    for (first, codes) in [
        (PUBACK, &[0x01, 0x11, 0x82, 0x92, 0xFF][..]),
        (PUBREC, &[0x02, 0x7F, 0x81, 0x92]),
        (PUBREL, &[0x01, 0x10, 0x80, 0x91]),
        (PUBCOMP, &[0x01, 0x10, 0x80, 0x91]),
    ] {
        for code in codes {
            assert_disconnected_as_wrong(&broker, ack5(first, 1, *code).bytes());
        }
    }
}

/// §3.4.2 to §3.7.2: an id is whole, properties are those of the packet, and nothing stands behind them.
#[test]
fn malformed_acknowledgements_close() {
    let broker = Broker::start();
    for first in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
        for body in [&[][..], &[0], &[0, 1, 0, 5], &[0, 1, 0, 0, 0], &[0, 1, 0, 3, REASON_STRING, 0, 5]] {
            assert_disconnected(&broker, packet(first, body), 0x81);
        }
        assert_disconnected(&broker, ack5(first, 1, 0).with(CONTENT_TYPE, "x").bytes(), 0x81);
        let twice = ack5(first, 1, 0).with(REASON_STRING, "x").with(REASON_STRING, "y");
        assert_disconnected(&broker, twice.bytes(), 0x82);
        assert_disconnected(&broker, ack5(first, 1, 0).with(REASON_STRING, b"\xFF").bytes(), 0x81);
    }
}

/// [MQTT-3.6.1-1]: PUBREL has the flags 0010.
#[test]
fn pubrel_with_other_flags_closes() {
    let broker = Broker::start();
    for flags in (0..16).filter(|flags| *flags != 2) {
        assert_disconnected(&broker, packet(0x60 | flags, [0, 1]), 0x81);
    }
}
