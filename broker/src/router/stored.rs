//! What the store is told of a message, and who gets it then: a message that sessions must not lose is
//! admitted to their mailboxes, appended for all of them at once, and only then pushed with its place.

use super::{Among, Group, Handed, Listener, Router, Subscriber, Turn};
use crate::delivery::{Delivery, Place, SessionId, Terms, Via};
use crate::ingress::message::{Message, Submission};
use crate::mailbox::{Admission, Mailbox};
use crate::store::{self, Change, Position, Receivers, Store, Waiting};
use sealmq_protocol::{Qos, SubscriptionFilter};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// A receiver that a message is kept for.
pub(super) type Admitted = (Arc<Mailbox>, Terms);

impl Turn {
    /// Asks whether the message may be kept for a session; if so it will be.
    pub(super) fn admit(&mut self, mailbox: &Arc<Mailbox>, message: &Message, terms: Terms) -> Handed {
        match mailbox.admit(message) {
            Admission::Granted => {}
            Admission::Displacing => self.dropped += 1,
            Admission::Refused(pushed) => return self.note(pushed, mailbox),
        }
        self.admitted.push((mailbox.clone(), terms));
        Handed::Taken
    }

    /// What belonged together with a message that is not routed after all.
    pub(crate) fn keep_alone(&mut self, store: &Store) {
        store.append_lazily(&mut self.changes);
    }
}

impl Router {
    /// Whether the store will be told of a message, as far as can be known before it is routed.
    pub(crate) fn will_keep(&self, message: &Submission, turn: &mut Turn) -> bool {
        if message.retain() {
            return true;
        }
        let (audience, _) = turn.matched.find(self, message.topic(), turn.publisher);
        let keeps = |mailbox: &Mailbox| {
            mailbox.is_stored() && (message.qos() > Qos::AtMostOnce || mailbox.keeps_qos0())
        };
        // Of a group it may be any member.
        !audience.groups.is_empty() || audience.targets.iter().any(|target| keeps(&target.mailbox))
    }

    /// Appends what the store is told of the message at hand, and pushes it to those it is kept for. The
    /// position that an acknowledgement has to wait for.
    pub(super) fn keep(
        &self,
        message: &Arc<Message>,
        detached: &mut Option<Arc<Message>>,
        turn: &mut Turn,
    ) -> Position {
        let receivers = match turn.admitted.as_slice() {
            [] if turn.changes.is_empty() => return Position::START,
            [] => return self.store.append(&mut turn.changes).1,
            [(mailbox, terms)] => Receivers::One(mailbox.session(), terms.clone()),
            several => {
                let receiver = |(mailbox, terms): &Admitted| (mailbox.session(), terms.clone());
                Receivers::Several(several.iter().map(receiver).collect())
            }
        };
        let is_shared = store::is_shared(&receivers, message);
        turn.changes.push(Change::Queued { message: message.clone(), to: receivers });
        let position = self.store.append(&mut turn.changes).1;
        Self::push_admitted(message, Place::new(position, is_shared), detached, turn);
        position
    }

    /// Pushes a message that was appended last.
    fn push_admitted(
        message: &Arc<Message>,
        place: Option<Place>,
        detached: &mut Option<Arc<Message>>,
        turn: &mut Turn,
    ) {
        let mut admitted = std::mem::take(&mut turn.admitted);
        for (mailbox, terms) in admitted.drain(..) {
            if let Some(place) = place {
                let pushed = mailbox.push_stored(message, terms, place, detached);
                turn.note(pushed, &mailbox);
            }
        }
        // Its room is used again.
        turn.admitted = admitted;
    }

    /// Removes some of the retained messages that have expired. Whether there are more.
    pub(crate) fn expire_retained(&self, now: Instant) -> bool {
        let (is_more, topics) = self.retained.expire(now);
        if self.store.keeps() {
            let changes = topics.into_iter().map(|topic| Change::RetainedExpired { topic });
            self.store.append_lazily(&mut changes.collect());
        }
        is_more
    }

    /// Retained messages for a session whose queue the store keeps: they stand in it like any others.
    pub(crate) fn queue_retained(&self, mailbox: &Arc<Mailbox>, page: Vec<Delivery>, turn: &mut Turn) {
        for Delivery { message, terms, place: _ } in page {
            if turn.admit(mailbox, &message, terms) == Handed::Taken {
                self.keep(&message, &mut None, turn);
            }
        }
    }

    /// What a member of shared subscriptions was given and has not had, for another one; it comes back
    /// where there is nobody else, or nobody has room. What leaves a queue of the store and what comes into another is one
    /// change, so that a crash neither loses nor doubles it.
    pub(crate) fn hand_over(
        &self,
        from: SessionId,
        orphans: VecDeque<Delivery>,
        among: Among,
        turn: &mut Turn,
    ) -> VecDeque<Delivery> {
        let mut left = VecDeque::new();
        for delivery in orphans {
            let Some(group) = delivery.terms.group() else { continue };
            let mut detached = None;
            let handed = Self::hand_on(group, &delivery.message, among, &mut detached, turn);
            if handed != Handed::Taken {
                // Of one that has ended nothing stays.
                turn.dropped += u64::from(handed == Handed::Dropped && matches!(among, Among::OthersThan(_)));
                left.push_back(delivery);
                continue;
            }
            if let Some(place) = delivery.place {
                turn.also(Change::Removed { session: from, place });
            }
            self.keep(&delivery.message, &mut detached, turn);
        }
        left
    }

    /// Hands a message to whichever member has room for it.
    fn hand_on(
        group: &Group,
        message: &Arc<Message>,
        among: Among,
        detached: &mut Option<Arc<Message>>,
        turn: &mut Turn,
    ) -> Handed {
        let dropped = turn.dropped;
        let mut handed = Handed::Unwanted;
        for _ in 0..group.members() {
            handed = Self::hand_to_one_of(group, message, among, detached, turn);
            if handed != Handed::Dropped {
                break;
            }
            turn.dropped = dropped;
        }
        handed
    }

    /// A message of a session's queue, as the session takes it.
    pub(crate) fn delivery(&self, session: SessionId, waiting: Waiting) -> Delivery {
        let Waiting { place, qos, retain, subscription_ids, group, message } = waiting;
        let via = match group.and_then(|name| self.group(&name)) {
            Some(group) => Some(group.via(session)),
            None => Via::own(subscription_ids),
        };
        Delivery { message, terms: Terms { qos, retain, via }, place: Some(place) }
    }

    /// The group that shares a subscription, if there still is one.
    fn group(&self, name: &SubscriptionFilter) -> Option<Arc<Group>> {
        let share_name = name.share_name()?;
        let tree = self.tree.read();
        match tree.get(name.filter(), &Subscriber::Group(share_name.clone()))? {
            Listener::Group(group) => Some(group.clone()),
            Listener::Session(..) => None,
        }
    }
}
