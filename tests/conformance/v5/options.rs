//! Subscription options (§3.8.3.1): no local, and options filter by filter. What the others do to
//! retained messages is in `retain`.

use super::steps::{taken, texts};
use crate::harness::packets5::{SUBACK, SUBSCRIPTION_ID, With, subscribe5};
use crate::harness::{Broker, Connect5, Publish, Publish5, Wire};

const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
/// Retain handling 2: no retained messages.
const RETAINED_NEVER: u8 = 0x20;

/// A broker that keeps `1` for `a/1` and `2` for `a/2`, and a client.
fn retaining() -> (Broker, Wire) {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    for n in ["1", "2"] {
        sender.publish5(&Publish5::new(format!("a/{n}"), n).qos(1, 1).retain());
    }
    let client = Wire::client5(&broker, "c");
    (broker, client)
}

/// [MQTT-3.8.3-3]: with no local a client is not sent its own messages, and others are; without it, it is.
#[test]
fn no_local_holds_back_ones_own_messages() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 2 | NO_LOCAL);
    client.subscribe5("b", 2);
    let mut other = Wire::client5(&broker, "other");
    for qos in 0..=2 {
        client.publish5(&Publish5::new("a", "own").qos(qos, 1));
        client.expect_nothing_but_pong();
        other.publish5(&Publish5::new("a", "other's").qos(qos, 1));
        client.take5("other's");
        client.publish5(&Publish5::new("b", "own").qos(qos, 1));
        client.take5("own");
    }
    let mut old = Wire::client(&broker, "old");
    old.publish(&Publish::new("a", "of an old one"));
    client.take5("of an old one");
}

/// [MQTT-3.8.3-3]: it goes by the client id, whichever connection of it spoke.
#[test]
fn no_local_goes_by_client_id() {
    let broker = Broker::start();
    let persistent = Connect5::new("c").persistent(300);
    let mut client = Wire::connect5(&broker, &persistent);
    client.subscribe5("a", 1 | NO_LOCAL);
    client.disconnect5(0);
    let mut client = Wire::resume5(&broker, &persistent);
    client.publish5(&Publish5::new("a", "own").qos(1, 1));
    client.disconnect5(0);
    Wire::resume5(&broker, &persistent).expect_nothing_but_pong();
}

/// [MQTT-3.8.3-3]: nor its own retained messages, and that goes by the client id too, whichever session of
/// it published them; those of others it is sent.
#[test]
fn no_local_holds_back_ones_own_retained_messages() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    let mut other = Wire::client5(&broker, "other");
    client.publish5(&Publish5::new("a/1", "own").qos(1, 1).retain());
    other.publish5(&Publish5::new("a/2", "other's").qos(1, 1).retain());
    for _ in 0..2 {
        client.subscribe5("a/+", 1 | NO_LOCAL);
        assert_eq!(texts(&taken(&mut client)), ["other's"]);
        client.subscribe5("a/+", 1);
        assert_eq!(texts(&taken(&mut client)), ["own", "other's"]);
        client.disconnect5(0);
        client = Wire::client5(&broker, "c");
    }
    other.subscribe5("a/+", 1 | NO_LOCAL);
    assert_eq!(texts(&taken(&mut other)), ["own"]);
}

/// [MQTT-3.8.3-3]: another subscription that overlaps still gets them, and it alone.
#[test]
fn no_local_holds_for_its_own_subscription_alone() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for (filter, options, number) in [("a/+", 2 | NO_LOCAL, 1), ("a/b", 1, 2)] {
        client.send(subscribe5(1, &[(filter, options)]).with(SUBSCRIPTION_ID, number).bytes());
        client.expect_reason(SUBACK, 1, options & 3);
    }
    client.publish5(&Publish5::new("a/b", "own").qos(2, 1));
    let publish = client.take5("own");
    assert_eq!((publish.qos, publish.properties.subscription_ids()), (1, vec![2]));
    client.expect_nothing_but_pong();
    Wire::client5(&broker, "other").publish5(&Publish5::new("a/b", "other's").qos(2, 1));
    let publish = client.take5("other's");
    assert_eq!((publish.qos, publish.properties.subscription_ids()), (2, vec![1, 2]));
    client.expect_nothing_but_pong();
}

/// [MQTT-3.8.4-4]: retain handling 0: each SUBSCRIBE is sent the retained messages, with RETAIN 1 whatever
/// retain as published says.
#[test]
fn retain_handling_0_sends_them_each_time() {
    let (_broker, mut client) = retaining();
    for options in [1, 1 | RETAIN_AS_PUBLISHED, 0] {
        client.subscribe5("a/+", options);
        let sent = taken(&mut client);
        assert_eq!(texts(&sent), ["1", "2"]);
        assert!(sent.iter().all(|publish| publish.retain), "{sent:?}");
    }
}

/// §3.8.4: each filter of a SUBSCRIBE has options of its own.
#[test]
fn each_filter_has_its_own_options() {
    let (_broker, mut client) = retaining();
    client.send(subscribe5(1, &[("a/1", 1 | RETAINED_NEVER), ("a/2", 1), ("b", 2 | NO_LOCAL)]).bytes());
    assert_eq!(client.await_answer(SUBACK, 1).codes, [1, 1, 2]);
    assert_eq!(texts(&taken(&mut client)), ["2"]);
    client.publish5(&Publish5::new("b", "own").qos(1, 1));
    client.expect_nothing_but_pong();
    client.publish5(&Publish5::new("a/1", "own").qos(1, 1));
    client.take5("own");
}
