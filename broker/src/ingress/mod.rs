//! Step 4 of a PUBLISH's road: from what a client sent (step 3, `session/inbound.rs`) to what may be
//! routed (step 5, `router/`). Permitted here? Then the topic's policy says what the payload must be,
//! and the envelope is opened, or the message refused.
//!
//! [`Ingress::begin`] settles what needs no cryptography; the rest is an [`Inquiry`], examined apart
//! (`inquiry.rs`, `../verifier.rs`), many at once.
//!
//! Wills go through here like any PUBLISH. Only this folder can build a [`Message`] of a client, so
//! the router cannot be given bytes that were not opened. No I/O and no clock: the time comes in.

pub(crate) mod ahead;
pub(crate) mod inquiry;
pub(crate) mod message;
mod policy;

use crate::auth::acl::Permissions;
use crate::egress::{Channel, Egress};
use crate::now::Now;
use crate::store::Change;
use bytes::Bytes;
use bytestring::ByteString;
use inquiry::{Begun, Inquiry, examine_one};
use message::{Message, Submission};
pub(crate) use policy::Policies;
use policy::Rule;
use sealmq_config::encryption::{self, Bind, OnRefusal, Payload};
use sealmq_crypto::{Envelope, Keyring, Mark, OpenError, Opener, Policy, ReplayWindows, Reservation};
use sealmq_protocol::packet::{MessageProperties, PayloadFormat};
use sealmq_protocol::{ReasonCode, TopicFilter, TopicName};
use std::collections::HashMap;
use std::sync::Arc;

/// The content type of an envelope (RFC 9052 §11.2): no longer true of what was opened.
pub(crate) const ENVELOPE_CONTENT_TYPE: &str = "application/cose; cose-type=\"cose-sign1\"";

/// What a client sent may be routed under these rules. Replaced as a whole when they are reloaded;
/// the replay windows stay.
pub(crate) struct Ingress {
    policies: Arc<Policies>,
    opener: Opener,
    /// The senders whose stamps count on their own client's connection alone, by id.
    binds: HashMap<Vec<u8>, Bind>,
}

/// Tells one envelope from another: SHA-256 over its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

/// What is to be done with a message.
#[derive(Debug)]
pub(crate) enum Sorted {
    /// Its envelope is to be examined.
    Asked(Inquiry),
    /// It may be routed.
    Plain(Submission),
    /// It may not.
    Refused(Submission, Refusal),
}

/// A message that may be routed, with the fingerprint of the envelope it came in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) message: Arc<Message>,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whose envelope was taken, and what tells it from all others.
    taken: Option<(Bytes, Box<Mark>)>,
    reservation: Option<Reservation>,
}

impl Admitted {
    /// What the store is to be told with the message, so that the envelope is not taken again after a
    /// restart.
    pub(crate) fn taken(&mut self) -> Option<Change> {
        self.taken.take().map(|(sender, mark)| Change::Taken { sender, mark })
    }

    /// The same, and the store knows already.
    pub(crate) fn without_mark(self) -> Self {
        Self { taken: None, ..self }
    }

    /// Nobody has got anything of the message, and its publisher is told so: the same envelope may come again.
    pub(crate) fn give_back(self) {
        if let Some(reservation) = self.reservation {
            reservation.give_back();
        }
    }
}

/// Why a message is not routed. The connection lives, unless the policy says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The client may not publish on this topic.
    NotAuthorized,
    /// The topic is the broker's own (`$SYS/...`).
    ReservedTopic,
    /// The payload is not the UTF-8 that its payload format indicator says it is ([MQTT-3.3.2-4]).
    PayloadFormat,
    /// The envelope's rules: which, and what the policy says about the connection.
    Envelope(OpenError, OnRefusal),
    /// Its envelope could not be examined, for a fault of ours.
    Internal,
    /// No refusal in truth: a repetition of the protocol, whose first copy was taken.
    Repeated,
}

/// Why a client may not subscribe to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barred {
    /// The access rules do not allow it.
    NotAuthorized,
    /// All that it matches is confidential, and the connection is not fit for that.
    Confidential,
    /// It is of the audit, and the client no auditor on a secure connection.
    Audit,
}

impl Barred {
    /// The name for the audit; no message is refused by the same.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotAuthorized => "filter-not-authorized",
            Self::Confidential => "filter-confidential",
            Self::Audit => "filter-of-audit",
        }
    }
}

/// What a client sent and is not routed, with what there is to be said of it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// That of the envelope it came in, if an envelope was asked for.
    pub(crate) fingerprint: Option<Fingerprint>,
    submission: Submission,
}

impl Refused {
    fn new(submission: Submission, refusal: Refusal, fingerprint: Option<Fingerprint>) -> Self {
        Self { refusal, fingerprint, submission }
    }

    /// Where it was to go.
    pub(crate) fn topic(&self) -> &TopicName {
        self.submission.topic()
    }

    /// Whom its envelope names as the sender, if there is an envelope; that nobody else stamped it is proven
    /// only where the stamp was found good.
    pub(crate) fn sender(&self) -> Option<&[u8]> {
        self.fingerprint?;
        Envelope::parse(self.submission.payload()).ok().map(|envelope| envelope.sender())
    }

    /// What a publisher of such a message is told, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn for_tests(refusal: Refusal) -> Self {
        Self::new(Submission::for_tests("a", b"", None), refusal, None)
    }
}

impl Refusal {
    /// The name for logs and counters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotAuthorized => "not-authorized",
            Self::ReservedTopic => "reserved-topic",
            Self::PayloadFormat => "payload-format",
            Self::Envelope(error, _) => error.name(),
            Self::Internal => "internal-error",
            Self::Repeated => "repeated",
        }
    }

    /// What an MQTT 5 publisher is told. Of envelopes no more than whether the stamp was that of somebody
    /// who may: whatever else is wrong with one looks alike from outside.
    pub(crate) fn reason(self) -> ReasonCode {
        match self {
            Self::NotAuthorized
            | Self::ReservedTopic
            | Self::Envelope(
                OpenError::UnknownSender | OpenError::SenderNotAllowed | OpenError::BadStamp,
                _,
            ) => ReasonCode::NotAuthorized,
            Self::PayloadFormat | Self::Envelope(..) => ReasonCode::PayloadFormatInvalid,
            Self::Internal => ReasonCode::UnspecifiedError,
            Self::Repeated => ReasonCode::Success,
        }
    }

    /// The same for people, where the publisher wants to hear it.
    pub(crate) fn explanation(self) -> Option<&'static str> {
        let reason = self.reason();
        if reason == ReasonCode::NotAuthorized {
            Some("this client may not publish this here")
        } else if reason == ReasonCode::PayloadFormatInvalid {
            Some("the payload is not what it has to be on this topic")
        } else if reason == ReasonCode::UnspecifiedError {
            Some("the payload could not be examined")
        } else {
            None
        }
    }

    /// Whether the envelope was seen before, and so may be a repetition of the protocol.
    pub(crate) fn is_replay(self) -> bool {
        matches!(self, Self::Envelope(OpenError::Replayed, _))
    }

    /// Whether the envelope is not new (any more), which may be the fault of time alone.
    pub(crate) fn is_stale(self) -> bool {
        self.is_replay() || matches!(self, Self::Envelope(OpenError::NotFresh, _))
    }

    /// The same, with the connection left alone whatever the policy says.
    pub(crate) fn and_go_on(self) -> Self {
        if let Self::Envelope(error, _) = self { Self::Envelope(error, OnRefusal::Drop) } else { self }
    }

    /// Whether a stamp was verified and does not hold.
    pub(crate) fn is_failed_stamp(self) -> bool {
        matches!(self, Self::Envelope(OpenError::BadStamp, _))
    }

    /// Whether the policy asks for the connection to be closed.
    pub(crate) fn disconnects(self) -> bool {
        matches!(self, Self::Envelope(_, OnRefusal::Disconnect))
    }
}

impl Ingress {
    /// Rules and keys as configured, and which senders are bound to a client, by their ids.
    pub(crate) fn new(
        policies: Vec<encryption::Policy>,
        opener: Opener,
        binds: HashMap<Vec<u8>, Bind>,
    ) -> Self {
        Self { policies: Arc::new(Policies::new(policies)), opener, binds }
    }

    /// What a payload must be, by topic, and where it may go.
    pub(crate) fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// The same rules with other keys.
    pub(crate) fn with_keys(&self, keyring: Keyring, binds: HashMap<Vec<u8>, Bind>) -> Self {
        Self { policies: self.policies.clone(), opener: self.opener.with_keyring(keyring), binds }
    }

    /// The keys, to tell which senders are still enrolled.
    pub(crate) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// Whether any sender is bound to its own client.
    pub(crate) fn binds(&self) -> bool {
        !self.binds.is_empty()
    }

    /// Admits what a client sent, or gives it back with why not. For a single message: of many,
    /// [`Self::begin`] and [`inquiry::examine`] cost half.
    pub(crate) fn admit(
        &self,
        submission: Submission,
        permissions: &Permissions,
        replay: &ReplayWindows,
        now: Now,
    ) -> Result<Admitted, Refused> {
        let inquiry = match self.begin(submission, permissions, now) {
            Begun::Settled(settled) => return settled,
            Begun::Asked(inquiry) => inquiry,
        };
        examine_one(self, inquiry, replay).finish(replay)
    }

    /// The checks without cryptography; all there are, where the topic asks for no envelope.
    pub(crate) fn begin(&self, submission: Submission, permissions: &Permissions, now: Now) -> Begun {
        match self.sort(submission, permissions, now) {
            Sorted::Asked(inquiry) => Begun::Asked(inquiry),
            Sorted::Plain(submission) => {
                let message = submission.admitted();
                Begun::Settled(Ok(Admitted { message, fingerprint: None, taken: None, reservation: None }))
            }
            Sorted::Refused(submission, refusal) => {
                Begun::Settled(Err(Refused::new(submission, refusal, None)))
            }
        }
    }

    /// The same, and whoever is not to be examined is not admitted or refused yet.
    pub(crate) fn sort(&self, submission: Submission, permissions: &Permissions, now: Now) -> Sorted {
        let topic = submission.topic();
        if is_reserved(topic) {
            return Sorted::Refused(submission, Refusal::ReservedTopic);
        }
        if !permissions.may_publish(topic) {
            return Sorted::Refused(submission, Refusal::NotAuthorized);
        }
        let Rule { payload: kind, on_refusal, egress } = self.policies.of(topic);
        // What is opened is passed on without what was said of the envelope, so that it need not be true.
        let goes_as_it_is = matches!(kind, Payload::Plain | Payload::EndToEnd);
        if goes_as_it_is && !keeps_its_format(&submission) {
            return Sorted::Refused(submission, Refusal::PayloadFormat);
        }
        let policy = match kind {
            Payload::Plain => return Sorted::Plain(submission),
            Payload::Stamped => Policy::Stamped,
            Payload::Sealed => Policy::Sealed,
            Payload::EndToEnd => Policy::EndToEnd,
        };
        let egress = if policy == Policy::Sealed { egress.into() } else { Egress::Any };
        let client = permissions.client().cloned();
        Sorted::Asked(Inquiry { submission, policy, on_refusal, egress, unix_s: now.unix_s, client })
    }

    /// Why a client may not subscribe to `filter`, if so. One under which nothing could ever be delivered is
    /// refused: on a plaintext connection those that lie wholly under sealed topics.
    pub(crate) fn bars(
        &self,
        filter: &TopicFilter,
        permissions: &Permissions,
        channel: Channel,
    ) -> Option<Barred> {
        if !permissions.may_subscribe(filter) {
            return Some(Barred::NotAuthorized);
        }
        self.policies.withholds_all(filter, channel).then_some(Barred::Confidential)
    }
}

/// Whether a payload that says it is UTF-8 is.
fn keeps_its_format(submission: &Submission) -> bool {
    let format = submission.properties().and_then(|properties| properties.payload_format);
    format != Some(PayloadFormat::Utf8) || std::str::from_utf8(submission.payload()).is_ok()
}

/// The payload was an envelope and is what was in it: what the publisher said of the envelope's bytes
/// does not hold any more. What is left of its properties.
fn without_envelope(properties: &MessageProperties) -> Option<Box<MessageProperties>> {
    let is_envelope = |kind: &ByteString| kind.eq_ignore_ascii_case(ENVELOPE_CONTENT_TYPE);
    let content_type = properties.content_type.clone().filter(|kind| !is_envelope(kind));
    let left = MessageProperties { payload_format: None, content_type, ..properties.clone() };
    (!left.is_empty()).then(|| Box::new(left))
}

/// Topics on which the broker speaks and clients do not (§4.7.2).
fn is_reserved(topic: &TopicName) -> bool {
    topic.is_dollar() && topic.levels().next().is_some_and(|first| matches!(first, "$SYS" | "$sealmq"))
}

#[cfg(test)]
mod tests;
