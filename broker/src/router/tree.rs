//! The subscription tree: who listens to a topic. Filters are taken apart into levels; a topic walks
//! down the levels that match, so its cost follows the filters that fit it and not their number.
//!
//! Owned by the [`super::Router`], under its lock. Depth is bounded by `limits.topic_levels_max`.

use crate::delivery::SessionId;
use sealmq_protocol::filter::Level;
use sealmq_protocol::{TopicFilter, TopicName};
use std::collections::{BTreeMap, HashMap};

/// Subscriptions by filter; `V` is what is known of a subscriber.
#[derive(Debug)]
pub(crate) struct Tree<V> {
    root: Node<V>,
}

#[derive(Debug)]
struct Node<V> {
    /// Keyed by what clients choose, so with the standard, seeded hash.
    exact: HashMap<Box<str>, Node<V>>,
    plus: Option<Box<Node<V>>>,
    /// Whose filter ends here.
    ends: BTreeMap<SessionId, V>,
    /// Whose filter goes on with `#` from here: this level and everything below.
    hash: BTreeMap<SessionId, V>,
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { exact: HashMap::new(), plus: None, ends: BTreeMap::new(), hash: BTreeMap::new() }
    }
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<V> Tree<V> {
    /// Adds a subscription, or replaces the session's one with the same filter ([MQTT-3.8.4-3]).
    pub(crate) fn insert(&mut self, filter: &TopicFilter, session: SessionId, value: V) {
        let mut node = &mut self.root;
        for level in filter.levels() {
            node = match level {
                Level::Exact(name) => node.exact.entry(name.into()).or_default(),
                Level::Plus => node.plus.get_or_insert_default(),
                Level::Hash => {
                    node.hash.insert(session, value);
                    return;
                }
            };
        }
        node.ends.insert(session, value);
    }

    /// Removes a subscription, and the nodes that nobody needs any more.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, session: SessionId) {
        self.root.remove(&mut filter.levels(), session);
    }

    /// Calls `found` for each subscription that matches `topic`; a session with overlapping filters
    /// comes up once for each.
    pub(crate) fn each_match<'a>(&'a self, topic: &TopicName, mut found: impl FnMut(SessionId, &'a V)) {
        // A leading wildcard does not match a topic that begins with `$` ([MQTT-4.7.2-1]).
        let wildcards = !topic.is_dollar();
        self.root.each_match(&mut topic.levels(), wildcards, &mut found);
    }

    /// Whether nobody listens to anything.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl<V> Node<V> {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.plus.is_none() && self.ends.is_empty() && self.hash.is_empty()
    }

    fn remove<'f>(&mut self, levels: &mut impl Iterator<Item = Level<'f>>, session: SessionId) {
        match levels.next() {
            None => {
                self.ends.remove(&session);
            }
            Some(Level::Hash) => {
                self.hash.remove(&session);
            }
            Some(Level::Plus) => {
                if let Some(plus) = &mut self.plus {
                    plus.remove(levels, session);
                    if plus.is_empty() {
                        self.plus = None;
                    }
                }
            }
            Some(Level::Exact(name)) => {
                if let Some(child) = self.exact.get_mut(name) {
                    child.remove(levels, session);
                    if child.is_empty() {
                        self.exact.remove(name);
                    }
                }
            }
        }
    }

    fn each_match<'a, 't>(
        &'a self,
        levels: &mut (impl Iterator<Item = &'t str> + Clone),
        wildcards: bool,
        found: &mut impl FnMut(SessionId, &'a V),
    ) {
        if wildcards {
            self.hash.iter().for_each(|(session, value)| found(*session, value));
        }
        let Some(level) = levels.next() else {
            self.ends.iter().for_each(|(session, value)| found(*session, value));
            return;
        };
        if wildcards && let Some(plus) = &self.plus {
            plus.each_match(&mut levels.clone(), true, found);
        }
        if let Some(child) = self.exact.get(level) {
            child.each_match(levels, true, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(text: &str) -> TopicName {
        text.parse().unwrap()
    }

    fn matching(tree: &Tree<u8>, name: &str) -> Vec<u64> {
        let mut all = vec![];
        tree.each_match(&topic(name), |session, _| all.push(session.0));
        all.sort_unstable();
        all
    }

    #[test]
    fn hash_matches_its_parent_level() {
        let mut tree = Tree::default();
        tree.insert(&"a/#".parse().unwrap(), SessionId(1), 0);
        assert_eq!(matching(&tree, "a"), [1]);
        assert_eq!(matching(&tree, "a/b/c"), [1]);
        assert!(matching(&tree, "ab").is_empty());
    }

    #[test]
    fn leading_wildcards_do_not_match_dollar_topics() {
        let mut tree = Tree::default();
        for (n, filter) in ["#", "+/a", "$SYS/#", "$SYS/+"].iter().enumerate() {
            tree.insert(&filter.parse().unwrap(), SessionId(n as u64), 0);
        }
        assert_eq!(matching(&tree, "$SYS/a"), [2, 3]);
        assert_eq!(matching(&tree, "b/a"), [0, 1]);
    }

    #[test]
    fn removal_leaves_nothing_behind() {
        let mut tree = Tree::default();
        for filter in ["a/+/c", "a/#", "a", "#", "+"] {
            tree.insert(&filter.parse().unwrap(), SessionId(7), 0);
            tree.insert(&filter.parse().unwrap(), SessionId(8), 0);
        }
        for session in [7, 8] {
            for filter in ["a/+/c", "a/#", "a", "#", "+", "never/there"] {
                tree.remove(&filter.parse().unwrap(), SessionId(session));
            }
        }
        assert!(tree.is_empty());
    }

    fn filter_text() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("+"), Just("$x")];
        (proptest::collection::vec(level, 1..5), any::<bool>()).prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    fn topic_text() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("$x")];
        proptest::collection::vec(level, 1..5).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        /// The tree and a plain loop over all filters say the same.
        #[test]
        fn agrees_with_a_loop_over_filters(
            filters in proptest::collection::vec(filter_text(), 0..24),
            topics in proptest::collection::vec(topic_text(), 1..12),
            removed in proptest::collection::vec(any::<bool>(), 24),
        ) {
            let filters: Vec<TopicFilter> = filters.iter().filter_map(|f| f.parse().ok()).collect();
            let mut tree = Tree::default();
            for (n, filter) in filters.iter().enumerate() {
                tree.insert(filter, SessionId(n as u64), 0u8);
            }
            for (n, filter) in filters.iter().enumerate().filter(|(n, _)| removed[*n]) {
                tree.remove(filter, SessionId(n as u64));
            }
            for name in topics.iter().filter(|t| !t.is_empty()) {
                let expected: Vec<u64> = filters.iter().enumerate()
                    .filter(|(n, f)| !removed[*n] && f.matches(&topic(name)))
                    .map(|(n, _)| n as u64)
                    .collect();
                prop_assert_eq!(matching(&tree, name), expected, "topic {}", name);
            }
        }
    }
}
