//! Shared subscriptions (MQTT 5 §4.8.2): of a group, one member gets each message.
//!
//! Owns the members of one group and whose turn it is. Members that are connected come before members
//! that are away; among either the turn goes round.

use crate::delivery::{SessionId, Terms, Via};
use crate::ingress::message::Message;
use crate::mailbox::Mailbox;
use parking_lot::RwLock;
use sealmq_protocol::Qos;
use sealmq_protocol::packet::{SubscriptionId, SubscriptionOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The sessions that share one subscription.
#[derive(Default)]
pub(crate) struct Group {
    members: RwLock<Vec<Joined>>,
    turn: AtomicUsize,
}

struct Joined {
    mailbox: Arc<Mailbox>,
    options: SubscriptionOptions,
    /// Holds the group in turn, until the member leaves.
    via: Arc<Via>,
}

/// The member that gets a message, and on which terms.
pub(crate) struct Member {
    /// Whose turn it is.
    pub(crate) mailbox: Arc<Mailbox>,
    /// With the QoS granted to this member ([MQTT-4.8.2-3]).
    pub(crate) terms: Terms,
}

impl Group {
    /// Adds a member, or replaces its options.
    pub(crate) fn join(
        group: &Arc<Self>,
        mailbox: &Arc<Mailbox>,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) {
        let subscription_ids = id.into_iter().collect();
        let via = Arc::new(Via { subscription_ids, group: Some(group.clone()) });
        let joined = Joined { mailbox: mailbox.clone(), options, via };
        let mut members = group.members.write();
        match members.iter_mut().find(|member| member.mailbox.session() == mailbox.session()) {
            Some(member) => *member = joined,
            None => members.push(joined),
        }
    }

    /// Removes a member. How many are left.
    pub(crate) fn leave(&self, session: SessionId) -> usize {
        let mut members = self.members.write();
        members.retain(|member| member.mailbox.session() != session);
        members.len()
    }

    /// How many members there are.
    pub(crate) fn members(&self) -> usize {
        self.members.read().len()
    }

    /// Whose turn it is with a message.
    pub(crate) fn choose(&self, message: &Message, among: Among) -> Option<Member> {
        let members = self.members.read();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % members.len().max(1);
        let (before, after) = members.split_at_checked(first)?;
        let member = among.find(after.iter().chain(before), message)?;
        let terms = Terms {
            qos: member.options.qos.min(message.qos()),
            retain: member.options.retain_as_published && message.retain(),
            via: Some(member.via.clone()),
        };
        Some(Member { mailbox: member.mailbox.clone(), terms })
    }

    /// Whether anybody could have a message.
    pub(crate) fn has_taker(&self, message: &Message, among: Among) -> bool {
        among.find(self.members.read().iter(), message).is_some()
    }
}

/// Which members may have a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// All.
    Everybody,
    /// All but one, whose session has ended.
    OthersThan(SessionId),
    /// Those that are connected, but one that is not any more.
    ConnectedOtherThan(SessionId),
}

impl Among {
    /// The first in turn that is connected and may see the message; else the first for whom it is kept.
    fn find<'m>(
        self,
        in_turn: impl Iterator<Item = &'m Joined> + Clone,
        message: &Message,
    ) -> Option<&'m Joined> {
        let but = match self {
            Self::Everybody => None,
            Self::OthersThan(session) | Self::ConnectedOtherThan(session) => Some(session),
        };
        let mut asked = in_turn.filter(|member| Some(member.mailbox.session()) != but);
        let connected = asked.clone().find(|member| member.mailbox.is_open_to(message));
        if connected.is_some() || matches!(self, Self::ConnectedOtherThan(_)) {
            return connected;
        }
        asked.find(|member| {
            member.mailbox.persistent() && member.options.qos.min(message.qos()) > Qos::AtMostOnce
        })
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group of {}", self.members())
    }
}
