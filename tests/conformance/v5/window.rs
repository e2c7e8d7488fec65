//! Receive maximum at work (§3.3.4, §4.9): how many messages are under way in either direction, and what
//! makes room for more.

use super::steps::numbers;
use crate::harness::packets5::{
    PUBACK, PUBCOMP, PUBREC, PUBREL, RECEIVE_MAXIMUM, SUBACK, UNSUBACK, With, ack5, subscribe5, unsubscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// A broker, a client with this receive maximum that has subscribed to `#` with QoS 2, and one that
/// publishes.
fn narrow(receive_maximum: u32) -> (Broker, Wire, Wire) {
    let broker = Broker::start();
    let connect = Connect5::new("receiver").with(RECEIVE_MAXIMUM, receive_maximum);
    let mut receiver = Wire::connect5(&broker, &connect);
    receiver.subscribe5("#", 2);
    let sender = Wire::client5(&broker, "sender");
    (broker, receiver, sender)
}

/// A client of a broker that takes two messages at a time.
fn bounded(config: &str) -> (Broker, Wire) {
    let broker = Broker::with_config(&format!("[mqtt]\nreceive_maximum = 2\n{config}"));
    let (client, connack) = Wire::greet5(&broker, &Connect5::new("c"));
    assert_eq!(connack.properties.number(RECEIVE_MAXIMUM), Some(2));
    (broker, client)
}

/// [MQTT-3.3.4-9], [MQTT-4.9.0-1], [MQTT-4.9.0-2]: no more of QoS 1 and 2 are unacknowledged than the
/// client said; each that it acknowledges makes room for one.
#[test]
fn no_more_are_in_flight_than_the_client_takes() {
    for receive_maximum in [1, 2, 5] {
        let (_broker, mut receiver, mut sender) = narrow(receive_maximum);
        let payloads = numbers(0..12);
        for (payload, qos) in payloads.iter().zip([1, 2].into_iter().cycle()) {
            sender.publish5(&Publish5::new("a", payload).qos(qos, 1));
        }
        let (first, rest) = payloads.split_at(receive_maximum as usize);
        let mut in_flight: Vec<Publish5> = first.iter().map(|_| receiver.expect_publish5()).collect();
        receiver.expect_nothing_but_pong();
        for payload in rest {
            receiver.acknowledge5(&in_flight.remove(0));
            in_flight.push(receiver.expect_publish5());
            assert_eq!(in_flight.last().unwrap().text(), payload);
            receiver.expect_nothing_but_pong();
        }
    }
}

/// [MQTT-3.3.4-10], [MQTT-4.9.0-3]: with a full window everything else goes on: QoS 0, answers, and what
/// the client publishes.
#[test]
fn everything_else_goes_on_while_the_window_is_full() {
    let (_broker, mut receiver, mut sender) = narrow(1);
    sender.publish5(&Publish5::new("a", "1").qos(1, 1));
    let first = receiver.expect_publish5();
    sender.publish5(&Publish5::new("a", "2"));
    receiver.take5("2");
    receiver.send(subscribe5(3, &[("b", 1)]).bytes());
    receiver.expect_reason(SUBACK, 3, 1);
    receiver.send(unsubscribe5(4, &["b"]).bytes());
    receiver.expect_reason(UNSUBACK, 4, 0);
    receiver.publish5(&Publish5::new("a", "3").qos(2, 5));
    receiver.publish5(&Publish5::new("a", "4").qos(1, 5));
    receiver.expect_nothing_but_pong();
    receiver.acknowledge5(&first);
    receiver.take5("3");
    receiver.take5("4");
}

/// §4.9: PUBREC alone makes no room, PUBCOMP does; so do PUBACK and PUBREC with an error.
#[test]
fn what_makes_room_in_the_window() {
    let (_broker, mut receiver, mut sender) = narrow(1);
    let payloads = numbers(0..5);
    for (payload, qos) in payloads.iter().zip([2, 2, 1, 1, 1]) {
        sender.publish5(&Publish5::new("a", payload).qos(qos, 1));
    }
    let id = receiver.expect_publish5().id;
    receiver.send(ack5(PUBREC, id, 0).bytes());
    receiver.expect_reason(PUBREL, id, 0);
    receiver.expect_nothing_but_pong();
    receiver.send(ack5(PUBCOMP, id, 0).bytes());
    let next = receiver.expect_publish5();
    assert_eq!(next.text(), "1");
    receiver.send(ack5(PUBREC, next.id, 0x83).bytes());
    let next = receiver.expect_publish5();
    assert_eq!(next.text(), "2");
    receiver.send(ack5(PUBACK, next.id, 0).bytes());
    let next = receiver.expect_publish5();
    assert_eq!(next.text(), "3");
    receiver.send(ack5(PUBACK, next.id, 0x97).bytes());
    receiver.take5("4");
}

/// §4.9: an acknowledgement of nothing makes no room.
#[test]
fn strange_acknowledgements_make_no_room() {
    let (_broker, mut receiver, mut sender) = narrow(1);
    for payload in ["1", "2"] {
        sender.publish5(&Publish5::new("a", payload).qos(1, 1));
    }
    let id = receiver.expect_publish5().id;
    let other = id.wrapping_add(1).max(1);
    for packet in [ack5(PUBACK, other, 0), ack5(PUBCOMP, other, 0), ack5(PUBCOMP, other, 0x92)] {
        receiver.send(packet.bytes());
    }
    receiver.expect_nothing_but_pong();
    receiver.send(ack5(PUBACK, id, 0).bytes());
    receiver.take5("2");
}

/// `limits.inflight_messages_max` bounds those that say more, or nothing.
#[test]
fn window_of_the_server_bounds_the_clients() {
    let broker = Broker::with_config("[limits]\ninflight_messages_max = 2");
    for receive_maximum in [None, Some(65_535), Some(3)] {
        let connect = Connect5::new("c");
        let connect = receive_maximum.map_or(connect.clone(), |n| connect.with(RECEIVE_MAXIMUM, n));
        let mut client = Wire::connect5(&broker, &connect);
        client.subscribe5("a", 1);
        for payload in ["1", "2", "3"] {
            client.publish5(&Publish5::new("a", payload).qos(1, 1));
        }
        let first = client.expect_publish5();
        let second = client.expect_publish5();
        client.expect_nothing_but_pong();
        client.acknowledge5(&first);
        client.take5("3");
        client.acknowledge5(&second);
        client.disconnect5(0);
    }
}

/// [MQTT-4.9.0-1], [MQTT-4.4.0-1]: a new connection begins with a window of its own: no more than that is
/// sent again at once, in order.
#[test]
fn no_more_is_sent_again_than_the_new_connection_takes() {
    let broker = Broker::start();
    let persistent = Connect5::new("p").persistent(300);
    let mut receiver = Wire::connect5(&broker, &persistent.clone().with(RECEIVE_MAXIMUM, 5));
    receiver.subscribe5("a", 2);
    let mut sender = Wire::client5(&broker, "sender");
    for (payload, qos) in numbers(0..8).iter().zip([1, 2].into_iter().cycle()) {
        sender.publish5(&Publish5::new("a", payload).qos(qos, 1));
    }
    let sent: Vec<Publish5> = (0..5).map(|_| receiver.expect_publish5()).collect();
    receiver.expect_nothing_but_pong();
    receiver.cut();
    let mut receiver = Wire::resume5(&broker, &persistent.clone().with(RECEIVE_MAXIMUM, 2));
    for pair in sent.chunks(2) {
        for publish in pair {
            assert_eq!(receiver.expect_publish5(), publish.clone().dup());
        }
        // With the fifth comes the sixth, for the first time.
        if pair.len() == 2 {
            receiver.expect_nothing_but_pong();
        }
        pair.iter().for_each(|publish| receiver.acknowledge5(publish));
    }
    for payload in ["5", "6", "7"] {
        assert!(!receiver.take5(payload).dup);
    }
    receiver.expect_nothing_but_pong();
}

/// [MQTT-3.3.4-7]: a client that sends more than the server said is disconnected with 0x93.
#[test]
fn more_than_the_server_takes_closes() {
    let (_broker, mut client) = bounded("");
    for id in [1, 2] {
        client.send(Publish5::new("a", "1").qos(2, id).bytes());
        client.expect_reason(PUBREC, id, 0x10);
    }
    client.send(Publish5::new("a", "1").qos(2, 3).bytes());
    client.expect_disconnect(0x93);
}

/// §3.3.4: what is finished does not count, nor does what is sent again, nor QoS 0; PUBREC alone finishes
/// nothing.
#[test]
fn what_is_finished_does_not_count() {
    let (_broker, mut client) = bounded("");
    for _ in 0..5 {
        for id in [1, 2] {
            for publish in [Publish5::new("a", "1").qos(2, id), Publish5::new("a", "1").qos(2, id).dup()] {
                client.send(publish.bytes());
                client.await_answer(PUBREC, id);
            }
        }
        client.publish5(&Publish5::new("a", "0"));
        for id in [1, 2] {
            client.send(ack5(PUBREL, id, 0).bytes());
            client.expect_reason(PUBCOMP, id, 0);
        }
        for id in 3..10 {
            client.publish5(&Publish5::new("a", "1").qos(1, id));
        }
    }
    for id in [1, 2] {
        client.send(Publish5::new("a", "1").qos(2, id).bytes());
        client.expect_reason(PUBREC, id, 0x10);
    }
    client.send(Publish5::new("a", "1").qos(2, 3).bytes());
    client.expect_disconnect(0x93);
}

/// §4.9: a message that PUBREC refuses does not count.
#[test]
fn refused_messages_do_not_count() {
    let (_broker, mut client) = bounded("[[acl]]\naccess = \"publish\"\ntopics = [\"open\"]");
    for id in 1..20 {
        client.send(Publish5::new("closed", "1").qos(2, id).bytes());
        client.expect_reason(PUBREC, id, 0x87);
    }
    for id in [1, 2] {
        client.publish5(&Publish5::new("open", "1").qos(2, id));
    }
}
