//! Step 5 of a PUBLISH's road: from one [`Message`] (step 4, `ingress/`) to a delivery for every
//! subscriber that matches, pushed into its mailbox; from there `session/outbound.rs` (step 6) takes it.
//!
//! Owns the subscription tree and the retained messages. In the order in which it happens: retain,
//! match, keep, hand out. Answers with the store's position that an acknowledgement has to wait for,
//! and waits for nothing itself.

mod shared;
mod stored;
mod tree;

pub(crate) use shared::{Among, Group, Takers};

use crate::delivery::{SessionId, Subscription, Terms, Via};
use crate::ingress::message::Message;
use crate::mailbox::{Mailbox, Pushed};
use crate::metrics::Metrics;
use crate::retained::{Order, Retained, is_report};
use crate::store::{Change, Position, Store};
use bytestring::ByteString;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use sealmq_protocol::packet::{SubscriptionId, SubscriptionOptions};
use sealmq_protocol::{Qos, ReasonCode, SubscriptionFilter, TopicFilter, TopicName};
use shared::Member;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use stored::Admitted;
use tree::Tree;

/// Topics whose matches a connection remembers, and targets in all of them together.
const REMEMBERED_TOPICS_MAX: usize = 1_024;
const REMEMBERED_TARGETS_MAX: usize = 16_384;
/// A longer topic is looked up each time.
const REMEMBERED_TOPIC_BYTES_MAX: usize = 256;
/// Filters added or removed while the tree is locked once.
const LOCKED_FILTERS_MAX: usize = 256;
/// What a turn's work is counted in: a packet or a push is one; walking the tree is this much, and
/// checking an envelope that.
const WALK_WORK: usize = 64;
const ENVELOPE_WORK: usize = 32;
/// Work in one turn before receivers are woken and others get theirs: one or two milliseconds.
const TURN_WORK_MAX: usize = 16_384;

/// From one message to every delivery.
pub(crate) struct Router {
    tree: RwLock<Tree<Subscriber, Listener>>,
    /// Rises with every change of the tree: what was remembered before it is stale.
    generation: AtomicU64,
    retained: Retained,
    /// Retained messages that there was no room for.
    no_room: AtomicU64,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
}

/// Who listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subscriber {
    Session(SessionId),
    Group(ByteString),
}

/// What is known of who listens.
enum Listener {
    Session(Arc<Mailbox>, SubscriptionOptions, Option<Arc<Via>>),
    Group(Arc<Group>),
}

/// Everybody who listens to a topic.
#[derive(Default)]
struct Audience {
    targets: Vec<Target>,
    groups: Vec<Arc<Group>>,
}

/// A session that a topic matches, by one subscription or several ([MQTT-3.3.4-2]).
struct Target {
    mailbox: Arc<Mailbox>,
    /// The highest of them.
    qos: Qos,
    /// Whether one of them wants RETAIN as it was published.
    retain_as_published: bool,
    via: Option<Arc<Via>>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Routed {
    /// An acknowledgement may leave once the store has reached it.
    pub(crate) position: Position,
    /// What an MQTT 5 publisher is told.
    pub(crate) reason: ReasonCode,
    /// Whether there was no room for it anywhere: no receiver has it, nor is it retained.
    pub(crate) is_lost: bool,
}

/// What became of a message for one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handed {
    /// It has it, or it is kept for it.
    Taken,
    /// There was no room for it.
    Dropped,
    /// It is not for it, or not now.
    Unwanted,
}

/// What one turn of a connection gathers while it routes: receivers to wake when the turn is over,
/// one that should be waited for, and the memory of what matched.
#[derive(Default)]
pub(crate) struct Turn {
    /// Whose messages they are: a subscription with No Local does not get its own.
    publisher: Option<SessionId>,
    matched: Matched,
    touched: Vec<Arc<Mailbox>>,
    pressed: Option<Arc<Mailbox>>,
    /// PUBLISH packets received and sent, for the metrics.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Of those sent, the ones in envelopes made for their receiver.
    pub(crate) resealed: u64,
    dropped: u64,
    withheld: u64,
    work: usize,
    changes: Vec<Change>,
    /// What is kept of a QoS 2 message besides, unless it goes wrong.
    receipt: Option<Receipt>,
    /// Whether the mark of its envelope is not kept where it is lost.
    gives_back: bool,
    /// Receivers of the message at hand that the store keeps it for.
    admitted: Vec<Admitted>,
}

/// What the store is told of a QoS 2 message that a persistent session sent.
struct Receipt {
    change: Change,
    /// Whether an error ends the exchange (MQTT 5 §4.3.3).
    error_ends: bool,
}

/// A connection's memory of what matched a topic, good while the tree's generation stands.
#[derive(Default)]
struct Matched {
    generation: u64,
    by_topic: FxHashMap<TopicName, Arc<Audience>>,
    targets: usize,
}

impl Router {
    /// A router without subscriptions.
    pub(crate) fn new(retained: Retained, store: Arc<Store>, metrics: Arc<Metrics>) -> Self {
        let (tree, generation, no_room) = (RwLock::default(), AtomicU64::new(1), AtomicU64::new(0));
        Self { tree, generation, retained, no_room, store, metrics }
    }

    /// Hands `message` to everybody who listens.
    pub(crate) fn route(&self, message: &Arc<Message>, turn: &mut Turn) -> Routed {
        let mut detached = None;
        let kept = !message.retain() || self.retain(message, &mut detached, turn);
        let (audience, walked) = turn.matched.find(self, message.topic(), turn.publisher);
        turn.work += audience.targets.len() + if walked { WALK_WORK } else { 0 };
        let (mut taken, mut dropped) = (false, false);
        let mut note = |handed| match handed {
            Handed::Taken => taken = true,
            Handed::Dropped => dropped = true,
            Handed::Unwanted => {}
        };
        for target in &audience.targets {
            let terms = target.terms(message);
            note(Self::hand_to(&target.mailbox, message, terms, &mut detached, turn));
        }
        for group in &audience.groups {
            note(Self::hand_to_one_of(group, message, Among::Everybody, &mut detached, turn));
        }
        // Where somebody has it, a publisher that took it for lost would send it twice.
        let reason = if (dropped || !kept) && !taken {
            ReasonCode::QuotaExceeded
        } else if audience.targets.is_empty() && audience.groups.is_empty() {
            ReasonCode::NoMatchingSubscribers
        } else {
            ReasonCode::Success
        };
        if let Some(Receipt { change, error_ends }) = turn.receipt.take()
            && !(error_ends && reason.is_error())
        {
            turn.changes.push(change);
        }
        let is_lost = reason.is_error() && !taken && !(message.retain() && kept);
        if std::mem::take(&mut turn.gives_back) && is_lost {
            turn.changes.retain(|change| !matches!(change, Change::Taken { .. }));
        }
        Routed { position: self.keep(message, &mut detached, turn), reason, is_lost }
    }

    #[inline]
    fn hand_to(
        mailbox: &Arc<Mailbox>,
        message: &Arc<Message>,
        terms: Terms,
        detached: &mut Option<Arc<Message>>,
        turn: &mut Turn,
    ) -> Handed {
        if mailbox.is_stored() && (terms.qos > Qos::AtMostOnce || mailbox.keeps_qos0()) {
            return turn.admit(mailbox, message, terms);
        }
        let pushed = mailbox.push(message, terms, detached);
        turn.note(pushed, mailbox)
    }

    /// Hands a message to one member of a group: whose turn it is, or the next, if that one went away
    /// just now.
    fn hand_to_one_of(
        group: &Group,
        message: &Arc<Message>,
        among: Among,
        detached: &mut Option<Arc<Message>>,
        turn: &mut Turn,
    ) -> Handed {
        for _ in 0..group.members() {
            let (chosen, asked) = group.choose(message, among);
            turn.work += asked;
            let Some(Member { mailbox, terms }) = chosen else { break };
            let handed = Self::hand_to(&mailbox, message, terms, detached, turn);
            if handed != Handed::Unwanted {
                return handed;
            }
        }
        Handed::Unwanted
    }

    /// Keeps the topic's message; whether there was room.
    fn retain(&self, message: &Arc<Message>, detached: &mut Option<Arc<Message>>, turn: &mut Turn) -> bool {
        let kept = detached.get_or_insert_with(|| message.kept());
        let has_room = self.retained.set(kept).is_ok();
        if !has_room {
            turn.dropped += 1;
            // Said ever more seldom, so that a flood of messages is no flood of lines.
            let times = self.no_room.fetch_add(1, Ordering::Relaxed) + 1;
            if times.is_power_of_two() {
                tracing::warn!(
                    times,
                    bound = "limits.retained_messages_max or limits.retained_bytes_max",
                    "a retained message was delivered and not kept: no room"
                );
            }
        }
        // What the broker says of itself is said anew after a start.
        if self.store.keeps() && !is_report(kept) {
            let message = (has_room && !kept.payload().is_empty()).then(|| kept.clone());
            turn.changes.push(Change::Retained { topic: kept.topic().clone(), message });
        }
        has_room
    }

    /// Ends a turn: wakes each receiver once. Returns a receiver over its bounds, if there is one.
    pub(crate) fn end_turn(&self, turn: &mut Turn) -> Option<Arc<Mailbox>> {
        for mailbox in turn.touched.drain(..) {
            mailbox.wake();
        }
        self.metrics.add_dropped(std::mem::take(&mut turn.dropped));
        self.metrics.confidential_withheld.add(std::mem::take(&mut turn.withheld));
        self.store.kick();
        turn.work = 0;
        turn.pressed.take()
    }

    /// Adds subscriptions, or replaces those with the same filters; from now on they are routed to.
    pub(crate) fn subscribe(&self, mailbox: &Arc<Mailbox>, subscriptions: &[Subscription]) -> Order {
        for some in subscriptions.chunks(LOCKED_FILTERS_MAX) {
            let mut tree = self.tree.write();
            for subscription in some {
                let Subscription { filter, options, id, is_new: _ } = subscription;
                let at = tree.at(filter.filter());
                let Some(name) = filter.share_name() else {
                    let listener = Listener::Session(mailbox.clone(), *options, Via::own(*id));
                    at.insert(Subscriber::Session(mailbox.session()), listener);
                    continue;
                };
                let group = at
                    .entry(Subscriber::Group(name.clone()))
                    .or_insert_with(|| Listener::Group(Arc::new(Group::new(filter.clone()))));
                if let Listener::Group(group) = group {
                    Group::join(group, mailbox, *options, *id);
                }
            }
        }
        self.generation.fetch_add(1, Ordering::Release);
        self.retained.order()
    }

    /// Removes subscriptions of a session.
    pub(crate) fn unsubscribe(&self, session: SessionId, filters: &[SubscriptionFilter]) {
        for some in filters.chunks(LOCKED_FILTERS_MAX) {
            let mut tree = self.tree.write();
            for filter in some {
                let subscriber = match filter.share_name() {
                    None => Subscriber::Session(session),
                    Some(name) => Subscriber::Group(name.clone()),
                };
                tree.remove(filter.filter(), &subscriber, |listener| match listener {
                    Listener::Session(..) => true,
                    // The last to leave takes the group along.
                    Listener::Group(group) => group.leave(session) == 0,
                });
            }
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The subscription of a session to a filter, if it has one of its own there.
    pub(crate) fn subscription(&self, session: SessionId, filter: TopicFilter) -> Option<Subscription> {
        let tree = self.tree.read();
        let Listener::Session(_, options, via) = tree.get(&filter, &Subscriber::Session(session))? else {
            return None;
        };
        let id = via.as_ref().and_then(|via| via.subscription_ids.first().copied());
        Some(Subscription { filter: filter.into(), options: *options, id, is_new: false })
    }

    /// The retained messages, for a new subscription.
    pub(crate) fn retained(&self) -> &Retained {
        &self.retained
    }
}

impl Turn {
    /// A turn of the connection that has this session.
    pub(crate) fn of(publisher: SessionId) -> Self {
        Self { publisher: Some(publisher), ..Self::default() }
    }

    /// Whether enough was done for one turn, or a receiver should be let catch up first.
    pub(crate) fn is_full(&self) -> bool {
        self.pressed.is_some() || self.work >= TURN_WORK_MAX
    }

    /// A packet was handled.
    pub(crate) fn count_packet(&mut self) {
        self.work += 1;
    }

    /// An envelope was checked.
    pub(crate) fn count_envelope(&mut self) {
        self.work += ENVELOPE_WORK;
    }

    /// A change that belongs together with the message that is routed next.
    pub(crate) fn also(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// The same of an envelope's mark; not where the message is lost, if its publisher `hears` of that.
    pub(crate) fn also_taken(&mut self, taken: Change, hears: bool) {
        self.changes.push(taken);
        self.gives_back = hears;
    }

    /// The same, but not where the message is answered with an error, if that ends the exchange.
    pub(crate) fn also_unless_error_ends(&mut self, change: Change, error_ends: bool) {
        self.receipt = Some(Receipt { change, error_ends });
    }

    fn note(&mut self, pushed: Pushed, mailbox: &Arc<Mailbox>) -> Handed {
        match pushed {
            Pushed::Wake => self.touched.push(mailbox.clone()),
            Pushed::Taken | Pushed::Queued => {}
            Pushed::Pressed => self.pressed = Some(mailbox.clone()),
            Pushed::Displaced => self.dropped += 1,
            Pushed::Unwanted => return Handed::Unwanted,
            Pushed::Withheld => {
                self.withheld += 1;
                return Handed::Unwanted;
            }
            Pushed::Dropped => {
                self.dropped += 1;
                return Handed::Dropped;
            }
            Pushed::Overrun => {
                self.touched.push(mailbox.clone());
                if !mailbox.persistent() {
                    self.dropped += 1;
                    return Handed::Dropped;
                }
            }
        }
        Handed::Taken
    }
}

impl Matched {
    /// Who listens to `topic`, and whether that had to be looked up.
    fn find(
        &mut self,
        router: &Router,
        topic: &TopicName,
        publisher: Option<SessionId>,
    ) -> (Arc<Audience>, bool) {
        let generation = router.generation.load(Ordering::Acquire);
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        if let Some(audience) = self.by_topic.get(topic) {
            return (audience.clone(), false);
        }
        let audience = Arc::new(router.audience(topic, publisher));
        let targets = audience.targets.len() + audience.groups.len();
        if topic.as_str().len() > REMEMBERED_TOPIC_BYTES_MAX || targets > REMEMBERED_TARGETS_MAX {
            return (audience, true);
        }
        if self.by_topic.len() >= REMEMBERED_TOPICS_MAX || self.targets + targets > REMEMBERED_TARGETS_MAX {
            *self = Self { generation, ..Self::default() };
        }
        self.targets += targets;
        self.by_topic.insert(topic.detached(), audience.clone());
        (audience, true)
    }
}

impl Router {
    /// Everybody whose filters match: sessions once each, by all of their subscriptions together.
    fn audience(&self, topic: &TopicName, publisher: Option<SessionId>) -> Audience {
        let mut audience = Audience::default();
        let mut found: Vec<(SessionId, Target)> = Vec::new();
        self.tree.read().each_match(topic, |_, listener| match listener {
            Listener::Group(group) => audience.groups.push(group.clone()),
            // [MQTT-3.8.3-3]
            Listener::Session(mailbox, options, _)
                if options.no_local && Some(mailbox.session()) == publisher => {}
            Listener::Session(mailbox, options, via) => {
                let target = Target {
                    mailbox: mailbox.clone(),
                    qos: options.qos,
                    retain_as_published: options.retain_as_published,
                    via: via.clone(),
                };
                found.push((mailbox.session(), target));
            }
        });
        found.sort_by_key(|(session, _)| *session);
        let mut subscription_ids = Vec::new();
        let mut found = found.into_iter().peekable();
        while let Some((session, mut target)) = found.next() {
            // One delivery stands for all of a client's subscriptions: at the highest QoS, with all of
            // their identifiers ([MQTT-3.3.4-2], [MQTT-3.3.4-4]).
            if found.peek().is_some_and(|(next, _)| *next == session) {
                subscription_ids.extend(target.subscription_ids());
                while let Some((_, other)) = found.next_if(|(next, _)| *next == session) {
                    target.qos = target.qos.max(other.qos);
                    target.retain_as_published |= other.retain_as_published;
                    subscription_ids.extend(other.subscription_ids());
                }
                target.via = Via::own(subscription_ids.drain(..));
            }
            audience.targets.push(target);
        }
        audience
    }
}

impl Target {
    fn subscription_ids(&self) -> impl Iterator<Item = SubscriptionId> {
        self.via.iter().flat_map(|via| via.subscription_ids.iter().copied())
    }

    fn terms(&self, message: &Message) -> Terms {
        Terms {
            qos: self.qos.min(message.qos()),
            // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
            retain: self.retain_as_published && message.retain(),
            via: self.via.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
