//! Sessions and their subscriptions as lines of an export.

use super::super::super::layout;
use super::super::super::record::{Held, KeptWill, SessionRecord, decode_subscription, encode_subscription};
use super::Pair;
use super::fields::{Base64, PropertyFields};
use crate::auth::{Fingerprint, Identity};
use crate::delivery::{SessionId, Subscription};
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_protocol::packet::{RetainHandling, SubscriptionId, SubscriptionOptions, Will};
use sealmq_protocol::{Qos, SubscriptionFilter, TopicName};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A persistent session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionLine {
    client_id: String,
    session: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// None: it never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry_s: Option<u64>,
    /// None: a connection has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parked_since_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    will: Option<WillFields>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WillFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_ms: Option<u64>,
    identity: IdentityFields,
    topic: String,
    qos: u8,
    retain: bool,
    delay_s: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_expiry_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<PropertyFields>,
    payload: Base64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFields {
    kind: IdentityKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Base64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum IdentityKind {
    Claimed,
    User,
    Sender,
}

impl SessionLine {
    pub(super) fn of(key: &[u8], value: Bytes) -> Option<Self> {
        let record = SessionRecord::decode(ByteString::try_from(key).ok()?, value).ok()?;
        Some(Self {
            client_id: record.client_id.into(),
            session: record.session.0,
            user: record.user.map(Into::into),
            expiry_s: record.expiry.map(|expiry| expiry.as_secs()),
            parked_since_ms: match record.held {
                Held::Connected => None,
                Held::Parked { since_ms } => Some(since_ms),
            },
            will: record.will.as_ref().map(WillFields::of),
        })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        let record = SessionRecord {
            session: SessionId(self.session),
            client_id: self.client_id.as_str().into(),
            user: self.user.as_deref().map(Into::into),
            expiry: self.expiry_s.map(Duration::from_secs),
            held: self.parked_since_ms.map_or(Held::Connected, |since_ms| Held::Parked { since_ms }),
            will: match &self.will {
                Some(will) => Some(will.parsed()?),
                None => None,
            },
        };
        Some((self.client_id.as_bytes().to_vec(), record.encode()))
    }
}

impl WillFields {
    fn of(kept: &KeptWill) -> Self {
        let KeptWill { due_ms, identity, will } = kept;
        Self {
            due_ms: *due_ms,
            identity: IdentityFields::of(identity),
            topic: will.topic.as_str().to_owned(),
            qos: will.qos.bits(),
            retain: will.retain,
            delay_s: will.delay_s,
            message_expiry_s: will.message_expiry_s,
            properties: will.properties.as_deref().map(PropertyFields::of),
            payload: Base64(will.payload.clone()),
        }
    }

    fn parsed(&self) -> Option<KeptWill> {
        let will = Will {
            topic: TopicName::try_from(self.topic.as_str()).ok()?,
            payload: self.payload.0.clone(),
            qos: Qos::from_bits(self.qos)?,
            retain: self.retain,
            delay_s: self.delay_s,
            message_expiry_s: self.message_expiry_s,
            properties: match &self.properties {
                Some(properties) => Some(Box::new(properties.parsed()?)),
                None => None,
            },
        };
        Some(KeptWill { due_ms: self.due_ms, identity: self.identity.parsed()?, will })
    }
}

impl IdentityFields {
    fn of(identity: &Identity) -> Self {
        let print = |fingerprint: &Fingerprint| Some(Base64::from(&fingerprint.to_bytes()[..]));
        let (kind, fingerprint) = match identity {
            Identity::Claimed(_) => (IdentityKind::Claimed, None),
            Identity::User(_, fingerprint) => (IdentityKind::User, print(fingerprint)),
            Identity::Sender(_, fingerprint) => (IdentityKind::Sender, print(fingerprint)),
        };
        Self { kind, user: identity.user().map(ToString::to_string), fingerprint }
    }

    fn parsed(&self) -> Option<Identity> {
        let user: Option<ByteString> = self.user.as_deref().map(Into::into);
        let fingerprint = self.fingerprint.as_ref().map(|print| <[u8; 32]>::try_from(&print.0[..]));
        let fingerprint = fingerprint.transpose().ok()?.map(Fingerprint::from_bytes);
        Some(match self.kind {
            IdentityKind::Claimed => Identity::Claimed(user),
            IdentityKind::User => Identity::User(user?, fingerprint?),
            IdentityKind::Sender => Identity::Sender(user?, fingerprint?),
        })
    }
}

/// A subscription.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscriptionLine {
    session: u64,
    filter: String,
    qos: u8,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subscription_id: Option<u32>,
}

impl SubscriptionLine {
    pub(super) fn of(key: &[u8], value: Bytes) -> Option<Self> {
        let (session, filter) = layout::parse_subscription_key(key)?;
        let Subscription { filter, options, id, is_new: _ } = decode_subscription(filter, value).ok()?;
        Some(Self {
            session: session.0,
            filter: filter.to_string(),
            qos: options.qos.bits(),
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            retain_handling: options.retain_handling as u8,
            subscription_id: id.map(SubscriptionId::get),
        })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        let options = SubscriptionOptions {
            qos: Qos::from_bits(self.qos)?,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: match self.retain_handling {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return None,
            },
        };
        let id = match self.subscription_id {
            Some(id) => Some(SubscriptionId::new(id)?),
            None => None,
        };
        let filter = SubscriptionFilter::try_from(self.filter.as_str()).ok()?;
        let key = layout::subscription_key(SessionId(self.session), &filter);
        Some((key, encode_subscription(&Subscription { filter, options, id, is_new: false })))
    }
}
