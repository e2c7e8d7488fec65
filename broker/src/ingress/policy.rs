//! The policy of a topic: of those in the configuration, the first that matches; plain where none does.

use sealmq_config::encryption::{OnRefusal, Payload, Policy};
use sealmq_protocol::{TopicFilter, TopicName};

/// What holds on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) payload: Payload,
    pub(super) on_refusal: OnRefusal,
}

/// All policies, in the order of the configuration.
pub(super) struct Policies {
    rules: Vec<(TopicFilter, Rule)>,
}

impl Policies {
    pub(super) fn new(policies: Vec<Policy>) -> Self {
        let rules = policies.into_iter().flat_map(|policy| {
            let rule = Rule { payload: policy.payload, on_refusal: policy.on_refusal };
            policy.topics.into_iter().map(move |topics| (topics, rule))
        });
        Self { rules: rules.collect() }
    }

    pub(super) fn of(&self, topic: &TopicName) -> Rule {
        let found = self.rules.iter().find(|(topics, _)| topics.matches(topic));
        found.map_or(Rule { payload: Payload::Plain, on_refusal: OnRefusal::Drop }, |(_, rule)| *rule)
    }

    /// Whether every topic that `filter` matches is sealed. Where that cannot be told from single
    /// policies (two that cover it only together) the answer is no, and delivery decides.
    pub(super) fn is_wholly_sealed(&self, filter: &TopicFilter) -> bool {
        for (topics, rule) in &self.rules {
            let sealed = rule.payload == Payload::Sealed;
            if topics.covers(filter) {
                return sealed;
            }
            if !sealed && topics.overlaps(filter) {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(list: &[(&str, Payload)]) -> Policies {
        Policies::new(
            list.iter()
                .map(|(topics, payload)| Policy {
                    topics: vec![topics.parse().unwrap()],
                    payload: *payload,
                    on_refusal: OnRefusal::Drop,
                })
                .collect(),
        )
    }

    #[test]
    fn the_first_policy_that_matches_counts() {
        let all = policies(&[("a/open/#", Payload::Plain), ("a/#", Payload::Sealed)]);
        assert_eq!(all.of(&"a/open/x".parse().unwrap()).payload, Payload::Plain);
        assert_eq!(all.of(&"a/x".parse().unwrap()).payload, Payload::Sealed);
        assert_eq!(all.of(&"b".parse().unwrap()).payload, Payload::Plain);
    }

    #[test]
    fn wholly_sealed_means_every_topic() {
        let all = policies(&[("a/open/#", Payload::Plain), ("a/#", Payload::Sealed)]);
        let wholly = |filter: &str| all.is_wholly_sealed(&filter.parse().unwrap());
        assert!(wholly("a/x"));
        assert!(wholly("a/x/#"));
        assert!(!wholly("a/#"), "it holds a/open/#");
        assert!(!wholly("a/+"), "it holds a/open");
        assert!(!wholly("#"));
        assert!(!wholly("b"));
    }
}
