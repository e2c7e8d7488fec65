//! The policy of a topic: of those in the configuration, the first that matches; plain where none does.

use crate::egress::{Channel, Egress};
use sealmq_config::egress as config;
use sealmq_config::encryption::{OnRefusal, Payload, Policy};
use sealmq_protocol::{TopicFilter, TopicName};

/// What holds on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) payload: Payload,
    pub(super) on_refusal: OnRefusal,
    pub(super) egress: config::Egress,
}

/// Where nothing is said.
const ELSEWHERE: Rule =
    Rule { payload: Payload::Plain, on_refusal: OnRefusal::Drop, egress: config::Egress::Secure };

/// All policies, in the order of the configuration.
pub(crate) struct Policies {
    rules: Vec<(TopicFilter, Rule)>,
}

impl Policies {
    pub(crate) fn new(policies: Vec<Policy>) -> Self {
        let rules = policies.into_iter().flat_map(|policy| {
            let Policy { payload, on_refusal, egress, .. } = policy;
            let rule = Rule { payload, on_refusal, egress };
            policy.topics.into_iter().map(move |topics| (topics, rule))
        });
        Self { rules: rules.collect() }
    }

    pub(super) fn of(&self, topic: &TopicName) -> Rule {
        let found = self.rules.iter().find(|(topics, _)| topics.matches(topic));
        found.map_or(ELSEWHERE, |(_, rule)| *rule)
    }

    /// Whether what was sealed may not leave this topic in an envelope of ours.
    pub(crate) fn keeps_from_envelopes(&self, topic: &TopicName) -> bool {
        self.of(topic).egress() == Egress::Secure
    }

    /// Whether nothing of what `filter` matches may leave on a channel. Where that cannot be told from single
    /// policies (two that cover it only together) the answer is no, and delivery decides.
    pub(super) fn withholds_all(&self, filter: &TopicFilter, channel: Channel) -> bool {
        for (topics, rule) in &self.rules {
            let is_withheld = !rule.egress().allows(channel);
            if topics.covers(filter) {
                return is_withheld;
            }
            if !is_withheld && topics.overlaps(filter) {
                return false;
            }
        }
        false
    }
}

impl Rule {
    /// Where what comes under it may go.
    fn egress(self) -> Egress {
        if self.payload == Payload::Sealed { self.egress.into() } else { Egress::Any }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALED: (Payload, config::Egress) = (Payload::Sealed, config::Egress::Secure);
    const SEALABLE: (Payload, config::Egress) = (Payload::Sealed, config::Egress::SecureOrSealed);
    const PLAIN: (Payload, config::Egress) = (Payload::Plain, config::Egress::Secure);

    fn policies(list: &[(&str, (Payload, config::Egress))]) -> Policies {
        Policies::new(
            list.iter()
                .map(|(topics, (payload, egress))| Policy {
                    topics: vec![topics.parse().unwrap()],
                    payload: *payload,
                    on_refusal: OnRefusal::Drop,
                    egress: *egress,
                })
                .collect(),
        )
    }

    #[test]
    fn the_first_policy_that_matches_counts() {
        let all = policies(&[("a/open/#", PLAIN), ("a/#", SEALED)]);
        assert_eq!(all.of(&"a/open/x".parse().unwrap()).payload, Payload::Plain);
        assert_eq!(all.of(&"a/x".parse().unwrap()).payload, Payload::Sealed);
        assert_eq!(all.of(&"b".parse().unwrap()).payload, Payload::Plain);
    }

    #[test]
    fn withheld_means_every_topic() {
        let all = policies(&[("a/open/#", PLAIN), ("a/#", SEALED)]);
        let withheld = |filter: &str| all.withholds_all(&filter.parse().unwrap(), Channel::Open);
        assert!(withheld("a/x"));
        assert!(withheld("a/x/#"));
        assert!(!withheld("a/#"), "it holds a/open/#");
        assert!(!withheld("a/+"), "it holds a/open");
        assert!(!withheld("#"));
        assert!(!withheld("b"));
        assert!(!all.withholds_all(&"a/x".parse().unwrap(), Channel::Secure));
    }

    #[test]
    fn who_has_a_key_may_wait_for_envelopes() {
        let all = policies(&[("a/strict/#", SEALED), ("a/#", SEALABLE)]);
        let filters = ["a/x", "a/#", "a/strict/x"].map(|filter| filter.parse().unwrap());
        let withheld = |channel| filters.each_ref().map(|filter| all.withholds_all(filter, channel));
        assert_eq!(withheld(Channel::Sealing), [false, false, true]);
        assert_eq!(withheld(Channel::Open), [true, true, true]);
        assert_eq!(withheld(Channel::Secure), [false; 3]);
    }

    #[test]
    fn only_a_policy_that_seals_and_says_so_lets_envelopes_leave() {
        let all = policies(&[("a/strict/#", SEALED), ("a/#", SEALABLE), ("b", PLAIN)]);
        let kept = |topic: &str| all.keeps_from_envelopes(&topic.parse().unwrap());
        assert!(kept("a/strict/x"));
        assert!(!kept("a/x") && !kept("b") && !kept("c"), "what was promised when it came holds there");
    }
}
