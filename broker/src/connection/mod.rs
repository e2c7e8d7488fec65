//! Step 2 of a PUBLISH's road, and its last: the I/O shell of one client. Reads, gives the packets
//! to the session (step 3), carries out its actions in one place, and decides nothing.
//!
//! One task a connection, owning socket, buffers and session. It works in turns: read all that has
//! come (within a bound, so that nobody starves), handle all whole packets, wake each receiver once,
//! take all deliveries at once, encode them, write once. An idle connection holds no buffers.

mod actions;
mod admission;
mod authenticate;
mod goodbye;
mod handshake;
mod io;
mod kept;
mod sealing;
mod timer;

pub(crate) use handshake::{Peer, serve};

use crate::audit;
use crate::auth::acl::Permissions;
use crate::auth::{Exchange, Identity};
use crate::broker::Broker;
use crate::failed_stamps::Window;
use crate::ingress::message::Submission;
use crate::log_limit::LogLimit;
use crate::mailbox::{Command, Mailbox, Taken};
use crate::now::Now;
use crate::registry;
use crate::router::Turn;
use crate::rulebook::Rulebook;
use crate::session::{Acknowledgement, Action, Ending, Outcome, PassedOver, Session};
use crate::store::Position;
use admission::Admission;
use bytes::Bytes;
use io::Io;
use sealing::Sealer;
use sealmq_protocol::packet::{Version, Will};
use sealmq_protocol::{Packet, SubscriptionFilter, codec};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use timer::Timer;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes handled in one turn before others get theirs.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// Turns in a row before the task makes way for others.
const TURNS_MAX: usize = 4;
/// What is gathered and sealed in one turn, in the work of sealing a message; a page of retained messages, or
/// of a queue, counts as some.
const TURN_SEALED_MAX: usize = 32;
const PAGE_WORK: usize = 4;
/// Acknowledgements waiting for the store, from which on nothing more is read.
const HELD_MAX: usize = 4_096;

/// One connected client.
struct Connection<S> {
    broker: Arc<Broker>,
    io: Io<S>,
    session: Box<Session>,
    mailbox: Arc<Mailbox>,
    peer: Peer,
    /// Who it is, and how that was proven.
    identity: Identity,
    version: Version,
    /// The client's maximum packet size.
    packet_bytes_max: Option<usize>,
    /// A re-authentication that waits for the client.
    exchange: Option<Box<Exchange>>,
    /// What makes envelopes for the client, where it gets any.
    sealer: Option<Box<Sealer>>,
    rules: Arc<Rulebook>,
    /// When topic keys that the client has asked for were last looked at, seconds since 1970.
    keys_as_of: u64,
    permissions: Permissions,
    turn: Turn,
    /// What was read and not handled yet, since the turn was full.
    input: Bytes,
    /// Messages whose envelopes are being examined, and those behind them.
    admission: Admission,
    /// Acknowledgements in their order, with the position that each waits for.
    held: VecDeque<(Owed, Position)>,
    /// Of these, SUBACKs: no message goes before the answer to its subscription.
    answers: usize,
    /// What the next answer that promises something has to wait for.
    promised: Position,
    /// From when on the store shows more of the session's queue.
    unread: Option<Position>,
    /// What this task is woken for: the store having reached so much.
    awaited: Option<Position>,
    /// The same for what can be read of it.
    awaited_unread: Option<Position>,
    /// A receiver that fell behind, and until when it is waited for at most.
    paused: Option<(Arc<Mailbox>, Instant)>,
    /// Since when the stream has taken nothing of what waits.
    stalled: Option<Instant>,
    timer: Timer,
    /// What was refused lately, if anything was.
    refusals: Option<Box<Refusals>>,
    /// The server stops: nothing more is read.
    draining: bool,
    /// The server stops: nothing more is read, and once nothing is left that can be sent, this ends.
    finishing: bool,
}

/// What is remembered of refused messages.
#[derive(Default)]
struct Refusals {
    /// Lines about them.
    lines: LogLimit,
    /// Stamps that did not hold.
    failed_stamps: Window,
}

/// An answer that waits for the store.
#[derive(Debug)]
enum Owed {
    /// PUBACK or PUBREC.
    Acknowledgement(Acknowledgement),
    /// Anything else.
    Packet(Box<Packet>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Serves the client until the connection ends.
    async fn run(&mut self) -> Ending {
        // The rules may have changed while it was greeted.
        if !self.rules.still_admits(&self.identity, Now::read()) {
            return Ending::UserGone;
        }
        self.renew_sealing();
        std::future::poll_fn(|cx| self.poll_turns(cx)).await
    }

    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        for _ in 0..TURNS_MAX {
            if let Some(ending) = self.admission.ending() {
                return self.poll_ending(ending, cx);
            }
            match self.turn(cx) {
                // The receivers of a full turn get theirs before there is more for them.
                Ok(true) if !self.input.is_empty() => break,
                Ok(true) => {}
                Ok(false) => {
                    self.io.rest();
                    return Poll::Pending;
                }
                Err(ending) => {
                    self.end_turn();
                    if !self.admission.end_with(ending) {
                        return Poll::Ready(ending);
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The connection ends once every message that was read is done with.
    fn poll_ending(&mut self, ending: Ending, cx: &mut Context<'_>) -> Poll<Ending> {
        match self.settle_last(Now::read(), cx) {
            Ok(false) => match self.poll_held() {
                Ok(_) => {
                    self.await_store(cx);
                    Poll::Pending
                }
                Err(ending) => Poll::Ready(ending),
            },
            Ok(true) => Poll::Ready(self.last_word(ending)),
            Err(ending) => Poll::Ready(ending),
        }
    }

    /// Handles the packet that had to wait for all messages; how the connection ends then.
    fn last_word(&mut self, ending: Ending) -> Ending {
        let Some(packet) = self.admission.take_held_back() else { return ending };
        let now = Now::read();
        self.session.handle_packet(packet, now.instant);
        self.carry_out(now).err().unwrap_or(ending)
    }

    /// One turn; whether anything moved, so that another is due. Where nothing did, everything that
    /// could has the waker.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let now = Now::read();
        let mut moved = false;
        let is_leaving = self.admission.is_handed_over();
        if let Poll::Ready(mail) = self.mailbox.poll(self.wants_mail(), cx) {
            moved = true;
            match mail {
                None => {}
                Some(Command::TakenOver) => self.admission.hand_over(),
                Some(Command::Overrun) => return Err(Ending::Overrun),
                Some(Command::Renew) => {
                    self.renew_rules()?;
                    self.hand_out_anew(&self.rules.clone(), now);
                }
                Some(Command::Drain) => self.drain(now),
                Some(Command::Finish) => self.finishing = true,
            }
        }
        let reading = !is_leaving && self.may_read(now, cx);
        moved |= self.settle_waiting(now, cx)?;
        if reading {
            moved |= self.receive(now, cx)?;
        }
        self.ask();
        if self.admission.is_handed_over() {
            return self.leave(is_leaving, now, cx);
        }
        moved |= self.poll_held()?;
        moved |= self.transmit(now)?;
        self.tell_store();
        self.await_store(cx);
        moved |= self.poll_write(now, cx)?;
        self.poll_timer(now, reading, cx)?;
        let done = !moved && !self.io.is_writing() && self.held.is_empty() && self.admission.is_idle();
        if self.finishing && done {
            return Err(Ending::Shutdown);
        }
        Ok(moved)
    }

    /// The session is another's: what the client sent before it came back counts, DISCONNECT most of all. It is
    /// read once, and not while the new connection waits any more.
    fn leave(&mut self, is_leaving: bool, now: Now, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let mut turns = 0..if is_leaving { 0 } else { TURNS_MAX };
        while turns.next().is_some() && self.may_read(now, cx) && self.receive(now, cx)? {}
        if !self.settle_last(now, cx)? {
            self.poll_held()?;
            self.await_store(cx);
            return Ok(false);
        }
        Err(self.last_word(Ending::TakenOver))
    }

    fn wants_mail(&self) -> bool {
        let may_go_on = self.unread.is_none() && self.answers == 0;
        may_go_on && self.session.wants_deliveries() && self.io.has_room()
    }

    fn may_read(&mut self, now: Now, cx: &mut Context<'_>) -> bool {
        if let Some((receiver, until)) = &self.paused
            && (*until <= now.instant || receiver.poll_relieved(cx).is_ready())
        {
            self.paused = None;
        }
        let stopping = self.draining || self.finishing;
        let open = !stopping && self.paused.is_none() && self.io.has_room() && self.held.len() < HELD_MAX;
        open && self.may_take() && self.broker.store.poll_room(cx).is_ready()
    }

    /// Reads and handles what has come, until the turn is full. Whether there was anything.
    fn receive(&mut self, now: Now, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let mut moved = !self.input.is_empty();
        // What came right behind CONNECT is here already; a client need not wait for CONNACK (§3.1.4).
        let mut missing = self.take_packets(now)?;
        let mut taken = 0;
        while self.end_turn() && taken < TURN_BYTES_MAX && self.io.has_room() && self.may_take() {
            match self.io.poll_read(missing, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0) | Err(_)) => return Err(Ending::SocketClosed),
                Poll::Ready(Ok(n)) => {
                    taken += n;
                    self.broker.metrics.bytes_received.add(n as u64);
                }
            }
            moved = true;
            missing = self.take_packets(now)?;
        }
        Ok(moved)
    }

    /// Handles the whole packets that were read, until the turn is full. Returns what the one at the
    /// front still lacks.
    fn take_packets(&mut self, now: Now) -> Result<usize, Ending> {
        let limits = self.broker.codec_limits;
        if let Some(packet) = self.admission.take_held_back() {
            self.session.handle_packet(packet, now.instant);
            self.carry_out(now)?;
        }
        if self.input.is_empty() {
            let missing = codec::missing(&self.io.read, &limits).map_err(Ending::Protocol)?;
            if missing > 0 {
                return Ok(missing);
            }
            self.renew_rules()?;
            self.input = self.io.take();
        }
        while !self.turn.is_full() && self.may_take() {
            match codec::decode(&mut self.input, self.version, &limits) {
                Ok(Some(packet)) if self.admission.holds(&packet) => {
                    self.admission.hold_back(packet);
                }
                Ok(Some(packet)) => {
                    self.turn.count_packet();
                    self.session.handle_packet(packet, now.instant);
                    self.carry_out(now)?;
                }
                Ok(None) => {
                    // The beginning of a packet goes in front of what comes next.
                    self.io.read.extend_from_slice(&self.input);
                    self.input = Bytes::new();
                    return codec::missing(&self.io.read, &limits).map_err(Ending::Protocol);
                }
                Err(error) => return Err(Ending::Protocol(error)),
            }
        }
        Ok(0)
    }

    /// Keys, policies and permissions may have been reloaded.
    fn renew_rules(&mut self) -> Result<(), Ending> {
        if !self.broker.rules_changed(&self.rules) {
            return Ok(());
        }
        let (rules, now) = (self.broker.rules(), Now::read());
        if !rules.still_admits(&self.identity, now) {
            return Err(Ending::UserGone);
        }
        let before = std::mem::replace(&mut self.rules, rules);
        let user = self.identity.user().map(|user| &**user);
        self.permissions = self.rules.permissions(self.session.client_id(), user);
        self.begin_again(now);
        self.renew_sealing();
        self.enforce_permissions();
        self.hand_out_anew(&before, now);
        Ok(())
    }

    /// Ends the subscriptions that the client may not have any more, and shows it the audit or not.
    fn enforce_permissions(&mut self) {
        let is_auditor = self.rules.is_auditor(&self.identity);
        self.session.show_audit(is_auditor && self.peer.secure);
        self.mailbox.show_audit(is_auditor && self.peer.secure);
        let may = |filter: &&SubscriptionFilter| {
            let filter = filter.filter();
            self.permissions.may_subscribe(filter) && (is_auditor || !audit::is_all_of(filter))
        };
        let refused: Vec<_> = self.session.filters().filter(|filter| !may(filter)).cloned().collect();
        if !refused.is_empty() {
            // In one go: what the session does not know of any more, nobody else would take out.
            let ended = self.session.end_subscriptions(refused);
            self.unsubscribe(ended);
        }
    }

    /// Encodes what the client is owed, as far as window and buffer allow. Whether more is to come
    /// that needs no waiting for.
    fn transmit(&mut self, now: Now) -> Result<bool, Ending> {
        if self.answers > 0 {
            return Ok(false);
        }
        self.io.reserve_out();
        let mut work = 0;
        loop {
            let hungry = self.session.wants_deliveries();
            if hungry && let Taken::StoreFrom(from) = self.mailbox.take(self.session.deliveries_mut()) {
                work += PAGE_WORK * usize::from(self.read_stored(from)?);
            }
            let mut idle = true;
            while self.io.has_room()
                && work < TURN_SEALED_MAX
                && let Some(action) = self.session.poll_transmit(now.instant)
            {
                idle = false;
                work += PAGE_WORK * usize::from(matches!(action, Action::ReadRetained { .. }));
                work += usize::from(matches!(action, Action::DeliverSealed(_)));
                self.carry_out_one(action, now)?;
            }
            // What was passed over may have left room for what waits in the mailbox.
            let emptied = !hungry && self.session.wants_deliveries();
            if !self.io.has_room() || work >= TURN_SEALED_MAX || (idle && !emptied) {
                break;
            }
        }
        let metrics = &self.broker.metrics;
        metrics.publish_sent.add(std::mem::take(&mut self.turn.sent));
        metrics.envelopes_resealed.add(std::mem::take(&mut self.turn.resealed));
        let PassedOver { withheld, expired, too_large } = self.session.take_passed_over();
        metrics.confidential_withheld.add(withheld);
        metrics.publish_expired.add(expired);
        metrics.add_dropped(too_large);
        Ok(work >= TURN_SEALED_MAX)
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

    fn poll_timer(&mut self, now: Now, reading: bool, cx: &mut Context<'_>) -> Result<(), Ending> {
        let stall = Duration::from_secs(self.broker.limits.write_stall_s);
        let stalled = self.stalled.and_then(|since| since.checked_add(stall));
        if stalled.is_some_and(|deadline| deadline <= now.instant) {
            return Err(Ending::WriteStalled);
        }
        // While the client is deliberately not read, its silence is no fault of its own.
        let mut silence = None;
        if reading {
            self.session.handle_timeout(now.instant);
            self.carry_out(now)?;
            silence = self.session.poll_timeout();
        }
        let paused = self.paused.as_ref().map(|(_, until)| *until);
        self.timer.poll([silence, stalled, paused].into_iter().flatten().min(), cx);
        Ok(())
    }

    /// Wakes everybody who was handed something. Whether there may be more in this turn.
    fn end_turn(&mut self) -> bool {
        let full = self.turn.is_full();
        self.broker.metrics.publish_received.add(std::mem::take(&mut self.turn.received));
        if let Some(receiver) = self.broker.router.end_turn(&mut self.turn)
            && !Arc::ptr_eq(&receiver, &self.mailbox)
        {
            let pause = Duration::from_millis(self.broker.limits.slow_receiver_pause_ms);
            self.paused = Instant::now().checked_add(pause).map(|until| (receiver, until));
        }
        !full
    }

    /// The server stops: the will goes out while there are subscribers, and nothing more is read.
    fn drain(&mut self, now: Now) {
        self.draining = true;
        if let Some(will) = self.session.take_will_at_stop() {
            self.publish_will(will, now);
        }
        self.broker.drained();
    }

    fn publish_will(&mut self, will: Will, now: Now) {
        let is_admitted = self.renew_rules().is_ok() && self.rules.still_admits(&self.identity, now);
        let will = Submission::of_will(will, self.session.client_id(), now.instant);
        // Kept together with the message: a crash leaves one of the two, and not none or both.
        if let Some(gone) = registry::will_gone(&self.session) {
            self.turn.also(gone);
        }
        if !is_admitted {
            let client = self.session.client_id().escape_debug();
            tracing::warn!(%client, "will dropped: what its client was let in by is not there any more");
            self.turn.keep_alone(&self.broker.store);
            return;
        }
        let settled = self.rules.ingress.admit(will, &self.permissions, &self.broker.replay, now);
        if let Outcome::Refused(refused) = self.route(settled, None) {
            self.turn.keep_alone(&self.broker.store);
            // It ends already.
            let _ = self.report(&refused);
        }
        self.end_turn();
    }
}

#[cfg(test)]
mod tests;
