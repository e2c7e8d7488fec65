//! Shared subscriptions (§4.8.2) as subscriptions: their filters, options and identifiers, and how they go
//! with ordinary ones and with clients of 3.1.1.

use super::assert_disconnected;
use super::steps::{numbers, taken, texts};
use crate::harness::packets::{suback, subscribe};
use crate::harness::packets5::{CONTENT_TYPE, SUBACK, SUBSCRIPTION_ID, With, subscribe5};
use crate::harness::{Broker, Connect, Publish, Publish5, Wire};

/// [MQTT-4.8.2-1], [MQTT-4.8.2-2]: `$share/`, a name without wildcards, `/`, a filter; or 0x8F.
#[test]
fn malformed_shared_filters_are_refused_with_0x8f() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for filter in [
        "$share/",
        "$share//",
        "$share//a",
        "$share/g",
        "$share/g/",
        "$share/+/a",
        "$share/g+/a",
        "$share/#",
        "$share/#/a",
        "$share/g#/a",
        "$share/g/a#",
        "$share/g/#/a",
        "$share/g/a+",
    ] {
        client.send(subscribe5(1, &[(filter, 1), ("good", 1)]).bytes());
        assert_eq!(client.await_answer(SUBACK, 1).codes, [0x8F, 1], "{filter}");
    }
}

/// [MQTT-4.8.2-1], [MQTT-4.8.2-2]: the filter behind the name is like any other.
#[test]
fn shared_filters_match_like_others() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let table = [
        ("$share/g/#", &["a", "a/b", "/", "/a"][..]),
        ("$share/g/+", &["a"]),
        ("$share/é g/a/+", &["a/b"]),
        ("$share/g//", &["/"]),
        ("$share/g//a", &["/a"]),
        ("$share/$share/a/b", &["a/b"]),
        ("$share/g/$dollar/#", &["$dollar/a"]),
    ];
    for (n, (filter, topics)) in table.into_iter().enumerate() {
        let mut client = Wire::client5(&broker, &n.to_string());
        client.subscribe5(filter, 1);
        for topic in ["a", "a/b", "/", "/a", "$dollar/a"] {
            sender.publish5(&Publish5::new(topic, topic).qos(1, 1));
        }
        assert_eq!(texts(&taken(&mut client)), topics, "{filter}");
        client.disconnect5(0);
    }
}

/// §4.8.2: `$share` is written so; whatever looks like it is an ordinary filter.
#[test]
fn other_dollar_filters_are_ordinary() {
    let broker = Broker::start();
    let mut clients = ["c1", "c2"].map(|id| Wire::client5(&broker, id));
    for client in &mut clients {
        for filter in ["$SHARE/g/a", "$shared/g/a"] {
            client.subscribe5(filter, 1);
        }
    }
    let mut sender = Wire::client5(&broker, "sender");
    for topic in ["a", "$shared/g/a"] {
        sender.publish5(&Publish5::new(topic, topic).qos(1, 1));
    }
    for client in &mut clients {
        assert_eq!(texts(&taken(client)), ["$shared/g/a"]);
    }
}

/// [MQTT-3.8.3-4]: no local on a shared subscription is against the protocol.
#[test]
fn no_local_on_a_shared_subscription_closes() {
    let broker = Broker::start();
    for options in [0x04, 0x05, 0x2E] {
        let filters = [("a", 0), ("$share/g/a", options)];
        assert_disconnected(&broker, subscribe5(1, &filters).bytes(), 0x82);
    }
}

/// §4.8.2: no retained messages on a shared subscription, whatever its retain handling.
#[test]
fn shared_subscription_is_sent_no_retained_messages() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.publish5(&Publish5::new("a", "kept").qos(1, 1).retain());
    for (group, handling) in [("g1", 0x00), ("g2", 0x10), ("g3", 0x20), ("g1", 0x00)] {
        client.subscribe5(format!("$share/{group}/a"), 1 | handling);
        client.expect_nothing_but_pong();
    }
    // A live one comes; with retain as published it says that it was kept.
    client.subscribe5("$share/g1/a", 1 | 0x08);
    client.subscribe5("$share/g2/a", 1);
    client.publish5(&Publish5::new("a", "live").qos(1, 1).retain());
    let retain: Vec<bool> = taken(&mut client).iter().map(|publish| publish.retain).collect();
    assert_eq!(retain.iter().filter(|retain| **retain).count(), 1, "{retain:?}");
    assert_eq!(retain.len(), 3);
}

/// §4.8.2: a message goes once to each group, whatever its name and filter.
#[test]
fn each_group_gets_the_message_once() {
    let broker = Broker::start();
    let mut groups = ["$share/g1/a", "$share/g2/a", "$share/g1/+"].map(|filter| {
        ["x", "y"].map(|id| {
            let mut member = Wire::client5(&broker, &format!("{filter} {id}"));
            member.subscribe5(filter, 1);
            member
        })
    });
    let mut sender = Wire::client5(&broker, "sender");
    for payload in numbers(0..10) {
        sender.publish5(&Publish5::new("a", payload).qos(1, 1));
    }
    for group in &mut groups {
        assert_eq!(group.each_mut().map(|member| taken(member).len()), [5, 5]);
    }
}

/// §4.8.2: a message goes once to the group, and once more to ordinary subscriptions: a client with both kinds may get it twice.
#[test]
fn ordinary_subscriptions_get_it_besides() {
    let broker = Broker::start();
    let (mut both, mut member) = (Wire::client5(&broker, "both"), Wire::client5(&broker, "member"));
    for (filter, number) in [("$share/g/a", 1), ("a", 2), ("#", 3)] {
        both.send(subscribe5(1, &[(filter, 1)]).with(SUBSCRIPTION_ID, number).bytes());
        both.expect_reason(SUBACK, 1, 1);
    }
    member.subscribe5("$share/g/a", 1);
    let mut sender = Wire::client5(&broker, "sender");
    for payload in numbers(0..10) {
        sender.publish5(&Publish5::new("a", payload).qos(1, 1));
    }
    let got = taken(&mut both);
    let with = |ids: &[u32]| got.iter().filter(|it| it.properties.subscription_ids() == ids).count();
    assert_eq!((with(&[2, 3]), with(&[1]), got.len()), (10, 5, 15), "{got:?}");
    assert_eq!(taken(&mut member).len(), 5);
}

/// §4.8.2: subscribing again to the same group makes no second member, and replaces QoS and identifier.
#[test]
fn subscribing_again_makes_no_second_member() {
    let broker = Broker::start();
    let mut members = ["m1", "m2"].map(|id| Wire::client5(&broker, id));
    members[1].subscribe5("$share/g/a", 1);
    for (number, qos) in [(1, 2), (2, 1), (3, 0)] {
        members[0].send(subscribe5(1, &[("$share/g/a", qos)]).with(SUBSCRIPTION_ID, number).bytes());
        members[0].expect_reason(SUBACK, 1, qos);
    }
    let mut sender = Wire::client5(&broker, "sender");
    for payload in numbers(0..10) {
        sender.publish5(&Publish5::new("a", payload).qos(1, 1));
    }
    let parts = members.each_mut().map(taken);
    assert_eq!(parts.each_ref().map(Vec::len), [5, 5]);
    for publish in &parts[0] {
        assert_eq!((publish.qos, publish.properties.subscription_ids()), (0, vec![3]));
    }
    assert!(parts[1].iter().all(|publish| publish.properties.subscription_ids().is_empty()));
}

/// §4.8.2: clients of 3.1.1 may be members, too, beside those of MQTT 5.
#[test]
fn old_clients_share_with_new_ones() {
    let broker = Broker::start();
    let mut old = Wire::client(&broker, "old");
    old.subscribe("$share/g/a", 1);
    let mut new = Wire::client5(&broker, "new");
    new.subscribe5("$share/g/a", 1);
    let mut sender = Wire::client5(&broker, "sender");
    for payload in numbers(0..10) {
        sender.publish5(&Publish5::new("a", payload).qos(1, 1).with(CONTENT_TYPE, "number"));
    }
    let of_new = taken(&mut new);
    assert!(of_new.iter().all(|it| it.properties.text(CONTENT_TYPE).as_deref() == Some("number")));
    let of_old: Vec<Publish> = (0..5).map(|_| old.expect_publish()).collect();
    let mut got: Vec<&str> = texts(&of_new);
    got.extend(of_old.iter().map(Publish::text));
    got.sort_unstable();
    assert_eq!(got, numbers(0..10));
    // What the old one did not acknowledge goes to the new one when it leaves, with its properties.
    old.cut();
    for _ in 0..5 {
        let publish = new.expect_publish5();
        assert_eq!(publish.properties.text(CONTENT_TYPE).as_deref(), Some("number"));
        assert!(of_old.iter().any(|it| it.text() == publish.text()), "{publish:?}");
        new.acknowledge5(&publish);
    }
    new.expect_nothing_but_pong();
}

/// §3.9.3 of 3.1.1: a malformed shared filter is answered with 0x80 there.
#[test]
fn old_clients_get_0x80_for_malformed_shared_filters() {
    let broker = Broker::start();
    let mut old = Wire::connect(&broker, &Connect::new("old"));
    old.send(subscribe(1, &[("$share//a", 1), ("$share/g", 1), ("$share/g/a", 1), ("$share/+/a", 1)]));
    old.expect(suback(1, &[0x80, 0x80, 1, 0x80]));
}
