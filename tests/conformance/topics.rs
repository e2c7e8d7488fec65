//! Topic names and filters (§4.7): what matches what, and how long, deep and foreign they may be.

use super::assert_breach;
use crate::harness::packets::{suback, subscribe};
use crate::harness::{Broker, Publish, Wire};

/// Subscribes to each filter on a connection of its own, publishes to each topic, and holds what came
/// against what the table says.
fn assert_matches(table: &[(&str, &[&str])], topics: &[&str]) {
    let broker = Broker::start();
    let mut sender = Wire::client(&broker, "sender");
    let mut subscribers: Vec<Wire> = table
        .iter()
        .enumerate()
        .map(|(n, (filter, _))| {
            let mut wire = Wire::client(&broker, &format!("s{n}"));
            wire.subscribe(filter, 1);
            wire
        })
        .collect();
    for topic in topics {
        sender.publish(&Publish::new(topic, topic).qos(1, 1));
        for ((filter, matched), wire) in table.iter().zip(&mut subscribers) {
            if matched.contains(topic) {
                assert_eq!(wire.take(topic).topic(), *topic, "{filter}");
            } else {
                wire.expect_nothing_but_pong();
            }
        }
    }
}

/// §4.7.1.2: `#` stands for any number of levels, its parent among them.
#[test]
fn hash_matches_its_parent_and_all_below() {
    let topics = ["a", "a/", "a/b", "a/b/c", "/a", "/", "b", "ab"];
    assert_matches(&[("a/#", &["a", "a/", "a/b", "a/b/c"]), ("#", &topics), ("/#", &["/", "/a"])], &topics);
}

/// §4.7.1.3: `+` stands for one level, also an empty one, anywhere.
#[test]
fn plus_matches_one_level() {
    let topics = ["a", "a/", "a/b", "a/b/c", "/b", "/", "a//c", "b"];
    assert_matches(
        &[
            ("+", &["a", "b"]),
            ("a/+", &["a/", "a/b"]),
            ("+/b", &["a/b", "/b"]),
            ("/+", &["/b", "/"]),
            ("+/+", &["a/", "a/b", "/b", "/"]),
            ("a/+/c", &["a/b/c", "a//c"]),
            ("+/+/#", &["a/", "a/b", "a/b/c", "/b", "/", "a//c"]),
        ],
        &topics,
    );
}

/// §4.7.3: a leading, trailing or doubled slash makes another topic.
#[test]
fn empty_levels_count() {
    let topics = ["a", "/a", "a/", "//", "/", "a//b", "a/b"];
    assert_matches(
        &[
            ("a", &["a"]),
            ("/a", &["/a"]),
            ("a/", &["a/"]),
            ("/", &["/"]),
            ("//", &["//"]),
            ("a//b", &["a//b"]),
        ],
        &topics,
    );
}

/// Topics with a `$`, and what matches which of them, in every version.
pub(super) const DOLLAR_TOPICS: [&str; 4] = ["$dollar/a", "$dollar", "a/$dollar", "$/a"];
pub(super) const DOLLAR_MATCHES: [(&str, &[&str]); 8] = [
    ("#", &["a/$dollar"]),
    ("+/a", &[]),
    ("+", &[]),
    ("+/#", &["a/$dollar"]),
    ("$dollar/#", &["$dollar/a", "$dollar"]),
    ("$dollar/+", &["$dollar/a"]),
    ("a/+", &["a/$dollar"]),
    ("$/a", &["$/a"]),
];

/// [MQTT-4.7.2-1]: a wildcard in the first place does not match a `$`.
#[test]
fn leading_wildcard_does_not_match_dollar_topics() {
    assert_matches(&DOLLAR_MATCHES, &DOLLAR_TOPICS);
}

/// [MQTT-4.7.2-1]: the same for retained messages.
#[test]
fn leading_wildcard_does_not_match_retained_dollar_topics() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.publish(&Publish::new("$dollar/a", "1").qos(1, 1).retain());
    for filter in ["#", "+/a", "+/#"] {
        client.subscribe(filter, 1);
        client.expect_nothing_but_pong();
    }
    client.subscribe("$dollar/#", 1);
    client.take("1");
}

/// §4.7.2: `$SYS` is the server's: it speaks there, and clients do not.
#[test]
fn sys_topics_are_the_servers() {
    let broker = Broker::with_config("[telemetry]\nsys_interval_s = 1");
    let mut client = Wire::client(&broker, "c");
    client.subscribe("$SYS/broker/uptime", 0);
    assert!(client.expect_publish().text().parse::<u64>().is_ok());
    client.subscribe("$SYS/test", 0);
    client.send(Publish::new("$SYS/test", "1").qos(1, 7).retain().bytes());
    client.expect_answer(crate::harness::packets::puback(7));
    client.subscribe("$SYS/test", 0);
    // Only the uptime goes on.
    assert_eq!(client.expect_publish().topic(), "$SYS/broker/uptime");
}

/// [MQTT-4.7.3-4]: nothing is normalised: case, composition and look-alikes count.
#[test]
fn names_are_compared_byte_by_byte() {
    let topics = ["accounts", "Accounts", "é", "e\u{301}", "Å", "\u{212B}", "a b", "a\u{A0}b", "ﬁ", "fi"];
    let table: Vec<(&str, &[&str])> =
        topics.iter().map(|topic| (*topic, std::slice::from_ref(topic))).collect();
    assert_matches(&table, &topics);
}

/// [MQTT-1.5.3-3]: U+FEFF is a character like others, also in front.
#[test]
fn byte_order_mark_is_a_character() {
    let topics = ["\u{FEFF}a", "a", "a\u{FEFF}"];
    assert_matches(&[("\u{FEFF}a", &topics[..1]), ("a", &topics[1..2]), ("+", &topics)], &topics);
}

/// §1.5.3: every character but U+0000 may be in a name: multi-byte in front, astral, control.
#[test]
fn foreign_characters_are_carried() {
    let topics = ["é/x", "日本/語", "\u{10FFFF}/x", "😀", "\u{1}/\u{7F}", "ж", "\u{FFFF}/x"];
    assert_matches(
        &[("#", &topics), ("+/x", &["é/x", "\u{10FFFF}/x", "\u{FFFF}/x"]), ("日本/+", &["日本/語"])],
        &topics,
    );
}

/// [MQTT-4.7.3-3]: up to 65,535 bytes.
#[test]
fn topic_of_65535_bytes_is_carried() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    let name = "x".repeat(65_535);
    let wild = format!("+/{}", "y".repeat(65_533));
    let matched = wild.replace('+', "é").split_at(65_535).0.to_owned();
    client.subscribe(&name, 1);
    client.publish(&Publish::new(&name, "1").qos(1, 1));
    assert_eq!(client.take("1").topic(), name);
    client.subscribe(&wild, 1);
    client.publish(&Publish::new(&matched, "2").qos(1, 1));
    client.expect_nothing_but_pong();
    client.publish(&Publish::new(wild.replace('+', "z"), "3").qos(1, 1).retain());
    client.take("3");
}

/// `limits.topic_levels_max`: a name beyond it closes, a filter beyond it is refused.
#[test]
fn number_of_levels_is_bounded() {
    let broker = Broker::with_config("[limits]\ntopic_levels_max = 3");
    let mut client = Wire::client(&broker, "c");
    client.send(subscribe(1, &[("a/b/c", 0), ("+/+/#", 0), ("a/b/c/d", 0), ("///", 0), ("a/b/c/#", 0)]));
    client.expect(suback(1, &[0, 0, 0x80, 0x80, 0x80]));
    client.publish(&Publish::new("a/b/c", "1").qos(1, 1));
    client.take("1");
    for topic in ["a/b/c/d", "///"] {
        assert_breach(&broker, Publish::new(topic, "1").bytes(), "MQTT-4.8.0-2");
    }
}

/// [MQTT-4.7.1-2], [MQTT-4.7.1-3]: wildcards stand alone in their level, `#` in the last one.
#[test]
fn misplaced_wildcards_are_refused() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    for (filter, code) in
        [("a/#", 0), ("#", 0), ("+/+", 0), ("a#", 0x80), ("a/#/b", 0x80), ("a+", 0x80), ("+a/b", 0x80)]
    {
        client.send(subscribe(1, &[(filter, 0)]));
        client.expect(suback(1, &[code]));
    }
}

/// [MQTT-4.7.3-2], [MQTT-1.5.3-2]: a filter does not contain U+0000, as no string does.
#[test]
fn nul_in_a_filter_closes() {
    let broker = Broker::start();
    assert_breach(&broker, subscribe(1, &[("ok", 0), ("a\0b", 0)]), "MQTT-1.5.3-2");
}
