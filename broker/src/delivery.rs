//! What is owed to whom: the words that router, mailbox, session and store share.

use crate::ingress::message::Message;
use crate::router::Group;
use crate::store::Position;
use sealmq_protocol::packet::{SubscriptionId, SubscriptionOptions};
use sealmq_protocol::{Qos, SubscriptionFilter};
use std::num::NonZeroU64;
use std::sync::Arc;

/// Names a session for as long as the broker runs; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// One message for one subscriber.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// What.
    pub(crate) message: Arc<Message>,
    /// On which terms.
    pub(crate) terms: Terms,
    /// Where the store keeps it, if it does: it stands there until the client has it.
    pub(crate) place: Option<Place>,
}

/// Where the store keeps a message for a session: under the position of the change that put it into the
/// session's queue, alone or with a body that others share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(NonZeroU64);

impl Place {
    /// At a position.
    pub(crate) fn new(position: Position, is_shared: bool) -> Option<Self> {
        Self::from_bits(position.0 << 1 | u64::from(is_shared))
    }

    /// The position, which is the key.
    pub(crate) fn position(self) -> Position {
        Position(self.0.get() >> 1)
    }

    /// Whether the message's body lies apart, and others have it too.
    pub(crate) fn is_shared(self) -> bool {
        self.0.get() & 1 == 1
    }

    /// As the store writes it down.
    pub(crate) fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// As the store wrote it down.
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }
}

/// On which terms a subscriber gets a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    /// The smaller of the message's QoS and the subscription's ([MQTT-3.8.4-8]).
    pub(crate) qos: Qos,
    /// RETAIN as the subscriber sees it: a retained message for a new subscription, or one whose
    /// publisher set it and whose subscription wants to know ([MQTT-3.3.1-12], [MQTT-3.3.1-13]).
    pub(crate) retain: bool,
    /// By which subscriptions, where that matters to anybody.
    pub(crate) via: Option<Arc<Via>>,
}

/// The subscriptions by which a message comes. Made once, shared by all deliveries.
#[derive(Debug, Default)]
pub(crate) struct Via {
    /// The identifiers that the client gave to those that match ([MQTT-3.3.4-4]).
    pub(crate) subscription_ids: Vec<SubscriptionId>,
    /// The group that shares the subscription: another member can take the message over.
    pub(crate) group: Option<Arc<Group>>,
}

impl Via {
    /// Subscriptions with these identifiers; `None` where there is nothing to say of them.
    pub(crate) fn own(ids: impl IntoIterator<Item = SubscriptionId>) -> Option<Arc<Self>> {
        let subscription_ids: Vec<_> = ids.into_iter().collect();
        (!subscription_ids.is_empty()).then(|| Arc::new(Self { subscription_ids, group: None }))
    }
}

impl Terms {
    /// The terms of a subscription with this maximum QoS and nothing else to it.
    #[cfg(test)]
    pub(crate) fn of(qos: Qos) -> Self {
        Self { qos, ..Self::default() }
    }

    /// The group that shares the subscription, if one does.
    pub(crate) fn group(&self) -> Option<&Arc<Group>> {
        self.via.as_ref()?.group.as_ref()
    }
}

/// A subscription as it was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// What is subscribed to.
    pub(crate) filter: SubscriptionFilter,
    /// Its options; the QoS is the one granted.
    pub(crate) options: SubscriptionOptions,
    /// The identifier that the client gave it.
    pub(crate) id: Option<SubscriptionId>,
    /// Whether there was none with this filter before.
    pub(crate) is_new: bool,
}
