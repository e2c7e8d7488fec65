//! Topic aliases, both ways (MQTT 5 §3.3.2.3.4). They belong to one connection, and are forgotten with it.
//!
//! [`Inbound`] keeps what the client calls its topics; [`Outbound`] chooses which topics get an alias: the
//! first to come while there are free ones, then the hottest, in the place of the coldest. How hot a topic
//! is fades with time. Both are bounded by the number of aliases: topics without one are counted by their
//! hash in a table of fixed size, so that two may be taken for one, which costs no more than a bad choice.

use rustc_hash::{FxBuildHasher, FxHashMap};
use sealmq_protocol::packet::TopicAlias;
use sealmq_protocol::{ProtocolError, TopicName};
use std::hash::BuildHasher;

/// A shorter topic takes fewer bytes than an alias.
const TOPIC_BYTES_MIN: usize = 4;
/// Messages for each alias before what was counted is halved.
const FADING: usize = 16;
/// How often a topic has to come before it may push another one out.
const HITS_MIN: u32 = 8;
/// Counters for each alias.
const COUNTERS: usize = 4;

/// What a client calls its topics.
#[derive(Default)]
pub(super) struct Inbound {
    topics: Vec<Option<TopicName>>,
    max: u16,
}

impl Inbound {
    /// For a client that was told that it may use `max` aliases.
    pub(super) fn new(max: u16) -> Self {
        Self { topics: Vec::new(), max }
    }

    /// The topic of a PUBLISH; an alias beside it is remembered ([MQTT-3.3.2-12]).
    pub(super) fn resolve(
        &mut self,
        topic: Option<TopicName>,
        alias: Option<TopicAlias>,
    ) -> Result<TopicName, ProtocolError> {
        let Some(alias) = alias else { return topic.ok_or(ProtocolError::NoTopic) };
        if alias.get() > self.max {
            return Err(ProtocolError::TopicAlias); // [MQTT-3.3.2-9]
        }
        let index = usize::from(alias.get()) - 1;
        let Some(topic) = topic else {
            let known = self.topics.get(index).and_then(Option::as_ref);
            return known.cloned().ok_or(ProtocolError::UnknownTopicAlias);
        };
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        if let Some(slot) = self.topics.get_mut(index)
            && slot.as_ref() != Some(&topic)
        {
            *slot = Some(topic.detached());
        }
        Ok(topic)
    }
}

/// What is said of a topic on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Alias {
    /// Its name.
    #[default]
    None,
    /// Its name, and what it is called from now on.
    Set(TopicAlias),
    /// What it is called.
    Use(TopicAlias),
}

/// What a client is told that its topics are called.
#[derive(Default)]
pub(super) struct Outbound {
    max: usize,
    by_topic: FxHashMap<TopicName, TopicAlias>,
    /// The alias is the place, from 1.
    slots: Vec<Slot>,
    /// How often topics without alias came lately, by hash; a power of two of them.
    candidates: Box<[u32]>,
    until_fading: usize,
}

struct Slot {
    topic: TopicName,
    hits: u32,
}

impl Outbound {
    /// For a client that takes `max` aliases.
    pub(super) fn new(max: u16) -> Self {
        let max = usize::from(max);
        Self { max, until_fading: FADING * max, ..Self::default() }
    }

    /// Whether there are aliases at all.
    pub(super) fn wanted(&self) -> bool {
        self.max > 0
    }

    /// What to say of the topic of a message that is sent now; an alias that is new to the client only
    /// if the packet has room for it.
    #[inline]
    pub(super) fn assign(&mut self, topic: &TopicName, may_introduce: bool) -> Alias {
        if self.max == 0 {
            return Alias::None;
        }
        self.assign_some(topic, may_introduce)
    }

    fn assign_some(&mut self, topic: &TopicName, may_introduce: bool) -> Alias {
        if topic.as_str().len() < TOPIC_BYTES_MIN {
            return Alias::None;
        }
        self.fade();
        if let Some(&alias) = self.by_topic.get(topic) {
            if let Some(slot) = self.slots.get_mut(usize::from(alias.get()) - 1) {
                slot.hits = slot.hits.saturating_add(1);
            }
            return Alias::Use(alias);
        }
        if !may_introduce {
            return Alias::None;
        }
        if self.slots.len() < self.max {
            return self.place(self.slots.len(), topic, 1);
        }
        let hits = self.count(topic);
        // Looked for ever more seldom, since it walks over all of them.
        if hits >= HITS_MIN
            && hits.is_power_of_two()
            && let Some((coldest, slot)) = self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.hits)
            && slot.hits < hits
        {
            if let Some(counted) = self.counter(topic) {
                *counted = 0;
            }
            return self.place(coldest, topic, hits);
        }
        Alias::None
    }

    fn place(&mut self, index: usize, topic: &TopicName, hits: u32) -> Alias {
        let Some(alias) = u16::try_from(index + 1).ok().and_then(TopicAlias::new) else { return Alias::None };
        let slot = Slot { topic: topic.detached(), hits };
        self.by_topic.insert(slot.topic.clone(), alias);
        if let Some(taken) = self.slots.get_mut(index) {
            self.by_topic.remove(&std::mem::replace(taken, slot).topic);
        } else {
            self.slots.push(slot);
        }
        Alias::Set(alias)
    }

    fn count(&mut self, topic: &TopicName) -> u32 {
        if self.candidates.is_empty() {
            self.candidates = vec![0; (COUNTERS * self.max).next_power_of_two()].into();
        }
        let Some(hits) = self.counter(topic) else { return 0 };
        *hits = hits.saturating_add(1);
        *hits
    }

    fn counter(&mut self, topic: &TopicName) -> Option<&mut u32> {
        let hash = usize::try_from(FxBuildHasher.hash_one(topic.as_str()) >> 32).ok()?;
        let mask = self.candidates.len().checked_sub(1)?;
        self.candidates.get_mut(hash & mask)
    }

    fn fade(&mut self) {
        self.until_fading = self.until_fading.saturating_sub(1);
        if self.until_fading == 0 {
            self.until_fading = FADING * self.max;
            self.slots.iter_mut().for_each(|slot| slot.hits /= 2);
            self.candidates.iter_mut().for_each(|hits| *hits /= 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(n: u16) -> TopicAlias {
        TopicAlias::new(n).unwrap()
    }

    fn topic(text: &str) -> TopicName {
        text.parse().unwrap()
    }

    #[test]
    fn an_alias_stands_for_the_topic_it_was_last_given() {
        let mut aliases = Inbound::new(2);
        assert_eq!(aliases.resolve(Some(topic("a")), Some(alias(2))), Ok(topic("a")));
        assert_eq!(aliases.resolve(None, Some(alias(2))), Ok(topic("a")));
        assert_eq!(aliases.resolve(Some(topic("b")), Some(alias(2))), Ok(topic("b")));
        assert_eq!(aliases.resolve(None, Some(alias(2))), Ok(topic("b")));
        assert_eq!(aliases.resolve(Some(topic("c")), None), Ok(topic("c")));
        assert_eq!(
            aliases.resolve(None, Some(alias(1))),
            Err(ProtocolError::UnknownTopicAlias),
            "never given"
        );
        assert_eq!(aliases.resolve(Some(topic("a")), Some(alias(3))), Err(ProtocolError::TopicAlias));
        assert_eq!(aliases.resolve(None, None), Err(ProtocolError::NoTopic));
    }

    #[test]
    fn topics_get_aliases_while_there_are_free_ones() {
        let mut aliases = Outbound::new(2);
        assert_eq!(aliases.assign(&topic("one/topic"), true), Alias::Set(alias(1)));
        assert_eq!(aliases.assign(&topic("one/topic"), true), Alias::Use(alias(1)));
        assert_eq!(aliases.assign(&topic("two/topic"), true), Alias::Set(alias(2)));
        assert_eq!(aliases.assign(&topic("three/topic"), true), Alias::None);
        assert_eq!(aliases.assign(&topic("abc"), true), Alias::None, "shorter than its alias");
        assert_eq!(Outbound::new(0).assign(&topic("one/topic"), true), Alias::None);
    }

    #[test]
    fn a_hotter_topic_takes_the_alias_of_the_coldest() {
        let mut aliases = Outbound::new(2);
        aliases.assign(&topic("cold/topic"), true);
        for _ in 0..10 {
            aliases.assign(&topic("warm/topic"), true);
        }
        let said: Vec<_> = (0..HITS_MIN).map(|_| aliases.assign(&topic("hot/topic"), true)).collect();
        assert_eq!(said.last(), Some(&Alias::Set(alias(1))));
        assert!(said.iter().rev().skip(1).all(|alias| *alias == Alias::None));
        assert_eq!(aliases.assign(&topic("hot/topic"), true), Alias::Use(alias(1)));
        assert_eq!(aliases.assign(&topic("warm/topic"), true), Alias::Use(alias(2)));
        assert_eq!(aliases.assign(&topic("cold/topic"), true), Alias::None);
    }

    #[test]
    fn any_number_of_topics_takes_no_more_room_than_the_aliases() {
        let mut aliases = Outbound::new(4);
        for n in 0..10_000 {
            aliases.assign(&topic(&format!("topic/{n}")), true);
        }
        assert!(aliases.slots.len() == 4 && aliases.by_topic.len() == 4 && aliases.candidates.len() == 16);
        for (index, slot) in aliases.slots.iter().enumerate() {
            assert_eq!(usize::from(aliases.by_topic[&slot.topic].get()), index + 1);
        }
    }
}
