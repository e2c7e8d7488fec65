//! A mailbox whose session the store keeps: a message is admitted, then written, then pushed with its place.
//! Two steps, since what is written must be known before it stands anywhere, and where it stands before it
//! is pushed.

use super::backlog::Way;
use super::{Mailbox, Pushed, Receiver};
use crate::delivery::{Delivery, Place, Terms};
use crate::ingress::message::Message;
use crate::store::Position;
use sealmq_config::limits::QueueFull;
use sealmq_protocol::Qos;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

/// Deliveries in an inbox that may be slices of read buffers: fewer than elsewhere, since what is written
/// pins them too.
const SLICES_MAX: usize = 512;

/// Whether a message may be written for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may; it must be pushed then.
    Granted,
    /// It may, in the place of the oldest, which will be dropped; it must be pushed then.
    Displacing,
    /// It is not for this session, or there is no room.
    Refused(Pushed),
}

/// What was taken from a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// All there was.
    All,
    /// Nothing was here; the store has the queue, from this position on.
    StoreFrom(Position),
}

/// What a connection leaves behind that the store keeps.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// Taken and not sent; goes to the mailbox again, or to others.
    pub(crate) unsent: VecDeque<Delivery>,
    /// The oldest message in flight.
    pub(crate) oldest_in_flight: Option<Position>,
}

impl Mailbox {
    /// Whether a message of QoS 1 or 2 may be written for this session. Where it may, [`Mailbox::push_stored`]
    /// must follow.
    pub(crate) fn admit(&self, message: &Message) -> Admission {
        let limits = &self.bounds.limits;
        let size = message.size();
        let mut inner = self.inner.lock();
        match inner.receiver {
            _ if inner.hides(message) => return Admission::Refused(Pushed::Unwanted),
            Receiver::Gone => return Admission::Refused(Pushed::Unwanted),
            Receiver::Connected(channel) if !message.egress().allows(channel) => {
                return Admission::Refused(Pushed::Withheld);
            }
            Receiver::Connected(_) | Receiver::Away => {}
        }
        if size > limits.queue_bytes_max {
            return Admission::Refused(Pushed::Dropped);
        }
        let backlog = &mut inner.backlog;
        let queued_bytes = self.bounds.queued_bytes.load(Ordering::Relaxed);
        let too_many = backlog.messages() >= limits.queue_messages_max;
        let too_large = backlog.bytes() + size > limits.queue_bytes_max
            || queued_bytes + size > self.bounds.queued_bytes_max;
        if (too_many || too_large) && limits.queue_full == QueueFull::DropNewest {
            return Admission::Refused(Pushed::Dropped);
        }
        if too_large && backlog.bytes() < size {
            // Not even an empty queue would leave room for it.
            return Admission::Refused(Pushed::Dropped);
        }
        backlog.admit(size);
        self.bounds.queued_bytes.fetch_add(size, Ordering::Relaxed);
        if too_many || too_large {
            backlog.owe(too_many.into(), if too_large { size } else { 0 });
            return Admission::Displacing;
        }
        Admission::Granted
    }

    /// Hands in a message that was admitted, and stands in the store now.
    pub(crate) fn push_stored(
        &self,
        message: &Arc<Message>,
        terms: Terms,
        place: Place,
        detached: &mut Option<Arc<Message>>,
    ) -> Pushed {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        match inner.receiver {
            // The store forgets what it has for a session that has ended.
            Receiver::Gone => Pushed::Unwanted,
            Receiver::Away => {
                inner.backlog.push_away(place.position());
                Pushed::Queued
            }
            Receiver::Connected(_) => {
                let is_first = inner.queue.is_empty();
                let was_deep = inner.backlog.next().is_some();
                let is_pressed = !self.is_within(inner);
                match inner.backlog.push(place.position(), message.size()) {
                    Way::Read => return Pushed::Taken,
                    // Whoever reads the store comes to it.
                    Way::Store if was_deep && !is_pressed => return Pushed::Taken,
                    Way::Store => {}
                    Way::Inbox => {
                        let message = if inner.queue.len() < SLICES_MAX {
                            message.clone()
                        } else {
                            detached.get_or_insert_with(|| message.kept()).clone()
                        };
                        inner.queue.put(Delivery { message, terms, place: Some(place) });
                    }
                }
                if is_pressed {
                    Pushed::Pressed
                } else if is_first {
                    Pushed::Wake
                } else {
                    Pushed::Taken
                }
            }
        }
    }

    /// Whether a message of QoS 0 is to be written for the session as well: its client is away.
    pub(crate) fn keeps_qos0(&self) -> bool {
        self.bounds.queue_qos0 && self.inner.lock().receiver == Receiver::Away
    }

    /// A page of the queue was read up to `through`; so many of its messages, and bytes, have left the queue.
    /// Says from when on the rest of the queue can be read, if it cannot be yet.
    pub(crate) fn turn_page(
        &self,
        through: Position,
        is_last: bool,
        (messages, bytes): (usize, usize),
    ) -> Option<Position> {
        let (wait, pressed) = {
            let mut inner = self.inner.lock();
            let inner = &mut *inner;
            let before = inner.backlog.bytes_in_all();
            let wait = inner.backlog.turn_page(through, is_last, (messages, bytes));
            self.settle(before, inner.backlog.bytes_in_all());
            let relieved = self.is_within(inner);
            (wait, if relieved { std::mem::take(&mut inner.pressed) } else { Vec::new() })
        };
        pressed.into_iter().for_each(Waker::wake);
        wait
    }

    /// Whether the oldest message, of so many bytes, is to be dropped for newer ones.
    pub(crate) fn pay(&self, bytes: usize) -> bool {
        self.inner.lock().backlog.pay(bytes)
    }

    /// Whether some of the oldest are to be dropped, while nobody reads them anyhow.
    pub(crate) fn owes(&self) -> bool {
        let inner = self.inner.lock();
        inner.receiver == Receiver::Away && inner.backlog.owes()
    }

    /// Nothing of the session's queue stands before this.
    pub(crate) fn oldest(&self) -> Position {
        self.inner.lock().backlog.next().unwrap_or(Position(1))
    }

    /// So much was found in the store to wait for a session that nobody has taken up since.
    pub(crate) fn found(&self, messages: usize, bytes: usize) {
        let mut inner = self.inner.lock();
        if inner.receiver == Receiver::Away {
            inner.backlog.found(messages, bytes);
            self.bounds.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// So much of what waited was removed from the store.
    pub(crate) fn removed(&self, messages: usize, bytes: usize) {
        let mut inner = self.inner.lock();
        let before = inner.backlog.bytes_in_all();
        inner.backlog.removed(messages, bytes);
        self.settle(before, inner.backlog.bytes_in_all());
    }

    /// The connection has ended and the session stays, its queue in the store. Gives back what `is_for_others`:
    /// another member of a shared subscription can have it.
    pub(crate) fn park_stored(
        &self,
        parked: Parked,
        mut is_for_others: impl FnMut(&Delivery) -> bool,
    ) -> VecDeque<Delivery> {
        let Parked { unsent, oldest_in_flight } = parked;
        let (orphans, pressed) = {
            let mut inner = self.inner.lock();
            let inner = &mut *inner;
            let bytes = unsent.iter().filter(|delivery| delivery.place.is_some());
            let waits_again =
                bytes.fold((0, 0), |(n, bytes), delivery| (n + 1, bytes + delivery.message.size()));
            let in_memory: VecDeque<_> = unsent.into_iter().chain(inner.queue.take()).collect();
            let oldest = in_memory.iter().filter_map(|delivery| delivery.place).map(Place::position);
            let oldest = oldest.chain(oldest_in_flight).min();
            let before = inner.backlog.bytes_in_all();
            inner.backlog.park(oldest, waits_again);
            self.settle(before, inner.backlog.bytes_in_all());
            inner.receiver = Receiver::Away;
            inner.waker = None;
            // What the old connection was told is not meant for the next one.
            inner.command = None;
            // What nobody else takes stays where it is, in the store; QoS 0 is not there, and goes.
            let kept = in_memory.into_iter().filter(|delivery| delivery.terms.qos > Qos::AtMostOnce);
            let orphans: VecDeque<_> = kept.filter(|delivery| is_for_others(delivery)).collect();
            (orphans, std::mem::take(&mut inner.pressed))
        };
        pressed.into_iter().for_each(Waker::wake);
        orphans
    }

    /// The bytes that wait were another number: so they are in all sessions together.
    pub(super) fn settle(&self, before: usize, after: usize) {
        let all = &self.bounds.queued_bytes;
        if after > before {
            all.fetch_add(after - before, Ordering::Relaxed);
        } else {
            all.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}
