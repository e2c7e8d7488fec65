//! From changes to a batch: what has happened, as keys and values. Only the writer does this.
//!
//! Folds what comes and goes within one batch into nothing: a message that its client acknowledged before it
//! was written is not written. Owns the counts of shared messages. Always holds: what is removed is what was
//! put, so no key outlives its session; and a block on disk that cannot be read costs space at most, since
//! nothing that may still be needed is removed for it.

use super::batch::Ops;
use super::change::{Change, Receivers};
use super::dying::{Dying, Left};
use super::engine::{Engine, EngineError};
use super::layout::{self, Keyspace, ReplayKey};
use super::record::{
    Entry, Flight, FlightState, SessionRecord, decode_message, encode_enrolled, encode_message,
    encode_subscription,
};
use crate::delivery::{Place, SessionId};
use crate::enrolment::Record;
use crate::ingress::message::Message;
use crate::now::Clock;
use bytes::Bytes;
use bytestring::ByteString;
use rustc_hash::{FxHashMap, FxHashSet};
use sealmq_crypto::{Mark, ReplayWindows, SenderWindow};
use sealmq_protocol::TopicName;
use sealmq_protocol::packet::PacketId;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// A body of fewer bytes is written into each queue: a second key would cost more.
pub(crate) const SHARED_BYTES_MIN: usize = 64;
/// Keys that one batch removes of a session that has ended; and one that brings something, which somebody
/// may wait for.
const SLICE: usize = 1_000;
const SLICE_BESIDE: usize = 100;
/// Counts of shared messages that are remembered; others are read.
const COUNTS_MAX: usize = 65_536;

/// Packet ids go from 1 to this, and begin again.
const IDS: u64 = 65_535;

/// The packet id of a session's sending.
pub(crate) fn packet_id(sequence: u64) -> PacketId {
    let id = u16::try_from(sequence % IDS + 1).unwrap_or(1);
    PacketId::new(id).unwrap_or(PacketId::MIN)
}

/// See the module's description.
pub(crate) struct Fold {
    clock: Clock,
    next_session: u64,
    counts: FxHashMap<u64, u32>,
    /// Counters alone: each timed stamp has a key.
    windows: ReplayWindows,
    dying: Dying,
    /// Reads that failed since what was there is not what was written.
    unreadable: u64,
}

/// A batch in the making.
struct Making<'a> {
    fold: &'a mut Fold,
    engine: &'a dyn Engine,
    /// The position of the first change.
    first: u64,
    ops: Ops,
    /// Entries that are put and removed by this batch.
    passing: FxHashSet<(SessionId, u64)>,
    /// Keys in `inflight` and `inbound` that this batch puts and that were not there before.
    fresh: FxHashSet<(Keyspace, Vec<u8>)>,
    /// By how much the counts of shared messages shrink.
    lessened: FxHashMap<u64, u32>,
}

impl Fold {
    /// Goes on where the store was left: the next session's number, and the sessions whose removal was begun.
    pub(crate) fn new(clock: Clock, next_session: u64, dying: Vec<SessionId>) -> Self {
        Self {
            clock,
            next_session,
            counts: FxHashMap::default(),
            windows: ReplayWindows::new(0),
            dying: Dying::new(dying),
            unreadable: 0,
        }
    }

    /// Whether there is something to do besides what comes.
    pub(crate) fn is_removing(&self) -> bool {
        self.dying.first().is_some()
    }

    /// What changes do, the first of which has this position.
    pub(crate) fn fold(
        &mut self,
        first: u64,
        changes: &[Change],
        engine: &dyn Engine,
    ) -> Result<Ops, EngineError> {
        let mut making = Making {
            fold: self,
            engine,
            first,
            ops: Ops::new(),
            passing: FxHashSet::default(),
            fresh: FxHashSet::default(),
            lessened: FxHashMap::default(),
        };
        making.look_ahead(changes);
        for (position, change) in (first..).zip(changes) {
            making.take(position, change)?;
        }
        making.remove_dying(if changes.is_empty() { SLICE } else { SLICE_BESIDE })?;
        making.lessen()?;
        Ok(making.ops)
    }

    /// What could not be read, as far as `read` failed for that. Said ever more seldom.
    fn readable<T>(&mut self, read: Result<Option<T>, EngineError>) -> Result<Option<T>, EngineError> {
        match read {
            Err(EngineError::Corrupt(why)) => {
                self.unreadable += 1;
                if self.unreadable.is_power_of_two() {
                    let times = self.unreadable;
                    tracing::error!(times, "a part of the store cannot be read, and is left alone: {why}");
                }
                Ok(None)
            }
            read => read,
        }
    }
}

impl Making<'_> {
    /// What is removed by this batch that it would put.
    fn look_ahead(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Released { session, place, .. }
            | Change::Removed { session, place }
            | Change::Done { session, place: Some(place), .. } = change
                && place.position().0 >= self.first
            {
                self.passing.insert((*session, place.position().0));
            }
        }
    }

    fn put(&mut self, keyspace: Keyspace, key: impl Into<Vec<u8>>, value: Vec<u8>) {
        self.ops.insert((keyspace, key.into()), Some(value));
    }

    fn delete(&mut self, keyspace: Keyspace, key: impl Into<Vec<u8>>) {
        self.ops.insert((keyspace, key.into()), None);
    }

    fn take(&mut self, position: u64, change: &Change) -> Result<(), EngineError> {
        // What comes after a session's end finds nothing to change, and must leave nothing behind.
        if change.session().is_some_and(|session| self.fold.dying.has_ended(session)) {
            return Ok(());
        }
        match change {
            Change::Session(record) => self.take_session(record),
            Change::SessionEnded { session, client_id } => self.take_end(*session, client_id)?,
            Change::WillGone { session, client_id } => self.take_will(*session, client_id)?,
            Change::Subscribed { session, subscription } => {
                let key = layout::subscription_key(*session, &subscription.filter);
                self.put(Keyspace::Subscription, key, encode_subscription(subscription));
            }
            Change::Unsubscribed { session, filter } => {
                self.delete(Keyspace::Subscription, layout::subscription_key(*session, filter));
            }
            Change::Queued { message, to } => self.take_queued(position, message, to),
            Change::Sent { session, sequence, place } => {
                let flight = Flight { sequence: *sequence, place: *place, state: FlightState::Published };
                let key = layout::packet_key(*session, packet_id(*sequence));
                self.put_fresh(Keyspace::Inflight, key, flight.encode());
            }
            Change::Released { session, sequence, place } => {
                self.take_released(*session, *sequence, *place)?;
            }
            Change::Done { session, sequence, place } => {
                self.delete_fresh(Keyspace::Inflight, layout::packet_key(*session, packet_id(*sequence)));
                if let Some(place) = place {
                    self.remove(*session, *place)?;
                }
            }
            Change::Removed { session, place } => self.remove(*session, *place)?,
            Change::Received { session, packet_id } => {
                self.put_fresh(Keyspace::Inbound, layout::packet_key(*session, *packet_id), Vec::new());
            }
            Change::Completed { session, packet_id } => {
                self.delete_fresh(Keyspace::Inbound, layout::packet_key(*session, *packet_id));
            }
            Change::Retained { topic, message } => match message {
                Some(message) => {
                    let value = encode_message(message, self.fold.clock);
                    self.put(Keyspace::Retained, layout::retained_key(topic), value);
                }
                None => self.delete(Keyspace::Retained, layout::retained_key(topic)),
            },
            Change::RetainedExpired { topic } => self.take_expired(topic)?,
            Change::Forgotten { sender, through } => self.forget_stamps(sender, *through)?,
            Change::Taken { sender, mark } => self.take_mark(sender, **mark)?,
            Change::SetAside { sender, ahead } => {
                self.change_window(sender, |windows| windows.set_aside(sender, *ahead))?;
            }
            Change::Settled { sender, window } => {
                self.change_window(sender, |windows| windows.replace_numbers(sender, window))?;
            }
            Change::KeyUsed { key_id, opened } => self.take_key_used(key_id, *opened),
            Change::Enrolled(record) => self.take_enrolled(record),
            Change::Disenrolled(name) => self.delete(Keyspace::Enrolled, layout::enrolled_key(name)),
            Change::WindowForgotten { sender } => self.forget_sender(sender)?,
        }
        Ok(())
    }

    fn take_released(&mut self, session: SessionId, sequence: u64, place: Place) -> Result<(), EngineError> {
        let flight = Flight { sequence, place, state: FlightState::Released };
        let key = layout::packet_key(session, packet_id(sequence));
        self.put(Keyspace::Inflight, key, flight.encode());
        self.remove(session, place)
    }

    fn take_session(&mut self, record: &SessionRecord) {
        self.put(Keyspace::Session, record.client_id.as_bytes().to_vec(), record.encode());
        self.use_number(record.session);
    }

    fn take_key_used(&mut self, key_id: &[u8], opened: u64) {
        let value = (opened > 0).then(|| opened.to_be_bytes().into());
        self.ops.insert((Keyspace::Meta, layout::key_used_key(key_id)), value);
    }

    fn take_enrolled(&mut self, record: &Record) {
        self.put(Keyspace::Enrolled, layout::enrolled_key(&record.name), encode_enrolled(record));
    }

    /// No other session may ever have this number.
    fn use_number(&mut self, session: SessionId) {
        if session.0 >= self.fold.next_session {
            self.fold.next_session = session.0 + 1;
            let next = self.fold.next_session.to_be_bytes();
            self.put(Keyspace::Meta, layout::META_NEXT_SESSION, next.into());
        }
    }

    fn take_end(&mut self, session: SessionId, client_id: &ByteString) -> Result<(), EngineError> {
        let key = (Keyspace::Session, client_id.as_bytes().to_vec());
        // Another session of the client may have begun meanwhile; then the record is that one's.
        let record =
            self.value(&key)?.and_then(|record| SessionRecord::decode(client_id.clone(), record).ok());
        if record.is_some_and(|record| record.session == session) {
            self.ops.insert(key, None);
        }
        // It may have ended before it was kept; after a start, another of its number would be taken for it.
        self.use_number(session);
        self.put(Keyspace::Meta, layout::dying_key(session), Vec::new());
        self.fold.dying.begin(session);
        Ok(())
    }

    /// A session's record loses its will, if the record is still that session's.
    fn take_will(&mut self, session: SessionId, client_id: &ByteString) -> Result<(), EngineError> {
        let key = (Keyspace::Session, client_id.as_bytes().to_vec());
        let record =
            self.value(&key)?.and_then(|record| SessionRecord::decode(client_id.clone(), record).ok());
        if let Some(record) = record.filter(|record| record.session == session && record.will.is_some()) {
            self.ops.insert(key, Some(SessionRecord { will: None, ..record }.encode()));
        }
        Ok(())
    }

    fn take_queued(&mut self, position: u64, message: &Arc<Message>, to: &Receivers) {
        let is_shared = is_shared(to, message);
        let body = encode_message(message, self.fold.clock);
        let mut count = 0_u32;
        for (session, terms) in to.iter() {
            if self.passing.contains(&(session, position)) || self.fold.dying.has_ended(session) {
                continue;
            }
            let inline = (!is_shared).then_some(&*body);
            let entry = Entry::encode(terms, message.size(), inline);
            self.put(Keyspace::Queue, layout::queue_key(session, position), entry);
            count += 1;
        }
        if is_shared && count > 0 {
            self.put(Keyspace::Message, layout::position_key(position), body);
            self.put(Keyspace::Refs, layout::position_key(position), count.to_be_bytes().into());
            self.remember_count(position, count);
        }
    }

    /// A key that is there for a short while, mostly.
    fn put_fresh(&mut self, keyspace: Keyspace, key: Vec<u8>, value: Vec<u8>) {
        let key = (keyspace, key);
        if !self.ops.contains_key(&key) {
            self.fresh.insert(key.clone());
        }
        self.ops.insert(key, Some(value));
    }

    fn delete_fresh(&mut self, keyspace: Keyspace, key: Vec<u8>) {
        let key = (keyspace, key);
        if self.fresh.remove(&key) {
            self.ops.remove(&key);
        } else {
            self.ops.insert(key, None);
        }
    }

    /// An entry leaves a queue. What has left before does not count again: the others would lose the message.
    fn remove(&mut self, session: SessionId, place: Place) -> Result<(), EngineError> {
        let position = place.position().0;
        if self.passing.contains(&(session, position)) {
            return Ok(());
        }
        let key = (Keyspace::Queue, layout::queue_key(session, position).to_vec());
        if place.is_shared() && !self.ops.contains_key(&key) {
            let entry = self.engine.get(key.0, &key.1);
            // Where nobody can tell whether it was there, the message stays for good.
            if self.fold.readable(entry)?.is_some() {
                *self.lessened.entry(position).or_default() += 1;
            }
        }
        self.ops.insert(key, None);
        Ok(())
    }

    /// The counts of shared messages, once for each; a message that nobody has any more goes.
    fn lessen(&mut self) -> Result<(), EngineError> {
        let mut lessened: Vec<_> = std::mem::take(&mut self.lessened).into_iter().collect();
        lessened.sort_unstable();
        for (position, by) in lessened {
            let key = layout::position_key(position);
            let count = match self.fold.counts.get(&position).copied() {
                Some(count) => count,
                None => match self.engine.get(Keyspace::Refs, &key) {
                    Ok(Some(value)) => value.as_ref().try_into().map_or(0, u32::from_be_bytes),
                    Ok(None) => 0,
                    Err(error) => {
                        self.fold.readable::<()>(Err(error))?;
                        continue;
                    }
                },
            };
            let left = count.saturating_sub(by);
            if left == 0 {
                self.delete(Keyspace::Refs, key);
                self.delete(Keyspace::Message, key);
                self.fold.counts.remove(&position);
            } else {
                self.put(Keyspace::Refs, key, left.to_be_bytes().into());
                self.remember_count(position, left);
            }
        }
        Ok(())
    }

    fn remember_count(&mut self, position: u64, count: u32) {
        if self.fold.counts.len() >= COUNTS_MAX {
            self.fold.counts.clear();
        }
        self.fold.counts.insert(position, count);
    }

    fn take_mark(&mut self, sender: &Bytes, mark: Mark) -> Result<(), EngineError> {
        match mark {
            Mark::Timed { issued_at, stamp_hash } => {
                let key = layout::stamp_key(sender, issued_at, &stamp_hash);
                self.put(Keyspace::Replay, key, Vec::new());
            }
            Mark::Seq(_) => self.change_window(sender, |windows| windows.retake(sender, mark))?,
        }
        Ok(())
    }

    /// Changes a sender's window of counters, which is read when it is needed first.
    fn change_window(
        &mut self,
        sender: &[u8],
        change: impl FnOnce(&ReplayWindows),
    ) -> Result<(), EngineError> {
        let key = layout::window_key(sender);
        let windows = &self.fold.windows;
        if windows.snapshot(sender).is_none()
            && let Some(kept) = self.value(&(Keyspace::Replay, key.clone()))?
        {
            let malformed = || EngineError::Corrupt("a replay window is not of a form that is known".into());
            windows.restore(sender, SenderWindow::from_bytes(&kept).ok_or_else(malformed)?);
        }
        change(windows);
        if let Some(window) = windows.snapshot(sender) {
            self.put(Keyspace::Replay, key, window.to_bytes());
        }
        Ok(())
    }

    /// The stamps of a sender go that would not be taken any more anyhow; that they would not is kept instead.
    fn forget_stamps(&mut self, sender: &[u8], through: u64) -> Result<(), EngineError> {
        self.change_window(sender, |windows| windows.forget_through(sender, through))?;
        let prefix = layout::stamps_prefix(sender);
        let mut gone = Vec::new();
        self.engine.scan(Keyspace::Replay, &prefix, &prefix, &mut |key, _| {
            match layout::parse_replay_key(key) {
                Some(ReplayKey::Stamp(_, issued_at, _)) if issued_at <= through => gone.push(key.to_vec()),
                _ => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        })?;
        for key in gone {
            self.delete(Keyspace::Replay, key);
        }
        Ok(())
    }

    /// A sender counts anew: its window goes, and its stamps with it, of this batch and of those before.
    fn forget_sender(&mut self, sender: &[u8]) -> Result<(), EngineError> {
        self.fold.windows.forget(sender, None);
        let prefix = layout::stamps_prefix(sender);
        let is_its = |key: &[u8]| key.starts_with(&prefix);
        let from = (Keyspace::Replay, prefix.clone());
        let put = self.ops.range(from..).take_while(|((of, key), _)| *of == Keyspace::Replay && is_its(key));
        let mut gone: Vec<Vec<u8>> = put.map(|((_, key), _)| key.clone()).collect();
        self.engine.scan(Keyspace::Replay, &prefix, &prefix, &mut |key, _| {
            gone.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        for key in gone.into_iter().chain([layout::window_key(sender)]) {
            self.delete(Keyspace::Replay, key);
        }
        Ok(())
    }

    /// A retained message goes if it has expired. Another may have been set since that was found.
    fn take_expired(&mut self, topic: &TopicName) -> Result<(), EngineError> {
        let key = (Keyspace::Retained, layout::retained_key(topic));
        let kept = self.value(&key)?.and_then(|kept| decode_message(kept, self.fold.clock).ok());
        if kept.is_some_and(|message| message.is_expired(Instant::now())) {
            self.ops.insert(key, None);
        }
        Ok(())
    }

    /// What a key holds after what this batch has done so far.
    fn value(&self, key: &(Keyspace, Vec<u8>)) -> Result<Option<Bytes>, EngineError> {
        match self.ops.get(key) {
            Some(value) => Ok(value.clone().map(Bytes::from)),
            None => self.engine.get(key.0, &key.1),
        }
    }

    /// A slice of what is left of a session that has ended.
    fn remove_dying(&mut self, keys_max: usize) -> Result<(), EngineError> {
        let Some(session) = self.fold.dying.first() else { return Ok(()) };
        let mark = (Keyspace::Meta, layout::dying_key(session));
        // What this very batch puts for it, before it ends, is seen by the next.
        if self.ops.contains_key(&mark) {
            return Ok(());
        }
        let slice = self.fold.dying.slice(keys_max, self.engine)?;
        for Left { keyspace, key, shared } in slice.keys {
            if let Some(position) = shared {
                *self.lessened.entry(position).or_default() += 1;
            }
            self.delete(keyspace, key);
        }
        if slice.is_last {
            self.ops.insert(mark, None);
        }
        Ok(())
    }
}

/// Whether a message's body is written once for all of its receivers.
pub(crate) fn is_shared(to: &Receivers, message: &Message) -> bool {
    matches!(to, Receivers::Several(_)) && message.size() >= SHARED_BYTES_MIN
}
