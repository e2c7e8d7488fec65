//! What the store is told of a session's outbound messages, and what has to wait for it. Comes in: each step
//! of a message that the store keeps. Goes out: the changes, to be appended by `connection/`; and when what
//! waited may go on. Of a session that the store does not keep, nothing.

use crate::delivery::{Delivery, Place, SessionId};
use crate::store::{Change, Position};
use rustc_hash::FxHashSet;
use sealmq_protocol::Qos;
use std::collections::VecDeque;

/// A message in flight, as the store had it: without a delivery once PUBREC has come.
pub(crate) struct Resumed {
    /// Which sending of the session it was.
    pub(crate) sequence: u64,
    /// The message, while it is needed.
    pub(crate) entry: Option<Delivery>,
}

/// See the module's description.
pub(crate) struct Kept {
    session: Option<SessionId>,
    changes: Vec<Change>,
    /// Entries at the end of the window that have a packet id and were not sent, since it is not kept yet.
    staged: usize,
    /// Of these, from the first: how many wait for which position.
    waiting: VecDeque<(usize, Position)>,
    /// Staged since the changes were last taken.
    new: usize,
    /// Of the staged, those that may be sent now.
    sendable: usize,
    /// What was in flight when the session was taken up: it still stands in the queue.
    resumed: FxHashSet<Place>,
}

impl Kept {
    /// Of a session that the store keeps, if it is named.
    pub(super) fn new(session: Option<SessionId>) -> Self {
        Self {
            session,
            changes: Vec::new(),
            staged: 0,
            waiting: VecDeque::new(),
            new: 0,
            sendable: 0,
            resumed: FxHashSet::default(),
        }
    }

    /// Whether the store keeps the session.
    pub(super) fn keeps(&self) -> bool {
        self.session.is_some()
    }

    /// Something else that the store is to be told.
    pub(super) fn tell(&mut self, change: Change) {
        if self.keeps() {
            self.changes.push(change);
        }
    }

    /// A message is given a packet id.
    #[inline]
    pub(super) fn send(&mut self, sequence: u64, delivery: &Delivery) {
        if let (Some(session), Some(place)) = (self.session, delivery.place) {
            self.changes.push(Change::Sent { session, sequence, place });
        }
    }

    /// A message is done.
    #[inline]
    pub(super) fn finish(&mut self, sequence: u64, place: Option<Place>) {
        if let Some(session) = self.session {
            self.changes.push(Change::Done { session, sequence, place });
        }
    }

    /// Messages in flight are not there any more.
    pub(crate) fn finish_all(&mut self, sequences: impl IntoIterator<Item = u64>) {
        sequences.into_iter().for_each(|sequence| self.finish(sequence, None));
    }

    /// PUBREC has come for a message.
    pub(super) fn release(&mut self, sequence: u64, place: Option<Place>) {
        if let (Some(session), Some(place)) = (self.session, place) {
            self.changes.push(Change::Released { session, sequence, place });
        }
    }

    /// A message is not in flight any more, and stands in the queue as if it had not been.
    pub(super) fn unsend(&mut self, sequence: u64) {
        self.finish(sequence, None);
    }

    /// A message is passed over.
    pub(super) fn remove(&mut self, delivery: &Delivery) {
        if let (Some(session), Some(place)) = (self.session, delivery.place) {
            self.changes.push(Change::Removed { session, place });
        }
    }

    /// Messages are dropped for newer ones.
    pub(crate) fn drop_oldest(&mut self, places: impl IntoIterator<Item = Place>) {
        if let Some(session) = self.session {
            self.changes.extend(places.into_iter().map(|place| Change::Removed { session, place }));
        }
    }

    /// Whether a message may be sent only once its packet id is kept.
    #[inline]
    pub(super) fn must_wait(delivery: &Delivery) -> bool {
        delivery.place.is_some() && delivery.terms.qos == Qos::ExactlyOnce
    }

    /// An entry at the end of the window waits for the store from now on.
    pub(super) fn stage(&mut self) {
        self.staged += 1;
        self.new += 1;
    }

    /// Entries that wait, or may be sent and were not yet.
    #[inline]
    pub(super) fn staged(&self) -> usize {
        self.staged
    }

    /// Whether one of them may be sent.
    #[inline]
    pub(super) fn take_sendable(&mut self) -> bool {
        let may = self.sendable > 0;
        self.sendable -= usize::from(may);
        may
    }

    /// The first of them is sent.
    pub(super) fn unstage(&mut self) {
        self.staged -= 1;
    }

    /// The changes since this was last asked; whether a message waits for them.
    pub(crate) fn changes(&mut self) -> (&mut Vec<Change>, bool) {
        (&mut self.changes, self.new > 0)
    }

    /// The changes were appended up to `position`.
    pub(crate) fn handle_appended(&mut self, position: Position) {
        if self.new > 0 {
            self.waiting.push_back((std::mem::take(&mut self.new), position));
        }
    }

    /// What the first of the messages that wait waits for.
    pub(crate) fn waits_for(&self) -> Option<Position> {
        self.waiting.front().map(|(_, position)| *position)
    }

    /// The position that [`Kept::waits_for`] gave is reached.
    pub(crate) fn handle_reached(&mut self) {
        if let Some((messages, _)) = self.waiting.pop_front() {
            self.sendable += messages;
        }
    }

    /// A message was in flight when the session was taken up.
    pub(super) fn resumed(&mut self, delivery: &Delivery) {
        self.resumed.extend(delivery.place);
    }

    /// Whether a message of a page was in flight when the session was taken up.
    pub(super) fn is_resumed(&self, delivery: &Delivery) -> bool {
        delivery.place.is_some_and(|place| self.resumed.contains(&place))
    }

    /// The connection is over.
    pub(super) fn detach(&mut self) {
        (self.staged, self.new, self.sendable) = (0, 0, 0);
        self.waiting.clear();
        self.resumed = FxHashSet::default();
    }
}
