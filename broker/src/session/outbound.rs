//! Step 6 of a PUBLISH's road: what the client is owed. Takes deliveries from the mailbox (filled by
//! `router/`, step 5) and gives packets with QoS and packet id, inside the window; then `connection/`
//! and the codec again, outward.
//!
//! Owns what was taken from the mailbox and not sent, the window of what was sent and not
//! acknowledged, and the scans of retained messages for new subscriptions. Packet ids in the window
//! are consecutive, so finding one is arithmetic, and none is used twice while it is in flight. Never
//! sent: what has expired, what is larger than the client takes, what is confidential on a plaintext
//! connection.

use super::Action;
use super::receiver::{PassedOver, Receiver};
use crate::delivery::{Delivery, SessionId, Subscription, Terms, Via};
use crate::retained::{Order, Page};
use crate::router::{Among, Takers};
use bytestring::ByteString;
use sealmq_protocol::packet::{Ack, PacketId};
use sealmq_protocol::{Packet, Qos, ReasonCode, TopicFilter, TopicName};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Packet ids go from 1 to this, and begin again.
const IDS: u16 = u16::MAX;

pub(super) struct Outbound {
    pending: VecDeque<Delivery>,
    window: VecDeque<InFlight>,
    /// The id of the window's first entry, less one.
    first: u16,
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
    /// In the order of the subscriptions.
    scans: BTreeMap<u64, Scan>,
    /// Which scan is of which filter.
    scanned: BTreeMap<TopicFilter, u64>,
    scans_begun: u64,
    /// Whether the next page may be asked for: the mailbox was looked into since the last one, so
    /// that retained and live messages take turns.
    scan_next: bool,
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

/// The retained messages that a new subscription is still owed.
struct Scan {
    filter: TopicFilter,
    /// Those of its subscription; the QoS is the highest.
    terms: Terms,
    /// Whose messages are held back: the client's own, with No Local ([MQTT-3.8.3-3]).
    but: Option<ByteString>,
    until: Order,
    after: Option<TopicName>,
}

impl Outbound {
    pub(super) fn new(inflight_max: usize, bytes_max: usize) -> Self {
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
            scans: BTreeMap::new(),
            scanned: BTreeMap::new(),
            scans_begun: 0,
            scan_next: true,
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

    /// The connection is over: gives back what was not sent. What is in flight gets copies of its
    /// own, since nobody knows when the client comes back; but a QoS 1 message of a shared subscription
    /// that another member can have is given back as well, in front (§4.8.2).
    pub(super) fn detach(&mut self, session: SessionId) -> VecDeque<Delivery> {
        let mut takers = Takers::among(Among::ConnectedOtherThan(session));
        self.receiver = Receiver::nobody();
        let mut given_back = VecDeque::new();
        for entry in &mut self.window {
            match entry {
                InFlight::Published(delivery) if can_move(delivery) && takers.has(delivery) => {
                    self.bytes -= delivery.message.size();
                    given_back.push_back(delivery.clone());
                    *entry = InFlight::Done;
                }
                InFlight::Published(delivery) => delivery.message = delivery.message.kept(),
                InFlight::Released { .. } | InFlight::Done => {}
            }
        }
        given_back.append(&mut self.pending);
        given_back
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
        self.scan_next = true;
        &mut self.pending
    }

    pub(super) fn take_passed_over(&mut self) -> PassedOver {
        std::mem::take(&mut self.passed_over)
    }

    /// The retained messages that match a subscription are owed; a scan for the same filter begins anew.
    pub(super) fn scan(&mut self, subscription: &Subscription, client_id: &ByteString, until: Order) {
        let filter = subscription.filter.filter().clone();
        self.cancel(&filter);
        self.scans_begun += 1;
        self.scanned.insert(filter.clone(), self.scans_begun);
        let terms = Terms { qos: subscription.options.qos, retain: true, via: Via::own(subscription.id) };
        let but = subscription.options.no_local.then(|| client_id.clone());
        self.scans.insert(self.scans_begun, Scan { filter, terms, but, until, after: None });
    }

    /// Nobody listens to `filter` any more.
    pub(super) fn cancel(&mut self, filter: &TopicFilter) {
        if let Some(number) = self.scanned.remove(filter) {
            self.scans.remove(&number);
        }
    }

    /// The page that was asked for: of the first scan, since it comes before anything else.
    pub(super) fn handle_page(&mut self, page: Page) {
        let Some(mut first) = self.scans.first_entry() else { return };
        let scan = first.get_mut();
        scan.after = page.next;
        let (granted, but, last) = (scan.terms.clone(), scan.but.clone(), scan.after.is_none());
        if last {
            let scan = first.remove();
            self.scanned.remove(&scan.filter);
        }
        let others =
            page.messages.into_iter().filter(|message| but.is_none() || message.publisher() != but.as_ref());
        self.pending.extend(others.map(|message| {
            let terms = Terms { qos: granted.qos.min(message.qos()), ..granted.clone() };
            Delivery { message, terms }
        }));
    }

    /// The next thing to send: what is in flight first, then what waits, retained and live by turns.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Action> {
        if self.resend < self.window.len() {
            return self.poll_resend(now);
        }
        loop {
            let Some(delivery) = self.pending.front() else { return self.poll_scan() };
            if self.receiver.passes_over(delivery, Some(now), &mut self.passed_over) {
                self.pending.pop_front();
                continue;
            }
            let in_flight = delivery.terms.qos > Qos::AtMostOnce;
            if in_flight && !self.has_window() {
                return None;
            }
            let delivery = self.pending.pop_front()?;
            let packet_id = if in_flight { self.publish(delivery.clone()) } else { None };
            return Some(self.receiver.dispatch(delivery, packet_id, false, now));
        }
    }

    /// What an earlier connection left unfinished, in order. What has expired goes no more, but for QoS 2:
    /// its exchange was begun, and the client may have the message already.
    fn poll_resend(&mut self, now: Instant) -> Option<Action> {
        while self.resend < self.window.len() {
            let id = self.id_at(self.resend)?;
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
        while self.release < self.window.len() {
            let (id, entry) = (self.id_at(self.release)?, self.window.get(self.release)?);
            self.release += 1;
            if let InFlight::Released { counted: false } = entry {
                return Some(Action::Send(Packet::PubRel(Ack::success(id))));
            }
        }
        None
    }

    fn poll_scan(&mut self) -> Option<Action> {
        let (_, scan) = self.scans.first_key_value().filter(|_| self.scan_next)?;
        self.scan_next = false;
        let (filter, until, after) = (scan.filter.clone(), scan.until, scan.after.clone());
        Some(Action::ReadRetained { filter, until, after })
    }

    fn has_window(&self) -> bool {
        let room = self.bytes < self.bytes_max || self.unacknowledged == 0;
        room && self.unacknowledged < self.unacknowledged_max && self.window.len() < usize::from(IDS)
    }

    /// Puts a message into the window, under the id returned.
    fn publish(&mut self, delivery: Delivery) -> Option<PacketId> {
        let id = self.id_at(self.window.len());
        self.unacknowledged += 1;
        self.bytes += delivery.message.size();
        self.window.push_back(InFlight::Published(delivery));
        (self.resend, self.release) = (self.window.len(), self.window.len());
        id
    }

    /// PUBACK: a QoS 1 message is done, whatever its reason code says.
    pub(super) fn handle_puback(&mut self, id: PacketId) {
        if let Some(counted) = self.hand_over(id, Qos::AtLeastOnce) {
            self.finish(id, counted);
        }
    }

    /// PUBREC: the client has it; the message itself is needed no longer ([MQTT-4.3.3-4]). Or it will not
    /// have it, and all is over. Gives the PUBREL that answers, if one does.
    pub(super) fn handle_pubrec(&mut self, id: PacketId, reason: ReasonCode) -> Option<Ack> {
        let handed = self.hand_over(id, Qos::ExactlyOnce);
        if reason.is_error() {
            if let Some(counted) = handed {
                self.finish(id, counted);
            }
            return None;
        }
        if let (Some(counted), Some(entry)) = (handed, self.entry(id)) {
            *entry = InFlight::Released { counted };
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
    /// it was sent on this connection, if there was one at all.
    #[inline]
    fn hand_over(&mut self, id: PacketId, qos: Qos) -> Option<bool> {
        let index = self.index(id)?;
        let InFlight::Published(delivery) = self.window.get(index)? else { return None };
        if delivery.terms.qos != qos {
            return None;
        }
        self.bytes -= delivery.message.size();
        Some(index < self.resend)
    }

    fn entry(&mut self, id: PacketId) -> Option<&mut InFlight> {
        let index = self.index(id)?;
        self.window.get_mut(index)
    }

    /// Where the window has this id, if it is as long.
    fn index(&self, id: PacketId) -> Option<usize> {
        let zero_based = id.get() - 1;
        let index = (u32::from(zero_based) + u32::from(IDS) - u32::from(self.first)) % u32::from(IDS);
        usize::try_from(index).ok()
    }

    fn id_at(&self, index: usize) -> Option<PacketId> {
        let zero_based = (usize::from(self.first) + index) % usize::from(IDS);
        PacketId::new(u16::try_from(zero_based).ok()?.checked_add(1)?)
    }

    /// Lets the window begin at its first entry that is not done.
    fn close_up(&mut self) {
        while let Some(InFlight::Done) = self.window.front() {
            self.window.pop_front();
            self.resend = self.resend.saturating_sub(1);
            self.release = self.release.saturating_sub(1);
            self.first = if self.first == IDS - 1 { 0 } else { self.first + 1 };
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
