//! Message Expiry Interval (§3.3.2.3.3): counted down while a message waits, and never delivered after.

use super::await_one_and_a_half_seconds;
use crate::harness::packets5::{MESSAGE_EXPIRY, RECEIVE_MAXIMUM, With};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// The time that is left, where the message came with any.
fn left(publish: &Publish5) -> Option<u32> {
    publish.properties.number(MESSAGE_EXPIRY)
}

/// [MQTT-3.3.2-6]: at once, there is as much left as there was.
#[test]
fn expiry_is_forwarded() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 1);
    for expiry in [100, 0xFFFF_FFFF] {
        client.publish5(&Publish5::new("a", "1").qos(1, 1).with(MESSAGE_EXPIRY, expiry));
        let got = client.take5("1");
        assert!((expiry - 5..=expiry).contains(&left(&got).unwrap()), "{got:?}");
    }
    client.publish5(&Publish5::new("a", "2").qos(1, 1));
    assert_eq!(left(&client.take5("2")), None);
}

/// [MQTT-3.3.2-6], [MQTT-3.3.2-5]: what waited for an absent client has less left, or is gone.
#[test]
fn expiry_counts_down_for_an_absent_client() {
    let broker = Broker::start();
    let connect = Connect5::new("c").persistent(60);
    let mut client = Wire::connect5(&broker, &connect);
    client.subscribe5("a", 2);
    client.disconnect5(0);
    let mut publisher = Wire::client5(&broker, "publisher");
    for (qos, id) in [(1, 1), (2, 2)] {
        publisher.publish5(&Publish5::new("a", "gone").qos(qos, id).with(MESSAGE_EXPIRY, 1));
        publisher.publish5(&Publish5::new("a", "there").qos(qos, id).with(MESSAGE_EXPIRY, 100));
        publisher.publish5(&Publish5::new("a", "always").qos(qos, id));
    }
    await_one_and_a_half_seconds(&broker);
    let mut client = Wire::resume5(&broker, &connect);
    for _ in 0..2 {
        let got = client.take5("there");
        assert!((90..=99).contains(&left(&got).unwrap()), "{got:?}");
        assert_eq!(left(&client.take5("always")), None);
    }
    client.expect_nothing_but_pong();
}

/// [MQTT-3.3.2-6], [MQTT-3.3.2-5]: so has what was retained.
#[test]
fn expiry_counts_down_for_a_retained_message() {
    let broker = Broker::start();
    let mut publisher = Wire::client5(&broker, "publisher");
    publisher.publish5(&Publish5::new("a/gone", "gone").retain().with(MESSAGE_EXPIRY, 1));
    publisher.publish5(&Publish5::new("a/there", "there").retain().with(MESSAGE_EXPIRY, 100));
    await_one_and_a_half_seconds(&broker);
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a/#", 1);
    let got = client.take5("there");
    assert!((90..=99).contains(&left(&got).unwrap()), "{got:?}");
    client.expect_nothing_but_pong();
}

/// [MQTT-3.3.2-5]: nor is what waited behind others for a client that is there.
#[test]
fn message_that_expires_behind_others_is_not_delivered() {
    let broker = Broker::start();
    let mut client = Wire::connect5(&broker, &Connect5::new("c").with(RECEIVE_MAXIMUM, 1));
    client.subscribe5("a", 1);
    let mut publisher = Wire::client5(&broker, "publisher");
    publisher.publish5(&Publish5::new("a", "first").qos(1, 1));
    publisher.publish5(&Publish5::new("a", "gone").qos(1, 2).with(MESSAGE_EXPIRY, 1));
    publisher.publish5(&Publish5::new("a", "there").qos(1, 3).with(MESSAGE_EXPIRY, 100));
    await_one_and_a_half_seconds(&broker);
    client.take5("first");
    let got = client.take5("there");
    assert!((90..=99).contains(&left(&got).unwrap()), "{got:?}");
    client.expect_nothing_but_pong();
}
