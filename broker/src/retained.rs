//! The last retained message of each topic (MQTT 3.1.1 §3.3.1.3).
//!
//! Owns them, ordered by topic, so that a new subscription can be answered in pages: a page resumes
//! after the topic where the last one ended and looks at a bounded number of topics, so the lock is
//! never held for long and no subscriber makes the broker gather a million messages at once.
//! Messages are copies of their own, with the confidential mark they came with.

use crate::ingress::message::Message;
use parking_lot::RwLock;
use sealmq_protocol::{TopicFilter, TopicName};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

/// Topics that one page looks at.
const EXAMINED_MAX: usize = 2_048;
/// Messages in one page.
const PAGE_MAX: usize = 256;
/// Expired messages removed while the lock is held once.
const EXPIRED_MAX: usize = 64;

/// Counts settings of retained messages. A subscription is sent only what was set before it was
/// made: what came later it gets as a live message, and an older value must not follow a newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order(u64);

/// A part of the retained messages that match a filter.
pub(crate) struct Page {
    /// What matched, in the order of topics.
    pub(crate) messages: Vec<Arc<Message>>,
    /// Where the next page goes on; none when this was the last.
    pub(crate) next: Option<TopicName>,
}

impl Page {
    /// The only one, with what there is.
    pub(crate) fn of(message: Option<Arc<Message>>) -> Self {
        Self { messages: message.into_iter().collect(), next: None }
    }
}

/// No room for another retained message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The last retained message of each topic.
pub(crate) struct Retained {
    inner: RwLock<Inner>,
    messages_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Inner {
    topics: BTreeMap<TopicName, (Order, Arc<Message>)>,
    /// Those that expire, soonest first.
    expiring: BTreeSet<(Instant, TopicName)>,
    /// Topics whose message has expired, for whoever asks next.
    expired: Vec<TopicName>,
    /// Clients' messages alone; the broker's reports are few, and must not eat the bound.
    messages: usize,
    bytes: usize,
    settings: u64,
}

impl Inner {
    fn count(&mut self, message: &Message) {
        if !is_report(message) {
            self.messages += 1;
            self.bytes += message.size();
        }
    }

    fn remove(&mut self, topic: &TopicName) {
        let Some((_, old)) = self.topics.remove(topic) else { return };
        if !is_report(&old) {
            self.messages -= 1;
            self.bytes -= old.size();
        }
        if let Some(expires) = old.expires() {
            self.expiring.remove(&(expires, topic.clone()));
        }
    }

    /// Removes up to `max` messages that have expired.
    fn expire(&mut self, now: Instant, max: usize) {
        for _ in 0..max {
            match self.expiring.first() {
                Some((expires, _)) if *expires <= now => {}
                Some(_) | None => return,
            }
            if let Some((_, topic)) = self.expiring.pop_first() {
                self.remove(&topic);
                self.expired.push(topic);
            }
        }
    }
}

/// Whether it is under `$SYS/`, where ingress lets no client publish.
pub(crate) fn is_report(message: &Message) -> bool {
    message.topic().as_str().starts_with("$SYS/")
}

impl Retained {
    /// Nothing retained yet, and at most this much ever.
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { inner: RwLock::default(), messages_max, bytes_max }
    }

    /// Sets or replaces the topic's message; an empty payload removes it ([MQTT-3.3.1-10]). When
    /// there is no room the topic is left without one: an old value must not pass for the last.
    pub(crate) fn set(&self, message: &Arc<Message>) -> Result<(), Full> {
        let mut inner = self.inner.write();
        if !inner.expiring.is_empty() {
            inner.expire(Instant::now(), EXPIRED_MAX);
        }
        inner.remove(message.topic());
        if message.payload().is_empty() {
            return Ok(());
        }
        let full = inner.messages >= self.messages_max || inner.bytes + message.size() > self.bytes_max;
        if full && !is_report(message) {
            return Err(Full);
        }
        inner.settings += 1;
        let order = Order(inner.settings);
        inner.count(message);
        if let Some(expires) = message.expires() {
            inner.expiring.insert((expires, message.topic().clone()));
        }
        inner.topics.insert(message.topic().clone(), (order, message.clone()));
        Ok(())
    }

    /// The order of the newest setting, for a subscription made just now.
    pub(crate) fn order(&self) -> Order {
        Order(self.inner.read().settings)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.inner.read().topics.len()
    }

    /// Removes some of what has expired. Whether there is more; and the topics whose message has expired since
    /// this was last asked.
    pub(crate) fn expire(&self, now: Instant) -> (bool, Vec<TopicName>) {
        let mut inner = self.inner.write();
        inner.expire(now, EXPIRED_MAX);
        let is_more = inner.expiring.first().is_some_and(|(expires, _)| *expires <= now);
        (is_more, std::mem::take(&mut inner.expired))
    }

    /// The messages that match `filter`, were set no later than `until`, and stand behind `after`.
    pub(crate) fn page(&self, filter: &TopicFilter, until: Order, after: Option<&TopicName>) -> Page {
        let inner = self.inner.read();
        if !filter.has_wildcards() {
            let exact = inner.topics.get(filter.as_str()).filter(|(order, _)| *order <= until);
            return Page {
                messages: exact.map(|(_, message)| message.clone()).into_iter().collect(),
                next: None,
            };
        }
        let prefix = filter.literal_prefix();
        let from = match after {
            Some(topic) => Bound::Excluded(topic.as_str()),
            None => Bound::Included(prefix),
        };
        let mut messages = Vec::new();
        for (examined, (topic, (order, message))) in
            inner.topics.range::<str, _>((from, Bound::Unbounded)).enumerate()
        {
            if !topic.as_str().starts_with(prefix) {
                break;
            }
            if *order <= until && filter.matches(topic) {
                messages.push(message.clone());
            }
            if messages.len() == PAGE_MAX || examined == EXAMINED_MAX {
                return Page { messages, next: Some(topic.clone()) };
            }
        }
        Page { messages, next: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;

    fn message(topic: &str, payload: &'static str) -> Arc<Message> {
        Arc::new(Message::of_broker(topic.parse().unwrap(), Bytes::from(payload)))
    }

    fn all(retained: &Retained, filter: &str) -> Vec<String> {
        let (filter, until) = (filter.parse().unwrap(), retained.order());
        let (mut found, mut after) = (vec![], None);
        loop {
            let page = retained.page(&filter, until, after.as_ref());
            found.extend(page.messages.iter().map(|m| m.topic().as_str().to_owned()));
            match page.next {
                Some(topic) => after = Some(topic),
                None => return found,
            }
        }
    }

    #[test]
    fn empty_payload_clears() {
        let retained = Retained::new(10, 1000);
        retained.set(&message("a/b", "1")).unwrap();
        assert_eq!(all(&retained, "a/#"), ["a/b"]);
        retained.set(&message("a/b", "")).unwrap();
        assert!(all(&retained, "a/#").is_empty());
        assert_eq!(retained.len(), 0);
    }

    #[test]
    fn wildcards_find_what_they_match_and_no_more() {
        let retained = Retained::new(10, 1000);
        for topic in ["a", "a/b", "a!", "ab", "a/c/d", "$SYS/x", "b/b"] {
            retained.set(&message(topic, "1")).unwrap();
        }
        assert_eq!(all(&retained, "a/#"), ["a", "a/b", "a/c/d"]);
        assert_eq!(all(&retained, "+/b"), ["a/b", "b/b"]);
        assert_eq!(all(&retained, "#"), ["a", "a!", "a/b", "a/c/d", "ab", "b/b"]);
        assert_eq!(all(&retained, "$SYS/#"), ["$SYS/x"]);
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let retained = Retained::new(10_000, 1 << 20);
        for n in 0..PAGE_MAX * 3 + 5 {
            retained.set(&message(&format!("t/{n:05}"), "1")).unwrap();
        }
        assert_eq!(all(&retained, "t/+").len(), PAGE_MAX * 3 + 5);
    }

    #[test]
    fn what_is_set_after_the_subscription_is_left_to_the_live_delivery() {
        let retained = Retained::new(10, 1000);
        retained.set(&message("a", "old")).unwrap();
        let until = retained.order();
        retained.set(&message("b", "new")).unwrap();
        retained.set(&message("a", "newer")).unwrap();
        assert!(retained.page(&"+".parse().unwrap(), until, None).messages.is_empty());
    }

    #[test]
    fn no_room_leaves_the_topic_without_a_stale_value() {
        let retained = Retained::new(10, 10);
        retained.set(&message("a", "12345")).unwrap();
        assert_eq!(retained.set(&message("a", "12345678901")), Err(Full));
        assert!(all(&retained, "a").is_empty());
        let retained = Retained::new(1, 1000);
        retained.set(&message("$SYS/report", "is not counted")).unwrap();
        retained.set(&message("a", "1")).unwrap();
        assert_eq!(retained.set(&message("b", "1")), Err(Full));
        assert_eq!(all(&retained, "#"), ["a"]);
    }

    #[test]
    fn expired_messages_give_their_room_back() {
        let (retained, now) = (Retained::new(2, 1000), Instant::now());
        for topic in ["a", "b"] {
            retained.set(&Arc::new(Message::expiring_for_tests(topic, "1", 10, now))).unwrap();
        }
        assert_eq!(retained.set(&message("c", "1")), Err(Full));
        assert_eq!(retained.expire(now + Duration::from_secs(9)), (false, vec![]));
        assert_eq!(retained.len(), 2);
        let topics = ["a", "b"].map(|topic| topic.parse().unwrap());
        assert_eq!(retained.expire(now + Duration::from_secs(10)), (false, topics.to_vec()));
        assert_eq!(retained.len(), 0);
        assert_eq!(retained.set(&message("c", "1")), Ok(()));
    }

    #[test]
    fn replacing_a_message_forgets_when_the_old_one_would_have_expired() {
        let (retained, now) = (Retained::new(2, 1000), Instant::now());
        retained.set(&Arc::new(Message::expiring_for_tests("a", "old", 10, now))).unwrap();
        retained.set(&message("a", "new")).unwrap();
        assert_eq!(retained.expire(now + Duration::from_mins(1)), (false, vec![]));
        assert_eq!(all(&retained, "a"), ["a"]);
    }
}
