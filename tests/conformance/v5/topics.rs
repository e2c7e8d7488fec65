//! Topic names and filters (§4.7): what matches what, and what is neither.

use super::assert_disconnected;
use super::steps::{taken, texts};
use crate::conformance::topics::{DOLLAR_MATCHES, DOLLAR_TOPICS};
use crate::harness::packets5::{DISCONNECT5, SUBACK, subscribe5};
use crate::harness::{Broker, Publish5, Wire};

/// Subscribes to each filter on a connection of its own, publishes to each topic, and holds what came
/// against what the table says.
#[track_caller]
fn assert_matches(table: &[(&str, &[&str])], topics: &[&str]) {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut subscribers: Vec<Wire> = table
        .iter()
        .enumerate()
        .map(|(n, (filter, _))| {
            let mut wire = Wire::client5(&broker, &format!("s{n}"));
            wire.subscribe5(filter, 1);
            wire
        })
        .collect();
    for topic in topics {
        sender.publish5(&Publish5::new(topic, topic).qos(1, 1));
    }
    for ((filter, matched), wire) in table.iter().zip(&mut subscribers) {
        let got = taken(wire);
        assert!(got.iter().all(|publish| publish.topic() == publish.text()), "{got:?}");
        assert_eq!(texts(&got), *matched, "{filter}");
    }
}

/// §4.7.1: `#` stands for any number of levels, its parent among them; `+` for one, also an empty one; a
/// slash more makes another topic.
#[test]
fn filters_match_by_levels() {
    let topics = ["a", "a/", "a/b", "a/b/c", "/a", "/", "b", "ab", "a//c", "//"];
    assert_matches(
        &[
            ("#", &topics),
            ("a/#", &["a", "a/", "a/b", "a/b/c", "a//c"]),
            ("/#", &["/a", "/", "//"]),
            ("+", &["a", "b", "ab"]),
            ("a/+", &["a/", "a/b"]),
            ("/+", &["/a", "/"]),
            ("+/+", &["a/", "a/b", "/a", "/"]),
            ("a/+/c", &["a/b/c", "a//c"]),
            ("+/+/#", &["a/", "a/b", "a/b/c", "/a", "/", "a//c", "//"]),
            ("a", &["a"]),
            ("/a", &["/a"]),
            ("a/", &["a/"]),
            ("//", &["//"]),
        ],
        &topics,
    );
}

/// [MQTT-4.7.2-1]: a wildcard in the first place does not match a `$`.
#[test]
fn leading_wildcard_does_not_match_dollar_topics() {
    assert_matches(&DOLLAR_MATCHES, &DOLLAR_TOPICS);
}

/// [MQTT-4.7.2-1]: the same for retained messages.
#[test]
fn leading_wildcard_does_not_match_retained_dollar_topics() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.publish5(&Publish5::new("$dollar/a", "1").qos(1, 1).retain());
    for filter in ["#", "+/a", "+/#"] {
        client.subscribe5(filter, 1);
        client.expect_nothing_but_pong();
    }
    client.subscribe5("$dollar/#", 1);
    client.take5("1");
}

/// [MQTT-4.7.0-1]: wildcards are no part of topic names.
#[test]
fn wildcard_in_a_topic_name_closes() {
    let broker = Broker::start();
    for topic in ["#", "+", "a/+", "a/#", "a+", "a#b", "$share/g/#"] {
        let mut culprit = Wire::client5(&broker, "culprit");
        culprit.send(Publish5::new(topic, "1").qos(1, 1).bytes());
        // The standard forbids it without a code: malformed, against the protocol, or no topic name.
        let answer = culprit.await_answer(DISCONNECT5, 0);
        assert!([0x81, 0x82, 0x90].contains(&answer.code()), "{topic}: {answer:02x?}");
        culprit.expect_closed();
    }
}

/// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1]: wildcards stand alone in their level, `#` in the last
/// one, and there is at least one character.
#[test]
fn misplaced_wildcards_are_refused() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for (filter, code) in [
        ("a/#", 0),
        ("#", 0),
        ("+/+", 0),
        ("/", 0),
        (" ", 0),
        ("+/a/#", 0),
        ("a#", 0x8F),
        ("a/#/b", 0x8F),
        ("#/", 0x8F),
        ("a+", 0x8F),
        ("+a/b", 0x8F),
        ("a/+b/c", 0x8F),
        ("", 0x8F),
    ] {
        client.send(subscribe5(1, &[(filter, 0)]).bytes());
        client.expect_reason(SUBACK, 1, code);
    }
}

/// [MQTT-4.7.3-1]: an empty name, without alias, is against the protocol.
#[test]
fn empty_topic_name_closes() {
    assert_disconnected(&Broker::start(), Publish5::new("", "1").bytes(), 0x82);
}

/// [MQTT-4.7.3-2]: names and filters do not contain U+0000.
#[test]
fn nul_in_a_name_or_filter_closes() {
    let broker = Broker::start();
    for name in ["\0", "a\0b", "a/\0"] {
        assert_disconnected(&broker, Publish5::new(name, "1").bytes(), 0x81);
        assert_disconnected(&broker, subscribe5(1, &[("a", 0), (name, 0)]).bytes(), 0x81);
    }
}

/// [MQTT-4.7.3-3]: up to 65,535 bytes.
#[test]
fn topic_of_65535_bytes_is_carried() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    let name = "x".repeat(65_535);
    client.subscribe5(&name, 1);
    client.publish5(&Publish5::new(&name, "1").qos(1, 1));
    assert_eq!(client.take5("1").topic(), name);
    let wild = format!("+/{}", "y".repeat(65_533));
    client.subscribe5(&wild, 1);
    client.publish5(&Publish5::new(wild.replace('+', "z"), "2").qos(1, 1));
    client.take5("2");
}

/// [MQTT-4.7.3-4]: nothing is normalised: case, composition and look-alikes count.
#[test]
fn names_are_compared_byte_by_byte() {
    let topics =
        ["accounts", "Accounts", "é", "e\u{301}", "Å", "\u{212B}", "a b", "a\u{A0}b", "ﬁ", "fi", "\u{FEFF}a"];
    let table: Vec<(&str, &[&str])> =
        topics.iter().map(|topic| (*topic, std::slice::from_ref(topic))).collect();
    assert_matches(&table, &topics);
}
