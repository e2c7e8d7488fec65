//! `$sealmq/key/<topic>`: the public key with which to seal for a topic, handed out to whoever asks.
//!
//! A filter comes in, and a message goes out that stands nowhere: built on the spot from the keys in force, and
//! stamped by the broker, so that a device that knows the broker's identity may believe it without TLS. Asking
//! is subscribing, so that access rules hold and what is sent is bounded like retained messages are.

use crate::broker::Broker;
use crate::ingress::message::Message;
use crate::mailbox::Command;
use crate::now::Now;
use crate::rulebook::Rulebook;
use sealmq_protocol::filter::Level;
use sealmq_protocol::{TopicFilter, TopicName};
use std::sync::Arc;
use std::time::Duration;

/// What stands before the topic.
const PREFIX: &str = "$sealmq/key/";

/// Between two looks for keys that have become valid by their times.
const LOOK: Duration = Duration::from_secs(5);

/// Whether a filter asks for keys of topics that it does not name: nobody answers that.
pub(crate) fn asks_at_large(filter: &TopicFilter) -> bool {
    let mut levels = filter.levels();
    let is_below =
        levels.next() == Some(Level::Exact("$sealmq")) && levels.next() == Some(Level::Exact("key"));
    is_below && filter.has_wildcards()
}

/// The topic whose key a filter asks for.
pub(crate) fn asked_for(filter: &TopicFilter) -> Option<&str> {
    filter.as_str().strip_prefix(PREFIX).filter(|_| !filter.has_wildcards())
}

/// Whether a topic's key is another now, under these rules, than it was at some time under those of then:
/// another key, or another stamp on it. No where there is none any more, since nothing could be handed out.
pub(crate) fn has_changed(topic: &str, then: (&Rulebook, u64), now: (&Rulebook, u64)) -> bool {
    let of = |(rules, at): (&Rulebook, u64)| rules.ingress.opener().keyring().current_public(topic, at);
    let key = of(now);
    key.is_some() && (then.0.identity != now.0.identity || of(then) != key)
}

/// Has connections look for keys that have become valid, or are over, by their times alone.
pub(crate) async fn follow_times(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(LOOK);
    let mut before = Now::read().unix_s;
    loop {
        ticks.tick().await;
        let now = Now::read().unix_s;
        if broker.rules().ingress.opener().keyring().turns_within(before, now) {
            broker.registry.tell_all(Command::Renew);
        }
        before = now;
    }
}

impl Broker {
    /// The message that a filter of one such topic is answered with; none if the topic has no key to hand out.
    pub(crate) fn key_message(
        &self,
        rules: &Rulebook,
        filter: &TopicFilter,
        now: Now,
    ) -> Option<Arc<Message>> {
        let topic = asked_for(filter)?;
        let key = rules.ingress.opener().keyring().current_public(topic, now.unix_s)?;
        let (name, jwk) = (TopicName::try_from(filter.as_str()).ok()?, key.to_jwk().ok()?);
        let freshness = self.stamps.next(now);
        let envelope = sealmq_crypto::seal(&rules.identity, None, name.as_str(), jwk.as_bytes(), freshness);
        // Stamping needs no randomness, and so has nothing to fail at.
        Some(Arc::new(Message::handed_out(name, envelope.ok()?.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        text.parse().unwrap()
    }

    #[test]
    fn a_filter_without_wildcards_asks_for_one_key() {
        assert_eq!(asked_for(&filter("$sealmq/key/plant/7")), Some("plant/7"));
        assert_eq!(asked_for(&filter("$sealmq/key//x")), Some("/x"));
        for other in
            ["$sealmq/key", "$sealmq/keys/a", "sealmq/key/a", "$sealmq/key/+", "$sealmq/key/a/#", "#"]
        {
            assert_eq!(asked_for(&filter(other)), None, "{other}");
        }
    }

    #[test]
    fn nobody_asks_for_all_keys() {
        for at_large in ["$sealmq/key/#", "$sealmq/key/+", "$sealmq/key/a/+/b"] {
            assert!(asks_at_large(&filter(at_large)), "{at_large}");
        }
        for other in ["$sealmq/#", "$sealmq/+/a", "$sealmq/key/a", "+/key/#", "#"] {
            assert!(!asks_at_large(&filter(other)), "{other}");
        }
    }
}
