//! Who is enrolled: what the configuration says, and what is added, disabled and removed while the broker
//! runs.
//!
//! Owns the [`Book`]: the configuration's entries as they were read last, and a [`Record`] for whatever an
//! operator has said at run time. An [`Order`] or another configuration goes in; the changes for the store, and
//! what is to be forgotten, come out, and the keyring that follows. No I/O and no clock.
//!
//! Always holds: an order is done whole or not at all; where both have an entry of a name, the configuration's
//! counts; what is disabled is in no keyring, wherever it is from; a sender's replay window is kept for as long
//! as his key may come back, and forgotten when another key takes its place.

mod configured;
mod entry;
mod order;
#[cfg(test)]
mod tests;

use configured::ConfiguredEntry;

pub(crate) use configured::Configured;
pub(crate) use entry::{Entry, KeyBytes, Kind, Name, Ready, Record, topics};
pub(crate) use order::{Event, Order, Refused, What};

use crate::store::Change;
use bytes::Bytes;
use sealmq_config::encryption::Bind;
use sealmq_config::limits::Limits;
use sealmq_crypto::{Keyring, TopicKeyEntry, Validity};
use sealmq_protocol::TopicFilter;
use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

/// Warnings that one change tells; the log has no more of them either.
const WARNINGS_MAX: usize = 20;

/// Bytes of a page of those who are enrolled, from which on it has no more of them.
const PAGE_BYTES: usize = 1 << 20;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Book {
    configured: Configured,
    records: BTreeMap<Name, Noted>,
    /// That of the last that was enrolled at run time.
    last_number: u64,
    entry_bytes_max: usize,
    senders_max: usize,
    topic_keys_max: usize,
}

/// A record, and its entry as keyrings have it.
#[derive(Debug, Clone)]
struct Noted {
    record: Record,
    ready: Option<Ready>,
}

/// What has happened to one of them.
pub(crate) type Happened = (Name, Event);

/// What follows from an order or a configuration.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    /// For the store, in this order.
    pub(crate) changes: Vec<Change>,
    /// Senders who count anew.
    pub(crate) forgotten: Vec<Bytes>,
    /// What has happened.
    pub(crate) events: Vec<Happened>,
    /// How much was so already.
    pub(crate) unchanged: usize,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
    /// And how much more of it there is.
    pub(crate) more_warnings: usize,
}

/// One of those who are enrolled, or disabled.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// Which.
    pub(crate) name: Name,
    /// Whether it is disabled.
    pub(crate) is_disabled: bool,
    /// Whether the configuration has it.
    pub(crate) is_configured: bool,
    /// Whether it was enrolled at run time; if the configuration has it too, this does not count.
    pub(crate) is_at_run_time: bool,
    /// Where it holds.
    pub(crate) topics: Arc<[TopicFilter]>,
    /// And when.
    pub(crate) validity: Validity,
    /// Of a sender: on whose connection its stamps count alone.
    pub(crate) bind: Option<Bind>,
    /// When something was said of it at run time, milliseconds since 1970.
    pub(crate) changed_ms: Option<u64>,
}

impl Book {
    /// What was kept of an earlier run. The configuration is to follow.
    pub(crate) fn new(limits: &Limits, records: Vec<Record>) -> Self {
        let noted = |record: Record| {
            let ready = record.ready().unwrap_or_else(|why| {
                tracing::error!("{} is left out: its key cannot be read: {why}", record.name);
                None
            });
            (record.name.clone(), Noted { record, ready })
        };
        Self {
            configured: Configured::default(),
            last_number: records.iter().map(|record| record.number).max().unwrap_or_default(),
            entry_bytes_max: limits.enrolled_entry_bytes_max,
            records: records.into_iter().map(noted).collect(),
            senders_max: limits.enrolled_senders_max,
            topic_keys_max: limits.enrolled_topic_keys_max,
        }
    }

    /// Everybody who may do something now, the last that was enrolled at the end.
    pub(crate) fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::default();
        self.in_force().for_each(|ready| ready.put_into(&mut keyring));
        keyring
    }

    /// The senders of them whose stamps count on their own client's connection alone, by id.
    pub(crate) fn binds(&self) -> HashMap<Vec<u8>, Bind> {
        self.in_force().filter_map(Ready::bind).collect()
    }

    fn in_force(&self) -> impl Iterator<Item = &Ready> {
        let configured = self.configured.in_order();
        let configured =
            configured.filter(|(name, _)| !self.is_disabled(name)).map(|(_, entry)| &entry.ready);
        let mut at_run_time: Vec<_> = self.at_run_time().filter(|noted| !noted.record.is_disabled).collect();
        at_run_time.sort_by_key(|noted| noted.record.number);
        configured.chain(at_run_time.into_iter().filter_map(|noted| noted.ready.as_ref()))
    }

    /// Those that the configuration does not have.
    fn at_run_time(&self) -> impl Iterator<Item = &Noted> {
        let there = self.records.iter().filter(|(name, _)| self.configured.entry(name).is_none());
        there.map(|(_, noted)| noted)
    }

    /// All topic keys, with those that are disabled: they may come back.
    pub(crate) fn topic_keys(&self) -> Vec<Arc<TopicKeyEntry>> {
        let configured = self.configured.iter().map(|(_, entry)| &entry.ready);
        let all = configured.chain(self.at_run_time().filter_map(|noted| noted.ready.as_ref()));
        let topic_key = |ready: &Ready| match ready {
            Ready::TopicKey(entry) => Some(entry.clone()),
            Ready::Sender(..) => None,
        };
        all.filter_map(topic_key).collect()
    }

    /// Whether what was taken of this sender has to be remembered, be he enrolled or not.
    fn remembers(&self, sender: &[u8]) -> bool {
        let id = std::str::from_utf8(sender).ok();
        let name = id.and_then(|id| Name::new(Kind::Sender, id));
        name.is_some_and(|name| self.records.contains_key(&name) || self.configured.entry(&name).is_some())
    }

    /// Takes up what the configuration says now.
    pub(crate) fn configure(&mut self, configured: Configured, now_ms: u64) -> Effect {
        let before = std::mem::take(&mut self.configured);
        let mut effect = Effect::default();
        for (name, entry) in before.iter().filter(|(name, _)| configured.entry(name).is_none()) {
            let mut noted = self.noted(name);
            if let Some(own) = &noted.ready {
                // Of the same key: what was taken of a sender stays taken.
                own.go_on_from(Some(&entry.ready));
                if !noted.record.is_disabled {
                    effect.warn(|| {
                        format!("{name} has left the configuration, and counts as enrolled at run time")
                    });
                }
            } else if let Some(print) = entry.ready.print() {
                // He may come back, by the file or at run time.
                noted.record.former = Some(print);
                self.note(noted, now_ms, &mut effect);
            }
        }
        for (name, entry) in configured.iter() {
            self.come_in(name, entry, before.entry(name), now_ms, &mut effect);
        }
        self.configured = configured;
        self.forget_oldest(&mut effect);
        effect
    }

    /// The configuration has this entry now, and had that one before.
    fn come_in(
        &mut self,
        name: &Name,
        entry: &ConfiguredEntry,
        before: Option<&ConfiguredEntry>,
        now_ms: u64,
        effect: &mut Effect,
    ) {
        let mut noted = self.noted(name);
        let last = before.map(|before| &before.ready).or(noted.ready.as_ref());
        entry.ready.go_on_from(last);
        let was = last.and_then(Ready::print).or(noted.record.former);
        if was.is_some() && was != entry.ready.print() {
            effect.forget(name);
        }
        if noted.record.is_disabled {
            effect.warn(|| format!("{name} of the configuration was disabled at run time, and stays so"));
        }
        let mut is_changed = noted.record.former.take().is_some();
        if noted.ready.as_ref().is_some_and(|own| own.is_same_key(&entry.ready)) {
            effect
                .warn(|| format!("{name} was enrolled at run time, too: what the configuration says counts"));
        } else if noted.record.entry.take().is_some() {
            // It must not come back by itself: nobody remembers what was taken of it.
            effect.warn(|| {
                format!("{name} was enrolled at run time with another key, which is removed: the configuration counts")
            });
            effect.events.push((name.clone(), Event::Removed));
            noted.ready = None;
            is_changed = true;
        }
        if is_changed {
            self.note(noted, now_ms, effect);
        }
    }

    /// What was taken of these senders is known at a start. Of those who are not remembered, since they left the
    /// configuration while no broker ran, no more are kept than may be enrolled.
    pub(crate) fn recall(&self, senders: Vec<Bytes>, effect: &mut Effect) {
        let unknown: Vec<_> = senders.into_iter().filter(|sender| !self.remembers(sender)).collect();
        let over = unknown.len().saturating_sub(self.senders_max);
        if over > 0 {
            effect.warn(|| {
                format!("what was taken of {over} senders that nothing names any more is forgotten (limits.enrolled_senders_max)")
            });
        }
        for sender in unknown.into_iter().take(over) {
            effect.forget_sender(sender);
        }
    }

    /// Those behind a name, in their order: so many at most, and whether there are more.
    pub(crate) fn page(&self, after: Option<&Name>, max: usize) -> (Vec<Listed>, bool) {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let configured = self.configured.behind(after).map(|(name, _)| name).peekable();
        let there = self.records.range::<Name, _>((after, Bound::Unbounded));
        let there = there.filter(|(_, noted)| !noted.record.is_of_the_past()).map(|(name, _)| name);
        let mut names = Merged { one: configured, other: there.peekable() };
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < max && bytes < PAGE_BYTES {
            let Some(name) = names.next() else { break };
            let listed = self.listed(name);
            bytes += name.id.len() + entry::size_of(&listed.topics);
            page.push(listed);
        }
        (page, names.next().is_some())
    }

    fn listed(&self, name: &Name) -> Listed {
        let (configured, noted) = (self.configured.entry(name), self.records.get(name));
        let record = noted.map(|noted| &noted.record);
        let entry = record.and_then(|record| record.entry.as_ref());
        let (topics, validity, bind) = match (configured, entry) {
            (Some(configured), _) => {
                let bind = configured.ready.bind().map(|(_, bind)| bind);
                (configured.topics.clone(), configured.ready.validity(), bind)
            }
            (None, Some(entry)) => (entry.topics.clone(), entry.validity, entry.bind),
            (None, None) => (Arc::default(), Validity::default(), None),
        };
        Listed {
            name: name.clone(),
            is_disabled: record.is_some_and(|record| record.is_disabled),
            is_configured: configured.is_some(),
            is_at_run_time: entry.is_some(),
            topics,
            validity,
            bind,
            changed_ms: record.map(|record| record.changed_ms),
        }
    }

    /// Whether it is enrolled at run time: alone, or as the configuration has it too.
    pub(crate) fn is_at_run_time(&self, name: &Name) -> bool {
        self.records.get(name).is_some_and(|noted| noted.record.entry.is_some())
    }

    /// Whether it is disabled at run time.
    pub(crate) fn is_disabled(&self, name: &Name) -> bool {
        self.records.get(name).is_some_and(|noted| noted.record.is_disabled)
    }

    /// What is kept of a name, to be changed and given to [`Self::note`].
    fn noted(&self, name: &Name) -> Noted {
        let new = || Noted { record: Record::new(name.clone()), ready: None };
        self.records.get(name).cloned().unwrap_or_else(new)
    }

    /// Keeps this of a name from now on.
    fn note(&mut self, mut noted: Noted, now_ms: u64, effect: &mut Effect) {
        let name = noted.record.name.clone();
        if noted.record.is_empty() {
            if self.records.remove(&name).is_some() {
                effect.changes.push(Change::Disenrolled(Box::new(name)));
            }
            return;
        }
        noted.record.changed_ms = now_ms;
        effect.changes.push(Change::Enrolled(Box::new(noted.record.clone())));
        self.records.insert(name, noted);
    }

    /// Of those who were removed the first goes for good when there are too many.
    fn forget_oldest(&mut self, effect: &mut Effect) {
        let past = self.records.values().filter(|noted| noted.record.is_of_the_past());
        let mut past: Vec<_> = past.map(|noted| (noted.record.changed_ms, &noted.record.name)).collect();
        let Some(over) = past.len().checked_sub(self.senders_max).filter(|over| *over > 0) else { return };
        past.sort_unstable();
        let gone: Vec<Name> = past.into_iter().take(over).map(|(_, name)| name.clone()).collect();
        effect.warn(|| {
            format!(
                "of the senders that were removed first, {over} are forgotten with what was taken of them \
                 (limits.enrolled_senders_max): none of them should come back with the key that it had"
            )
        });
        for name in gone {
            effect.forget(&name);
            self.records.remove(&name);
            effect.changes.push(Change::Disenrolled(Box::new(name)));
        }
    }

    /// Records of a kind that are bounded by how many may be enrolled.
    fn count(&self, kind: Kind) -> usize {
        let counts = |noted: &&Noted| noted.record.name.kind == kind && !noted.record.is_of_the_past();
        self.records.values().filter(counts).count()
    }
}

impl Effect {
    /// A sender counts anew.
    fn forget(&mut self, name: &Name) {
        self.forget_sender(name.id.as_bytes().clone());
    }

    fn forget_sender(&mut self, sender: Bytes) {
        self.changes.push(Change::WindowForgotten { sender: sender.clone() });
        self.forgotten.push(sender);
    }

    fn warn(&mut self, warning: impl FnOnce() -> String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning());
        } else {
            self.more_warnings += 1;
        }
    }
}

/// Two sequences in order as one, without what is in both twice.
struct Merged<A: Iterator, B: Iterator> {
    one: Peekable<A>,
    other: Peekable<B>,
}

impl<'a, A: Iterator<Item = &'a Name>, B: Iterator<Item = &'a Name>> Iterator for Merged<A, B> {
    type Item = &'a Name;

    fn next(&mut self) -> Option<&'a Name> {
        let next = match (self.one.peek(), self.other.peek()) {
            (Some(one), Some(other)) => (*one).min(*other),
            (one, other) => *one.or(other)?,
        };
        self.one.next_if_eq(&next);
        self.other.next_if_eq(&next);
        Some(next)
    }
}
