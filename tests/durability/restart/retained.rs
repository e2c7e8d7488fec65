//! Retained messages: the last of each topic, and none where it was cleared.

use crate::durability::every_way;
use crate::durability::preload::later;
use crate::harness::packets5::{CONTENT_TYPE, MESSAGE_EXPIRY, With};
use crate::harness::{Publish, Publish5, Wire};

#[test]
fn retained_messages_are_what_they_were() {
    every_way(|way| {
        let broker = way.start();
        let mut publisher = Wire::client(&broker, "publisher");
        for (topic, text, qos) in [
            ("r/0", "qos 0", 0),
            ("r/1", "first", 1),
            ("r/1", "last", 1),
            ("r/2", "qos 2", 2),
            ("r/cleared", "1", 1),
            ("r/cleared", "", 1),
            ("r/cleared0", "1", 1),
            ("r/cleared0", "", 0),
            ("r/again", "1", 1),
            ("r/again", "", 1),
            ("r/again", "2", 1),
        ] {
            publisher.publish(&Publish::new(topic, text).qos(qos, 1).retain());
        }
        let big = "x".repeat(100_000);
        publisher.publish(&Publish::new("r/big", &big).qos(1, 1).retain());
        let mut broker = broker;
        for _ in 0..2 {
            broker = way.restart(broker);
            let mut late = Wire::client(&broker, "late");
            late.subscribe("r/#", 2);
            let mut found: Vec<_> = (0..5).map(|_| late.expect_publish()).collect();
            late.expect_nothing_but_pong();
            found.sort_by(|a, b| a.topic.cmp(&b.topic));
            let found: Vec<_> =
                found.iter().map(|publish| (publish.topic(), publish.text(), publish.qos)).collect();
            let wanted = [
                ("r/0", "qos 0", 0),
                ("r/1", "last", 1),
                ("r/2", "qos 2", 2),
                ("r/again", "2", 1),
                ("r/big", big.as_str(), 1),
            ];
            assert_eq!(found, wanted);
        }
    });
}

#[test]
fn retained_message_expires_when_it_would_have() {
    every_way(|way| {
        let broker = way.start();
        let mut publisher = Wire::client5(&broker, "publisher");
        for (topic, expiry) in [("r/gone", 1_800), ("r/kept", 7_200)] {
            let publish = Publish5::new(topic, "1").qos(1, 1).retain();
            publisher
                .publish5(&publish.with(MESSAGE_EXPIRY, expiry).with(CONTENT_TYPE, "text").pair("a", "b"));
        }
        let broker = later(way.down(broker), 3_600).start();
        let mut late = Wire::client5(&broker, "late");
        late.subscribe5("r/#", 1);
        let publish = late.take5("1");
        let properties = &publish.properties;
        assert_eq!((publish.topic(), properties.text(CONTENT_TYPE).as_deref()), ("r/kept", Some("text")));
        assert_eq!(properties.pairs(), [("a".to_owned(), "b".to_owned())]);
        let left = properties.number(MESSAGE_EXPIRY).unwrap();
        assert!((3_500..=3_600).contains(&left), "{left} s are left");
        late.expect_nothing_but_pong();
    });
}
