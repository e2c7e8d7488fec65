//! Envelopes on their way through ingress: the dear part of step 4, apart from what keeps the order.
//!
//! An [`Inquiry`] is a message whose topic asks for an envelope; [`examine`] verifies the stamps of many at
//! once, of whichever connections, and opens their contents; an [`Examined`] one takes its sender's number and
//! becomes a message, in the order in which its client sent it. Always holds: what was examined changed
//! nothing, so it can be dropped, and examined on whatever thread.

use super::message::Submission;
use super::{Admitted, Fingerprint, Ingress, Refusal, Refused, without_envelope};
use crate::egress::Egress;
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_config::encryption::{Bind, OnRefusal};
use sealmq_crypto::{Identified, Mark, OpenError, Policy, ReplayWindows, Unsealed, verify_all};
use std::sync::Arc;

/// What became of a message without any cryptography.
#[derive(Debug)]
pub(crate) enum Begun {
    /// All that is to be known is known.
    Settled(Result<Admitted, Refused>),
    /// Its envelope is to be examined.
    Asked(Inquiry),
}

/// A message whose envelope is to be examined.
#[derive(Debug)]
pub(crate) struct Inquiry {
    pub(super) submission: Submission,
    pub(super) policy: Policy,
    /// Where the message may go, once it is open.
    pub(super) egress: Egress,
    pub(super) on_refusal: OnRefusal,
    pub(super) unix_s: u64,
    /// Whose connection it came on, where that matters to any sender.
    pub(super) client: Option<Arc<Client>>,
}

impl Inquiry {
    /// Bytes of the message.
    pub(crate) fn size(&self) -> usize {
        self.submission.size()
    }
}

/// By what a connection is known.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) client_id: ByteString,
    pub(crate) user: Option<ByteString>,
}

impl Client {
    /// Whether a sender of this id stamps here as it is bound to.
    fn is(&self, sender: &[u8], bind: Bind) -> bool {
        let name = match bind {
            Bind::ClientId => Some(&self.client_id),
            Bind::User => self.user.as_ref(),
        };
        name.is_some_and(|name| name.as_bytes() == sender)
    }
}

/// A message whose envelope was examined.
#[derive(Debug)]
pub(crate) struct Examined {
    inquiry: Inquiry,
    fingerprint: Fingerprint,
    unsealed: Result<Unsealed, OpenError>,
}

impl Examined {
    fn of(inquiry: Inquiry, unsealed: Result<Unsealed, OpenError>) -> Self {
        let fingerprint = Fingerprint(sealmq_crypto::payload_digest(inquiry.submission.payload()));
        Self { inquiry, fingerprint, unsealed }
    }

    /// Whether its stamp was verified in vain: what a flood of costs.
    pub(crate) fn has_bad_stamp(&self) -> bool {
        matches!(self.unsealed, Err(OpenError::BadStamp))
    }

    /// Whose mark would be taken, and which; nothing if it is refused.
    pub(crate) fn mark(&self) -> Option<(&Bytes, Mark)> {
        self.unsealed.as_ref().ok().map(Unsealed::mark)
    }

    /// Bytes of the message.
    pub(crate) fn size(&self) -> usize {
        self.inquiry.size()
    }

    /// What was sent.
    pub(crate) fn submission(&self) -> &Submission {
        &self.inquiry.submission
    }

    /// Whether the sender's number could still be taken, as far as is known now.
    pub(crate) fn could_be_taken(&self, replay: &ReplayWindows) -> bool {
        self.unsealed.as_ref().is_ok_and(|unsealed| unsealed.check(replay).is_ok())
    }

    /// Takes the sender's number, and makes a message of what was in the envelope.
    pub(crate) fn finish(self, replay: &ReplayWindows) -> Result<Admitted, Refused> {
        let Self { inquiry, fingerprint, unsealed } = self;
        let Inquiry { submission, policy, on_refusal, egress, .. } = inquiry;
        let fingerprint = Some(fingerprint);
        let opened = match unsealed.and_then(|unsealed| unsealed.take(replay)) {
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
                submission.opened(opened.plaintext, properties, egress)
            }
            // Its subscribers get the envelope as it came.
            Policy::EndToEnd => submission.admitted(),
        };
        Ok(Admitted { message, fingerprint, taken })
    }
}

/// Examines one alone.
pub(super) fn examine_one(ingress: &Ingress, inquiry: Inquiry, replay: &ReplayWindows) -> Examined {
    let identified = ingress.identify(&inquiry);
    let verified = identified.and_then(Identified::verify);
    let unsealed = verified.and_then(|verified| verified.unseal(replay, inquiry.policy));
    Examined::of(inquiry, unsealed)
}

/// Examines envelopes, each with the keys given; out they come in their order.
pub(crate) fn examine<'a>(
    inquiries: impl IntoIterator<Item = (&'a Ingress, Inquiry)>,
    replay: &ReplayWindows,
) -> Vec<Examined> {
    let inquiries: Vec<(&Ingress, Inquiry)> = inquiries.into_iter().collect();
    let identified: Vec<_> = inquiries.iter().map(|(ingress, inquiry)| ingress.identify(inquiry)).collect();
    let (mut good, mut unsealed) = (Vec::with_capacity(identified.len()), Vec::new());
    for (identified, (_, inquiry)) in identified.into_iter().zip(&inquiries) {
        unsealed.push(identified.map(|one| good.push((one, inquiry.policy))));
    }
    let (good, policies): (Vec<_>, Vec<_>) = good.into_iter().unzip();
    let mut verified = verify_all(good).into_iter().zip(policies);
    let unsealed: Vec<Result<Unsealed, OpenError>> = unsealed
        .into_iter()
        .map(|identified| {
            identified?;
            // There is one for each that was identified.
            let (verified, policy) = verified.next().ok_or(OpenError::BadStamp)?;
            verified?.unseal(replay, policy)
        })
        .collect();
    drop(verified);
    let examined = inquiries.into_iter().zip(unsealed);
    examined.map(|((_, inquiry), unsealed)| Examined::of(inquiry, unsealed)).collect()
}

impl Ingress {
    /// The cheap checks on an envelope: form, sender, topic, and whether the sender is bound to this client.
    fn identify<'a>(&'a self, inquiry: &'a Inquiry) -> Result<Identified<'a>, OpenError> {
        let Inquiry { submission, unix_s, client, .. } = inquiry;
        let identified = self.opener.identify(submission.topic().as_str(), submission.payload(), *unix_s)?;
        let sender = identified.sender();
        match self.binds.get(&sender[..]) {
            Some(bind) if !client.as_ref().is_some_and(|client| client.is(sender, *bind)) => {
                Err(OpenError::SenderNotAllowed)
            }
            Some(_) | None => Ok(identified),
        }
    }
}
