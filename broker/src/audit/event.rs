//! What is recorded: an [`Event`], and the names and topics of events.
//!
//! Text that clients chose is cut to a bound here; that it cannot forge a line is the business of JSON.

use crate::enrolment::Kind;
use crate::ingress::Refused;
use sealmq_protocol::SubscriptionFilter;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a name that clients chose.
const NAME_BYTES_MAX: usize = 256;
/// Bytes of a topic.
const TOPIC_BYTES_MAX: usize = 1_024;

/// Something that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A message was not routed.
    Refused(Rejected),
    /// A client was not let in, since it has not shown that it may be.
    Denied(Rejected),
    /// A client may not subscribe to what it asked for.
    SubscriptionRefused(Rejected),
    /// Something happened to one key.
    Key(Key),
    /// A connection was closed, since too many of its stamps failed, or of its address.
    CutOff(Connection),
    /// New connections from an address are refused for a while, since too many stamps failed.
    AddressRefused {
        /// Which.
        addr: IpAddr,
        /// For how long, from the last failure on.
        refused_s: u64,
    },
    /// The broker has started, and the record begins or goes on.
    Begun {
        /// The broker's version.
        version: &'static str,
        /// How many are enrolled by the configuration.
        senders: usize,
        /// How many there are in the configuration.
        topic_keys: usize,
    },
    /// The configuration was read again and is in force.
    Reloaded {
        /// How many are enrolled by the configuration.
        senders: usize,
        /// How many there are in the configuration.
        topic_keys: usize,
    },
    /// The configuration was read again and is not in force, since something is wrong with it.
    NotReloaded,
    /// The broker ends.
    Ended,
    /// Events that could not be recorded.
    Lost {
        /// How many.
        entries: u64,
    },
    /// The last line was not whole, as after a crash, and was cut off.
    Torn {
        /// How long it was.
        bytes: u64,
    },
    /// The last line is none of an audit; it was left as it is.
    Damaged,
}

/// A message, a client or a subscription that was refused; or several, then without what differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rejected {
    /// By its name.
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// What was to be subscribed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    /// The sender that the envelope names.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Connection {
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

/// Who did it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose<'a> {
    /// The client id.
    pub(crate) client: &'a str,
    /// Of the connection; a will can come without one.
    pub(crate) addr: Option<SocketAddr>,
    /// The user name.
    pub(crate) user: Option<&'a str>,
}

/// How much of a refusal an entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// What those of one connection have in common.
    Connection,
    /// What those of anybody have in common.
    Reason,
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Key {
    change: KeyChange,
    kind: KeyKind,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// What can happen to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub(crate) enum KeyChange {
    /// A reload brought it.
    Added,
    /// A reload, or an operator at run time, took it away.
    Removed,
    /// A reload, or an operator at run time, brought another of the same id, or other topics or times for it; or
    /// a sender counts from the start.
    Changed,
    /// An operator brought it at run time.
    Enrolled,
    /// An operator took its rights away.
    Disabled,
    /// An operator gave them back.
    Enabled,
    /// Its time is nearly over.
    EndingSoon,
    /// Its time is over.
    Ended,
    /// It has sealed, or opened, nearly as much as it may.
    UsedUpSoon,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyKind {
    /// Verifies what a sender stamped.
    Sender,
    /// Opens what was sealed for topics.
    TopicKey,
    /// What the broker stamps with.
    Identity,
    /// For which it seals what goes to a subscriber without TLS.
    SubscriberKey,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Sender => Self::Sender,
            Kind::TopicKey => Self::TopicKey,
        }
    }
}

impl Event {
    /// A message was refused.
    pub(super) fn refused(refused: &Refused, whose: Whose<'_>, extent: Extent) -> Self {
        let in_full = extent == Extent::Whole;
        let sender = if in_full { refused.sender() } else { None };
        Self::Refused(Rejected {
            topic: in_full.then(|| cut(refused.topic().as_str(), TOPIC_BYTES_MAX)),
            sender: sender.map(|id| cut(&String::from_utf8_lossy(id), NAME_BYTES_MAX)),
            ..Rejected::of(refused.refusal.name(), whose, extent)
        })
    }

    /// A client was not let in, by the name of the reason.
    pub(super) fn denied(reason: &'static str, whose: Whose<'_>, extent: Extent) -> Self {
        Self::Denied(Rejected::of(reason, whose, extent))
    }

    /// A client may not subscribe to a filter, by the name of the reason.
    pub(super) fn barred(
        reason: &'static str,
        filter: &SubscriptionFilter,
        whose: Whose<'_>,
        extent: Extent,
    ) -> Self {
        let in_full = extent == Extent::Whole;
        let filter = in_full.then(|| cut(&filter.to_string(), TOPIC_BYTES_MAX));
        Self::SubscriptionRefused(Rejected { filter, ..Rejected::of(reason, whose, extent) })
    }

    /// A connection was closed for its failed stamps.
    pub(crate) fn cut_off(whose: Whose<'_>) -> Self {
        let name = |text: &str| cut(text, NAME_BYTES_MAX);
        Self::CutOff(Connection { client: name(whose.client), addr: whose.addr, user: whose.user.map(name) })
    }

    /// Something happened to a key. `by` says who or what did it, `detail` what else there is to know; neither
    /// may hold a secret.
    pub(crate) fn key(
        change: KeyChange,
        kind: KeyKind,
        id: &str,
        by: Option<&str>,
        detail: Option<&str>,
    ) -> Self {
        let id = cut(id, NAME_BYTES_MAX);
        let [by, detail] = [by, detail].map(|text| text.map(|text| cut(text, TOPIC_BYTES_MAX)));
        Self::Key(Key { change, kind, id, by, detail })
    }

    /// What stands behind `$SYS/broker/audit/` in the topic of its message.
    pub(super) fn topic(&self) -> String {
        match self {
            Self::Refused(message) => format!("refused/{}", message.reason),
            Self::Denied(_) => "connection/denied".to_owned(),
            Self::SubscriptionRefused(_) => "subscription/refused".to_owned(),
            Self::Key(key) => format!("key/{}", key.change.name()),
            Self::CutOff(_) => "connection/cut-off".to_owned(),
            Self::AddressRefused { .. } => "address/refused".to_owned(),
            Self::Begun { .. } => "broker/begun".to_owned(),
            Self::Reloaded { .. } => "broker/reloaded".to_owned(),
            Self::NotReloaded => "broker/not-reloaded".to_owned(),
            Self::Ended => "broker/ended".to_owned(),
            Self::Lost { .. } => "record/lost".to_owned(),
            Self::Torn { .. } => "record/torn".to_owned(),
            Self::Damaged => "record/damaged".to_owned(),
        }
    }

    /// How many events this stands for, where it was repeated so many times.
    pub(super) fn stands_for(&self, repeated: u64) -> u64 {
        match self {
            Self::Lost { entries } => *entries,
            Self::Refused(_)
            | Self::Denied(_)
            | Self::SubscriptionRefused(_)
            | Self::Key(_)
            | Self::CutOff(_)
            | Self::AddressRefused { .. }
            | Self::Begun { .. }
            | Self::Reloaded { .. }
            | Self::NotReloaded
            | Self::Ended
            | Self::Torn { .. }
            | Self::Damaged => repeated.max(1),
        }
    }
}

impl Rejected {
    /// With as much of who it was as is to be told.
    fn of(reason: &'static str, whose: Whose<'_>, extent: Extent) -> Self {
        let name = |text: &str| cut(text, NAME_BYTES_MAX);
        let whose = (extent != Extent::Reason).then_some(whose);
        Self {
            reason,
            client: whose.map(|whose| name(whose.client)),
            addr: whose.and_then(|whose| whose.addr),
            user: whose.and_then(|whose| whose.user).map(name),
            topic: None,
            filter: None,
            sender: None,
        }
    }
}

impl KeyChange {
    /// The name in entries and topics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Enrolled => "enrolled",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::EndingSoon => "ending-soon",
            Self::Ended => "ended",
            Self::UsedUpSoon => "used-up-soon",
        }
    }
}

impl From<KeyChange> for &'static str {
    fn from(change: KeyChange) -> Self {
        change.name()
    }
}

/// As much of a text as has room, with a mark where something is missing.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max);
    let (kept, _) = text.split_at(end);
    format!("{kept}…")
}
