//! Step 5 of a PUBLISH's road: from one [`Message`] (step 4, `ingress/`) to a delivery for every
//! subscriber that matches, pushed into its mailbox; from there `session/outbound.rs` (step 6) takes it.
//!
//! Owns the subscription tree and the retained messages. In the order in which it happens: retain,
//! match, keep, hand out. Answers with the store's position that an acknowledgement has to wait for,
//! and waits for nothing itself.

mod tree;

use crate::delivery::SessionId;
use crate::ingress::message::Message;
use crate::mailbox::{Mailbox, Pushed};
use crate::metrics::Metrics;
use crate::retained::{Order, Retained};
use crate::store::{Change, Position, Store};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use sealmq_protocol::{Qos, TopicFilter, TopicName};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tree::Tree;

/// Topics whose matches a connection remembers, and targets in all of them together.
const REMEMBERED_TOPICS_MAX: usize = 1_024;
const REMEMBERED_TARGETS_MAX: usize = 16_384;

/// From one message to every delivery.
pub(crate) struct Router {
    tree: RwLock<Tree<Target>>,
    /// Rises with every change of the tree: what was remembered before it is stale.
    generation: AtomicU64,
    retained: Retained,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

/// A subscriber that a topic matches, with the highest QoS of its overlapping subscriptions.
#[derive(Clone)]
struct Target {
    mailbox: Arc<Mailbox>,
    qos: Qos,
}

/// What one turn of a connection gathers while it routes: receivers to wake when the turn is over,
/// one that should be waited for, and the memory of what matched.
#[derive(Default)]
pub(crate) struct Turn {
    matched: Matched,
    touched: Vec<Arc<Mailbox>>,
    pressed: Option<Arc<Mailbox>>,
    /// PUBLISH packets received and sent, for the metrics.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    dropped: u64,
    withheld: u64,
    changes: Vec<Change>,
}

/// A connection's memory of what matched a topic, good while the tree's generation stands.
#[derive(Default)]
struct Matched {
    generation: u64,
    by_topic: FxHashMap<TopicName, Arc<[Target]>>,
    targets: usize,
}

impl Router {
    /// A router without subscriptions.
    pub(crate) fn new(retained: Retained, store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        let (tree, generation) = (RwLock::default(), AtomicU64::new(1));
        Self { tree, generation, retained, store, metrics }
    }

    /// Hands `message` to everybody who listens. An acknowledgement of it may leave once the store
    /// has reached the position returned.
    pub(crate) fn route(&self, message: Message, turn: &mut Turn) -> Position {
        let message = Arc::new(message);
        let mut detached = None;
        if message.retain() {
            self.retain(&message, &mut detached, turn);
        }
        let targets = turn.matched.find(self, message.topic());
        for target in targets.iter() {
            let qos = target.qos.min(message.qos());
            let keep = self.store.keeps() && target.mailbox.persistent() && qos > Qos::AtMostOnce;
            if keep {
                let (session, message) = (target.mailbox.session(), message.clone());
                turn.changes.push(Change::Queued { session, message, qos });
            }
            let pushed = target.mailbox.push(&message, qos, &mut detached);
            turn.note(pushed, &target.mailbox);
        }
        if turn.changes.is_empty() { Position::START } else { self.store.append(&mut turn.changes) }
    }

    fn retain(&self, message: &Arc<Message>, detached: &mut Option<Arc<Message>>, turn: &mut Turn) {
        let kept = detached.get_or_insert_with(|| Arc::new(message.detached()));
        if self.retained.set(kept).is_err() {
            turn.dropped += 1;
            tracing::warn!(
                bound = "limits.retained_messages_max or limits.retained_bytes_max",
                "a retained message was delivered and not kept: no room"
            );
        }
        if self.store.keeps() {
            let message = (!kept.payload().is_empty()).then(|| kept.clone());
            turn.changes.push(Change::Retained { topic: kept.topic().clone(), message });
        }
    }

    /// Ends a turn: wakes each receiver once. Returns a receiver over its bounds, if there is one.
    pub(crate) fn end_turn(&self, turn: &mut Turn) -> Option<Arc<Mailbox>> {
        for mailbox in turn.touched.drain(..) {
            mailbox.wake();
        }
        self.metrics.add_dropped(std::mem::take(&mut turn.dropped));
        self.metrics.confidential_withheld.add(std::mem::take(&mut turn.withheld));
        turn.pressed.take()
    }

    /// Adds a subscription, or replaces one with the same filter; from now on it is routed to.
    pub(crate) fn subscribe(&self, mailbox: &Arc<Mailbox>, filter: &TopicFilter, qos: Qos) -> Order {
        let target = Target { mailbox: mailbox.clone(), qos };
        self.tree.write().insert(filter, mailbox.session(), target);
        self.generation.fetch_add(1, Ordering::Release);
        self.retained.order()
    }

    /// Removes subscriptions of a session.
    pub(crate) fn unsubscribe<'f>(
        &self,
        session: SessionId,
        filters: impl IntoIterator<Item = &'f TopicFilter>,
    ) {
        let mut tree = self.tree.write();
        for filter in filters {
            tree.remove(filter, session);
        }
        drop(tree);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The retained messages, for a new subscription.
    pub(crate) fn retained(&self) -> &Retained {
        &self.retained
    }
}

impl Turn {
    /// A change that belongs together with the message that is routed next.
    pub(crate) fn also(&mut self, change: Change) {
        self.changes.push(change);
    }

    fn note(&mut self, pushed: Pushed, mailbox: &Arc<Mailbox>) {
        match pushed {
            Pushed::Wake => self.touched.push(mailbox.clone()),
            Pushed::Taken | Pushed::Queued | Pushed::Unwanted => {}
            Pushed::Pressed => self.pressed = Some(mailbox.clone()),
            Pushed::Withheld => self.withheld += 1,
            Pushed::Dropped => self.dropped += 1,
            Pushed::Overrun => {
                self.dropped += u64::from(!mailbox.persistent());
                self.touched.push(mailbox.clone());
            }
        }
    }
}

impl Matched {
    fn find(&mut self, router: &Router, topic: &TopicName) -> Arc<[Target]> {
        let generation = router.generation.load(Ordering::Acquire);
        if self.generation != generation {
            self.forget();
            self.generation = generation;
        }
        if let Some(targets) = self.by_topic.get(topic) {
            return targets.clone();
        }
        let targets = router.matches(topic);
        if self.by_topic.len() >= REMEMBERED_TOPICS_MAX
            || self.targets + targets.len() > REMEMBERED_TARGETS_MAX
        {
            self.forget();
        }
        self.targets += targets.len();
        self.by_topic.insert(topic.detached(), targets.clone());
        targets
    }

    fn forget(&mut self) {
        self.by_topic.clear();
        self.targets = 0;
    }
}

impl Router {
    /// Everybody whose filters match, once each, at the highest QoS ([MQTT-3.3.5-1]).
    fn matches(&self, topic: &TopicName) -> Arc<[Target]> {
        let mut found: Vec<(SessionId, Target)> = Vec::new();
        self.tree.read().each_match(topic, |session, target| found.push((session, target.clone())));
        found.sort_unstable_by_key(|(session, target)| (*session, std::cmp::Reverse(target.qos)));
        found.dedup_by_key(|(session, _)| *session);
        found.into_iter().map(|(_, target)| target).collect()
    }
}
