//! Envelopes on their way through ingress: the dear part of step 4, apart from what keeps the order.
//!
//! An [`Inquiry`] is a message whose topic asks for an envelope; [`examine`] verifies the stamps of many at
//! once, of whichever connections, and opens their contents; an [`Examined`] one takes its sender's number and
//! becomes a message, in the order in which its client sent it. Always holds: what was examined changed
//! nothing, so it can be dropped, and examined on whatever thread; and a fault of ours in examining one costs
//! that message and no other.

use super::message::Submission;
use super::{Admitted, Fingerprint, Ingress, Refusal, Refused, without_envelope};
use crate::egress::Egress;
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_config::encryption::{Bind, OnRefusal};
use sealmq_crypto::{Identified, Mark, OpenError, Policy, ReplayWindows, Unsealed, verify_all};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// An envelope that a test has examining fail with.
#[cfg(test)]
pub(crate) const PANICS: &[u8] = b"examining this goes wrong";

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

    /// What was sent.
    pub(crate) fn into_submission(self) -> Submission {
        self.submission
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
    unsealed: Result<Unsealed, Fault>,
}

/// Why an envelope is not open.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Its own.
    Envelope(OpenError),
    /// Ours.
    Internal,
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        Self::Envelope(error)
    }
}

impl Fault {
    fn refusal(self, on_refusal: OnRefusal) -> Refusal {
        match self {
            Self::Envelope(error) => Refusal::Envelope(error, on_refusal),
            Self::Internal => Refusal::Internal,
        }
    }
}

impl Examined {
    fn of(inquiry: Inquiry, unsealed: Result<Unsealed, Fault>) -> Self {
        let fingerprint = Fingerprint(sealmq_crypto::payload_digest(inquiry.submission.payload()));
        Self { inquiry, fingerprint, unsealed }
    }

    /// Whether its stamp was verified in vain: what a flood of costs.
    pub(crate) fn has_bad_stamp(&self) -> bool {
        matches!(self.unsealed, Err(Fault::Envelope(OpenError::BadStamp)))
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

    /// What was asked.
    pub(crate) fn into_inquiry(self) -> Inquiry {
        self.inquiry
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
        let (opened, reservation) = match unsealed.and_then(|unsealed| Ok(unsealed.reserve(replay)?)) {
            Ok(reserved) => reserved,
            Err(fault) => return Err(Refused::new(submission, fault.refusal(on_refusal), fingerprint)),
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
        Ok(Admitted { message, fingerprint, taken, reservation: Some(reservation) })
    }
}

/// Examines one alone.
pub(super) fn examine_one(ingress: &Ingress, inquiry: Inquiry, replay: &ReplayWindows) -> Examined {
    let unsealed = unseal_guarded((ingress, &inquiry), replay);
    Examined::of(inquiry, unsealed)
}

/// Examines envelopes, each with the keys given; out they come in their order.
pub(crate) fn examine<'a>(
    inquiries: impl IntoIterator<Item = (&'a Ingress, Inquiry)>,
    replay: &ReplayWindows,
) -> Vec<Examined> {
    let inquiries: Vec<(&Ingress, Inquiry)> = inquiries.into_iter().collect();
    let cases = || inquiries.iter().map(|(ingress, inquiry)| (*ingress, inquiry));
    let unsealed = guarded(|| unseal_all(cases(), replay));
    // Whichever of them it was, the others need not suffer for it.
    let unsealed =
        unsealed.unwrap_or_else(|| cases().map(|case| unseal_guarded(case, replay)).collect::<Vec<_>>());
    let examined = inquiries.into_iter().zip(unsealed);
    examined.map(|((_, inquiry), unsealed)| Examined::of(inquiry, unsealed)).collect()
}

/// Runs what may be wrong in us; nothing comes out if it panics. What is shared with others (derived keys,
/// counts, windows) is left whole: each is changed by one step, or not at all.
fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(run));
    if done.is_err() {
        tracing::error!("examining envelopes has panicked; those that cannot be examined alone are refused");
    }
    done.ok()
}

fn unseal_guarded(
    (ingress, inquiry): (&Ingress, &Inquiry),
    replay: &ReplayWindows,
) -> Result<Unsealed, Fault> {
    let unseal = || ingress.identify(inquiry)?.verify()?.unseal(replay, inquiry.policy);
    guarded(unseal).map_or(Err(Fault::Internal), |unsealed| Ok(unsealed?))
}

/// Verifies the stamps of all of them together; one answer for each.
fn unseal_all<'a>(
    cases: impl Iterator<Item = (&'a Ingress, &'a Inquiry)>,
    replay: &ReplayWindows,
) -> Vec<Result<Unsealed, Fault>> {
    let (mut good, mut unsealed) = (Vec::new(), Vec::new());
    for (ingress, inquiry) in cases {
        unsealed.push(ingress.identify(inquiry).map(|one| good.push((one, inquiry.policy))));
    }
    let (good, policies): (Vec<_>, Vec<_>) = good.into_iter().unzip();
    let mut verified = verify_all(good).into_iter().zip(policies);
    let unsealed = unsealed.into_iter().map(|identified| {
        identified?;
        // There is one for each that was identified.
        let (verified, policy) = verified.next().ok_or(OpenError::BadStamp)?;
        Ok(verified?.unseal(replay, policy)?)
    });
    unsealed.collect()
}

impl Ingress {
    /// The cheap checks on an envelope: form, sender, topic, and whether the sender is bound to this client.
    fn identify<'a>(&'a self, inquiry: &'a Inquiry) -> Result<Identified<'a>, OpenError> {
        let Inquiry { submission, unix_s, client, .. } = inquiry;
        #[cfg(test)]
        assert!(&submission.payload()[..] != PANICS, "a test asked for it");
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
