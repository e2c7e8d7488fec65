//! Step 4 of a PUBLISH's road: from what a client sent (step 3, `session/inbound.rs`) to what may be
//! routed (step 5, `router/`). Permitted here? Then the topic's policy says what the payload must be,
//! and the envelope is opened, or the message refused.
//!
//! Wills go through here like any PUBLISH. Only this folder can build a [`Message`] of a client, so
//! the router cannot be given bytes that were not opened. No I/O and no clock: the time comes in.

pub(crate) mod message;
mod policy;

use crate::auth::acl::Permissions;
use message::Message;
use policy::{Policies, Rule};
use sealmq_config::encryption::{OnRefusal, Payload};
use sealmq_crypto::{OpenError, Opener, Policy, ReplayWindows};
use sealmq_protocol::packet::Publish;
use sealmq_protocol::{TopicFilter, TopicName};

/// What a client sent may be routed under these rules. Replaced as a whole when they are reloaded;
/// the replay windows stay.
pub(crate) struct Ingress {
    policies: Policies,
    opener: Opener,
}

/// Tells one envelope from another: SHA-256 over its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

/// A message that may be routed, with the fingerprint of the envelope it came in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) message: Message,
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// Why a message is not routed. The connection lives, unless the policy says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The client may not publish on this topic.
    NotAuthorized,
    /// The topic is the broker's own (`$SYS/...`).
    ReservedTopic,
    /// The envelope's rules: which, and what the policy says about the connection.
    Envelope(OpenError, OnRefusal),
    /// No refusal in truth: a repetition of the protocol, whose first copy was taken.
    Repeated,
}

impl Refusal {
    /// The name for logs and counters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotAuthorized => "not-authorized",
            Self::ReservedTopic => "reserved-topic",
            Self::Envelope(error, _) => error.name(),
            Self::Repeated => "repeated",
        }
    }

    /// Whether the envelope was seen before, and so may be a repetition of the protocol.
    pub(crate) fn is_replay(self) -> bool {
        matches!(self, Self::Envelope(OpenError::Replayed, _))
    }

    /// Whether the policy asks for the connection to be closed.
    pub(crate) fn disconnects(self) -> bool {
        matches!(self, Self::Envelope(_, OnRefusal::Disconnect))
    }
}

impl Ingress {
    /// Rules and keys as configured.
    pub(crate) fn new(policies: Vec<sealmq_config::encryption::Policy>, opener: Opener) -> Self {
        Self { policies: Policies::new(policies), opener }
    }

    /// The keys, to tell which senders are still enrolled.
    pub(crate) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// Admits a PUBLISH, or says why not; with the fingerprint of its envelope where there is one.
    /// `now` is seconds since 1970.
    pub(crate) fn admit(
        &self,
        publish: Publish,
        permissions: &Permissions,
        replay: &ReplayWindows,
        now: u64,
    ) -> Result<Admitted, (Refusal, Option<Fingerprint>)> {
        let Publish { topic, payload, qos, retain, .. } = publish;
        if is_reserved(&topic) {
            return Err((Refusal::ReservedTopic, None));
        }
        if !permissions.may_publish(&topic) {
            return Err((Refusal::NotAuthorized, None));
        }
        let Rule { payload: kind, on_refusal } = self.policies.of(&topic);
        let policy = match kind {
            Payload::Plain => {
                let message = Message::admitted(topic, payload, (qos, retain), false);
                return Ok(Admitted { message, fingerprint: None });
            }
            Payload::Stamped => Policy::Stamped,
            Payload::Sealed => Policy::Sealed,
            Payload::EndToEnd => Policy::EndToEnd,
        };
        let fingerprint = Some(Fingerprint(sealmq_crypto::payload_digest(&payload)));
        let opened = self
            .opener
            .open(replay, policy, topic.as_str(), &payload, now)
            .map_err(|error| (Refusal::Envelope(error, on_refusal), fingerprint))?;
        let confidential = kind == Payload::Sealed;
        let message = Message::admitted(topic, opened.plaintext, (qos, retain), confidential);
        Ok(Admitted { message, fingerprint })
    }

    /// Whether a client may subscribe to `filter`. On a plaintext connection a filter that lies
    /// wholly under sealed topics is refused, since nothing could ever be delivered.
    pub(crate) fn may_subscribe(
        &self,
        filter: &TopicFilter,
        permissions: &Permissions,
        secure: bool,
    ) -> bool {
        permissions.may_subscribe(filter) && (secure || !self.policies.is_wholly_sealed(filter))
    }
}

/// Topics on which the broker speaks and clients do not (§4.7.2).
fn is_reserved(topic: &TopicName) -> bool {
    topic.is_dollar() && topic.levels().next().is_some_and(|first| matches!(first, "$SYS" | "$sealmq"))
}

#[cfg(test)]
mod tests;
