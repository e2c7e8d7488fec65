//! What is kept, and how durably. The broker's state lives with its owners (sessions, retained
//! messages, subscriptions); the store is the log of what must outlive them.
//!
//! [`Store::append`] takes the changes that belong together and never waits. It answers with a
//! [`Position`]; an acknowledgement that promises those changes is held back by `connection/` until
//! the store has reached it. Now there is [`memory`]; the durable body comes behind the same trait.

pub(crate) mod memory;

use crate::delivery::{SessionId, Subscription};
use crate::ingress::message::Message;
use sealmq_protocol::packet::PacketId;
use sealmq_protocol::{Qos, SubscriptionFilter, TopicName};
use std::sync::Arc;
use std::task::{Context, Poll};

/// How far the log must be kept before a promise may be made. Positions rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    /// Before the first change: reached from the start.
    pub(crate) const START: Self = Self(0);
}

/// One change of what must outlive a connection, named for what has happened.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "memory keeps nothing, so nobody reads yet what is to be kept")]
pub(crate) enum Change {
    /// A persistent session begins.
    SessionBegun {
        /// Which.
        session: SessionId,
        /// Whose.
        client_id: bytestring::ByteString,
    },
    /// A persistent session ends, and all that was kept for it.
    SessionEnded {
        /// Which.
        session: SessionId,
    },
    /// A persistent session listens.
    Subscribed {
        /// Which.
        session: SessionId,
        /// To what, and how.
        subscription: Subscription,
    },
    /// A persistent session listens no longer.
    Unsubscribed {
        /// Which.
        session: SessionId,
        /// To what.
        filter: SubscriptionFilter,
    },
    /// A message of QoS 1 or 2 is owed to a persistent session.
    Queued {
        /// To which.
        session: SessionId,
        /// What.
        message: Arc<Message>,
        /// How surely.
        qos: Qos,
    },
    /// A QoS 2 message was received from a persistent session, and its PUBREL was not.
    Received {
        /// From which.
        session: SessionId,
        /// Under this id.
        packet_id: PacketId,
    },
    /// A topic's retained message is set, or cleared.
    Retained {
        /// Which topic.
        topic: TopicName,
        /// The message; none clears it.
        message: Option<Arc<Message>>,
    },
}

/// A log of changes.
pub(crate) trait Store: Send + Sync {
    /// Whether anything is kept at all; where not, nobody needs to gather changes.
    fn keeps(&self) -> bool;

    /// Takes changes that belong together, in order, and drains `changes`. Never waits.
    fn append(&self, changes: &mut Vec<Change>) -> Position;

    /// Ready once everything up to `position` is kept as durably as the configuration says; until
    /// then the waker in `cx` is kept, and woken when it may be.
    fn poll_reached(&self, position: Position, cx: &mut Context<'_>) -> Poll<()>;
}
