//! What is owed to whom: the words that router, mailbox, session and store share.

use crate::ingress::message::Message;
use sealmq_protocol::Qos;
use std::sync::Arc;

/// Names a session for as long as the broker runs; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// One message for one subscriber.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// What.
    pub(crate) message: Arc<Message>,
    /// The smaller of the message's QoS and the subscription's ([MQTT-3.8.4-6]).
    pub(crate) qos: Qos,
    /// Set for a retained message sent to a new subscription ([MQTT-3.3.1-8]).
    pub(crate) retain: bool,
}
