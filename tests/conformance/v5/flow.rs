//! Receive Maximum in both directions (§3.3.4, §4.9).

use crate::harness::packets::{PINGREQ, PINGRESP};
use crate::harness::packets5::{
    PUBACK, PUBCOMP, PUBREC, PUBREL, RECEIVE_MAXIMUM, SUBACK, With, ack5, subscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// A client that takes `maximum` messages at once, subscribed to `a`, and ten messages for it: of QoS 1 those
/// with an odd number, of QoS 2 the others.
fn ten_for(maximum: u32) -> (Broker, Wire) {
    let broker = Broker::start();
    let mut client =
        Wire::connect5(&broker, &Connect5::new("c").persistent(60).with(RECEIVE_MAXIMUM, maximum));
    client.subscribe5("a", 2);
    let mut publisher = Wire::client5(&broker, "publisher");
    for n in 1..=10 {
        publisher.publish5(&Publish5::new("a", n.to_string()).qos(if n % 2 == 1 { 1 } else { 2 }, n));
    }
    (broker, client)
}

/// [MQTT-3.3.4-9], [MQTT-4.9.0-1], [MQTT-4.9.0-2]: no more are in flight than the client takes; each one
/// acknowledged makes room for one.
#[test]
fn server_keeps_to_the_receive_maximum() {
    for maximum in [1, 3] {
        let (_broker, mut client) = ten_for(maximum);
        let mut flying: std::collections::VecDeque<Publish5> =
            (0..maximum).map(|_| client.expect_publish5()).collect();
        client.expect_nothing_but_pong();
        for n in 1..=10 {
            let first = flying.pop_front().unwrap();
            assert_eq!(first.text(), n.to_string());
            if first.qos == 2 {
                // PUBREC alone makes no room.
                client.send(ack5(PUBREC, first.id, 0).bytes());
                client.expect_reason(PUBREL, first.id, 0);
                client.expect_nothing_but_pong();
                client.send(ack5(PUBCOMP, first.id, 0).bytes());
            } else {
                client.send(ack5(PUBACK, first.id, 0).bytes());
            }
            if n + maximum <= 10 {
                flying.push_back(client.expect_publish5());
            }
            client.expect_nothing_but_pong();
        }
    }
}

/// [MQTT-3.3.4-9], §4.9: a message that the client refuses makes room too.
#[test]
fn refusal_by_the_client_makes_room() {
    let (_broker, mut client) = ten_for(1);
    for n in 1..=10 {
        let got = client.expect_publish5();
        assert_eq!(got.text(), n.to_string());
        client.send(ack5(if got.qos == 1 { PUBACK } else { PUBREC }, got.id, 0x83).bytes());
    }
    client.expect_nothing_but_pong();
}

/// [MQTT-3.3.4-10], [MQTT-4.9.0-3]: everything but PUBLISH goes on meanwhile, and what the client
/// publishes itself. QoS 0 may go on, or keep its place behind the others (§4.9).
#[test]
fn other_packets_are_not_held_back() {
    let (_broker, mut client) = ten_for(1);
    let first = client.expect_publish5();
    client.send(subscribe5(7, &[("b", 2)]).bytes());
    client.expect_reason(SUBACK, 7, 2);
    client.send(PINGREQ);
    client.expect(PINGRESP);
    client.send(Publish5::new("c", "1").qos(1, 8).bytes());
    client.expect_reason(PUBACK, 8, 0x10);
    client.send(Publish5::new("c", "1").qos(2, 9).bytes());
    client.expect_reason(PUBREC, 9, 0x10);
    client.send(ack5(PUBREL, 9, 0).bytes());
    client.expect_reason(PUBCOMP, 9, 0);
    client.publish5(&Publish5::new("b", "0"));
    client.send(ack5(PUBACK, first.id, 0).bytes());
    let mut rest: Vec<String> = (0..10).map(|_| take_any(&mut client)).collect();
    rest.sort_by_key(|payload| payload.parse::<u8>().unwrap());
    assert_eq!(rest, ["0", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    client.expect_nothing_but_pong();
}

/// The payload of the next message, which is acknowledged.
#[track_caller]
fn take_any(client: &mut Wire) -> String {
    let publish = client.expect_publish5();
    client.acknowledge5(&publish);
    publish.text().to_owned()
}

/// [MQTT-4.9.0-1]: each connection begins with what its CONNECT says, those in flight from before among them.
#[test]
fn each_connection_has_its_own_receive_maximum() {
    let (broker, mut client) = ten_for(5);
    for _ in 0..5 {
        client.expect_publish5();
    }
    client.cut();
    let mut client = Wire::resume5(&broker, &Connect5::new("c").persistent(60).with(RECEIVE_MAXIMUM, 2));
    let again = [client.expect_publish5(), client.expect_publish5()];
    assert!(again[0].dup && again[0].text() == "1" && again[1].text() == "2", "{again:?}");
    client.expect_nothing_but_pong();
    for publish in &again {
        client.acknowledge5(publish);
    }
    for n in 3..=10 {
        client.take5(&n.to_string());
    }
}

/// [MQTT-3.3.4-7]: a client that has more in flight than the server takes is told so, and closed.
#[test]
fn client_beyond_the_receive_maximum_is_disconnected() {
    let broker = Broker::with_config("[mqtt]\nreceive_maximum = 3");
    let mut client = Wire::client5(&broker, "c");
    for id in 1..=3 {
        client.send(Publish5::new("a", "1").qos(2, id).bytes());
        client.await_answer(PUBREC, id);
    }
    // One of them sent again is no further one, and QoS 0 does not count.
    client.send(Publish5::new("a", "1").qos(2, 3).dup().bytes());
    client.await_answer(PUBREC, 3);
    client.publish5(&Publish5::new("a", "0"));
    // PUBCOMP makes room for one.
    client.send(ack5(PUBREL, 1, 0).bytes());
    client.await_answer(PUBCOMP, 1);
    client.send(Publish5::new("a", "1").qos(2, 4).bytes());
    client.await_answer(PUBREC, 4);
    client.send(Publish5::new("a", "1").qos(2, 5).bytes());
    client.expect_disconnect(0x93);
}

/// [MQTT-3.3.4-7]: a message of QoS 2 that was refused is no longer in flight.
#[test]
fn refused_message_does_not_count() {
    let broker = Broker::with_config(
        "[mqtt]\nreceive_maximum = 1\n[[acl]]\naccess = \"publish\"\ntopics = [\"open\"]",
    );
    let mut client = Wire::client5(&broker, "c");
    for id in 1..=5 {
        assert_eq!(client.try_publish5(&Publish5::new("closed", "1").qos(2, id)), 0x87);
    }
    client.send(Publish5::new("open", "1").qos(2, 6).bytes());
    client.expect_reason(PUBREC, 6, 0x10);
}
