//! Filters against the examples of the standard, and against every topic of a small world.

use super::{Level, TopicFilter};
use crate::TopicName;
use crate::error::FilterError;
use bytestring::ByteString;
use proptest::prelude::*;
use std::collections::HashSet;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::try_from(text).unwrap()
}

fn topic(text: &str) -> TopicName {
    TopicName::try_from(text).unwrap()
}

fn matches(f: &str, t: &str) -> bool {
    filter(f).matches(&topic(t))
}

fn refused(text: &str) -> FilterError {
    TopicFilter::try_from(text).unwrap_err()
}

#[test]
fn hash_stands_alone_and_last() {
    // [MQTT-4.7.1-2]
    for good in ["#", "/#", "sport/#", "sport/tennis/#", "+/#"] {
        assert!(TopicFilter::try_from(good).is_ok(), "{good}");
    }
    for bad in ["sport/tennis#", "sport/tennis/#/ranking", "##", "#/", "#a", "a/#b", "+#"] {
        assert_eq!(refused(bad), FilterError::Hash, "{bad}");
    }
}

#[test]
fn plus_stands_alone_in_its_level() {
    // [MQTT-4.7.1-3]; mqttbytes takes each of the bad ones.
    for good in ["+", "+/tennis/#", "sport/+/player1", "/+", "+/", "+/+"] {
        assert!(TopicFilter::try_from(good).is_ok(), "{good}");
    }
    for bad in ["a+", "+a", "sport+", "a/b+/c", "++", "a/++"] {
        assert_eq!(refused(bad), FilterError::Plus, "{bad}");
    }
}

#[test]
fn filter_is_neither_empty_nor_too_long_nor_with_nul() {
    // [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.7.3-3]
    assert_eq!(refused(""), FilterError::Empty);
    assert_eq!(refused("a\0b"), FilterError::Nul);
    assert!(TopicFilter::try_from("a".repeat(65_535).as_str()).is_ok());
    assert_eq!(refused(&"a".repeat(65_536)), FilterError::TooLong);
    assert_eq!(TopicFilter::try_from(ByteString::from("a+")), Err(FilterError::Plus));
}

#[test]
fn levels_are_what_stands_between_slashes() {
    let of = filter("/a/+/#");
    let levels: Vec<_> = of.levels().collect();
    assert_eq!(levels, [Level::Exact(""), Level::Exact("a"), Level::Plus, Level::Hash]);
    assert_eq!(of.level_count(), 4);
    assert!(of.has_wildcards());
    assert!(!filter("/a").has_wildcards());
}

#[test]
fn hash_matches_the_parent_and_all_below() {
    // §4.7.1.2
    assert!(matches("sport/tennis/player1/#", "sport/tennis/player1"));
    assert!(matches("sport/tennis/player1/#", "sport/tennis/player1/ranking"));
    assert!(matches("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"));
    assert!(matches("sport/#", "sport"));
    assert!(matches("sport/#", "sport/"));
    assert!(!matches("sport/#", "sports"));
    assert!(matches("#", "a/b/c"));
    assert!(matches("#", "/"));
}

#[test]
fn plus_matches_one_level() {
    // §4.7.1.3
    assert!(matches("sport/tennis/+", "sport/tennis/player1"));
    assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
    assert!(!matches("sport/+", "sport"));
    assert!(matches("sport/+", "sport/"));
    assert!(matches("+/+", "/finance"));
    assert!(matches("/+", "/finance"));
    assert!(!matches("+", "/finance"));
}

#[test]
fn leading_wildcard_does_not_match_dollar_topics() {
    // [MQTT-4.7.2-1]
    assert!(!matches("#", "$SYS/broker"));
    assert!(!matches("+/monitor/Clients", "$SYS/monitor/Clients"));
    assert!(!matches("+", "$SYS"));
    assert!(matches("+", "SY$"));
    assert!(matches("a/+", "a/$x"));
}

#[test]
fn dollar_topics_are_matched_by_their_own_name() {
    // mqttbytes never matches them.
    assert!(matches("$SYS/#", "$SYS/a"));
    assert!(matches("$SYS/#", "$SYS"));
    assert!(matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
}

#[test]
fn case_and_empty_levels_count() {
    // [MQTT-4.7.3-4]
    assert!(!matches("ACCOUNTS", "Accounts"));
    assert!(!matches("/finance", "finance"));
    assert!(!matches("finance/", "finance"));
    assert!(!matches("a//b", "a/b"));
    assert!(matches("a/+/b", "a//b"));
    assert!(matches("Accounts payable", "Accounts payable"));
}

#[test]
fn multibyte_topic_does_not_panic() {
    // mqttbytes slices the first byte out of it.
    assert!(matches("é/+", "é/ü"));
    assert!(matches("#", "日本"));
    assert!(!matches("e/#", "é"));
}

#[test]
fn share_prefix_is_an_ordinary_filter() {
    assert!(matches("$share/group/a", "$share/group/a"));
    assert!(!matches("$share/group/a", "a"));
}

#[test]
fn covering_respects_dollar_topics() {
    let covers = |a: &str, b: &str| filter(a).covers(&filter(b));
    assert!(covers("#", "+/x"));
    assert!(!covers("#", "$SYS/x"));
    assert!(!covers("+/x", "$SYS/x"));
    assert!(covers("$SYS/#", "$SYS/+/x"));
    assert!(covers("a/#", "a"));
    assert!(covers("a/#", "a/b/#"));
    assert!(!covers("a/+", "a/#"));
    assert!(covers("+/#", "#"));
    assert!(!covers("a/b", "a/+"));
}

#[test]
fn empty_topic_is_no_witness() {
    let (root, first) = (filter("/#"), filter("+"));
    assert!(!root.overlaps(&first) && !first.overlaps(&root));
    assert!(filter("/+/#").covers(&root));
}

#[test]
fn literal_prefix_begins_every_match() {
    for (text, prefix) in [
        ("a/b/#", "a/b"),
        ("a/+/c", "a/"),
        ("a/b", "a/b"),
        ("#", ""),
        ("+/x", ""),
        ("/#", "/"),
        ("/+", "/"),
        ("a/+/#", "a/"),
        ("é/#", "é"),
        ("a//#", "a/"),
    ] {
        assert_eq!(filter(text).literal_prefix(), prefix, "{text}");
    }
}

#[test]
fn filter_is_found_by_its_text() {
    let set = HashSet::from([filter("a/#")]);
    assert!(set.contains("a/#"));
    assert!(filter("a/#").detached() == filter("a/#"));
}

/// Every text of up to `depth` levels out of `words`, but for the empty one.
fn world(words: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = words.iter().map(ToString::to_string).collect();
    let mut deepest = all.clone();
    for _ in 1..depth {
        let deeper =
            deepest.iter().flat_map(|parent| words.iter().map(move |word| format!("{parent}/{word}")));
        deepest = deeper.collect();
        all.extend(deepest.iter().cloned());
    }
    all.retain(|text| !text.is_empty());
    all
}

/// Filters of up to three levels, each with the answers it gives to all topics of up to four: deep
/// enough that any two filters are told apart, and that any overlap has a witness.
fn small_world() -> Vec<(TopicFilter, Vec<bool>)> {
    let topics: Vec<_> = world(&["", "a", "b", "$x"], 4).iter().map(|text| topic(text)).collect();
    let texts = world(&["", "a", "b", "$x", "+", "#"], 3);
    let filters = texts.iter().filter_map(|text| TopicFilter::try_from(text.as_str()).ok());
    filters.map(|it| (it.clone(), topics.iter().map(|topic| it.matches(topic)).collect())).collect()
}

#[test]
fn covers_and_overlaps_agree_with_every_topic_of_a_small_world() {
    let filters = small_world();
    for (a, matched_by_a) in &filters {
        for (b, matched_by_b) in &filters {
            let pairs = || matched_by_a.iter().zip(matched_by_b);
            assert_eq!(a.covers(b), pairs().all(|(a, b)| *a || !*b), "{a} covers {b}");
            assert_eq!(a.overlaps(b), pairs().any(|(a, b)| *a && *b), "{a} overlaps {b}");
        }
    }
}

/// What §4.7 says, as plainly as it can be said.
fn naive_matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => naive_matches(filter, topic),
        ([exact, filter @ ..], [name, topic @ ..]) => exact == name && naive_matches(filter, topic),
        _ => false,
    }
}

fn any_topic() -> impl Strategy<Value = TopicName> {
    let level = prop_oneof![Just(""), Just("a"), Just("b"), Just("$x"), Just("é"), Just("日本")];
    let levels = prop::collection::vec(level, 1..7);
    levels.prop_filter_map("empty", |levels| TopicName::try_from(levels.join("/").as_str()).ok())
}

fn any_filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof![Just(""), Just("a"), Just("b"), Just("$x"), Just("é"), Just("+")];
    let levels = (prop::collection::vec(level, 0..6), any::<bool>());
    levels.prop_filter_map("empty", |(mut levels, hash)| {
        if hash {
            levels.push("#");
        }
        TopicFilter::try_from(levels.join("/").as_str()).ok()
    })
}

proptest! {
    #[test]
    fn matches_agrees_with_the_naive_reading(filter in any_filter(), topic in any_topic()) {
        let levels: Vec<_> = filter.as_str().split('/').collect();
        let names: Vec<_> = topic.levels().collect();
        let hidden = topic.is_dollar() && ["+", "#"].contains(&levels[0]);
        prop_assert_eq!(filter.matches(&topic), !hidden && naive_matches(&levels, &names));
    }

    #[test]
    fn what_is_covered_is_matched(a in any_filter(), b in any_filter(), topic in any_topic()) {
        prop_assert!(a.covers(&a));
        if a.covers(&b) && b.matches(&topic) {
            prop_assert!(a.matches(&topic));
        }
    }

    #[test]
    fn overlap_is_symmetric_and_seen_by_every_witness(a in any_filter(), b in any_filter(), topic in any_topic()) {
        prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
        if a.matches(&topic) && b.matches(&topic) {
            prop_assert!(a.overlaps(&b));
        }
    }

    #[test]
    fn match_begins_with_the_literal_prefix(filter in any_filter(), topic in any_topic()) {
        if filter.matches(&topic) {
            prop_assert!(topic.as_str().starts_with(filter.literal_prefix()));
        }
    }

    #[test]
    fn topic_without_wildcards_is_its_own_filter(topic in any_topic(), other in any_topic()) {
        let filter = TopicFilter::try_from(topic.as_str()).unwrap();
        prop_assert_eq!(filter.matches(&other), topic == other);
    }

    #[test]
    fn any_text_is_a_filter_or_refused(text in any::<String>()) {
        if let Ok(filter) = TopicFilter::try_from(text.as_str()) {
            prop_assert_eq!(filter.as_str(), text.as_str());
            prop_assert!(text.starts_with(filter.literal_prefix()));
        }
    }
}
