//! Step 2 of a PUBLISH's road, and its last: the I/O shell of one client. Reads, gives the packets
//! to the session (step 3), carries out its actions in one place, and decides nothing.
//!
//! One task a connection, owning socket, buffers and session. It works in turns: read all that has
//! come (within a bound, so that nobody starves), handle all whole packets, wake each receiver once,
//! take all deliveries at once, encode them, write once. An idle connection holds no buffers.

mod handshake;
mod io;

pub(crate) use handshake::{Peer, serve};

use crate::auth::acl::Permissions;
use crate::broker::{Broker, Rulebook};
use crate::mailbox::{Command, Mailbox};
use crate::router::Turn;
use crate::session::{Action, Ending, Outcome, Receipt, Session};
use crate::store::{Change, Position};
use bytestring::ByteString;
use io::Io;
use sealmq_protocol::packet::{Publish, Subscribe, Will};
use sealmq_protocol::{Packet, Qos, codec};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

/// Bytes handled in one turn before others get theirs.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// Turns in a row before the task makes way for others.
const TURNS_MAX: usize = 4;
/// Acknowledgements waiting for the store, from which on nothing more is read.
const HELD_MAX: usize = 4_096;

/// One connected client.
struct Connection<S> {
    broker: Arc<Broker>,
    io: Io<S>,
    session: Box<Session>,
    mailbox: Arc<Mailbox>,
    peer: Peer,
    user: Option<ByteString>,
    rules: Arc<Rulebook>,
    permissions: Permissions,
    turn: Turn,
    /// Acknowledgements in their order, with the position that each waits for.
    held: VecDeque<(Packet, Position)>,
    /// A receiver that fell behind, and until when it is waited for at most.
    paused: Option<(Arc<Mailbox>, Instant)>,
    /// Since when the stream has taken nothing of what waits.
    stalled: Option<Instant>,
    timer: Timer,
    /// The server stops: nothing more is read.
    draining: bool,
}

/// The time as of the turn at hand: for timers, and in seconds since 1970.
#[derive(Clone, Copy)]
struct Now {
    instant: Instant,
    unix_s: u64,
}

impl Now {
    fn read() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self { instant: Instant::now(), unix_s: since.map_or(0, |since| since.as_secs()) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Serves the client until the connection ends.
    async fn run(&mut self) -> Ending {
        std::future::poll_fn(|cx| self.poll_turns(cx)).await
    }

    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        for _ in 0..TURNS_MAX {
            match self.turn(cx) {
                Ok(true) => {}
                Ok(false) => {
                    self.io.rest();
                    return Poll::Pending;
                }
                Err(ending) => {
                    self.end_turn();
                    return Poll::Ready(ending);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One turn; whether anything moved, so that another is due. Where nothing did, everything that
    /// could has the waker.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let now = Now::read();
        let mut moved = false;
        if let Poll::Ready(mail) = self.mailbox.poll(self.wants_mail(), cx) {
            moved = true;
            match mail {
                None => {}
                Some(Command::TakenOver) => {
                    // What the client sent before it came back counts, DISCONNECT most of all.
                    if self.may_read(now, cx) {
                        self.receive(now, cx)?;
                    }
                    return Err(Ending::TakenOver);
                }
                Some(Command::Overrun) => return Err(Ending::Overrun),
                Some(Command::Drain) => self.drain(now),
                Some(Command::Finish) => return Err(Ending::Shutdown),
            }
        }
        if self.may_read(now, cx) {
            moved |= self.receive(now, cx)?;
        }
        moved |= self.poll_held(cx);
        self.transmit(now);
        moved |= self.poll_write(now, cx)?;
        self.poll_timer(now, cx)?;
        Ok(moved)
    }

    fn wants_mail(&self) -> bool {
        self.session.wants_deliveries() && self.io.has_room()
    }

    fn may_read(&mut self, now: Now, cx: &mut Context<'_>) -> bool {
        if let Some((receiver, until)) = &self.paused
            && (*until <= now.instant || receiver.poll_relieved(cx).is_ready())
        {
            self.paused = None;
        }
        !self.draining && self.paused.is_none() && self.io.has_room() && self.held.len() < HELD_MAX
    }

    /// Reads and handles what has come.
    fn receive(&mut self, now: Now, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let mut taken = 0;
        // What came right behind CONNECT is here already; a client need not wait for CONNACK (§3.1.4).
        let mut missing = if self.io.read.is_empty() { 0 } else { self.take_packets(now)? };
        while taken < TURN_BYTES_MAX && self.io.has_room() {
            match self.io.poll_read(missing, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Err(Ending::SocketClosed);
                }
                Poll::Ready(Ok(n)) => taken += n,
            }
            missing = self.take_packets(now)?;
        }
        self.broker.metrics.bytes_received.add(taken as u64);
        self.end_turn();
        Ok(taken > 0)
    }

    /// Handles every whole packet that was read. Returns what the one at the front still lacks.
    fn take_packets(&mut self, now: Now) -> Result<usize, Ending> {
        let limits = self.broker.codec_limits;
        let missing = codec::missing(&self.io.read, &limits).map_err(Ending::Protocol)?;
        if missing > 0 {
            return Ok(missing);
        }
        self.renew_rules();
        let mut bytes = self.io.read.split().freeze();
        while let Some(packet) = codec::decode(&mut bytes, &limits).map_err(Ending::Protocol)? {
            self.session.handle_packet(packet, now.instant);
            self.carry_out(now)?;
        }
        self.io.read.extend_from_slice(&bytes);
        codec::missing(&self.io.read, &limits).map_err(Ending::Protocol)
    }

    /// Does what the session asks for in answer to what came in.
    fn carry_out(&mut self, now: Now) -> Result<(), Ending> {
        while let Some(action) = self.session.poll_action() {
            self.carry_out_one(action, now)?;
        }
        Ok(())
    }

    fn carry_out_one(&mut self, action: Action, now: Now) -> Result<(), Ending> {
        match action {
            Action::Send(packet) => self.send(&packet),
            Action::Acknowledge(packet, position) => {
                if self.held.is_empty() && position == Position::START {
                    self.send(&packet);
                } else {
                    self.held.push_back((packet, position));
                }
            }
            Action::Deliver(message, header) => {
                self.turn.sent += 1;
                let (topic, payload) = (message.topic().as_str(), message.payload());
                let written = codec::encode_publish(&header, topic, payload, &mut self.io.out);
                debug_assert!(written, "no message is longer than the packet that it came in");
            }
            Action::Route(publish) => {
                self.turn.received += 1;
                let receipt = Receipt::of(&publish);
                let outcome = self.route(publish, now);
                self.session.handle_outcome(receipt, &outcome);
            }
            Action::Report(refusal) => self.report(refusal),
            Action::Permit(subscribe) => self.permit(subscribe),
            Action::Subscribe(filter, qos) => {
                if self.session.persistent() && self.broker.store.keeps() {
                    let (session, filter) = (self.session.id(), filter.clone());
                    self.broker.store.append(&mut vec![Change::Subscribed { session, filter, qos }]);
                }
                let until = self.broker.router.subscribe(&self.mailbox, &filter, qos);
                self.session.handle_subscribed(filter, qos, until);
            }
            Action::Unsubscribe(filters) => self.unsubscribe(filters),
            Action::ReadRetained { filter, until, after } => {
                let page = self.broker.router.retained().page(&filter, until, after.as_ref());
                self.session.handle_page(page);
            }
            Action::Close(ending) => return Err(ending),
        }
        Ok(())
    }

    fn send(&mut self, packet: &Packet) {
        let written = codec::encode(packet, &mut self.io.out);
        debug_assert!(written, "a server's own packets are short");
    }

    /// Through ingress (step 4) and router (step 5).
    fn route(&mut self, publish: Publish, now: Now) -> Outcome {
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        let admitted = self.rules.ingress.admit(publish, &self.permissions, &self.broker.replay, now.unix_s);
        match admitted {
            Ok(admitted) => {
                if let (Qos::ExactlyOnce, Some(packet_id)) = (qos, packet_id)
                    && self.session.persistent()
                    && self.broker.store.keeps()
                {
                    self.turn.also(Change::Received { session: self.session.id(), packet_id });
                }
                if admitted.fingerprint.is_some() {
                    self.broker.metrics.envelopes_opened.add(1);
                }
                let position = self.broker.router.route(admitted.message, &mut self.turn);
                Outcome::Routed(position, admitted.fingerprint)
            }
            Err((refusal, fingerprint)) => Outcome::Refused(refusal, fingerprint),
        }
    }

    fn permit(&mut self, subscribe: Subscribe) {
        let permitted: Vec<bool> = subscribe
            .filters
            .iter()
            .map(|(filter, _)| {
                filter.as_ref().is_ok_and(|filter| {
                    self.rules.ingress.may_subscribe(filter, &self.permissions, self.peer.secure)
                })
            })
            .collect();
        self.session.handle_permitted(subscribe, &permitted);
    }

    fn unsubscribe(&mut self, filters: Vec<sealmq_protocol::TopicFilter>) {
        let session = self.session.id();
        self.broker.router.unsubscribe(session, &filters);
        if self.session.persistent() && self.broker.store.keeps() {
            let changes = filters.into_iter().map(|filter| Change::Unsubscribed { session, filter });
            self.broker.store.append(&mut changes.collect());
        }
    }

    /// Keys, policies and permissions may have been reloaded.
    fn renew_rules(&mut self) {
        if self.broker.rules_changed(&self.rules) {
            self.rules = self.broker.rules();
            self.permissions = self.rules.permissions(self.session.client_id(), self.user.as_deref());
        }
    }

    /// Sends the acknowledgements whose promise the store can keep now.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.held.len();
        while let Some((packet, position)) = self.held.front() {
            if self.broker.store.poll_reached(*position, cx).is_pending() {
                break;
            }
            let written = codec::encode(packet, &mut self.io.out);
            debug_assert!(written, "an acknowledgement is short");
            self.held.pop_front();
        }
        self.held.len() < before
    }

    /// Encodes what the client is owed, as far as window and buffer allow.
    fn transmit(&mut self, now: Now) {
        self.io.reserve_out();
        loop {
            if self.session.wants_deliveries() {
                self.mailbox.take(self.session.deliveries_mut());
            }
            let mut idle = true;
            while self.io.has_room()
                && let Some(action) = self.session.poll_transmit()
            {
                idle = false;
                // What is owed never closes the connection.
                let _ = self.carry_out_one(action, now);
            }
            if idle || !self.io.has_room() {
                break;
            }
        }
        let metrics = &self.broker.metrics;
        metrics.publish_sent.add(std::mem::take(&mut self.turn.sent));
        metrics.confidential_withheld.add(self.session.take_withheld());
    }

    /// Writes what waits. Whether anything was written.
    fn poll_write(&mut self, now: Now, cx: &mut Context<'_>) -> Result<bool, Ending> {
        if !self.io.is_writing() {
            self.stalled = None;
            return Ok(false);
        }
        let mut written = 0;
        let done = self.io.poll_write(&mut written, cx);
        self.broker.metrics.bytes_sent.add(written);
        match done {
            Poll::Ready(Ok(())) => self.stalled = None,
            Poll::Ready(Err(_)) => return Err(Ending::SocketClosed),
            Poll::Pending if written > 0 || self.stalled.is_none() => self.stalled = Some(now.instant),
            Poll::Pending => {}
        }
        Ok(written > 0)
    }

    fn poll_timer(&mut self, now: Now, cx: &mut Context<'_>) -> Result<(), Ending> {
        let stall = Duration::from_secs(self.broker.limits.write_stall_s);
        let stalled = self.stalled.and_then(|since| since.checked_add(stall));
        if stalled.is_some_and(|deadline| deadline <= now.instant) {
            return Err(Ending::WriteStalled);
        }
        // While the client is deliberately not read, its silence is no fault of its own.
        let mut silence = None;
        if self.paused.is_none() && !self.draining {
            self.session.handle_timeout(now.instant);
            self.carry_out(now)?;
            silence = self.session.poll_timeout();
        }
        let paused = self.paused.as_ref().map(|(_, until)| *until);
        self.timer.poll([silence, stalled, paused].into_iter().flatten().min(), cx);
        Ok(())
    }

    /// Wakes everybody who was handed something.
    fn end_turn(&mut self) {
        self.broker.metrics.publish_received.add(std::mem::take(&mut self.turn.received));
        if let Some(receiver) = self.broker.router.end_turn(&mut self.turn)
            && !Arc::ptr_eq(&receiver, &self.mailbox)
        {
            let pause = Duration::from_millis(self.broker.limits.slow_receiver_pause_ms);
            self.paused = Instant::now().checked_add(pause).map(|until| (receiver, until));
        }
    }

    /// The server stops: the will goes out while there are subscribers, and nothing more is read.
    fn drain(&mut self, now: Now) {
        self.draining = true;
        if let Some(will) = self.session.take_will() {
            self.publish_will(will, now);
        }
        self.broker.drained();
    }

    fn publish_will(&mut self, will: Will, now: Now) {
        let Will { topic, payload, qos, retain } = will;
        self.renew_rules();
        let publish = Publish { dup: false, qos, retain, topic, packet_id: None, payload };
        if let Outcome::Refused(refusal, _) = self.route(publish, now) {
            self.report(refusal);
        }
        self.end_turn();
    }

    /// Counts and logs a message that was refused, without topic and payload.
    fn report(&self, refusal: crate::ingress::Refusal) {
        self.broker.metrics.add_refusal(refusal);
        // Escaped: a client id may hold what would forge a line.
        let (client, addr) = (self.session.client_id().escape_debug(), self.peer.addr);
        if refusal == crate::ingress::Refusal::Repeated {
            tracing::debug!(%client, %addr, "an envelope was sent again by its own session; acknowledged");
        } else {
            tracing::warn!(%client, %addr, reason = refusal.name(), "message refused");
        }
    }
}

/// One timer for all deadlines of a connection. Deadlines mostly move on with every packet, so it is
/// left to fire early and looked at again, and set anew only for one that comes sooner.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Has the waker woken at `deadline` at the latest.
    fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) {
        let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else { return };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            // Elapsed between the two readings of the clock: look again at once.
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
