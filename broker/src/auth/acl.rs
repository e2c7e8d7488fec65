//! Who may publish and subscribe where.
//!
//! Owns one client's share of the `[[acl]]` rules, with user name and client id put in. In comes a topic or
//! a filter, out comes yes or no. Always holds: without any rule everything is allowed; with rules, the
//! first that fits counts, and where none fits the answer is no.

use crate::ingress::inquiry::Client;
use sealmq_config::auth::{Access, AclRule, Permission};
use sealmq_protocol::{TopicFilter, TopicName};
use std::sync::Arc;

/// What one client may do.
#[derive(Debug, Clone)]
pub(crate) struct Permissions {
    /// None: there are no rules at all, for anybody. It is asked for every message.
    rules: Option<Box<[Rule]>>,
    /// Whose they are, where a sender may be bound to that.
    client: Option<Arc<Client>>,
}

/// A rule that is about this client.
#[derive(Debug, Clone)]
struct Rule {
    access: Access,
    permission: Permission,
    topics: Box<[TopicFilter]>,
}

impl Permissions {
    /// The rules that are about this client.
    pub(crate) fn of(rules: &[AclRule], client_id: &str, user: Option<&str>) -> Self {
        if rules.is_empty() {
            return Self { rules: None, client: None };
        }
        let fits = |rule: &&AclRule| {
            rule.user.as_deref().is_none_or(|name| user == Some(name))
                && rule.client.as_deref().is_none_or(|id| client_id == id)
        };
        let own = rules.iter().filter(fits).map(|rule| Rule {
            access: rule.access,
            permission: rule.permission,
            topics: rule.topics.iter().filter_map(|topic| expand(topic, client_id, user)).collect(),
        });
        Self { rules: Some(own.collect()), client: None }
    }

    /// The same, and known to be this client's.
    pub(crate) fn of_client(self, client_id: &str, user: Option<&str>) -> Self {
        let client = Client { client_id: client_id.into(), user: user.map(Into::into) };
        Self { client: Some(Arc::new(client)), ..self }
    }

    /// Whose they are, where that was asked for.
    pub(crate) fn client(&self) -> Option<&Arc<Client>> {
        self.client.as_ref()
    }

    /// Whether the client may publish to this topic.
    pub(crate) fn may_publish(&self, topic: &TopicName) -> bool {
        let Some(rules) = &self.rules else { return true };
        let mut about = rules.iter().filter(|rule| matches!(rule.access, Access::Publish | Access::All));
        let found = about.find(|rule| rule.topics.iter().any(|known| known.matches(topic)));
        found.is_some_and(|rule| rule.permission == Permission::Allow)
    }

    /// Whether the client may subscribe to this filter: to all that it matches. A rule that allows has to
    /// cover all of the filter; one that denies only has to touch it.
    pub(crate) fn may_subscribe(&self, filter: &TopicFilter) -> bool {
        let Some(rules) = &self.rules else { return true };
        let mut about = rules.iter().filter(|rule| matches!(rule.access, Access::Subscribe | Access::All));
        let found = about.find(|rule| match rule.permission {
            Permission::Allow => rule.topics.iter().any(|known| known.covers(filter)),
            Permission::Deny => rule.topics.iter().any(|known| known.overlaps(filter)),
        });
        found.is_some_and(|rule| rule.permission == Permission::Allow)
    }
}

/// A rule's topic with the client's names put in; `None` where a name would say more than a name.
fn expand(topic: &TopicFilter, client_id: &str, user: Option<&str>) -> Option<TopicFilter> {
    let text = topic.as_str();
    if !text.split('/').any(|level| level == "%u" || level == "%c") {
        return Some(topic.clone());
    }
    let mut levels = Vec::new();
    for (at, level) in text.split('/').enumerate() {
        levels.push(match level {
            "%u" => user.filter(|name| is_level(name, at))?,
            "%c" => Some(client_id).filter(|name| is_level(name, at))?,
            level => level,
        });
    }
    TopicFilter::try_from(levels.join("/").as_str()).ok()
}

/// Whether a name can stand for one level and nothing else. At the beginning of a topic `$` would lead into
/// the server's own topics, which nobody is allowed by the choice of his name.
fn is_level(name: &str, at: usize) -> bool {
    let leads_away = at == 0 && name.starts_with('$');
    !(name.is_empty() || name.contains(['/', '+', '#']) || leads_away)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Access::{All, Publish, Subscribe};
    use Permission::{Allow, Deny};

    fn rule(access: Access, permission: Permission, topics: &[&str]) -> AclRule {
        let topics = topics.iter().map(|text| text.parse().unwrap()).collect();
        AclRule { user: None, client: None, access, permission, topics }
    }

    fn publish(rules: &[AclRule], client: &str, user: Option<&str>, topic: &str) -> bool {
        Permissions::of(rules, client, user).may_publish(&topic.parse().unwrap())
    }

    fn subscribe(rules: &[AclRule], client: &str, user: Option<&str>, filter: &str) -> bool {
        Permissions::of(rules, client, user).may_subscribe(&filter.parse().unwrap())
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        assert!(publish(&[], "c", None, "a/b"));
        assert!(subscribe(&[], "c", None, "#"));
    }

    #[test]
    fn where_rules_exist_and_none_fits_the_answer_is_no() {
        let other = AclRule { user: Some("ann".into()), ..rule(All, Allow, &["#"]) };
        let rules = [other];
        assert!(publish(&rules, "c", Some("ann"), "a"));
        for user in [None, Some("bob"), Some("Ann"), Some("")] {
            assert!(!publish(&rules, "c", user, "a"), "{user:?}");
            assert!(!subscribe(&rules, "c", user, "a"), "{user:?}");
        }
    }

    #[test]
    fn user_and_client_must_both_be_equal_when_given() {
        let both = AclRule { user: Some("u".into()), client: Some("c".into()), ..rule(All, Allow, &["#"]) };
        for (client, user, expected) in
            [("c", Some("u"), true), ("d", Some("u"), false), ("c", Some("v"), false), ("c", None, false)]
        {
            assert_eq!(
                publish(std::slice::from_ref(&both), client, user, "a"),
                expected,
                "{client} {user:?}"
            );
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = [rule(All, Deny, &["a/secret/#"]), rule(All, Allow, &["a/#"]), rule(All, Deny, &["#"])];
        for (topic, expected) in [("a/b", true), ("a/secret", false), ("a/secret/x", false), ("b", false)] {
            assert_eq!(publish(&rules, "c", None, topic), expected, "{topic}");
        }
        let reversed = [rule(All, Allow, &["a/#"]), rule(All, Deny, &["a/secret/#"])];
        assert!(publish(&reversed, "c", None, "a/secret/x"));
    }

    #[test]
    fn publish_and_subscribe_are_apart() {
        let rules = [rule(Publish, Allow, &["up/#"]), rule(Subscribe, Allow, &["down/#"])];
        assert!(publish(&rules, "c", None, "up/1"));
        assert!(!publish(&rules, "c", None, "down/1"));
        assert!(subscribe(&rules, "c", None, "down/+"));
        assert!(!subscribe(&rules, "c", None, "up/1"));
    }

    #[test]
    fn a_subscription_needs_one_rule_that_covers_it_and_none_before_that_touches_it() {
        let rules = [rule(All, Deny, &["a/secret/+"]), rule(All, Allow, &["a/+/x", "a/b/#"])];
        for (filter, expected) in [
            ("a/b/#", true),
            ("a/b/c/d", true),
            ("a/z/x", true),
            ("a/+/x", false), // touches a/secret/x
            ("a/secret/x", false),
            ("a/z/y", false),
            ("a/#", false),
            ("#", false),
        ] {
            assert_eq!(subscribe(&rules, "c", None, filter), expected, "{filter}");
        }
    }

    #[test]
    fn names_stand_for_whole_levels() {
        let rules = [rule(All, Allow, &["u/%u/#", "c/%c", "x%u/%u%c", "%c/own"])];
        for (client, user, topic, expected) in [
            ("c1", Some("ann"), "u/ann/a/b", true),
            ("c1", Some("ann"), "u/bob/a", false),
            ("c1", None, "u/%u/a", false),
            ("c1", None, "c/c1", true),
            ("c2", None, "c/c1", false),
            ("c1", None, "c/%c", false),
            ("c1", None, "x%u/%u%c", true), // not a whole level: means itself
            ("c1", None, "c1/own", true),
        ] {
            assert_eq!(publish(&rules, client, user, topic), expected, "{client} {user:?} {topic}");
        }
    }

    #[test]
    fn a_name_that_is_no_level_never_widens_a_rule() {
        let rules = [rule(All, Allow, &["u/%u/x", "%c/x", "u/%u"])];
        for name in ["+", "#", "a/b", "", "a+", "a#", "a\0"] {
            for filter in ["u/a/x", "u/+/x", "u/#", "u/a/b/x", "u//x", "u/", "+/x", "/x", "#", "u/+"] {
                assert!(!subscribe(&rules, name, Some(name), filter), "{name:?} {filter}");
            }
        }
        for name in ["$SYS", "$share"] {
            assert!(!publish(&rules, name, None, &format!("{name}/x")));
            assert!(publish(&rules, "c", Some(name), &format!("u/{name}/x")), "harmless further down");
        }
    }

    #[test]
    fn a_wildcard_does_not_reach_the_servers_own_topics() {
        let rules = [rule(All, Allow, &["#"])];
        assert!(!publish(&rules, "c", None, "$SYS/broker/uptime"));
        assert!(!subscribe(&rules, "c", None, "$SYS/#"));
        assert!(subscribe(&rules, "c", None, "#"));
    }
}
