//! What may leave in an envelope, where the client's connection is not secure and there is a key of it. The
//! envelope itself is made by `connection/`; what is asked here is whether, and how large it will be.

use super::Action;
use super::receiver::Dispatch;
use crate::egress::Egress;
use crate::ingress::message::Message;
use crate::ingress::{ENVELOPE_CONTENT_TYPE, Policies};
use bytes::Bytes;
use sealmq_crypto::EnvelopeSize;
use sealmq_protocol::TopicName;
use sealmq_protocol::packet::MessageProperties;
use std::sync::Arc;

/// The terms on which a client gets envelopes.
#[derive(Clone)]
pub(crate) struct Sealing {
    /// The policies in force.
    pub(crate) policies: Arc<Policies>,
    /// Of the envelopes made for it.
    pub(crate) size: EnvelopeSize,
}

impl Sealing {
    /// Whether a confidential message may leave in an envelope: by what was promised when it came, and by the
    /// policy that its topic has now, whichever is stricter.
    pub(super) fn permits(&self, message: &Message) -> bool {
        message.egress() == Egress::SecureOrSealed && !self.policies.keeps_from_envelopes(message.topic())
    }
}

/// A PUBLISH to be written whose payload has to be sealed before.
#[derive(Debug)]
pub(crate) struct Unsealed(pub(super) Dispatch);

impl Unsealed {
    pub(crate) fn topic(&self) -> &TopicName {
        self.0.message.topic()
    }

    pub(crate) fn plaintext(&self) -> &Bytes {
        self.0.message.payload()
    }

    /// The same round an envelope of it.
    pub(crate) fn sealed(mut self, envelope: Bytes) -> Dispatch {
        let properties = round_an_envelope(self.0.message.properties());
        self.0.sealed = Some(Box::new((envelope, properties)));
        self.0
    }
}

/// What is said of the plaintext does not hold of the envelope; all else is passed on as it is.
pub(super) fn round_an_envelope(properties: Option<&MessageProperties>) -> MessageProperties {
    let content_type = Some(ENVELOPE_CONTENT_TYPE.into());
    MessageProperties { payload_format: None, content_type, ..properties.cloned().unwrap_or_default() }
}

/// A message on its way out, to be sealed or not.
pub(super) fn deliver(dispatch: Dispatch, is_sealed: bool) -> Action {
    if is_sealed { Action::DeliverSealed(Unsealed(dispatch)) } else { Action::Deliver(dispatch) }
}
