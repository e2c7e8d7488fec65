//! A session's mailbox: the one way by which anybody reaches a client, connected or not. The router
//! pushes deliveries in; the connection that holds the session takes them all at once.
//!
//! Owns the deliveries that no connection has taken yet, and says where the client is: connected,
//! away, or gone for ever. The lock is held for one push or one swap. Every bound of `limits.inbox_*`
//! and `limits.queue_*` is kept here, and nowhere else. Where the store keeps a session's queue, what does
//! not go straight on lies there alone, and [`backlog`] knows which part.

mod backlog;
mod queue;
mod stored;
#[cfg(test)]
mod tests;
mod waking;

use crate::delivery::{Delivery, SessionId, Terms};
use crate::egress::Channel;
use crate::ingress::message::Message;
use crate::metrics::Metrics;
use backlog::Backlog;
use bytestring::ByteString;
use parking_lot::Mutex;
use queue::Queue;
use sealmq_config::limits::{Limits, QueueFull};
use sealmq_config::storage::Storage;
use sealmq_protocol::Qos;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;
pub(crate) use stored::{Admission, Parked, Taken};
use tokio::sync::Notify;

/// Deliveries in an inbox that may be slices of read buffers.
const SLICES_MAX: usize = 4_096;

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Taken; the receiver is to be woken once the pusher's turn is over.
    Wake,
    /// Taken; the receiver has something waiting already and knows it.
    Taken,
    /// Taken, and the inbox is over its bound: the pusher should let the receiver catch up.
    Pressed,
    /// Kept for a client that is away.
    Queued,
    /// Not taken, since the client has no need of it: gone, or away and the message QoS 0.
    Unwanted,
    /// Not taken: a confidential message, and the client's connection is not fit for it.
    Withheld,
    /// Not taken: a bound is reached.
    Dropped,
    /// Taken in the place of older ones, which were dropped: a bound is reached.
    Displaced,
    /// The receiver fell too far behind; it will be disconnected and is to be woken.
    Overrun,
}

/// How a client stands to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Connected, and keeps up.
    Open,
    /// Connected, and its inbox is full.
    Behind,
    /// Away, and messages are kept for it.
    Away,
    /// Gone, or connected in a way that is not fit for the message, which is confidential.
    Closed,
}

/// What else than deliveries a connection is told through its mailbox. A stronger word, further down,
/// replaces a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    /// Rules were reloaded: look whether the client may stay, and what it may still subscribe to.
    Renew,
    /// The server stops: publish the will, read no more.
    Drain,
    /// The server stops: send what is left and close.
    Finish,
    /// Fell too far behind its subscriptions.
    Overrun,
    /// A new connection claims the client id.
    TakenOver,
}

/// What becomes of a session when its connection ends, and where its messages are meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It ends as well.
    Nothing,
    /// It stays for as long as this process does.
    Memory,
    /// It stays; its messages are in the store from the beginning.
    Store,
}

/// What the mailboxes of a broker share: the bounds, and the count of what is kept in all.
pub(crate) struct Bounds {
    limits: Limits,
    queued_bytes_max: usize,
    queue_qos0: bool,
    queued_bytes: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Bounds {
    /// Bounds as configured.
    pub(crate) fn new(limits: Limits, storage: &Storage, metrics: Arc<Metrics>) -> Self {
        let Storage { queued_bytes_max, queue_qos0, .. } = *storage;
        Self { limits, queued_bytes_max, queue_qos0, queued_bytes: AtomicUsize::new(0), metrics }
    }
}

/// See the module's description.
pub(crate) struct Mailbox {
    session: SessionId,
    client_id: ByteString,
    keeping: Keeping,
    bounds: Arc<Bounds>,
    inner: Mutex<Inner>,
    /// Notified when a connection has let go of the session.
    pub(crate) released: Notify,
}

struct Inner {
    receiver: Receiver,
    queue: Queue,
    backlog: Backlog,
    /// Whether the connection may be shown the audit.
    is_auditor: bool,
    command: Option<Command>,
    waker: Option<Waker>,
    /// Publishers that wait until the queue is taken.
    pressed: Vec<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiver {
    Connected(Channel),
    Away,
    Gone,
}

impl Mailbox {
    /// A mailbox for a session that is about to be connected.
    pub(crate) fn new(
        session: SessionId,
        client_id: ByteString,
        keeping: Keeping,
        bounds: Arc<Bounds>,
    ) -> Arc<Self> {
        let inner = Inner {
            receiver: Receiver::Away,
            queue: Queue::default(),
            backlog: Backlog::default(),
            is_auditor: false,
            command: None,
            waker: None,
            pressed: Vec::new(),
        };
        Arc::new(Self {
            session,
            client_id,
            keeping,
            bounds,
            inner: Mutex::new(inner),
            released: Notify::new(),
        })
    }

    /// Whose it is.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// Whose it is, by name.
    pub(crate) fn client_id(&self) -> &ByteString {
        &self.client_id
    }

    /// Whether the session outlives its connections.
    pub(crate) fn persistent(&self) -> bool {
        self.keeping != Keeping::Nothing
    }

    /// Whether its messages are in the store from the beginning.
    pub(crate) fn is_stored(&self) -> bool {
        self.keeping == Keeping::Store
    }

    /// Hands in one message. `detached` is the copy that is kept for absent clients, made when the
    /// first of a message's receivers needs it.
    pub(crate) fn push(
        &self,
        message: &Arc<Message>,
        terms: Terms,
        detached: &mut Option<Arc<Message>>,
    ) -> Pushed {
        let mut inner = self.inner.lock();
        match inner.receiver {
            _ if inner.hides(message) => Pushed::Unwanted,
            Receiver::Gone => Pushed::Unwanted,
            Receiver::Away if terms.qos == Qos::AtMostOnce && !self.bounds.queue_qos0 => Pushed::Unwanted,
            Receiver::Away => {
                let message = detached.get_or_insert_with(|| message.kept());
                self.keep(&mut inner, Delivery { message: message.clone(), terms, place: None })
            }
            Receiver::Connected(channel) => {
                if !message.egress().allows(channel) {
                    return Pushed::Withheld;
                }
                // A receiver that is this far behind must not pin the buffers of what it waits for.
                let message = if inner.queue.len() < SLICES_MAX {
                    message.clone()
                } else {
                    detached.get_or_insert_with(|| message.kept()).clone()
                };
                self.hand_in(&mut inner, Delivery { message, terms, place: None })
            }
        }
    }

    /// How the client stands to a message.
    pub(crate) fn standing(&self, message: &Message) -> Standing {
        let inner = self.inner.lock();
        match inner.receiver {
            _ if inner.hides(message) => Standing::Closed,
            Receiver::Connected(channel) if !message.egress().allows(channel) => Standing::Closed,
            Receiver::Connected(_) if self.is_within(&inner) => Standing::Open,
            Receiver::Connected(_) => Standing::Behind,
            Receiver::Away if self.persistent() => Standing::Away,
            Receiver::Away | Receiver::Gone => Standing::Closed,
        }
    }

    /// Whether an inbox is within its bounds.
    fn is_within(&self, inner: &Inner) -> bool {
        let limits = &self.bounds.limits;
        let (messages, bytes) = if self.is_stored() {
            (inner.backlog.messages(), inner.backlog.bytes())
        } else {
            (inner.queue.len(), inner.queue.bytes())
        };
        messages < limits.inbox_messages_max && bytes <= limits.inbox_bytes_max
    }

    /// The inbox of a connected client.
    #[inline]
    fn hand_in(&self, inner: &mut Inner, delivery: Delivery) -> Pushed {
        let limits = &self.bounds.limits;
        let (count, bytes) = (inner.queue.len(), inner.queue.bytes() + delivery.message.size());
        // An empty inbox takes anything: no packet is too large to be passed on.
        if count == 0 {
            inner.queue.put(delivery);
            return Pushed::Wake;
        }
        if count < limits.inbox_messages_max && bytes <= limits.inbox_bytes_max {
            inner.queue.put(delivery);
            return Pushed::Taken;
        }
        if delivery.terms.qos == Qos::AtMostOnce {
            return self.make_room(inner, delivery);
        }
        if count / 2 < limits.inbox_messages_max && bytes / 2 <= limits.inbox_bytes_max {
            inner.queue.put(delivery);
            return Pushed::Pressed;
        }
        // From now on the client counts as away, so that the queue's bounds hold.
        inner.receiver = if self.persistent() { Receiver::Away } else { Receiver::Gone };
        inner.command = inner.command.max(Some(Command::Overrun));
        if self.persistent() {
            self.bounds.queued_bytes.fetch_add(inner.queue.bytes(), Ordering::Relaxed);
            self.keep(inner, delivery);
        }
        Pushed::Overrun
    }

    /// A QoS 0 message for a full inbox: the oldest go, as long as they are as cheap to lose; else the
    /// new one does.
    fn make_room(&self, inner: &mut Inner, delivery: Delivery) -> Pushed {
        let limits = &self.bounds.limits;
        let size = delivery.message.size();
        let full = |inner: &Inner| {
            inner.queue.len() >= limits.inbox_messages_max
                || inner.queue.bytes() + size > limits.inbox_bytes_max
        };
        let mut dropped = 0;
        while full(inner) && inner.queue.oldest().is_some_and(|oldest| oldest.terms.qos == Qos::AtMostOnce) {
            inner.queue.pull();
            dropped += 1;
        }
        let has_room = !full(inner) || inner.queue.is_empty();
        if !has_room {
            self.bounds.metrics.add_dropped(dropped);
            return Pushed::Dropped;
        }
        inner.queue.put(delivery);
        // One of them is counted by whoever pushes.
        self.bounds.metrics.add_dropped(dropped - 1);
        Pushed::Displaced
    }

    /// The queue of a client that is away.
    fn keep(&self, inner: &mut Inner, delivery: Delivery) -> Pushed {
        let limits = &self.bounds.limits;
        let size = delivery.message.size();
        if size > limits.queue_bytes_max {
            // Not even an empty queue would hold it.
            return Pushed::Dropped;
        }
        let has_room = |inner: &Inner| {
            inner.queue.len() < limits.queue_messages_max
                && inner.queue.bytes() + size <= limits.queue_bytes_max
                && self.bounds.queued_bytes.load(Ordering::Relaxed) + size <= self.bounds.queued_bytes_max
        };
        let mut dropped = false;
        if !has_room(inner) {
            let (expired, bytes) = inner.queue.drop_expired(Instant::now());
            self.bounds.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.bounds.metrics.publish_expired.add(expired as u64);
        }
        while !has_room(inner) {
            dropped = true;
            match limits.queue_full {
                QueueFull::DropNewest => return Pushed::Dropped,
                QueueFull::DropOldest => {
                    let Some(oldest) = inner.queue.pull() else { return Pushed::Dropped };
                    self.bounds.queued_bytes.fetch_sub(oldest.message.size(), Ordering::Relaxed);
                }
            }
        }
        self.bounds.queued_bytes.fetch_add(size, Ordering::Relaxed);
        inner.queue.put(delivery);
        if dropped { Pushed::Displaced } else { Pushed::Queued }
    }

    /// A connection takes the session up.
    pub(crate) fn attach(&self, channel: Channel) {
        let mut inner = self.inner.lock();
        if inner.receiver == Receiver::Away && !self.is_stored() {
            self.bounds.queued_bytes.fetch_sub(inner.queue.bytes(), Ordering::Relaxed);
        }
        (inner.receiver, inner.is_auditor) = (Receiver::Connected(channel), false);
    }

    /// The connection is fit for something else, by other rules.
    pub(crate) fn set_channel(&self, channel: Channel) {
        if let Receiver::Connected(known) = &mut self.inner.lock().receiver {
            *known = channel;
        }
    }

    /// The connection has ended and the session stays: `unsent` is what it had taken and not sent,
    /// and goes before what has come since. QoS 0 is not kept. Gives back what `is_for_others`, since another
    /// member of a shared subscription can have it.
    pub(crate) fn park(
        &self,
        unsent: VecDeque<Delivery>,
        is_for_others: impl FnMut(&Delivery) -> bool,
    ) -> VecDeque<Delivery> {
        let mut waiting = {
            let mut inner = self.inner.lock();
            if inner.receiver == Receiver::Away {
                self.bounds.queued_bytes.fetch_sub(inner.queue.bytes(), Ordering::Relaxed);
            }
            inner.receiver = Receiver::Away;
            inner.waker = None;
            // What the old connection was told is not meant for the next one.
            inner.command = None;
            inner.queue.take()
        };
        // Copied outside the lock: nobody else takes while no connection holds the session.
        let mut kept = unsent;
        kept.append(&mut waiting);
        let (orphans, mut kept): (VecDeque<_>, VecDeque<_>) = kept.into_iter().partition(is_for_others);
        kept.retain(|delivery| delivery.terms.qos > Qos::AtMostOnce);
        for delivery in &mut kept {
            delivery.message = delivery.message.kept();
        }
        let mut dropped = 0;
        let pressed = {
            let mut inner = self.inner.lock();
            self.bounds.queued_bytes.fetch_sub(inner.queue.bytes(), Ordering::Relaxed);
            kept.append(&mut inner.queue.take());
            for delivery in kept {
                dropped += u64::from(self.keep(&mut inner, delivery) == Pushed::Dropped);
            }
            std::mem::take(&mut inner.pressed)
        };
        self.bounds.metrics.add_dropped(dropped);
        pressed.into_iter().for_each(Waker::wake);
        orphans
    }

    /// Takes back what no other member of a shared subscription could have, for when the client returns.
    pub(crate) fn take_back(&self, orphans: VecDeque<Delivery>) {
        let mut dropped = 0;
        {
            let mut inner = self.inner.lock();
            for mut delivery in orphans {
                let kept = match inner.receiver {
                    Receiver::Away if delivery.terms.qos > Qos::AtMostOnce => {
                        delivery.message = delivery.message.kept();
                        self.keep(&mut inner, delivery)
                    }
                    Receiver::Away | Receiver::Gone => Pushed::Dropped,
                    Receiver::Connected(_) => self.hand_in(&mut inner, delivery),
                };
                dropped += u64::from(matches!(kept, Pushed::Dropped | Pushed::Displaced));
            }
        }
        self.bounds.metrics.add_dropped(dropped);
        self.wake();
    }

    /// The session has ended; nothing more is taken. Gives back what waited.
    pub(crate) fn close(&self) -> VecDeque<Delivery> {
        let (queue, pressed) = {
            let mut inner = self.inner.lock();
            if self.is_stored() {
                self.bounds.queued_bytes.fetch_sub(inner.backlog.clear(), Ordering::Relaxed);
            } else if inner.receiver == Receiver::Away {
                self.bounds.queued_bytes.fetch_sub(inner.queue.bytes(), Ordering::Relaxed);
            }
            inner.receiver = Receiver::Gone;
            inner.waker = None;
            (inner.queue.take(), std::mem::take(&mut inner.pressed))
        };
        pressed.into_iter().for_each(Waker::wake);
        queue
    }

    /// Swaps everything that waits into `empty`, which must be empty. Says where the store has more.
    pub(crate) fn take(&self, empty: &mut VecDeque<Delivery>) -> Taken {
        let pressed = {
            let mut inner = self.inner.lock();
            let inner = &mut *inner;
            if !matches!(inner.receiver, Receiver::Connected(_)) {
                return Taken::All;
            }
            if inner.queue.is_empty() {
                return inner.backlog.next().map_or(Taken::All, Taken::StoreFrom);
            }
            inner.queue.swap(empty);
            if self.is_stored() {
                let before = inner.backlog.bytes_in_all();
                inner.backlog.take_inbox();
                self.settle(before, inner.backlog.bytes_in_all());
            }
            std::mem::take(&mut inner.pressed)
        };
        pressed.into_iter().for_each(Waker::wake);
        Taken::All
    }
}
