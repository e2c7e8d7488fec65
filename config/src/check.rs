//! What one key cannot know of another: duplicates, and bounds that have to fit each other.
//!
//! Runs only when every key by itself is right, so the indices here are those of the file.

use crate::Config;
use crate::egress::{Holder, SubscriberKey};
use crate::encryption::Payload;
use crate::listener::Listener;
use crate::report::Report;
use crate::storage::Durability;
use std::collections::BTreeMap;

/// Reports what does not fit together.
pub(crate) fn check(config: &Config, report: &mut Report) {
    listeners(&config.listeners, report);
    nobody_may_connect(config, report);
    unique("sender", "id", config.senders.iter().map(|sender| sender.id.as_str()), report);
    identity(config, report);
    unique("topic_key", "id", config.topic_keys.iter().map(|key| key.id.as_str()), report);
    subscriber_keys(config, report);
    policies(config, report);
    egress(config, report);
    placeholders(config, report);
    async_interval(config, report);
}

fn listeners(listeners: &[Listener], report: &mut Report) {
    if listeners.is_empty() {
        report.missing("listener", "at least one [[listener]] with a bind address");
    }
    for (at, listener) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(at).position(|earlier| collide(earlier, listener));
        if let Some(earlier) = earlier {
            let allowed = format!("an address that listener[{earlier}] does not take already");
            report.wrong(&format!("listener[{at}].bind"), &listener.bind.to_string(), &allowed);
        }
        if listener.origins.is_some() && !listener.websocket {
            let found = "origins of a listener that no web page can reach";
            report.wrong(&format!("listener[{at}].origins"), found, "with websocket = true only");
        }
    }
}

/// The same address, or the same port where one of the two takes it on all addresses. Port 0 takes a
/// free one each time.
fn collide(one: &Listener, other: &Listener) -> bool {
    let (one, other) = (one.bind, other.bind);
    let overlap = one.ip() == other.ip()
        || (one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified()));
    one.port() != 0 && one.port() == other.port() && overlap
}

/// Without anonymous clients somebody has to have a password or a sender's key; a certificate is asked for
/// beside it, not instead of it.
fn nobody_may_connect(config: &Config, report: &mut Report) {
    let somebody = config.auth.password_file.is_some() || !config.senders.is_empty();
    if !config.auth.allow_anonymous && !somebody {
        let found = "false without auth.password_file or a sender, so that nobody could connect";
        report.wrong("auth.allow_anonymous", found, "true, or false with auth.password_file or a [[sender]]");
    }
}

fn unique<'c>(list: &str, name: &str, values: impl Iterator<Item = &'c str>, report: &mut Report) {
    let mut seen = BTreeMap::new();
    for (at, value) in values.enumerate() {
        if let Some(earlier) = seen.get(value) {
            let allowed = format!("one that {list}[{earlier}] does not have already");
            report.wrong(&format!("{list}[{at}].{name}"), &format!("{value:?}"), &allowed);
        } else {
            seen.insert(value, at);
        }
    }
}

/// Whoever checks a stamp goes by the id in it.
fn identity(config: &Config, report: &mut Report) {
    let id = &config.identity.id;
    if let Some(at) = config.senders.iter().position(|sender| sender.id == *id) {
        report.wrong("identity.id", &format!("{id:?}"), &format!("one that sender[{at}] does not have"));
    }
}

/// One key for each: of two, nobody could tell which a subscriber can open with.
fn subscriber_keys(config: &Config, report: &mut Report) {
    let named = |entry: &SubscriberKey| match &entry.holder {
        Holder::Client(client) => ("client", client.clone()),
        Holder::User(user) => ("user", user.clone()),
    };
    let mut seen = BTreeMap::new();
    for (at, (name, holder)) in config.subscriber_keys.iter().map(named).enumerate() {
        if let Some(earlier) = seen.get(&(name, holder.clone())) {
            let allowed = format!("one that subscriber_key[{earlier}] does not have already");
            report.wrong(&format!("subscriber_key[{at}].{name}"), &format!("{holder:?}"), &allowed);
        } else {
            seen.insert((name, holder), at);
        }
    }
}

/// Only what was sealed is confidential; whoever sets an egress elsewhere counts on more than there is.
fn egress(config: &Config, report: &mut Report) {
    for (at, policy) in config.policies.iter().enumerate() {
        let path = format!("policy[{at}].egress");
        if policy.payload != Payload::Sealed && report.is_set(&path) {
            let found = "an egress of what is not confidential";
            report.wrong(&path, found, "with payload = \"sealed\" only");
        }
    }
}

/// The first policy that matches counts, so that a filter's second policy would never do.
fn policies(config: &Config, report: &mut Report) {
    let mut seen = BTreeMap::new();
    for (policy, at, filter) in config.policies.iter().enumerate().flat_map(|(policy, entry)| {
        entry.topics.iter().enumerate().map(move |(at, filter)| (policy, at, filter.as_str()))
    }) {
        let path = format!("policy[{policy}].topics[{at}]");
        if let Some(earlier) = seen.get(filter) {
            let allowed =
                format!("a filter that does not stand in {earlier} already, for the first one counts");
            report.wrong(&path, &format!("{filter:?}"), &allowed);
        } else {
            seen.insert(filter, path);
        }
    }
}

/// `%u` and `%c` stand for a name only as a whole level; within one they would quietly match nothing.
fn placeholders(config: &Config, report: &mut Report) {
    for (rule, entry) in config.acl.iter().enumerate() {
        for (at, filter) in entry.topics.iter().enumerate() {
            let text = filter.as_str();
            let within = |level: &str| level.len() > 2 && (level.contains("%u") || level.contains("%c"));
            if text.split('/').any(within) {
                let path = format!("acl[{rule}].topics[{at}]");
                report.wrong(&path, &format!("{text:?}"), "%u and %c as a whole level, as in home/%u/#");
            }
        }
    }
}

/// Whoever sets an interval counts on syncs in that rhythm, and no other durability has one.
fn async_interval(config: &Config, report: &mut Report) {
    const PATH: &str = "storage.async_interval_ms";
    let storage = &config.storage;
    if storage.durability != Durability::Async && report.is_set(PATH) {
        let durability = storage.durability.name();
        let found = format!("{} with storage.durability = \"{durability}\"", storage.async_interval_ms);
        report.wrong(PATH, &found, "with storage.durability = \"async\" only");
    }
}
