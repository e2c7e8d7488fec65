//! What waits for those who are away: all of it, in its order, as it came.

use crate::durability::every_way;
use crate::durability::preload::later;
use crate::harness::packets5::{
    CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, PAYLOAD_FORMAT, RESPONSE_TOPIC, With,
};
use crate::harness::{Connect, Connect5, Publish, Publish5, Wire};

/// More than are read from the store at once.
const MESSAGES: u16 = 200;

/// Inline for one, and shared by two.
#[test]
fn queue_comes_in_its_order() {
    every_way(|way| {
        let broker = way.start();
        let clients = ["one", "two"].map(|name| Connect::new(name).persistent());
        for connect in &clients {
            let mut client = Wire::connect(&broker, connect);
            client.subscribe("both", 2);
            client.disconnect();
        }
        let mut one = Wire::resume(&broker, &clients[0]);
        one.subscribe("one", 1);
        one.disconnect();
        let mut publisher = Wire::client(&broker, "publisher");
        let body = "x".repeat(100);
        for n in 1..=MESSAGES {
            let topic = if n % 3 == 0 { "one" } else { "both" };
            publisher.publish(&Publish::new(topic, format!("{n} {body}")).qos(1 + (n % 2) as u8, n));
        }
        let broker = way.restart(broker);
        let mut wires = clients.each_ref().map(|connect| Wire::resume(&broker, connect));
        for n in 1..=MESSAGES {
            let text = format!("{n} {body}");
            let qos = if n % 3 == 0 { 1 } else { 1 + (n % 2) as u8 };
            let publish = wires[0].take(&text);
            assert!(publish.qos == qos && !publish.dup && !publish.retain, "{publish:?}");
            if n % 3 != 0 {
                assert_eq!(wires[1].take(&text).qos, qos);
            }
        }
        for wire in &mut wires {
            wire.expect_nothing_but_pong();
        }
    });
}

#[test]
fn properties_come_back_and_what_is_left_of_the_expiry() {
    every_way(|way| {
        let broker = way.start();
        let connect = Connect5::new("client").persistent(u32::MAX);
        let mut client = Wire::connect5(&broker, &connect);
        client.subscribe5("#", 2);
        client.disconnect5(0);
        let mut publisher = Wire::client5(&broker, "publisher");
        let full = Publish5::new("a/b", "text")
            .qos(2, 1)
            .with(PAYLOAD_FORMAT, 1)
            .with(CONTENT_TYPE, "text/plain")
            .with(RESPONSE_TOPIC, "answer")
            .with(CORRELATION_DATA, [0, 255, 0])
            .pair("a", "1")
            .pair("b", "2")
            .pair("a", "3");
        publisher.publish5(&full);
        publisher.publish5(&Publish5::new("a", "gone").qos(1, 1).with(MESSAGE_EXPIRY, 1_800));
        publisher.publish5(&Publish5::new("a", "kept").qos(1, 1).with(MESSAGE_EXPIRY, 7_200));
        let broker = later(way.down(broker), 3_600).start();
        let mut client = Wire::resume5(&broker, &connect);
        let publish = client.take5("text");
        let properties = &publish.properties;
        assert_eq!(publish.topic(), "a/b");
        assert_eq!(properties.number(PAYLOAD_FORMAT), Some(1));
        assert_eq!(properties.text(CONTENT_TYPE).as_deref(), Some("text/plain"));
        assert_eq!(properties.text(RESPONSE_TOPIC).as_deref(), Some("answer"));
        assert_eq!(properties.data(CORRELATION_DATA).as_deref(), Some(&[0, 255, 0][..]));
        let pairs = properties.pairs();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(properties.number(MESSAGE_EXPIRY), None);
        let left = client.take5("kept").properties.number(MESSAGE_EXPIRY).unwrap();
        assert!((3_500..=3_600).contains(&left), "{left} s are left");
        client.expect_nothing_but_pong();
    });
}

/// What was acknowledged before does not come again; and what comes behind the old stands behind it.
#[test]
fn queue_goes_on_where_it_was() {
    every_way(|way| {
        let broker = way.start();
        let connect = Connect::new("client").persistent();
        let mut client = Wire::connect(&broker, &connect);
        client.subscribe("a", 1);
        client.disconnect();
        let mut publisher = Wire::client(&broker, "publisher");
        for n in 0..20 {
            publisher.publish(&Publish::new("a", n.to_string()).qos(1, 1));
        }
        let mut client = Wire::resume(&broker, &connect);
        for n in 0..10 {
            client.take(&n.to_string());
        }
        for n in 10..20 {
            assert_eq!(client.expect_publish().text(), n.to_string());
        }
        client.expect_nothing_but_pong();
        let broker = way.restart(broker);
        drop(client);
        Wire::client(&broker, "publisher").publish(&Publish::new("a", "20").qos(1, 1));
        let mut client = Wire::resume(&broker, &connect);
        for n in 10..=20 {
            assert_eq!(client.take(&n.to_string()).dup, n < 20);
        }
        client.expect_nothing_but_pong();
        let broker = way.restart(broker);
        Wire::resume(&broker, &connect).expect_nothing_but_pong();
    });
}
