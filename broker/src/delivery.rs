//! What is owed to whom: the words that router, mailbox, session and store share.

use crate::ingress::message::Message;
use crate::router::Group;
use sealmq_protocol::packet::{SubscriptionId, SubscriptionOptions};
use sealmq_protocol::{Qos, SubscriptionFilter};
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
    /// A subscription with this identifier; `None` where there is nothing to say of it.
    pub(crate) fn own(id: Option<SubscriptionId>) -> Option<Arc<Self>> {
        id.map(|id| Arc::new(Self { subscription_ids: vec![id], group: None }))
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
