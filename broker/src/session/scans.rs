//! The retained messages that new subscriptions are still owed (§3.8.4), page by page and by turns with live
//! messages. Owns how far each subscription is; what comes out are deliveries, in the order of subscriptions.

use super::Action;
use crate::delivery::{Delivery, Subscription, Terms, Via};
use crate::retained::{Order, Page};
use bytestring::ByteString;
use sealmq_protocol::{TopicFilter, TopicName};
use std::collections::BTreeMap;

/// See the module's description.
pub(super) struct Scans {
    /// In the order of the subscriptions.
    by_turn: BTreeMap<u64, Scan>,
    /// Which scan is of which filter.
    by_filter: BTreeMap<TopicFilter, u64>,
    begun: u64,
    /// Whether the next page may be asked for: the mailbox was looked into since the last one, so
    /// that retained and live messages take turns.
    may_go_on: bool,
}

/// What one subscription is still owed.
struct Scan {
    filter: TopicFilter,
    /// Those of its subscription; the QoS is the highest.
    terms: Terms,
    /// Whose messages are held back: the client's own, with No Local ([MQTT-3.8.3-3]).
    but: Option<ByteString>,
    until: Order,
    after: Option<TopicName>,
}

impl Default for Scans {
    fn default() -> Self {
        Self { by_turn: BTreeMap::new(), by_filter: BTreeMap::new(), begun: 0, may_go_on: true }
    }
}

impl Scans {
    /// The mailbox was looked into.
    pub(super) fn may_go_on(&mut self) {
        self.may_go_on = true;
    }

    /// The retained messages that match a subscription are owed, with RETAIN as given; a scan for the same filter begins anew.
    pub(super) fn begin(
        &mut self,
        subscription: &Subscription,
        client_id: &ByteString,
        until: Order,
        retain: bool,
    ) {
        let filter = subscription.filter.filter().clone();
        self.cancel(&filter);
        self.begun += 1;
        self.by_filter.insert(filter.clone(), self.begun);
        let terms = Terms { qos: subscription.options.qos, retain, via: Via::own(subscription.id) };
        let but = subscription.options.no_local.then(|| client_id.clone());
        self.by_turn.insert(self.begun, Scan { filter, terms, but, until, after: None });
    }

    /// Nobody listens to `filter` any more.
    pub(super) fn cancel(&mut self, filter: &TopicFilter) {
        if let Some(number) = self.by_filter.remove(filter) {
            self.by_turn.remove(&number);
        }
    }

    /// The page to be asked for, if it is time for one.
    pub(super) fn poll(&mut self) -> Option<Action> {
        let (_, scan) = self.by_turn.first_key_value().filter(|_| self.may_go_on)?;
        self.may_go_on = false;
        let (filter, until, after) = (scan.filter.clone(), scan.until, scan.after.clone());
        Some(Action::ReadRetained { filter, until, after })
    }

    /// The page that was asked for: of the first scan, since it comes before anything else.
    pub(super) fn take_page(&mut self, page: Page) -> Vec<Delivery> {
        let Some(mut first) = self.by_turn.first_entry() else { return Vec::new() };
        let scan = first.get_mut();
        scan.after = page.next;
        let (granted, but, last) = (scan.terms.clone(), scan.but.clone(), scan.after.is_none());
        if last {
            let scan = first.remove();
            self.by_filter.remove(&scan.filter);
        }
        let others =
            page.messages.into_iter().filter(|message| but.is_none() || message.publisher() != but.as_ref());
        let deliveries = others.map(|message| {
            let terms = Terms { qos: granted.qos.min(message.qos()), ..granted.clone() };
            Delivery { message, terms, place: None }
        });
        deliveries.collect()
    }
}
