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
use super::alias::{self, Alias};
use crate::delivery::{Delivery, SessionId, Subscription, Terms, Via};
use crate::ingress::message::Message;
use crate::retained::{Order, Page};
use crate::router::Among;
use sealmq_protocol::packet::{Ack, OutgoingPublish, PacketId, PublishHeader, Version};
use sealmq_protocol::{Packet, Qos, ReasonCode, TopicFilter, TopicName, codec};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Packet ids go from 1 to this, and begin again.
const IDS: u16 = u16::MAX;
/// What an alias adds to a packet at most: itself, and each of two lengths a byte longer.
const ALIAS_BYTES_MAX: usize = 5;

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

/// What the connection at hand takes.
pub(super) struct Receiver {
    /// Whether confidential messages may be sent.
    pub(super) secure: bool,
    /// In whose form.
    pub(super) version: Version,
    /// Its receive maximum.
    pub(super) receive_maximum: u16,
    /// Its maximum packet size, bytes.
    pub(super) packet_bytes_max: Option<usize>,
    /// The aliases that it takes.
    pub(super) aliases: alias::Outbound,
}

/// Messages that were owed and not sent, by why.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PassedOver {
    /// Confidential, on a plaintext connection.
    pub(crate) withheld: u64,
    /// Too late.
    pub(crate) expired: u64,
    /// Larger than the client takes ([MQTT-3.1.2-24]).
    pub(crate) too_large: u64,
}

/// A PUBLISH to be written.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) message: Arc<Message>,
    pub(crate) header: PublishHeader,
    alias: Alias,
    message_expiry_s: Option<u32>,
    via: Option<Arc<Via>>,
}

impl Dispatch {
    /// As the codec takes it.
    pub(crate) fn as_packet(&self) -> OutgoingPublish<'_> {
        let (topic, topic_alias) = match self.alias {
            Alias::None => (self.message.topic().as_str(), None),
            Alias::Set(alias) => (self.message.topic().as_str(), Some(alias)),
            Alias::Use(alias) => ("", Some(alias)),
        };
        OutgoingPublish {
            header: self.header,
            topic,
            topic_alias,
            message_expiry_s: self.message_expiry_s,
            subscription_ids: self.via.as_ref().map_or(&[], |via| &via.subscription_ids),
            properties: self.message.properties(),
            payload: self.message.payload(),
        }
    }
}

/// One message in flight.
enum InFlight {
    /// PUBLISH was sent: PUBACK or PUBREC is awaited.
    Published(Delivery),
    /// PUBREC has come and PUBREL was sent: PUBCOMP is awaited.
    Released,
    /// Acknowledged; it stays until it is the first, so that ids stay consecutive.
    Done,
}

/// The retained messages that a new subscription is still owed.
struct Scan {
    filter: TopicFilter,
    /// Those of its subscription; the QoS is the highest.
    terms: Terms,
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
        self.resend = 0;
    }

    /// The connection is over: gives back what was not sent. What is in flight gets copies of its
    /// own, since nobody knows when the client comes back; but a QoS 1 message of a shared subscription
    /// that another member can have is given back as well, in front (§4.8.2).
    pub(super) fn detach(&mut self, session: SessionId) -> VecDeque<Delivery> {
        let among = Among::ConnectedOtherThan(session);
        self.receiver = Receiver::nobody();
        let mut given_back = VecDeque::new();
        for entry in &mut self.window {
            match entry {
                InFlight::Published(delivery) if can_move(delivery, among) => {
                    self.bytes -= delivery.message.size();
                    given_back.push_back(delivery.clone());
                    *entry = InFlight::Done;
                }
                InFlight::Published(delivery) => delivery.message = delivery.message.kept(),
                InFlight::Released | InFlight::Done => {}
            }
        }
        given_back.append(&mut self.pending);
        given_back
    }

    /// What another member of a shared subscription can have when the session has ended (§4.8.2).
    pub(super) fn unacknowledged_shared(&self) -> impl Iterator<Item = &Delivery> {
        self.window.iter().filter_map(|entry| match entry {
            InFlight::Published(delivery) => {
                (delivery.terms.qos == Qos::AtLeastOnce && delivery.terms.group().is_some()).then_some(delivery)
            }
            InFlight::Released | InFlight::Done => None,
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
    pub(super) fn scan(&mut self, subscription: &Subscription, until: Order) {
        let filter = subscription.filter.filter().clone();
        self.cancel(&filter);
        self.scans_begun += 1;
        self.scanned.insert(filter.clone(), self.scans_begun);
        let terms = Terms { qos: subscription.options.qos, retain: true, via: Via::own(subscription.id) };
        self.scans.insert(self.scans_begun, Scan { filter, terms, until, after: None });
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
        let (granted, last) = (scan.terms.clone(), scan.after.is_none());
        if last {
            let scan = first.remove();
            self.scanned.remove(&scan.filter);
        }
        self.pending.extend(page.messages.into_iter().map(|message| {
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
            if self.receiver.passes_over(delivery, now, &mut self.passed_over) {
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

    /// What an earlier connection left unfinished. What has expired goes no more, but for QoS 2: its
    /// exchange was begun, and the client may have the message already.
    fn poll_resend(&mut self, now: Instant) -> Option<Action> {
        while self.resend < self.window.len() && self.unacknowledged < self.unacknowledged_max {
            let id = self.id_at(self.resend)?;
            let entry = self.window.get_mut(self.resend)?;
            self.resend += 1;
            match entry {
                InFlight::Published(delivery) => {
                    let begun = delivery.terms.qos == Qos::ExactlyOnce;
                    let late = if begun { None } else { Some(now) };
                    if self.receiver.passes_over_at(delivery, late, &mut self.passed_over) {
                        self.bytes -= delivery.message.size();
                        *entry = InFlight::Done;
                        continue;
                    }
                    self.unacknowledged += 1;
                    return Some(self.receiver.dispatch(delivery.clone(), Some(id), true, now));
                }
                InFlight::Released => {
                    self.unacknowledged += 1;
                    return Some(Action::Send(Packet::PubRel(Ack::success(id))));
                }
                InFlight::Done => {}
            }
        }
        let rest = self.resend < self.window.len();
        self.close_up();
        if rest { None } else { self.poll(now) }
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
        self.resend = self.window.len();
        id
    }

    /// PUBACK: a QoS 1 message is done, whatever its reason code says.
    pub(super) fn handle_puback(&mut self, id: PacketId) {
        if self.hand_over(id, Qos::AtLeastOnce, InFlight::Done) {
            self.finish(id);
        }
    }

    /// PUBREC: the client has it; the message itself is needed no longer ([MQTT-4.3.3-4]). Or it will not
    /// have it, and all is over. Gives the PUBREL that answers, if one does.
    pub(super) fn handle_pubrec(&mut self, id: PacketId, reason: ReasonCode) -> Option<Ack> {
        if reason.is_error() {
            if self.hand_over(id, Qos::ExactlyOnce, InFlight::Done) {
                self.finish(id);
            }
            return None;
        }
        let known = self.hand_over(id, Qos::ExactlyOnce, InFlight::Released)
            || matches!(self.entry(id), Some(InFlight::Released));
        // Also for an id that is not known: else the client would wait for ever.
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        Some(Ack::of(id, reason))
    }

    /// PUBCOMP: a QoS 2 message is done.
    pub(super) fn handle_pubcomp(&mut self, id: PacketId) {
        if let Some(entry) = self.entry(id)
            && matches!(entry, InFlight::Released)
        {
            *entry = InFlight::Done;
            self.finish(id);
        }
    }

    /// An entry is done: there is room for another, if it was counted on this connection.
    fn finish(&mut self, id: PacketId) {
        if self.index(id).is_some_and(|index| index < self.resend) {
            self.unacknowledged -= 1;
        }
        self.close_up();
    }

    /// The client has the message of this id and QoS. Whether there was one.
    fn hand_over(&mut self, id: PacketId, qos: Qos, next: InFlight) -> bool {
        let Some(entry) = self.entry(id) else { return false };
        let size = match entry {
            InFlight::Published(delivery) if delivery.terms.qos == qos => delivery.message.size(),
            InFlight::Published(_) | InFlight::Released | InFlight::Done => return false,
        };
        *entry = next;
        self.bytes -= size;
        true
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
            self.first = if self.first == IDS - 1 { 0 } else { self.first + 1 };
        }
        if self.window.is_empty() && self.window.capacity() > 64 && self.pending.is_empty() {
            self.window = VecDeque::new();
        }
    }
}

impl Receiver {
    /// While there is no connection.
    fn nobody() -> Self {
        Self {
            secure: false,
            version: Version::V311,
            receive_maximum: 0,
            packet_bytes_max: None,
            aliases: alias::Outbound::default(),
        }
    }

    /// Whether a message is not for this receiver, or not any more; if so it is counted.
    fn passes_over(&self, delivery: &Delivery, now: Instant, passed_over: &mut PassedOver) -> bool {
        self.passes_over_at(delivery, Some(now), passed_over)
    }

    /// The same; without a time nothing has expired.
    fn passes_over_at(
        &self,
        delivery: &Delivery,
        now: Option<Instant>,
        passed_over: &mut PassedOver,
    ) -> bool {
        let message = &delivery.message;
        let count = if message.confidential() && !self.secure {
            &mut passed_over.withheld
        } else if now.is_some_and(|now| message.is_expired(now)) {
            &mut passed_over.expired
        } else if self.packet_bytes_max.is_some_and(|max| self.packet_bytes(delivery) > max) {
            &mut passed_over.too_large
        } else {
            return false;
        };
        *count += 1;
        true
    }

    /// The length of the packet, with its topic's name.
    fn packet_bytes(&self, delivery: &Delivery) -> usize {
        let packet_id = if delivery.terms.qos > Qos::AtMostOnce { Some(PacketId::MIN) } else { None };
        let dispatch = Dispatch {
            message: delivery.message.clone(),
            header: header(&delivery.terms, packet_id, false),
            alias: Alias::None,
            message_expiry_s: delivery.message.expires().map(|_| 0),
            via: delivery.terms.via.clone(),
        };
        codec::publish_bytes(&dispatch.as_packet(), self.version)
    }

    #[inline]
    fn dispatch(
        &mut self,
        delivery: Delivery,
        packet_id: Option<PacketId>,
        dup: bool,
        now: Instant,
    ) -> Action {
        // What fits only just goes without introducing an alias.
        let may_introduce = self
            .packet_bytes_max
            .is_none_or(|max| self.packet_bytes(&delivery).saturating_add(ALIAS_BYTES_MAX) <= max);
        let Delivery { message, terms } = delivery;
        Action::Deliver(Dispatch {
            header: header(&terms, packet_id, dup),
            alias: self.aliases.assign(message.topic(), may_introduce),
            message_expiry_s: message.expires_in_s(now),
            via: terms.via,
            message,
        })
    }
}

fn header(terms: &Terms, packet_id: Option<PacketId>, dup: bool) -> PublishHeader {
    PublishHeader { dup, qos: terms.qos, retain: terms.retain, packet_id }
}

/// A QoS 2 exchange that was begun stays with its session ([MQTT-4.8.2-4]).
fn can_move(delivery: &Delivery, among: Among) -> bool {
    delivery.terms.qos == Qos::AtLeastOnce
        && delivery.terms.group().is_some_and(|group| group.has_taker(&delivery.message, among))
}
