//! The subscription tree: who listens to a topic. Filters are taken apart into levels; a topic walks
//! down the levels that match, so its cost follows the filters that fit it and not their number.
//!
//! Owned by the [`super::Router`], under its lock. Depth is bounded by `limits.topic_levels_max`.

use sealmq_protocol::filter::Level;
use sealmq_protocol::{TopicFilter, TopicName};
use std::collections::{BTreeMap, HashMap};

/// Subscriptions by filter: `K` says whose, `V` what is known of it.
#[derive(Debug)]
pub(crate) struct Tree<K, V> {
    root: Node<K, V>,
}

#[derive(Debug)]
struct Node<K, V> {
    /// Keyed by what clients choose, so with the standard, seeded hash.
    exact: HashMap<Box<str>, Node<K, V>>,
    plus: Option<Box<Node<K, V>>>,
    /// Whose filter ends here.
    ends: BTreeMap<K, V>,
    /// Whose filter goes on with `#` from here: this level and everything below.
    hash: BTreeMap<K, V>,
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self { exact: HashMap::new(), plus: None, ends: BTreeMap::new(), hash: BTreeMap::new() }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<K: Ord, V> Tree<K, V> {
    /// The subscriptions of a filter, to add one or replace it ([MQTT-3.8.4-3]). Whoever asks adds one:
    /// only [`Tree::remove`] gives nodes back.
    pub(crate) fn at(&mut self, filter: &TopicFilter) -> &mut BTreeMap<K, V> {
        let mut node = &mut self.root;
        for level in filter.levels() {
            node = match level {
                Level::Exact(name) => node.exact.entry(name.into()).or_default(),
                Level::Plus => node.plus.get_or_insert_default(),
                Level::Hash => return &mut node.hash,
            };
        }
        &mut node.ends
    }

    /// One subscription of a filter, if it is there.
    pub(crate) fn get(&self, filter: &TopicFilter, key: &K) -> Option<&V> {
        let mut node = &self.root;
        for level in filter.levels() {
            node = match level {
                Level::Exact(name) => node.exact.get(name)?,
                Level::Plus => node.plus.as_deref()?,
                Level::Hash => return node.hash.get(key),
            };
        }
        node.ends.get(key)
    }

    /// Removes a subscription, and the nodes that nobody needs any more, if `may` says so of it.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, key: &K, may: impl Fn(&V) -> bool) {
        self.root.remove(&mut filter.levels(), key, &may);
    }

    /// Calls `found` for each subscription that matches `topic`; who has overlapping filters comes up
    /// once for each.
    pub(crate) fn each_match<'a>(&'a self, topic: &TopicName, mut found: impl FnMut(&'a K, &'a V)) {
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

impl<K: Ord, V> Node<K, V> {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.plus.is_none() && self.ends.is_empty() && self.hash.is_empty()
    }

    fn remove<'f>(
        &mut self,
        levels: &mut impl Iterator<Item = Level<'f>>,
        key: &K,
        may: &impl Fn(&V) -> bool,
    ) {
        let remove_from = |subscriptions: &mut BTreeMap<K, V>| {
            if subscriptions.get(key).is_some_and(may) {
                subscriptions.remove(key);
            }
        };
        match levels.next() {
            None => remove_from(&mut self.ends),
            Some(Level::Hash) => remove_from(&mut self.hash),
            Some(Level::Plus) => {
                if let Some(plus) = &mut self.plus {
                    plus.remove(levels, key, may);
                    if plus.is_empty() {
                        self.plus = None;
                    }
                }
            }
            Some(Level::Exact(name)) => {
                if let Some(child) = self.exact.get_mut(name) {
                    child.remove(levels, key, may);
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
        found: &mut impl FnMut(&'a K, &'a V),
    ) {
        if wildcards {
            self.hash.iter().for_each(|(key, value)| found(key, value));
        }
        let Some(level) = levels.next() else {
            self.ends.iter().for_each(|(key, value)| found(key, value));
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

    fn matching(tree: &Tree<u64, u8>, name: &str) -> Vec<u64> {
        let mut all = vec![];
        tree.each_match(&topic(name), |key, _| all.push(*key));
        all.sort_unstable();
        all
    }

    #[test]
    fn hash_matches_its_parent_level() {
        let mut tree = Tree::default();
        tree.at(&"a/#".parse().unwrap()).insert(1, 0);
        assert_eq!(matching(&tree, "a"), [1]);
        assert_eq!(matching(&tree, "a/b/c"), [1]);
        assert!(matching(&tree, "ab").is_empty());
    }

    #[test]
    fn leading_wildcards_do_not_match_dollar_topics() {
        let mut tree = Tree::default();
        for (n, filter) in ["#", "+/a", "$SYS/#", "$SYS/+"].iter().enumerate() {
            tree.at(&filter.parse().unwrap()).insert(n as u64, 0);
        }
        assert_eq!(matching(&tree, "$SYS/a"), [2, 3]);
        assert_eq!(matching(&tree, "b/a"), [0, 1]);
    }

    #[test]
    fn removal_leaves_nothing_behind() {
        let mut tree: Tree<u64, u8> = Tree::default();
        for filter in ["a/+/c", "a/#", "a", "#", "+"] {
            tree.at(&filter.parse().unwrap()).insert(7, 0);
            tree.at(&filter.parse().unwrap()).insert(8, 0);
        }
        for session in [7, 8] {
            for filter in ["a/+/c", "a/#", "a", "#", "+", "never/there"] {
                tree.remove(&filter.parse().unwrap(), &session, |_| true);
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
                tree.at(filter).insert(n as u64, 0u8);
            }
            for (n, filter) in filters.iter().enumerate().filter(|(n, _)| removed[*n]) {
                tree.remove(filter, &(n as u64), |_| true);
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
