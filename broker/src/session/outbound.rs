//! Step 6 of a PUBLISH's road: what the client is owed. Takes deliveries from the mailbox (filled by
//! `router/`, step 5) and gives packets with QoS and packet id, inside the window; then `connection/`
//! and the codec again, outward.
//!
//! Owns what was taken from the mailbox and not sent, the window of what was sent and not
//! acknowledged, and the scans of retained messages for new subscriptions (`scans.rs`). Packet ids in the
//! window are consecutive, so finding one is arithmetic, and none is used twice while it is in flight. Never
//! sent: what has expired, what is larger than the client takes, what is confidential on a plaintext
//! connection (unless it may leave in an envelope). What the store keeps is told of each step (`kept.rs`); a QoS 2 message goes only once its
//! packet id is kept, since after a crash it must come with the same one.

use super::Action;
use super::kept::{Kept, Resumed};
use super::receiver::{PassedOver, Receiver};
use super::scans::Scans;
use super::sealing::Sealing;
use crate::delivery::{Delivery, Place, SessionId, Subscription};
use crate::mailbox::Parked;
use crate::retained::{Order, Page};
use crate::router::{Among, Takers};
use bytestring::ByteString;
use sealmq_protocol::packet::{Ack, PacketId};
use sealmq_protocol::{Packet, Qos, ReasonCode, TopicFilter};
use std::collections::VecDeque;
use std::time::Instant;

/// Packet ids go from 1 to this, and begin again.
const IDS: u16 = u16::MAX;

pub(super) struct Outbound {
    pending: VecDeque<Delivery>,
    window: VecDeque<InFlight>,
    /// Which sending of the session the window's first entry is; says its id.
    first: u64,
    /// Of the window's entries, those sent on this connection and not done.
    unacknowledged: usize,
    /// The smaller of what the client and what the configuration allow ([MQTT-3.3.4-9]).
    unacknowledged_max: usize,
    /// What the configuration allows.
    inflight_max: usize,
    /// Of the messages in the window that the client has not got yet.
    bytes: usize,
    bytes_max: usize,
    /// The window's entries from here on were sent on an earlier connection and not yet on this.
    resend: usize,
    /// And of those, from here on, what is released has not been told so again.
    release: usize,
    scans: Scans,
    kept: Kept,
    receiver: Receiver,
    passed_over: PassedOver,
}

/// One message in flight.
enum InFlight {
    /// PUBLISH was sent: PUBACK or PUBREC is awaited.
    Published(Delivery),
    /// PUBREC has come and PUBREL was sent: PUBCOMP is awaited. Whether the PUBLISH went on this
    /// connection, and so takes a place in its receive maximum.
    Released { counted: bool },
    /// Acknowledged; it stays until it is the first, so that ids stay consecutive.
    Done,
}

impl Outbound {
    /// Nothing yet; of a session that the store keeps, if it is named.
    pub(super) fn new(inflight_max: usize, bytes_max: usize, stored: Option<SessionId>) -> Self {
        Self {
            pending: VecDeque::new(),
            window: VecDeque::new(),
            first: 0,
            unacknowledged: 0,
            unacknowledged_max: inflight_max,
            inflight_max,
            bytes: 0,
            bytes_max,
            resend: 0,
            release: 0,
            scans: Scans::default(),
            kept: Kept::new(stored),
            receiver: Receiver::nobody(),
            passed_over: PassedOver::default(),
        }
    }

    /// A new connection: everything in the window is to be sent again, in order ([MQTT-4.6.0-1]), as
    /// far as the receive maximum allows, which counts anew.
    pub(super) fn attach(&mut self, receiver: Receiver) {
        self.unacknowledged_max = self.inflight_max.min(receiver.receive_maximum.into());
        self.receiver = receiver;
        self.unacknowledged = 0;
        (self.resend, self.release) = (0, 0);
        for entry in &mut self.window {
            if let InFlight::Released { counted } = entry {
                *counted = false;
            }
        }
    }

    /// Whether the connection at hand may be shown the audit.
    pub(super) fn show_audit(&mut self, may: bool) {
        self.receiver.is_auditor = may;
    }

    /// How the client gets what is confidential on a connection that is not secure, if it does.
    pub(super) fn set_sealing(&mut self, sealing: Option<Sealing>) {
        self.receiver.sealing = sealing;
    }

    /// The connection is over: gives back what was not sent. What is in flight gets copies of its
    /// own, since nobody knows when the client comes back, or is left to the store; but a QoS 1 message of a
    /// shared subscription that another member can have is given back as well, in front (§4.8.2).
    pub(super) fn detach(&mut self, session: SessionId) -> Parked {
        let mut takers = Takers::among(Among::ConnectedOtherThan(session));
        self.receiver = Receiver::nobody();
        let mut parked = Parked::default();
        let mut sequence = self.first;
        for entry in &mut self.window {
            match entry {
                InFlight::Published(delivery) if can_move(delivery) && takers.has(delivery) => {
                    self.bytes -= delivery.message.size();
                    self.kept.unsend(sequence);
                    parked.unsent.push_back(delivery.clone());
                    *entry = InFlight::Done;
                }
                InFlight::Published(delivery) => {
                    let position = delivery.place.map(Place::position);
                    parked.oldest_in_flight = [parked.oldest_in_flight, position].into_iter().flatten().min();
                    if !self.kept.keeps() {
                        delivery.message = delivery.message.kept();
                    }
                }
                InFlight::Released { .. } | InFlight::Done => {}
            }
            sequence += 1;
        }
        parked.unsent.append(&mut self.pending);
        if self.kept.keeps() {
            self.first = sequence;
            self.window = VecDeque::new();
            (self.bytes, self.unacknowledged, self.resend, self.release) = (0, 0, 0, 0);
            self.kept.detach();
        }
        parked
    }

    /// What the store had in flight, before a connection takes the session up.
    pub(super) fn resume(&mut self, resumed: impl IntoIterator<Item = Resumed>) {
        for Resumed { sequence, entry } in resumed {
            if self.window.is_empty() {
                self.first = sequence;
            }
            // What was acknowledged in between is not in the store any more.
            let place = sequence.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
            let Some(place) = place.filter(|place| *place < usize::from(IDS)) else { continue };
            while self.window.len() < place {
                self.window.push_back(InFlight::Done);
            }
            self.window.push_back(match entry {
                None => InFlight::Released { counted: false },
                Some(delivery) => {
                    self.bytes += delivery.message.size();
                    self.kept.resumed(&delivery);
                    InFlight::Published(delivery)
                }
            });
        }
    }

    /// A page of the session's queue, for the client: what is in flight already is left out.
    pub(super) fn take_page(&mut self, page: impl IntoIterator<Item = Delivery>) {
        let kept = &self.kept;
        self.pending.extend(page.into_iter().filter(|delivery| !kept.is_resumed(delivery)));
    }

    /// What the store is to be told since this was last asked.
    pub(super) fn kept_mut(&mut self) -> &mut Kept {
        &mut self.kept
    }

    /// What another member of a shared subscription can have when the session has ended (§4.8.2).
    pub(super) fn unacknowledged_shared(&self) -> impl Iterator<Item = &Delivery> {
        self.window.iter().filter_map(|entry| match entry {
            InFlight::Published(delivery) => can_move(delivery).then_some(delivery),
            InFlight::Released { .. } | InFlight::Done => None,
        })
    }

    pub(super) fn is_hungry(&self) -> bool {
        self.pending.is_empty()
    }

    /// The place for what waits in the mailbox. Having looked there makes it the scans' turn again.
    pub(super) fn pending_mut(&mut self) -> &mut VecDeque<Delivery> {
        self.scans.may_go_on();
        &mut self.pending
    }

    pub(super) fn take_passed_over(&mut self) -> PassedOver {
        std::mem::take(&mut self.passed_over)
    }

    /// The retained messages that match a subscription are owed; a scan for the same filter begins anew.
    pub(super) fn scan(
        &mut self,
        subscription: &Subscription,
        client_id: &ByteString,
        until: Order,
        retain: bool,
    ) {
        self.scans.begin(subscription, client_id, until, retain);
    }

    /// Nobody listens to `filter` any more.
    pub(super) fn cancel(&mut self, filter: &TopicFilter) {
        self.scans.cancel(filter);
    }

    /// The page that was asked for. Of a session that the store keeps, what has a QoS is given back: it
    /// has to stand in the queue first, like any other message.
    pub(super) fn handle_page(&mut self, page: Page) -> Vec<Delivery> {
        let mut to_keep = Vec::new();
        for delivery in self.scans.take_page(page) {
            if self.kept.keeps() && delivery.terms.qos > Qos::AtMostOnce {
                to_keep.push(delivery);
            } else {
                self.pending.push_back(delivery);
            }
        }
        to_keep
    }

    /// The next thing to send: what is in flight first, then what waits, retained and live by turns.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Action> {
        if self.resend < self.sent() {
            return self.poll_resend(now);
        }
        while self.kept.take_sendable() {
            if let Some(action) = self.send_staged(now) {
                return Some(action);
            }
        }
        loop {
            let Some(delivery) = self.pending.front() else {
                return if self.kept.staged() == 0 { self.scans.poll() } else { None };
            };
            if self.receiver.passes_over(delivery, Some(now), &mut self.passed_over) {
                let passed = self.pending.pop_front()?;
                self.kept.remove(&passed);
                continue;
            }
            let in_flight = delivery.terms.qos > Qos::AtMostOnce;
            if in_flight && !self.has_window() {
                return None;
            }
            if Kept::must_wait(delivery) {
                let delivery = self.pending.pop_front()?;
                self.stage(delivery);
                continue;
            }
            if self.kept.staged() > 0 {
                // It comes behind what waits for the store.
                return None;
            }
            let delivery = self.pending.pop_front()?;
            let packet_id = if in_flight {
                self.publish(delivery.clone())
            } else {
                self.kept.remove(&delivery);
                None
            };
            return Some(self.receiver.dispatch(delivery, packet_id, false, now));
        }
    }

    /// Entries of the window that were sent, on whichever connection.
    fn sent(&self) -> usize {
        self.window.len() - self.kept.staged()
    }

    /// Gives a message its packet id; it is sent once that is kept.
    fn stage(&mut self, delivery: Delivery) {
        self.kept.stage();
        self.publish(delivery);
    }

    /// The first of those whose packet id is kept now; none if it may not be sent any more, since the rules have
    /// changed while it waited.
    fn send_staged(&mut self, now: Instant) -> Option<Action> {
        let index = self.sent();
        self.kept.unstage();
        (self.resend, self.release) = (self.sent(), self.sent());
        let (id, sequence) = (self.id_at(index)?, self.sequence_at(index));
        let entry = self.window.get_mut(index)?;
        let InFlight::Published(delivery) = entry else { return None };
        if self.receiver.passes_over(delivery, None, &mut self.passed_over) {
            self.bytes -= delivery.message.size();
            self.kept.finish(sequence, delivery.place);
            *entry = InFlight::Done;
            return None;
        }
        let delivery = delivery.clone();
        Some(self.receiver.dispatch(delivery, Some(id), false, now))
    }

    /// What an earlier connection left unfinished, in order. What has expired goes no more, but for QoS 2:
    /// its exchange was begun, and the client may have the message already.
    fn poll_resend(&mut self, now: Instant) -> Option<Action> {
        while self.resend < self.sent() {
            let (id, sequence) = (self.id_at(self.resend)?, self.sequence_at(self.resend));
            let entry = self.window.get_mut(self.resend)?;
            match entry {
                InFlight::Published(_) if self.unacknowledged >= self.unacknowledged_max => {
                    return self.poll_release();
                }
                InFlight::Published(delivery) => {
                    self.resend += 1;
                    let begun = delivery.terms.qos == Qos::ExactlyOnce;
                    let late = if begun { None } else { Some(now) };
                    if self.receiver.passes_over(delivery, late, &mut self.passed_over) {
                        self.bytes -= delivery.message.size();
                        self.kept.finish(sequence, delivery.place);
                        *entry = InFlight::Done;
                        continue;
                    }
                    self.unacknowledged += 1;
                    return Some(self.receiver.dispatch(delivery.clone(), Some(id), true, now));
                }
                InFlight::Released { .. } | InFlight::Done => {
                    // Released and told so: by an answer on this connection, or by what follows below.
                    let told = self.release > self.resend;
                    let again = matches!(entry, InFlight::Released { counted: false }) && !told;
                    self.resend += 1;
                    self.release = self.release.max(self.resend);
                    if again {
                        return Some(Action::Send(Packet::PubRel(Ack::success(id))));
                    }
                }
            }
        }
        self.close_up();
        self.poll(now)
    }

    /// PUBREL for what stands behind a PUBLISH that has to wait: no receive maximum holds it back
    /// ([MQTT-3.3.4-10]).
    fn poll_release(&mut self) -> Option<Action> {
        self.release = self.release.max(self.resend);
        while self.release < self.sent() {
            let (id, entry) = (self.id_at(self.release)?, self.window.get(self.release)?);
            self.release += 1;
            if let InFlight::Released { counted: false } = entry {
                return Some(Action::Send(Packet::PubRel(Ack::success(id))));
            }
        }
        None
    }

    fn has_window(&self) -> bool {
        let room = self.bytes < self.bytes_max || self.unacknowledged == 0;
        room && self.unacknowledged < self.unacknowledged_max && self.window.len() < usize::from(IDS)
    }

    /// Puts a message into the window, under the id returned.
    fn publish(&mut self, delivery: Delivery) -> Option<PacketId> {
        let id = self.id_at(self.window.len());
        self.kept.send(self.sequence_at(self.window.len()), &delivery);
        self.unacknowledged += 1;
        self.bytes += delivery.message.size();
        self.window.push_back(InFlight::Published(delivery));
        (self.resend, self.release) = (self.sent(), self.sent());
        id
    }

    /// PUBACK: a QoS 1 message is done, whatever its reason code says.
    pub(super) fn handle_puback(&mut self, id: PacketId) {
        if let Some((counted, sequence, place)) = self.hand_over(id, Qos::AtLeastOnce) {
            self.kept.finish(sequence, place);
            self.finish(id, counted);
        }
    }

    /// PUBREC: the client has it; the message itself is needed no longer ([MQTT-4.3.3-4]). Or it will not
    /// have it, and all is over. Gives the PUBREL that answers, if one does.
    pub(super) fn handle_pubrec(&mut self, id: PacketId, reason: ReasonCode) -> Option<Ack> {
        let handed = self.hand_over(id, Qos::ExactlyOnce);
        if reason.is_error() {
            if let Some((counted, sequence, place)) = handed {
                self.kept.finish(sequence, place);
                self.finish(id, counted);
            }
            return None;
        }
        if let (Some((counted, sequence, place)), Some(entry)) = (handed, self.entry(id)) {
            *entry = InFlight::Released { counted };
            self.kept.release(sequence, place);
        }
        let known = handed.is_some() || matches!(self.entry(id), Some(InFlight::Released { .. }));
        // Also for an id that is not known: else the client would wait for ever.
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        Some(Ack::of(id, reason))
    }

    /// PUBCOMP: a QoS 2 message is done.
    pub(super) fn handle_pubcomp(&mut self, id: PacketId) {
        if let Some(InFlight::Released { counted }) = self.entry(id) {
            let counted = *counted;
            if let Some(index) = self.index(id) {
                self.kept.finish(self.sequence_at(index), None);
            }
            self.finish(id, counted);
        }
    }

    /// An entry is done: there is room for another, if it was counted on this connection.
    #[inline]
    fn finish(&mut self, id: PacketId, counted: bool) {
        if let Some(entry) = self.entry(id) {
            *entry = InFlight::Done;
        }
        self.unacknowledged -= usize::from(counted);
        self.close_up();
    }

    /// The client has the message of this id and QoS, or never will; its bytes are held no more. Whether
    /// it was sent on this connection, if there was one at all; and which sending it is, of what stands where.
    #[inline]
    fn hand_over(&mut self, id: PacketId, qos: Qos) -> Option<(bool, u64, Option<Place>)> {
        let index = self.index(id).filter(|index| *index < self.sent())?;
        let InFlight::Published(delivery) = self.window.get(index)? else { return None };
        if delivery.terms.qos != qos {
            return None;
        }
        self.bytes -= delivery.message.size();
        Some((index < self.resend, self.sequence_at(index), delivery.place))
    }

    fn entry(&mut self, id: PacketId) -> Option<&mut InFlight> {
        let index = self.index(id)?;
        self.window.get_mut(index)
    }

    /// Where the window has this id, if it is as long.
    fn index(&self, id: PacketId) -> Option<usize> {
        let (zero_based, ids) = (u64::from(id.get()) - 1, u64::from(IDS));
        usize::try_from((zero_based + ids - self.first % ids) % ids).ok()
    }

    fn id_at(&self, index: usize) -> Option<PacketId> {
        (index < usize::from(IDS)).then(|| crate::store::packet_id(self.sequence_at(index)))
    }

    fn sequence_at(&self, index: usize) -> u64 {
        self.first + index as u64
    }

    /// Lets the window begin at its first entry that is not done.
    fn close_up(&mut self) {
        while let Some(InFlight::Done) = self.window.front() {
            self.window.pop_front();
            self.resend = self.resend.saturating_sub(1);
            self.release = self.release.saturating_sub(1);
            self.first += 1;
        }
        if self.window.is_empty() && self.window.capacity() > 64 && self.pending.is_empty() {
            self.window = VecDeque::new();
        }
    }
}

/// A QoS 2 exchange that was begun stays with its session ([MQTT-4.8.2-4]).
fn can_move(delivery: &Delivery) -> bool {
    delivery.terms.qos == Qos::AtLeastOnce && delivery.terms.group().is_some()
}
