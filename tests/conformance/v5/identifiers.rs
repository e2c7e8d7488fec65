//! Subscription identifiers (§3.8.2.1.2, §3.3.4): what they are, and on which messages they come back.

use super::assert_disconnected;
use crate::harness::packets5::{SUBACK, SUBSCRIPTION_ID, UNSUBACK, With, subscribe5, unsubscribe5};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// The largest there is.
const LARGEST: u32 = 268_435_455;

/// Subscribes with an identifier.
#[track_caller]
fn subscribe_as(client: &mut Wire, number: u32, filters: &[(&str, u8)]) {
    client.send(subscribe5(1, filters).with(SUBSCRIPTION_ID, number).bytes());
    let granted: Vec<u8> = filters.iter().map(|(_, options)| options & 3).collect();
    assert_eq!(client.await_answer(SUBACK, 1).codes, granted);
}

/// Publishes to `topic`: the client gets it once, with this QoS and these identifiers.
#[track_caller]
fn assert_delivered(sender: &mut Wire, client: &mut Wire, topic: &str, qos: u8, numbers: &[u32]) {
    sender.publish5(&Publish5::new(topic, topic).qos(2, 1));
    let publish = client.take5(topic);
    assert_eq!((publish.qos, &*publish.properties.subscription_ids()), (qos, numbers), "{topic}");
    client.expect_nothing_but_pong();
}

/// §3.3.4: the identifier of a subscription comes with what it matches, of whatever size.
#[test]
fn identifier_comes_back_with_the_message() {
    let broker = Broker::start();
    let (mut client, mut sender) = (Wire::client5(&broker, "c"), Wire::client5(&broker, "sender"));
    for number in [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, LARGEST] {
        subscribe_as(&mut client, number, &[("a", 1)]);
        assert_delivered(&mut sender, &mut client, "a", 1, &[number]);
    }
    client.subscribe5("b", 1);
    assert_delivered(&mut sender, &mut client, "b", 1, &[]);
}

/// §3.3.4: subscriptions of one client that overlap: one delivery with the identifiers of all, at the
/// highest QoS.
#[test]
fn overlapping_subscriptions_deliver_once_with_all_identifiers() {
    let broker = Broker::start();
    let (mut client, mut sender) = (Wire::client5(&broker, "c"), Wire::client5(&broker, "sender"));
    subscribe_as(&mut client, 10, &[("a/b", 1)]);
    subscribe_as(&mut client, 20, &[("a/+", 2)]);
    subscribe_as(&mut client, 30, &[("a/#", 0)]);
    client.subscribe5("#", 0);
    assert_delivered(&mut sender, &mut client, "a/b", 2, &[10, 20, 30]);
    assert_delivered(&mut sender, &mut client, "a/c", 2, &[20, 30]);
    assert_delivered(&mut sender, &mut client, "a/c/d", 0, &[30]);
    assert_delivered(&mut sender, &mut client, "b", 0, &[]);
    client.send(unsubscribe5(2, &["a/+"]).bytes());
    client.expect_reason(UNSUBACK, 2, 0);
    assert_delivered(&mut sender, &mut client, "a/b", 1, &[10, 30]);
}

/// §3.8.2.1.2, §3.3.4: one identifier for all filters of a SUBSCRIBE; it comes once for each that matches.
#[test]
fn identifier_holds_for_all_filters_of_a_subscribe() {
    let broker = Broker::start();
    let (mut client, mut sender) = (Wire::client5(&broker, "c"), Wire::client5(&broker, "sender"));
    subscribe_as(&mut client, 7, &[("a", 1), ("b/#", 0), ("b/+", 2)]);
    assert_delivered(&mut sender, &mut client, "a", 1, &[7]);
    assert_delivered(&mut sender, &mut client, "b/x/y", 0, &[7]);
    assert_delivered(&mut sender, &mut client, "b/x", 2, &[7, 7]);
}

/// §3.3.4: each client gets its own identifiers, and a publisher's subscription has no part in it.
#[test]
fn identifiers_are_the_clients_own() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut clients = [1, 2, 3].map(|number| {
        let mut client = Wire::client5(&broker, &number.to_string());
        subscribe_as(&mut client, number, &[("a", 1)]);
        (client, number)
    });
    sender.publish5(&Publish5::new("a", "1").qos(1, 1));
    for (client, number) in &mut clients {
        assert_eq!(client.take5("1").properties.subscription_ids(), [*number]);
    }
}

/// §3.3.4: a retained message comes with the identifier of the subscription that it is sent for.
#[test]
fn retained_messages_have_the_identifier() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.publish5(&Publish5::new("a", "1").qos(1, 1).retain());
    for number in [5, 6] {
        subscribe_as(&mut client, number, &[("a", 1)]);
        let publish = client.take5("1");
        assert!(publish.retain);
        assert_eq!(publish.properties.subscription_ids(), [number]);
    }
}

/// §4.1: the identifier is a part of the session.
#[test]
fn identifiers_outlive_the_connection() {
    let broker = Broker::start();
    let persistent = Connect5::new("c").persistent(300);
    let mut client = Wire::connect5(&broker, &persistent);
    subscribe_as(&mut client, 9, &[("a", 1)]);
    client.disconnect5(0);
    Wire::resume5(&broker, &persistent).disconnect5(0);
    let mut sender = Wire::client5(&broker, "sender");
    sender.publish5(&Publish5::new("a", "1").qos(1, 1));
    let mut client = Wire::resume5(&broker, &persistent);
    assert_eq!(client.take5("1").properties.subscription_ids(), [9]);
    assert_delivered(&mut sender, &mut client, "a", 1, &[9]);
}

/// §3.8.2.1.2: 0 is no identifier.
#[test]
fn identifier_0_closes() {
    let broker = Broker::start();
    assert_disconnected(&broker, subscribe5(1, &[("a", 1)]).with(SUBSCRIPTION_ID, 0).bytes(), 0x82);
}

/// §3.8.2.1.2: a SUBSCRIBE has one identifier at most.
#[test]
fn two_identifiers_close() {
    let broker = Broker::start();
    for second in [1, 2] {
        let subscribe = subscribe5(1, &[("a", 1)]).with(SUBSCRIPTION_ID, 1).with(SUBSCRIPTION_ID, second);
        assert_disconnected(&broker, subscribe.bytes(), 0x82);
    }
}

/// §1.5.5: an identifier has four bytes at most, and no more than it needs.
#[test]
fn malformed_identifiers_close() {
    let broker = Broker::start();
    for bytes in [&[SUBSCRIPTION_ID, 0x80, 0x80, 0x80, 0x80, 1][..], &[SUBSCRIPTION_ID, 0x81, 0]] {
        assert_disconnected(&broker, subscribe5(1, &[("a", 1)]).raw(bytes).bytes(), 0x81);
    }
}
