//! Maximum Packet Size of the client (§3.1.2.11.4): what is larger is not sent.

use super::steps::{REPORTS, await_report};
use crate::harness::packets5::{MAXIMUM_PACKET_SIZE, PUBACK, With};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: a message that is too large for a client is none for it, of any QoS;
/// it takes no place in flight, is not sent later, and is counted; others get it, of 3.1.1 too.
#[test]
fn message_that_is_too_large_for_a_client_is_dropped_for_it() {
    let broker = Broker::with_config(REPORTS);
    let connect = Connect5::new("small").persistent(60).with(MAXIMUM_PACKET_SIZE, 100);
    let mut small = Wire::connect5(&broker, &connect);
    small.subscribe5("a", 2);
    let mut large = Wire::client5(&broker, "large");
    large.subscribe5("a", 2);
    let mut old = Wire::client(&broker, "old");
    old.subscribe("a", 2);
    let mut publisher = Wire::client5(&broker, "publisher");
    for qos in 0..=2 {
        publisher.publish5(&Publish5::new("a", "x".repeat(200)).qos(qos, 1));
        publisher.publish5(&Publish5::new("a", "properties").qos(qos, 1).pair("n", "v".repeat(100)));
        publisher.publish5(&Publish5::new("a", "fits").qos(qos, 1));
        for payload in [&"x".repeat(200), "properties", "fits"] {
            large.take5(payload);
            old.take(payload);
        }
        small.take5("fits");
    }
    await_report(&broker, "publish/messages/dropped", 6);
    small.expect_nothing_but_pong();
    small.cut();
    let mut small = Wire::resume5(&broker, &Connect5::new("small").persistent(60));
    small.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-24]: the limit is the whole packet, to the byte.
#[test]
fn message_of_just_the_maximum_size_is_delivered() {
    let broker = Broker::start();
    let mut client = Wire::connect5(&broker, &Connect5::new("c").with(MAXIMUM_PACKET_SIZE, 100));
    client.subscribe5("a", 1);
    let of_size = |size: usize| {
        let publish = Publish5::new("a", "x".repeat(size - 8)).qos(1, 1);
        assert_eq!(publish.bytes().len(), size);
        publish
    };
    client.publish5(&of_size(101));
    client.publish5(&of_size(100));
    assert_eq!(client.expect_publish5().payload.len(), 92);
    client.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: what waited for a client that comes back with a smaller limit, and
/// what is retained.
#[test]
fn what_waited_is_measured_too() {
    let broker = Broker::start();
    let mut client = Wire::connect5(&broker, &Connect5::new("c").persistent(60));
    client.subscribe5("a", 1);
    client.publish5(&Publish5::new("a", "x".repeat(200)).qos(1, 1));
    // It is in flight, not acknowledged.
    client.expect_publish5();
    client.cut();
    let mut publisher = Wire::client5(&broker, "publisher");
    publisher.publish5(&Publish5::new("a", "y".repeat(200)).qos(1, 1));
    publisher.publish5(&Publish5::new("a", "fits").qos(1, 2));
    publisher.publish5(&Publish5::new("kept", "z".repeat(200)).retain());
    let mut client =
        Wire::resume5(&broker, &Connect5::new("c").persistent(60).with(MAXIMUM_PACKET_SIZE, 100));
    client.take5("fits");
    client.subscribe5("kept", 1);
    client.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-24]: acknowledgements keep to it too, whatever reason they might give.
#[test]
fn acknowledgement_keeps_to_the_maximum_size() {
    let broker = Broker::with_config("[[acl]]\naccess = \"publish\"\ntopics = [\"open\"]");
    // CONNACK with what must be told fits in these.
    let mut client = Wire::connect5(&broker, &Connect5::new("c").with(MAXIMUM_PACKET_SIZE, 20));
    client.send(Publish5::new("closed", "1").qos(1, 7).bytes());
    let packet = client.receive();
    assert!(packet.len() <= 20 && packet[..5] == [PUBACK, packet[1], 0, 7, 0x87], "{packet:02x?}");
}
