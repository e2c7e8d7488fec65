//! Step 4 of a PUBLISH's road: from what a client sent (step 3, `session/inbound.rs`) to what may be
//! routed (step 5, `router/`). Permitted here? Then the topic's policy says what the payload must be,
//! and the envelope is opened, or the message refused.
//!
//! Wills go through here like any PUBLISH. Only this folder can build a [`Message`] of a client, so
//! the router cannot be given bytes that were not opened. No I/O and no clock: the time comes in.

pub(crate) mod message;
mod policy;

use crate::auth::acl::Permissions;
use crate::now::Now;
use crate::store::Change;
use bytes::Bytes;
use bytestring::ByteString;
use message::{Message, Submission};
use policy::{Policies, Rule};
use sealmq_config::encryption::{OnRefusal, Payload};
use sealmq_crypto::{Envelope, Mark, OpenError, Opener, Policy, ReplayWindows};
use sealmq_protocol::packet::{MessageProperties, PayloadFormat};
use sealmq_protocol::{ReasonCode, TopicFilter, TopicName};
use std::sync::Arc;

/// The content type of an envelope (RFC 9052 §11.2): no longer true of what was opened.
const ENVELOPE_CONTENT_TYPE: &str = "application/cose; cose-type=\"cose-sign1\"";

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
    pub(crate) message: Arc<Message>,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whose envelope was taken, and what tells it from all others.
    taken: Option<(Bytes, Box<Mark>)>,
}

impl Admitted {
    /// What the store is to be told, so that the envelope is not taken again after a restart.
    pub(crate) fn taken(&mut self) -> Option<Change> {
        self.taken.take().map(|(sender, mark)| Change::Taken { sender, mark })
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
    /// No refusal in truth: a repetition of the protocol, whose first copy was taken.
    Repeated,
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
        } else {
            None
        }
    }

    /// Whether the envelope was seen before, and so may be a repetition of the protocol.
    pub(crate) fn is_replay(self) -> bool {
        matches!(self, Self::Envelope(OpenError::Replayed, _))
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
    /// Rules and keys as configured.
    pub(crate) fn new(policies: Vec<sealmq_config::encryption::Policy>, opener: Opener) -> Self {
        Self { policies: Policies::new(policies), opener }
    }

    /// The keys, to tell which senders are still enrolled.
    pub(crate) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// Admits what a client sent, or gives it back with why not.
    pub(crate) fn admit(
        &self,
        submission: Submission,
        permissions: &Permissions,
        replay: &ReplayWindows,
        now: Now,
    ) -> Result<Admitted, Refused> {
        let topic = submission.topic();
        if is_reserved(topic) {
            return Err(Refused::new(submission, Refusal::ReservedTopic, None));
        }
        if !permissions.may_publish(topic) {
            return Err(Refused::new(submission, Refusal::NotAuthorized, None));
        }
        let Rule { payload: kind, on_refusal } = self.policies.of(topic);
        // What is opened is passed on without what was said of the envelope, so that it need not be true.
        let goes_as_it_is = matches!(kind, Payload::Plain | Payload::EndToEnd);
        if goes_as_it_is && !keeps_its_format(&submission) {
            return Err(Refused::new(submission, Refusal::PayloadFormat, None));
        }
        let policy = match kind {
            Payload::Plain => {
                return Ok(Admitted { message: submission.admitted(), fingerprint: None, taken: None });
            }
            Payload::Stamped => Policy::Stamped,
            Payload::Sealed => Policy::Sealed,
            Payload::EndToEnd => Policy::EndToEnd,
        };
        let fingerprint = Some(Fingerprint(sealmq_crypto::payload_digest(submission.payload())));
        let opened = match self.opener.open(replay, policy, topic.as_str(), submission.payload(), now.unix_s)
        {
            Ok(opened) => opened,
            Err(error) => {
                let refusal = Refusal::Envelope(error, on_refusal);
                return Err(Refused::new(submission, refusal, fingerprint));
            }
        };
        let taken = Some((opened.sender, Box::new(opened.mark)));
        let message = match policy {
            Policy::Stamped | Policy::Sealed => {
                let properties = submission.properties().and_then(without_envelope);
                submission.opened(opened.plaintext, properties, policy == Policy::Sealed)
            }
            // Its subscribers get the envelope as it came.
            Policy::EndToEnd => submission.admitted(),
        };
        Ok(Admitted { message, fingerprint, taken })
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
