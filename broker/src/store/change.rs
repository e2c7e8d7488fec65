//! What must outlive the process, one change at a time, named for what has happened.

use super::record::SessionRecord;
use crate::delivery::{Place, SessionId, Subscription, Terms};
use crate::enrolment::{Name, Record};
use crate::ingress::message::Message;
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_crypto::{Ahead, Mark, SenderWindow};
use sealmq_protocol::packet::PacketId;
use sealmq_protocol::{SubscriptionFilter, TopicName};
use std::sync::Arc;

/// What a change costs in memory while it waits, besides a message's own bytes.
const CHANGE_BYTES: usize = 128;

/// See the module's description.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A persistent session begins, or something of it is another: who has it, its will, its expiry.
    Session(Box<SessionRecord>),
    /// A persistent session ends, and all that was kept for it.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// Whose.
        client_id: ByteString,
    },
    /// The will of a persistent session is owed no longer: it was published, or taken back.
    WillGone {
        /// Which.
        session: SessionId,
        /// Whose.
        client_id: ByteString,
    },
    /// A persistent session listens.
    Subscribed {
        /// Which.
        session: SessionId,
        /// To what, and how.
        subscription: Box<Subscription>,
    },
    /// A persistent session listens no longer.
    Unsubscribed {
        /// Which.
        session: SessionId,
        /// To what.
        filter: Box<SubscriptionFilter>,
    },
    /// A message is owed to persistent sessions. Its place is the position of this change.
    Queued {
        /// What.
        message: Arc<Message>,
        /// To whom, and on which terms.
        to: Receivers,
    },
    /// A message was given a packet id.
    Sent {
        /// To which session.
        session: SessionId,
        /// Which sending of the session this is, counted from 0; says the packet id.
        sequence: u64,
        /// Where the message stands.
        place: Place,
    },
    /// PUBREC came: the message is needed no longer, its packet id is.
    Released {
        /// From which session.
        session: SessionId,
        /// Of which sending.
        sequence: u64,
        /// Where the message stood.
        place: Place,
    },
    /// A message in flight is done, one way or another.
    Done {
        /// For which session.
        session: SessionId,
        /// Of which sending.
        sequence: u64,
        /// Where the message stands, if it still does.
        place: Option<Place>,
    },
    /// A message leaves a queue without having been sent.
    Removed {
        /// Whose queue.
        session: SessionId,
        /// Where it stands.
        place: Place,
    },
    /// A QoS 2 message was received from a persistent session, and its PUBREL was not.
    Received {
        /// From which.
        session: SessionId,
        /// Under this id.
        packet_id: PacketId,
    },
    /// PUBREL came: the packet id is free again.
    Completed {
        /// From which session.
        session: SessionId,
        /// Which id.
        packet_id: PacketId,
    },
    /// A topic's retained message is set, or cleared.
    Retained {
        /// Which topic.
        topic: TopicName,
        /// The message; none clears it.
        message: Option<Arc<Message>>,
    },
    /// A topic's retained message has expired, if it is still the one that is kept.
    RetainedExpired {
        /// Which topic.
        topic: TopicName,
    },
    /// No timed stamp of a sender of this second or before is taken any more, so none need be remembered.
    Forgotten {
        /// Whose.
        sender: Bytes,
        /// Seconds since 1970.
        through: u64,
    },
    /// A sender's envelope was taken, and is not taken again.
    Taken {
        /// Whose.
        sender: Bytes,
        /// What tells it from all others.
        mark: Box<Mark>,
    },
    /// Envelopes of a sender may be taken from now on, and which of them are is not written down.
    SetAside {
        /// Whose.
        sender: Bytes,
        /// Which.
        ahead: Ahead,
    },
    /// Which envelopes of a sender were taken is written down: none are set aside any more.
    Settled {
        /// Whose.
        sender: Bytes,
        /// What was taken.
        window: Box<SenderWindow>,
    },
    /// A topic key has opened so many contents in all; none: it is forgotten.
    KeyUsed {
        /// Which.
        key_id: Bytes,
        /// How many.
        opened: u64,
    },
    /// A sender or a topic key was enrolled at run time, or what is kept of one is another.
    Enrolled(Box<Record>),
    /// Nothing is kept any more of a sender or a topic key.
    Disenrolled(Box<Name>),
    /// What was taken of a sender is forgotten: it counts anew.
    WindowForgotten {
        /// Whose.
        sender: Bytes,
    },
}

/// The sessions that a message is for.
#[derive(Debug, Clone)]
pub(crate) enum Receivers {
    /// One.
    One(SessionId, Terms),
    /// Several.
    Several(Box<[(SessionId, Terms)]>),
}

impl Receivers {
    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, &Terms)> {
        let (one, several) = match self {
            Self::One(session, terms) => (Some((*session, terms)), &[][..]),
            Self::Several(several) => (None, &several[..]),
        };
        one.into_iter().chain(several.iter().map(|(session, terms)| (*session, terms)))
    }
}

impl Change {
    /// The session that it changes, and that must be there for it.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session(record) => Some(record.session),
            Self::WillGone { session, .. }
            | Self::Subscribed { session, .. }
            | Self::Unsubscribed { session, .. }
            | Self::Sent { session, .. }
            | Self::Released { session, .. }
            | Self::Done { session, .. }
            | Self::Removed { session, .. }
            | Self::Received { session, .. }
            | Self::Completed { session, .. } => Some(*session),
            Self::SessionEnded { .. }
            | Self::Queued { .. }
            | Self::Retained { .. }
            | Self::RetainedExpired { .. }
            | Self::Forgotten { .. }
            | Self::Taken { .. }
            | Self::SetAside { .. }
            | Self::Settled { .. }
            | Self::KeyUsed { .. }
            | Self::Enrolled(_)
            | Self::Disenrolled(_)
            | Self::WindowForgotten { .. } => None,
        }
    }

    /// What it takes in memory, bytes, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Queued { message, to } => {
                let several = match to {
                    Receivers::One(..) => 0,
                    Receivers::Several(several) => size_of_val::<[_]>(several),
                };
                CHANGE_BYTES + message.size() + several
            }
            Self::Retained { message: Some(message), .. } => CHANGE_BYTES + message.size(),
            Self::Enrolled(record) => 4 * CHANGE_BYTES + record.size(),
            Self::Session(record) => 4 * CHANGE_BYTES + record.bytes(),
            Self::Subscribed { subscription, .. } => 4 * CHANGE_BYTES + subscription.filter.wire_bytes(),
            Self::Unsubscribed { filter, .. } => 4 * CHANGE_BYTES + filter.wire_bytes(),
            Self::SessionEnded { .. }
            | Self::WillGone { .. }
            | Self::Sent { .. }
            | Self::Released { .. }
            | Self::Done { .. }
            | Self::Removed { .. }
            | Self::Received { .. }
            | Self::Completed { .. }
            | Self::Retained { message: None, .. }
            | Self::RetainedExpired { .. }
            | Self::Forgotten { .. }
            | Self::Taken { .. }
            | Self::SetAside { .. }
            | Self::KeyUsed { .. }
            | Self::Disenrolled(_)
            | Self::WindowForgotten { .. } => CHANGE_BYTES,
            // What is copied of timed stamps is not kept.
            Self::Settled { .. } => 4 * CHANGE_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Identity;
    use crate::store::{Held, KeptWill};
    use sealmq_protocol::Qos;
    use sealmq_protocol::packet::{SubscriptionOptions, Will};

    #[test]
    fn what_a_client_makes_long_is_counted() {
        let will = Will {
            topic: "w".parse().unwrap(),
            payload: Bytes::from(vec![7; 60_000]),
            qos: Qos::AtMostOnce,
            retain: false,
            delay_s: 0,
            message_expiry_s: None,
            properties: None,
        };
        let session = SessionId(1);
        let record = SessionRecord {
            session,
            client_id: "dev".into(),
            user: None,
            expiry: None,
            held: Held::Connected,
            will: Some(KeptWill { due_ms: None, identity: Identity::Claimed(None), will }),
        };
        let filter: SubscriptionFilter = (*"f".repeat(50_000)).try_into().unwrap();
        let options = SubscriptionOptions::of(Qos::AtMostOnce);
        let subscription = Subscription { filter: filter.clone(), options, id: None, is_new: true };
        let changes = [
            (Change::Session(Box::new(record)), 60_000),
            (Change::Subscribed { session, subscription: Box::new(subscription) }, 50_000),
            (Change::Unsubscribed { session, filter: Box::new(filter) }, 50_000),
        ];
        for (change, bytes) in changes {
            assert!((bytes..bytes + 1_000).contains(&change.bytes()), "{}", change.bytes());
        }
    }

    /// Changes are moved from hand to hand for each message.
    #[test]
    fn a_change_is_a_line_of_a_cache_at_most() {
        assert!(size_of::<Change>() <= 64, "{}", size_of::<Change>());
    }
}
