//! Step 6 of a PUBLISH's road: what the client is owed. Takes deliveries from the mailbox (filled by
//! `router/`, step 5) and gives packets with QoS and packet id, inside the window; then `connection/`
//! and the codec again, outward.
//!
//! Owns what was taken from the mailbox and not sent, the window of what was sent and not
//! acknowledged, and the scans of retained messages for new subscriptions. Packet ids in the window
//! are consecutive, so finding one is arithmetic, and none is used twice while it is in flight.

use super::Action;
use crate::delivery::Delivery;
use crate::retained::{Order, Page};
use sealmq_protocol::packet::{PacketId, PublishHeader};
use sealmq_protocol::{Packet, Qos, TopicFilter, TopicName};
use std::collections::VecDeque;

/// Packet ids go from 1 to this, and begin again.
const IDS: u16 = u16::MAX;

pub(super) struct Outbound {
    pending: VecDeque<Delivery>,
    window: VecDeque<InFlight>,
    /// The id of the window's first entry, less one.
    first: u16,
    unacknowledged: usize,
    unacknowledged_max: usize,
    /// The window's entries from here on were sent on an earlier connection and not yet on this.
    resend: usize,
    scans: VecDeque<Scan>,
    /// Whether the next page may be asked for: the mailbox was looked into since the last one, so
    /// that retained and live messages take turns.
    scan_next: bool,
    secure: bool,
    withheld: u64,
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
    qos: Qos,
    until: Order,
    after: Option<TopicName>,
    asked: bool,
}

impl Outbound {
    pub(super) fn new(unacknowledged_max: usize) -> Self {
        Self {
            pending: VecDeque::new(),
            window: VecDeque::new(),
            first: 0,
            unacknowledged: 0,
            unacknowledged_max,
            resend: 0,
            scans: VecDeque::new(),
            scan_next: true,
            secure: false,
            withheld: 0,
        }
    }

    /// A new connection: everything in the window is to be sent again, in order ([MQTT-4.6.0-1]).
    pub(super) fn attach(&mut self, secure: bool) {
        self.secure = secure;
        self.resend = 0;
        for scan in &mut self.scans {
            scan.asked = false;
        }
    }

    /// The connection is over: gives back what was not sent. What is in flight gets copies of its
    /// own, since nobody knows when the client comes back.
    pub(super) fn detach(&mut self) -> VecDeque<Delivery> {
        for entry in &mut self.window {
            if let InFlight::Published(delivery) = entry {
                delivery.message = std::sync::Arc::new(delivery.message.detached());
            }
        }
        std::mem::take(&mut self.pending)
    }

    pub(super) fn is_hungry(&self) -> bool {
        self.pending.is_empty()
    }

    /// The place for what waits in the mailbox. Having looked there makes it the scans' turn again.
    pub(super) fn pending_mut(&mut self) -> &mut VecDeque<Delivery> {
        self.scan_next = true;
        &mut self.pending
    }

    pub(super) fn take_withheld(&mut self) -> u64 {
        std::mem::take(&mut self.withheld)
    }

    /// The retained messages that match `filter` are owed; a scan for the same filter begins anew.
    pub(super) fn scan(&mut self, filter: TopicFilter, qos: Qos, until: Order) {
        self.scans.retain(|scan| scan.filter != filter);
        self.scans.push_back(Scan { filter, qos, until, after: None, asked: false });
    }

    /// Nobody listens to `filter` any more.
    pub(super) fn cancel(&mut self, filter: &TopicFilter) {
        self.scans.retain(|scan| scan.filter != *filter);
    }

    pub(super) fn handle_page(&mut self, page: Page) {
        let Some(scan) = self.scans.front_mut().filter(|scan| scan.asked) else { return };
        scan.asked = false;
        scan.after = page.next;
        let (granted, last) = (scan.qos, scan.after.is_none());
        self.pending.extend(page.messages.into_iter().map(|message| {
            let qos = granted.min(message.qos());
            Delivery { message, qos, retain: true }
        }));
        if last {
            self.scans.pop_front();
        }
    }

    /// The next thing to send: what is in flight first, then what waits, retained and live by turns.
    pub(super) fn poll(&mut self) -> Option<Action> {
        if let Some(action) = self.poll_resend() {
            return Some(action);
        }
        loop {
            let Some(delivery) = self.pending.front() else { return self.poll_scan() };
            if delivery.message.confidential() && !self.secure {
                self.withheld += 1;
                self.pending.pop_front();
                continue;
            }
            let in_flight = delivery.qos > Qos::AtMostOnce;
            if in_flight && !self.has_window() {
                return None;
            }
            let delivery = self.pending.pop_front()?;
            return Some(if in_flight { self.publish(delivery) } else { deliver(delivery, None, false) });
        }
    }

    fn poll_resend(&mut self) -> Option<Action> {
        while self.resend < self.window.len() {
            let id = self.id_at(self.resend)?;
            let entry = self.window.get_mut(self.resend)?;
            self.resend += 1;
            match entry {
                InFlight::Published(delivery) if delivery.message.confidential() && !self.secure => {
                    self.withheld += 1;
                    *entry = InFlight::Done;
                    self.unacknowledged -= 1;
                }
                InFlight::Published(delivery) => return Some(deliver(delivery.clone(), Some(id), true)),
                InFlight::Released => return Some(Action::Send(Packet::PubRel(id))),
                InFlight::Done => {}
            }
        }
        self.close_up();
        None
    }

    fn poll_scan(&mut self) -> Option<Action> {
        let scan = self.scans.front_mut().filter(|scan| self.scan_next && !scan.asked)?;
        scan.asked = true;
        self.scan_next = false;
        Some(Action::ReadRetained {
            filter: scan.filter.clone(),
            until: scan.until,
            after: scan.after.clone(),
        })
    }

    fn has_window(&self) -> bool {
        self.unacknowledged < self.unacknowledged_max && self.window.len() < usize::from(IDS)
    }

    fn publish(&mut self, delivery: Delivery) -> Action {
        let id = self.id_at(self.window.len());
        self.window.push_back(InFlight::Published(delivery.clone()));
        self.unacknowledged += 1;
        self.resend = self.window.len();
        deliver(delivery, id, false)
    }

    /// PUBACK: a QoS 1 message is done.
    pub(super) fn handle_puback(&mut self, id: PacketId) {
        if let Some(entry) = self.entry(id)
            && matches!(entry, InFlight::Published(delivery) if delivery.qos == Qos::AtLeastOnce)
        {
            *entry = InFlight::Done;
            self.unacknowledged -= 1;
            self.close_up();
        }
    }

    /// PUBREC: the client has it; the message itself is needed no longer ([MQTT-4.3.3-1]).
    pub(super) fn handle_pubrec(&mut self, id: PacketId) {
        if let Some(entry) = self.entry(id)
            && matches!(entry, InFlight::Published(delivery) if delivery.qos == Qos::ExactlyOnce)
        {
            *entry = InFlight::Released;
        }
    }

    /// PUBCOMP: a QoS 2 message is done.
    pub(super) fn handle_pubcomp(&mut self, id: PacketId) {
        if let Some(entry) = self.entry(id)
            && matches!(entry, InFlight::Released)
        {
            *entry = InFlight::Done;
            self.unacknowledged -= 1;
            self.close_up();
        }
    }

    fn entry(&mut self, id: PacketId) -> Option<&mut InFlight> {
        let zero_based = id.get() - 1;
        let index = (u32::from(zero_based) + u32::from(IDS) - u32::from(self.first)) % u32::from(IDS);
        self.window.get_mut(usize::try_from(index).ok()?)
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

fn deliver(delivery: Delivery, packet_id: Option<PacketId>, dup: bool) -> Action {
    let Delivery { message, qos, retain } = delivery;
    Action::Deliver(message, PublishHeader { dup, qos, retain, packet_id })
}
