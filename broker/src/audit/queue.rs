//! What waits to be written: from whoever records, to the one thread that writes.
//!
//! Owns the entries that wait, and the counts of what was left out. Two bounds: of the entries, beyond
//! which they are counted as lost; and of refusals in a while, beyond which a source's are counted and
//! become one entry when the while is over. The lock is held for one push or one swap. The time comes in.

use super::event::{Event, Extent};
use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// For as long refusals of one source are counted together.
pub(super) const WHILE: Duration = Duration::from_secs(1);
/// Refusals of one source in a while that become an entry each.
pub(super) const OF_ONE_SOURCE_MAX: u32 = 10;
/// Refusals of all sources in a while that become an entry each; so a flood does not push the record of
/// anything else out of the files.
pub(super) const OF_ALL_SOURCES_MAX: u32 = 100;

/// Where refusals come from: a connection, or all the others, and why.
pub(super) type Source = (Option<SocketAddr>, &'static str);

/// An event, as it waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) event: Event,
    /// How many events it stands for, beside those that have an entry of their own.
    pub(super) repeated: u64,
}

/// What was taken from the queue.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) entries: Vec<Entry>,
    /// Events after those that there was no room for.
    pub(super) lost: u64,
    /// Nothing more will come.
    pub(super) closed: bool,
}

/// See the module's description.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    work: Condvar,
    entries_max: usize,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    lost: u64,
    /// Since when the refusals below are counted.
    since: Option<Instant>,
    /// Of them all, those that became an entry.
    in_full: u32,
    sources: BTreeMap<Source, Counted>,
    closed: bool,
}

/// The refusals of one source.
#[derive(Default)]
struct Counted {
    in_full: u32,
    /// Those that did not become an entry: what they have in common, and how many there are.
    left_out: Option<(Event, u64)>,
}

impl Queue {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { inner: Mutex::default(), work: Condvar::new(), entries_max }
    }

    /// Puts an event in.
    pub(super) fn push(&self, event: Event, at: Timestamp) {
        let mut inner = self.inner.lock();
        inner.put(Entry { at, event, repeated: 0 }, self.entries_max);
        self.work.notify_one();
    }

    /// Puts events in whether there is room or not.
    pub(super) fn push_all(&self, events: Vec<Event>, at: Timestamp) {
        let mut inner = self.inner.lock();
        for event in events {
            inner.put(Entry { at, event, repeated: 0 }, usize::MAX);
        }
        self.work.notify_one();
    }

    /// Puts a refusal in, or counts it. `event` makes as much of it as is asked for.
    pub(super) fn push_refused(
        &self,
        source: Source,
        event: impl Fn(Extent) -> Event,
        now: Instant,
        at: Timestamp,
    ) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.end_while(now, at, self.entries_max);
        inner.since.get_or_insert(now);
        let has_room = inner.in_full < OF_ALL_SOURCES_MAX;
        // Others than those that are known already are counted together.
        let source = if has_room || inner.sources.contains_key(&source) { source } else { (None, source.1) };
        let counted = inner.sources.entry(source).or_default();
        if has_room && counted.in_full < OF_ONE_SOURCE_MAX {
            counted.in_full += 1;
            inner.in_full += 1;
            inner.put(Entry { at, event: event(Extent::Whole), repeated: 0 }, self.entries_max);
            self.work.notify_one();
        } else if let Some((_, times)) = &mut counted.left_out {
            *times += 1;
        } else {
            let common = if source.0.is_some() { Extent::Connection } else { Extent::Reason };
            counted.left_out = Some((event(common), 1));
            // So that it is known when the while is over.
            self.work.notify_one();
        }
    }

    /// Nothing more will be put in.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.work.notify_one();
    }

    /// Waits until there is something, or `deadline` has come, and takes it.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Taken {
        let mut inner = self.inner.lock();
        loop {
            let now = Instant::now();
            inner.end_while(now, Timestamp::now(), self.entries_max);
            if inner.closed {
                inner.sum_up(Timestamp::now(), self.entries_max);
            }
            let is_due = deadline.is_some_and(|deadline| deadline <= now);
            if !inner.entries.is_empty() || inner.lost > 0 || inner.closed || is_due {
                return inner.take();
            }
            let ends = inner.while_ends();
            match [deadline, ends].into_iter().flatten().min() {
                Some(until) => drop(self.work.wait_until(&mut inner, until)),
                None => self.work.wait(&mut inner),
            }
        }
    }
}

impl Inner {
    fn put(&mut self, entry: Entry, entries_max: usize) {
        // What comes behind something that was lost is lost as well, so that the count stands in its place.
        if self.lost > 0 || self.entries.len() >= entries_max {
            self.lost += entry.event.stands_for(entry.repeated);
        } else {
            self.entries.push(entry);
        }
    }

    fn take(&mut self) -> Taken {
        let (entries, lost) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.lost));
        Taken { entries, lost, closed: self.closed }
    }

    /// When what was left out becomes an entry, if something was.
    fn while_ends(&self) -> Option<Instant> {
        let is_owed = self.sources.values().any(|counted| counted.left_out.is_some());
        self.since.filter(|_| is_owed)?.checked_add(WHILE)
    }

    fn end_while(&mut self, now: Instant, at: Timestamp, entries_max: usize) {
        if self.since.is_some_and(|since| now.saturating_duration_since(since) >= WHILE) {
            self.sum_up(at, entries_max);
        }
    }

    /// Makes an entry of what was left out of each source.
    fn sum_up(&mut self, at: Timestamp, entries_max: usize) {
        (self.since, self.in_full) = (None, 0);
        for (event, repeated) in std::mem::take(&mut self.sources).into_values().filter_map(|c| c.left_out) {
            self.put(Entry { at, event, repeated }, entries_max);
        }
    }
}
