//! PUBLISH (§3.3): DUP, QoS, topic name, what is answered, and how it is delivered where subscriptions
//! overlap. Its properties, RETAIN and aliases have files of their own.

use super::{MALFORMED, PROTOCOL_ERROR, assert_disconnected, assert_disconnected_as_wrong};
use crate::harness::packets5::{
    Answer, PAYLOAD_FORMAT, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, SUBSCRIPTION_ID, With, ack5, subscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// [MQTT-3.3.1-1], [MQTT-3.3.1-3]: DUP is set on what is delivered again, and only there.
#[test]
fn dup_marks_what_is_sent_again() {
    let broker = Broker::start();
    let connect = Connect5::new("c").persistent(60);
    let mut client = Wire::connect5(&broker, &connect);
    client.subscribe5("a", 2);
    for qos in [1, 2] {
        // DUP of what came in means nothing for what goes out.
        client.publish5(&Publish5::new("a", "1").qos(qos, 1).dup());
        let first = client.expect_publish5();
        assert!(!first.dup, "{first:?}");
        client.cut();
        client = Wire::resume5(&broker, &connect);
        let again = client.take5("1");
        assert!(again.dup && again.id == first.id && again.qos == qos, "{again:?}");
    }
}

/// [MQTT-3.3.1-2]: QoS 0 has no DUP.
#[test]
fn dup_with_qos0_is_refused() {
    let broker = Broker::start();
    assert_disconnected_as_wrong(&broker, Publish5::new("a", "1").dup().bytes());
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 0);
    client.publish5(&Publish5::new("a", "1").qos(1, 1).dup());
    assert!(!client.take5("1").dup);
}

/// [MQTT-3.3.1-4]: there is no QoS 3.
#[test]
fn qos3_is_malformed() {
    assert_disconnected(&Broker::start(), Publish5::new("a", "1").qos(3, 1).bytes(), MALFORMED);
}

/// [MQTT-3.3.2-1]: the topic name comes first; without one, and without an alias, it is against the protocol.
#[test]
fn publish_without_topic_is_a_protocol_error() {
    let broker = Broker::start();
    assert_disconnected(&broker, Publish5::new("", "1").bytes(), PROTOCOL_ERROR);
    assert_disconnected(&broker, [0x30, 1, 0], MALFORMED);
    assert_disconnected(&broker, [0x30, 3, 0, 9, b'a'], MALFORMED);
}

/// [MQTT-3.3.2-2]: a topic name has no wildcards.
#[test]
fn wildcard_in_a_topic_name_is_refused() {
    let broker = Broker::start();
    for topic in ["#", "+", "a/#", "a/+/b", "a+", "a#b"] {
        let mut culprit = Wire::client5(&broker, "culprit");
        culprit.send(Publish5::new(topic, "1").bytes());
        let answer = Answer::parse(&culprit.receive());
        // Malformed, against the protocol, or no topic name: the standard does not say which.
        assert!(answer.first == 0xE0 && matches!(answer.code(), 0x81 | 0x82 | 0x90), "{answer:02x?}");
        culprit.expect_closed();
    }
}

/// [MQTT-3.3.2-3]: what is delivered matches a filter of the client.
#[test]
fn delivery_matches_a_subscription() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a/+/c", 0);
    for topic in ["a/b/c", "a/b", "a/b/c/d", "A/b/c", "a//c"] {
        client.publish5(&Publish5::new(topic, topic));
    }
    assert_eq!(client.take5("a/b/c").topic(), "a/b/c");
    assert_eq!(client.take5("a//c").topic(), "a//c");
    client.expect_nothing_but_pong();
}

/// [MQTT-3.3.4-1]: QoS 1 is answered with PUBACK, QoS 2 with PUBREC, and then PUBREL with PUBCOMP.
#[test]
fn publish_is_answered_as_its_qos_asks() {
    let broker = Broker::start();
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("a", 0);
    let mut client = Wire::client5(&broker, "c");
    client.send(Publish5::new("a", "0").bytes());
    client.expect_nothing_but_pong();
    client.send(Publish5::new("a", "1").qos(1, 7).bytes());
    client.expect_reason(PUBACK, 7, 0);
    client.send(Publish5::new("a", "2").qos(2, 8).bytes());
    client.expect_reason(PUBREC, 8, 0);
    client.send(ack5(PUBREL, 8, 0).bytes());
    client.expect_reason(PUBCOMP, 8, 0);
    for payload in ["0", "1", "2"] {
        watcher.take5(payload);
    }
}

/// §3.4.2.1, §3.5.2.1: where nobody subscribed, that is said.
#[test]
fn answer_says_that_nobody_subscribed() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    assert_eq!(client.try_publish5(&Publish5::new("a", "1").qos(1, 1)), 0x10);
    assert_eq!(client.try_publish5(&Publish5::new("a", "1").qos(2, 1)), 0x10);
    client.subscribe5("a", 0);
    assert_eq!(client.try_publish5(&Publish5::new("a", "2").qos(1, 1)), 0);
    assert_eq!(client.try_publish5(&Publish5::new("a", "3").qos(2, 1)), 0);
}

/// §3.4.2.1, §3.5.2.1: a message that its sender may not publish is refused; QoS 0 is dropped. The connection
/// lives.
#[test]
fn publish_without_permission_is_refused() {
    let broker = Broker::with_config(
        "[[acl]]\nclient = \"watcher\"\naccess = \"all\"\ntopics = [\"#\"]\n\
         [[acl]]\naccess = \"publish\"\ntopics = [\"open\"]\n",
    );
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 2);
    let mut client = Wire::client5(&broker, "c");
    for (qos, code) in [(0, 0), (1, 0x87), (2, 0x87)] {
        assert_eq!(client.try_publish5(&Publish5::new("closed", "1").qos(qos, 1).retain()), code);
        assert_eq!(client.try_publish5(&Publish5::new("open", "2").qos(qos, 1)), 0);
        watcher.take5("2");
    }
    // A refused QoS 2 message is over: its identifier is free, and PUBREL finds nothing.
    client.send(ack5(PUBREL, 1, 0).bytes());
    client.expect_reason(PUBCOMP, 1, 0x92);
    watcher.expect_nothing_but_pong();
}

/// §3.3.2.3.2: a payload that is said to be UTF-8 and is not is refused; QoS 0 is dropped. The connection
/// lives.
#[test]
fn payload_of_another_format_is_refused() {
    let broker = Broker::start();
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 2);
    let mut client = Wire::client5(&broker, "c");
    for (qos, code) in [(0, 0), (1, 0x99), (2, 0x99)] {
        let publish = |payload: &[u8]| Publish5::new("a", payload).qos(qos, 1);
        assert_eq!(client.try_publish5(&publish(b"a\xFF").with(PAYLOAD_FORMAT, 1)), code);
        assert_eq!(client.try_publish5(&publish("\u{E9}".as_bytes()).with(PAYLOAD_FORMAT, 1)), 0);
        watcher.take5("\u{E9}");
        assert_eq!(client.try_publish5(&publish(b"\xFF").with(PAYLOAD_FORMAT, 0)), 0);
        let got = watcher.expect_publish5();
        assert_eq!(got.payload, b"\xFF");
        watcher.acknowledge5(&got);
    }
    watcher.expect_nothing_but_pong();
}

/// Subscribes to one filter with an identifier.
fn subscribe_as(client: &mut Wire, filter: &str, qos: u8, id: u32) {
    client.send(subscribe5(1, &[(filter, qos)]).with(SUBSCRIPTION_ID, id).bytes());
    assert_eq!(client.await_answer(SUBACK, 1).codes, [qos]);
}

/// [MQTT-3.3.4-2], [MQTT-3.3.4-3], [MQTT-3.3.4-4]: where subscriptions overlap, one message comes, with the
/// highest QoS and every identifier.
#[test]
fn overlapping_subscriptions_deliver_once_with_all_identifiers() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    subscribe_as(&mut client, "a/#", 0, 300);
    subscribe_as(&mut client, "a/+", 2, 2);
    subscribe_as(&mut client, "a/b", 1, 1);
    subscribe_as(&mut client, "other", 2, 4);
    // One without identifier adds none.
    client.subscribe5("#", 1);
    for (qos, topic, ids) in [(2, "a/b", vec![1, 2, 300]), (1, "a/c", vec![2, 300]), (1, "a/b/c", vec![300])]
    {
        client.publish5(&Publish5::new(topic, "1").qos(qos, 1));
        let got = client.take5("1");
        assert_eq!((got.qos, got.properties.subscription_ids()), (qos, ids), "{topic}");
    }
    client.publish5(&Publish5::new("none", "1").qos(2, 1));
    let got = client.take5("1");
    assert_eq!((got.qos, got.properties.subscription_ids()), (1, vec![]));
    client.expect_nothing_but_pong();
}

/// §3.3.4: two subscriptions may have the same identifier; it may come twice or once, but it comes.
#[test]
fn same_identifier_of_two_subscriptions_comes() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    subscribe_as(&mut client, "a", 0, 5);
    subscribe_as(&mut client, "+", 0, 5);
    client.publish5(&Publish5::new("a", "1"));
    let ids = client.take5("1").properties.subscription_ids();
    assert!(!ids.is_empty() && ids.iter().all(|id| *id == 5), "{ids:?}");
    client.expect_nothing_but_pong();
}

/// [MQTT-3.3.4-6]: no client says by which subscription others get its message.
#[test]
fn subscription_identifier_from_a_client_is_a_protocol_error() {
    let broker = Broker::start();
    assert_disconnected(&broker, Publish5::new("a", "1").with(SUBSCRIPTION_ID, 1).bytes(), PROTOCOL_ERROR);
}
