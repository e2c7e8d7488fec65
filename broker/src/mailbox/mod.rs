//! A session's mailbox: the one way by which anybody reaches a client, connected or not. The router
//! pushes deliveries in; the connection that holds the session takes them all at once.
//!
//! Owns the deliveries that no connection has taken yet, and says where the client is: connected,
//! away, or gone for ever. The lock is held for one push or one swap. Every bound of `limits.inbox_*`
//! and `limits.queue_*` is kept here, and nowhere else.

use crate::delivery::{Delivery, SessionId, Terms};
use crate::ingress::message::Message;
use crate::metrics::Metrics;
use crate::router::Among;
use bytestring::ByteString;
use parking_lot::Mutex;
use sealmq_config::limits::{Limits, QueueFull};
use sealmq_protocol::Qos;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
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
    /// Not taken: a confidential message, and the client is on a plaintext connection.
    Withheld,
    /// Not taken: a bound is reached.
    Dropped,
    /// Taken in the place of older ones, which were dropped: a bound is reached.
    Displaced,
    /// The receiver fell too far behind; it will be disconnected and is to be woken.
    Overrun,
}

impl Pushed {
    /// Whether the receiver has it now, or what is kept for the receiver.
    pub(crate) fn is_taken(self) -> bool {
        match self {
            Self::Wake | Self::Taken | Self::Pressed | Self::Queued | Self::Displaced | Self::Overrun => true,
            Self::Unwanted | Self::Withheld | Self::Dropped => false,
        }
    }
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

/// What the mailboxes of a broker share: the bounds, and the count of what is kept in all.
pub(crate) struct Bounds {
    limits: Limits,
    queued_bytes_max: usize,
    queued_bytes: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Bounds {
    /// Bounds as configured.
    pub(crate) fn new(limits: Limits, queued_bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        Self { limits, queued_bytes_max, queued_bytes: AtomicUsize::new(0), metrics }
    }
}

/// See the module's description.
pub(crate) struct Mailbox {
    session: SessionId,
    client_id: ByteString,
    persistent: bool,
    bounds: Arc<Bounds>,
    inner: Mutex<Inner>,
    /// Notified when a connection has let go of the session.
    pub(crate) released: Notify,
}

struct Inner {
    receiver: Receiver,
    queue: VecDeque<Delivery>,
    bytes: usize,
    /// No message in the queue expires before this.
    soonest_expiry: Option<Instant>,
    command: Option<Command>,
    waker: Option<Waker>,
    /// Publishers that wait until the queue is taken.
    pressed: Vec<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiver {
    Connected { secure: bool },
    Away,
    Gone,
}

impl Mailbox {
    /// A mailbox for a session that is about to be connected.
    pub(crate) fn new(
        session: SessionId,
        client_id: ByteString,
        persistent: bool,
        bounds: Arc<Bounds>,
    ) -> Arc<Self> {
        let inner = Inner {
            receiver: Receiver::Away,
            queue: VecDeque::new(),
            bytes: 0,
            soonest_expiry: None,
            command: None,
            waker: None,
            pressed: Vec::new(),
        };
        Arc::new(Self {
            session,
            client_id,
            persistent,
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
        self.persistent
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
            Receiver::Gone => Pushed::Unwanted,
            Receiver::Away if terms.qos == Qos::AtMostOnce => Pushed::Unwanted,
            Receiver::Away => {
                let message = detached.get_or_insert_with(|| message.kept());
                self.keep(&mut inner, Delivery { message: message.clone(), terms })
            }
            Receiver::Connected { secure } => {
                if message.confidential() && !secure {
                    return Pushed::Withheld;
                }
                // A receiver that is this far behind must not pin the buffers of what it waits for.
                let message = if inner.queue.len() < SLICES_MAX {
                    message.clone()
                } else {
                    detached.get_or_insert_with(|| message.kept()).clone()
                };
                self.hand_in(&mut inner, Delivery { message, terms })
            }
        }
    }

    /// Whether a message would go to a connected client that may see it.
    pub(crate) fn is_open_to(&self, message: &Message) -> bool {
        match self.inner.lock().receiver {
            Receiver::Connected { secure } => secure || !message.confidential(),
            Receiver::Away | Receiver::Gone => false,
        }
    }

    /// The inbox of a connected client.
    #[inline]
    fn hand_in(&self, inner: &mut Inner, delivery: Delivery) -> Pushed {
        let limits = &self.bounds.limits;
        let (count, bytes) = (inner.queue.len(), inner.bytes + delivery.message.size());
        // An empty inbox takes anything: no packet is too large to be passed on.
        if count == 0 {
            inner.put(delivery);
            return Pushed::Wake;
        }
        if count < limits.inbox_messages_max && bytes <= limits.inbox_bytes_max {
            inner.put(delivery);
            return Pushed::Taken;
        }
        if delivery.terms.qos == Qos::AtMostOnce {
            return self.make_room(inner, delivery);
        }
        if count / 2 < limits.inbox_messages_max && bytes / 2 <= limits.inbox_bytes_max {
            inner.put(delivery);
            return Pushed::Pressed;
        }
        // From now on the client counts as away, so that the queue's bounds hold.
        inner.receiver = if self.persistent { Receiver::Away } else { Receiver::Gone };
        inner.command = inner.command.max(Some(Command::Overrun));
        if self.persistent {
            self.bounds.queued_bytes.fetch_add(inner.bytes, Ordering::Relaxed);
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
            inner.queue.len() >= limits.inbox_messages_max || inner.bytes + size > limits.inbox_bytes_max
        };
        let mut dropped = 0;
        while full(inner) && inner.queue.front().is_some_and(|oldest| oldest.terms.qos == Qos::AtMostOnce) {
            inner.pull();
            dropped += 1;
        }
        let has_room = !full(inner) || inner.queue.is_empty();
        if !has_room {
            self.bounds.metrics.add_dropped(dropped);
            return Pushed::Dropped;
        }
        inner.put(delivery);
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
                && inner.bytes + size <= limits.queue_bytes_max
                && self.bounds.queued_bytes.load(Ordering::Relaxed) + size <= self.bounds.queued_bytes_max
        };
        let mut dropped = false;
        if !has_room(inner) {
            self.drop_expired(inner);
        }
        while !has_room(inner) {
            dropped = true;
            match limits.queue_full {
                QueueFull::DropNewest => return Pushed::Dropped,
                QueueFull::DropOldest => {
                    let Some(oldest) = inner.pull() else { return Pushed::Dropped };
                    self.bounds.queued_bytes.fetch_sub(oldest.message.size(), Ordering::Relaxed);
                }
            }
        }
        self.bounds.queued_bytes.fetch_add(size, Ordering::Relaxed);
        inner.put(delivery);
        if dropped { Pushed::Displaced } else { Pushed::Queued }
    }

    /// Makes room in the queue of a client that is away by what nobody is to have any more. Looks only
    /// when something may have expired since it last looked, so that a full queue costs no walk each time.
    fn drop_expired(&self, inner: &mut Inner) {
        let now = Instant::now();
        if inner.soonest_expiry.is_none_or(|soonest| soonest > now) {
            return;
        }
        let before = (inner.queue.len(), inner.bytes);
        inner.queue.retain(|delivery| !delivery.message.is_expired(now));
        inner.bytes = inner.queue.iter().map(|delivery| delivery.message.size()).sum();
        inner.soonest_expiry = inner.queue.iter().filter_map(|delivery| delivery.message.expires()).min();
        self.bounds.queued_bytes.fetch_sub(before.1 - inner.bytes, Ordering::Relaxed);
        self.bounds.metrics.publish_expired.add((before.0 - inner.queue.len()) as u64);
    }

    /// A connection takes the session up.
    pub(crate) fn attach(&self, secure: bool) {
        let mut inner = self.inner.lock();
        if inner.receiver == Receiver::Away {
            self.bounds.queued_bytes.fetch_sub(inner.bytes, Ordering::Relaxed);
        }
        inner.receiver = Receiver::Connected { secure };
    }

    /// The connection has ended and the session stays: `unsent` is what it had taken and not sent,
    /// and goes before what has come since. QoS 0 is not kept. Gives back what another member of a shared
    /// subscription can have.
    pub(crate) fn park(&self, unsent: VecDeque<Delivery>) -> Vec<Delivery> {
        let mut waiting = {
            let mut inner = self.inner.lock();
            if inner.receiver == Receiver::Away {
                self.bounds.queued_bytes.fetch_sub(inner.bytes, Ordering::Relaxed);
            }
            inner.receiver = Receiver::Away;
            inner.bytes = 0;
            inner.waker = None;
            // What the old connection was told is not meant for the next one.
            inner.command = None;
            std::mem::take(&mut inner.queue)
        };
        // Copied outside the lock: nobody else takes while no connection holds the session.
        let mut kept = unsent;
        kept.append(&mut waiting);
        let orphans = take_shared(&mut kept, Among::ConnectedOtherThan(self.session));
        kept.retain(|delivery| delivery.terms.qos > Qos::AtMostOnce);
        for delivery in &mut kept {
            delivery.message = delivery.message.kept();
        }
        let mut dropped = 0;
        let pressed = {
            let mut inner = self.inner.lock();
            let mut since = std::mem::take(&mut inner.queue);
            self.bounds.queued_bytes.fetch_sub(inner.bytes, Ordering::Relaxed);
            inner.bytes = 0;
            kept.append(&mut since);
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
    pub(crate) fn take_back(&self, orphans: Vec<Delivery>) {
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
                    Receiver::Connected { .. } => self.hand_in(&mut inner, delivery),
                };
                dropped += u64::from(matches!(kept, Pushed::Dropped | Pushed::Displaced));
            }
        }
        self.bounds.metrics.add_dropped(dropped);
        self.wake();
    }

    /// The session has ended; nothing more is taken. Gives back what another member of a shared
    /// subscription can have.
    pub(crate) fn close(&self) -> Vec<Delivery> {
        let (mut queue, pressed) = {
            let mut inner = self.inner.lock();
            if inner.receiver == Receiver::Away {
                self.bounds.queued_bytes.fetch_sub(inner.bytes, Ordering::Relaxed);
            }
            inner.receiver = Receiver::Gone;
            inner.bytes = 0;
            inner.waker = None;
            (std::mem::take(&mut inner.queue), std::mem::take(&mut inner.pressed))
        };
        pressed.into_iter().for_each(Waker::wake);
        take_shared(&mut queue, Among::OthersThan(self.session))
    }

    /// Swaps everything that waits into `empty`, which must be empty.
    pub(crate) fn take(&self, empty: &mut VecDeque<Delivery>) {
        let pressed = {
            let mut inner = self.inner.lock();
            if inner.queue.is_empty() || !matches!(inner.receiver, Receiver::Connected { .. }) {
                return;
            }
            inner.bytes = 0;
            std::mem::swap(empty, &mut inner.queue);
            std::mem::take(&mut inner.pressed)
        };
        pressed.into_iter().for_each(Waker::wake);
    }

    /// Tells the connection something, and wakes it.
    pub(crate) fn tell(&self, command: Command) {
        let waker = {
            let mut inner = self.inner.lock();
            inner.command = inner.command.max(Some(command));
            inner.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes back what a connection was told and has not heard.
    pub(crate) fn forget_command(&self) {
        self.inner.lock().command = None;
    }

    /// Wakes the connection, at the end of a pusher's turn.
    pub(crate) fn wake(&self) {
        let waker = self.inner.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ready with a command, or with `None` when deliveries wait and `hungry` says that they are
    /// wanted; else keeps the waker.
    pub(crate) fn poll(&self, hungry: bool, cx: &mut Context<'_>) -> Poll<Option<Command>> {
        let mut inner = self.inner.lock();
        if let Some(command) = inner.command.take() {
            return Poll::Ready(Some(command));
        }
        let connected = matches!(inner.receiver, Receiver::Connected { .. });
        if hungry && connected && !inner.queue.is_empty() {
            return Poll::Ready(None);
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ready when the inbox is within its bounds; else the waker in `cx` is woken when it is taken.
    pub(crate) fn poll_relieved(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        let limits = &self.bounds.limits;
        let within = inner.queue.len() < limits.inbox_messages_max && inner.bytes <= limits.inbox_bytes_max;
        if within || !matches!(inner.receiver, Receiver::Connected { .. }) {
            return Poll::Ready(());
        }
        if !inner.pressed.iter().any(|waker| waker.will_wake(cx.waker())) {
            inner.pressed.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Takes what came by a shared subscription, and another member can have, out of a queue.
fn take_shared(queue: &mut VecDeque<Delivery>, among: Among) -> Vec<Delivery> {
    if queue.iter().all(|delivery| delivery.terms.group().is_none()) {
        return Vec::new();
    }
    let has_taker = |delivery: &Delivery| {
        delivery.terms.group().is_some_and(|group| group.has_taker(&delivery.message, among))
    };
    let (shared, own): (VecDeque<_>, VecDeque<_>) = std::mem::take(queue).into_iter().partition(has_taker);
    *queue = own;
    shared.into()
}

impl Inner {
    #[inline]
    fn put(&mut self, delivery: Delivery) {
        self.bytes += delivery.message.size();
        if let Some(expires) = delivery.message.expires() {
            self.soonest_expiry = Some(self.soonest_expiry.map_or(expires, |soonest| soonest.min(expires)));
        }
        self.queue.push_back(delivery);
    }

    fn pull(&mut self) -> Option<Delivery> {
        let delivery = self.queue.pop_front()?;
        self.bytes -= delivery.message.size();
        Some(delivery)
    }
}

#[cfg(test)]
mod tests;
