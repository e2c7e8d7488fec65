//! Shared subscriptions (MQTT 5 §4.8.2): of a group, one member gets each message.
//!
//! Owns the members of one group and whose turn it is. Members that are connected and keep up come first,
//! then those that are connected, then those that are away; among each the turn goes round.

use crate::delivery::{Delivery, SessionId, Terms, Via};
use crate::egress::Egress;
use crate::ingress::message::Message;
use crate::mailbox::{Mailbox, Standing};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use sealmq_protocol::packet::{SubscriptionId, SubscriptionOptions};
use sealmq_protocol::{Qos, SubscriptionFilter};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The sessions that share one subscription.
pub(crate) struct Group {
    name: SubscriptionFilter,
    /// By session; the newest is mostly the last.
    members: RwLock<Vec<Joined>>,
    /// The place of the member that is asked first.
    turn: AtomicUsize,
}

struct Joined {
    session: SessionId,
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

/// Which members may have a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// All.
    Everybody,
    /// All but one, whose session has ended.
    OthersThan(SessionId),
    /// Those that are connected and keep up, but one that is not any more: what it leaves behind must not
    /// be too much for the others.
    ConnectedOtherThan(SessionId),
}

impl Group {
    /// Nobody shares this subscription yet.
    pub(crate) fn new(name: SubscriptionFilter) -> Self {
        Self { name, members: RwLock::default(), turn: AtomicUsize::new(0) }
    }

    /// The subscription that its members share.
    pub(crate) fn name(&self) -> &SubscriptionFilter {
        &self.name
    }

    /// Adds a member, or replaces its options.
    pub(crate) fn join(
        group: &Arc<Self>,
        mailbox: &Arc<Mailbox>,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) {
        let subscription_ids = id.into_iter().collect();
        let via = Arc::new(Via { subscription_ids, group: Some(group.clone()) });
        let session = mailbox.session();
        let joined = Joined { session, mailbox: mailbox.clone(), options, via };
        let mut members = group.members.write();
        match members.binary_search_by_key(&session, |member| member.session) {
            Ok(at) => {
                if let Some(member) = members.get_mut(at) {
                    *member = joined;
                }
            }
            Err(at) => members.insert(at, joined),
        }
    }

    /// Removes a member. How many are left.
    pub(crate) fn leave(&self, session: SessionId) -> usize {
        let mut members = self.members.write();
        if let Ok(at) = members.binary_search_by_key(&session, |member| member.session) {
            members.remove(at);
        }
        members.len()
    }

    /// By which a message comes to a member; what it brought before it left still came by the group.
    pub(crate) fn via(self: &Arc<Self>, session: SessionId) -> Arc<Via> {
        let members = self.members.read();
        let member = members.binary_search_by_key(&session, |member| member.session).ok();
        let via = member.and_then(|at| members.get(at)).map(|member| member.via.clone());
        let gone = || Arc::new(Via { subscription_ids: Vec::new(), group: Some(self.clone()) });
        via.unwrap_or_else(gone)
    }

    /// How many members there are.
    pub(crate) fn members(&self) -> usize {
        self.members.read().len()
    }

    /// Whose turn it is with a message, and how many members were asked for that.
    pub(crate) fn choose(&self, message: &Message, among: Among) -> (Option<Member>, usize) {
        let members = self.members.read();
        let first = self.turn.load(Ordering::Relaxed) % members.len().max(1);
        let in_turn = members.iter().enumerate().cycle().skip(first).take(members.len());
        let mut asked = 0;
        let (mut behind, mut away) = (None, None);
        let mut chosen = None;
        for (place, member) in in_turn.filter(|(_, member)| among.includes(member.session)) {
            asked += 1;
            match member.mailbox.standing(message) {
                Standing::Open => {
                    chosen = Some((place, member));
                    break;
                }
                Standing::Behind => behind = behind.or(Some((place, member))),
                Standing::Away if member.qos(message) > Qos::AtMostOnce => {
                    away = away.or(Some((place, member)));
                }
                Standing::Away | Standing::Closed => {}
            }
        }
        if chosen.is_none() && !matches!(among, Among::ConnectedOtherThan(_)) {
            chosen = behind.or(away);
        }
        let Some((place, member)) = chosen else { return (None, asked) };
        self.turn.store(place + 1, Ordering::Relaxed);
        let terms = Terms {
            qos: member.qos(message),
            retain: member.options.retain_as_published && message.retain(),
            via: Some(member.via.clone()),
        };
        (Some(Member { mailbox: member.mailbox.clone(), terms }), asked)
    }
}

impl Joined {
    fn qos(&self, message: &Message) -> Qos {
        self.options.qos.min(message.qos())
    }
}

impl Among {
    fn includes(self, session: SessionId) -> bool {
        match self {
            Self::Everybody => true,
            Self::OthersThan(but) | Self::ConnectedOtherThan(but) => session != but,
        }
    }
}

/// Whether what one member leaves behind can be had by another. Asked for each message of a queue, and
/// answered once for each group: members are many, and messages are.
pub(crate) struct Takers {
    among: Among,
    /// By group and where a message may go.
    known: FxHashMap<(*const Group, Egress), bool>,
}

impl Takers {
    /// Among these.
    pub(crate) fn among(among: Among) -> Self {
        Self { among, known: FxHashMap::default() }
    }

    /// Whether the delivery came by a shared subscription, and another member can have it.
    pub(crate) fn has(&mut self, delivery: &Delivery) -> bool {
        let Some(group) = delivery.terms.group() else { return false };
        let message = &delivery.message;
        let key = (Arc::as_ptr(group), message.egress());
        *self.known.entry(key).or_insert_with(|| group.choose(message, self.among).0.is_some())
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group of {}", self.members())
    }
}
