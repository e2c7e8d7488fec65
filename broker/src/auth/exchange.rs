//! Enhanced authentication (MQTT 5 §4.12) as a value: the client's data comes in, a [`Step`] goes out.
//!
//! Begun by [`Auth::begin`] with what CONNECT or the first AUTH of a re-authentication holds; each answer
//! consumes the exchange and gives the next step. Always holds: no I/O, no clock and no randomness of its
//! own; a failure ends it, and all failures of a method look alike from outside. A user who is not known is
//! led through the same course as one who is, and fails at its end.

use super::identity::{Fingerprint, Identity};
use super::password::Candidate;
use super::scram::{ClientFirst, ServerFirst};
use super::{Auth, Denied, Reason, SCRAM_SHA_256, SEALMQ_ED25519};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_crypto::challenge::{self, CHALLENGE_BYTES};
use sealmq_crypto::{Keyring, OpenError};

/// Who the client says that it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    /// The client id as CONNECT had it, empty or not; in a re-authentication the session's.
    pub(crate) client_id: &'a str,
    /// The name that has to come out, if one is known: CONNECT's user name, and in a re-authentication that
    /// of the connection's [`Identity`].
    pub(crate) user: Option<&'a str>,
}

/// Who is enrolled, at what time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Senders<'a> {
    /// The keys in force.
    pub(crate) keyring: &'a Keyring,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

/// What an exchange wants next.
#[derive(Debug)]
pub(crate) enum Step {
    /// An AUTH with 0x18 (continue authentication) and this data; what the client answers goes to
    /// [`Exchange::answer`].
    Continue(Exchange, Bytes),
    /// It is proven who the client is. The data goes into the CONNACK, or into the AUTH with 0x00 that ends a
    /// re-authentication.
    Done(Identity, Option<Bytes>),
    /// It is not; the connection ends.
    Denied(Denied),
}

/// An exchange that waits for the client.
#[derive(Debug)]
pub(crate) struct Exchange {
    must_be: Option<Box<str>>,
    course: Course,
}

#[derive(Debug)]
enum Course {
    /// The proof has to follow; the fingerprint is there if the user is.
    Scram(Box<ServerFirst>, Option<Fingerprint>),
    /// The signed challenge has to follow.
    Signature { client_id: Box<str>, challenge: [u8; CHALLENGE_BYTES] },
}

impl Auth {
    /// Begins an exchange. `random` becomes nonce or challenge; it has to be new each time.
    pub(crate) fn begin(
        &self,
        method: &str,
        data: Option<&[u8]>,
        who: Who<'_>,
        senders: Senders<'_>,
        random: &[u8; CHALLENGE_BYTES],
    ) -> Step {
        let begun = match method {
            SCRAM_SHA_256 => self.begin_scram(data.unwrap_or_default(), who, random),
            SEALMQ_ED25519 => begin_signature(data.unwrap_or_default(), who, senders, random),
            _ => Err(Denied::BadMethod),
        };
        match begun {
            Ok((course, data)) => Step::Continue(Exchange { must_be: who.user.map(Box::from), course }, data),
            Err(denied) => Step::Denied(denied),
        }
    }

    /// The client speaks first, so its message comes with CONNECT, as in the example of §4.12.
    fn begin_scram(&self, data: &[u8], who: Who<'_>, random: &[u8]) -> Result<(Course, Bytes), Denied> {
        let passwords = self.passwords.as_deref().ok_or(Denied::BadMethod)?;
        let first = ClientFirst::read(data)?;
        if who.user.is_some_and(|user| user != first.user) {
            return Err(Reason::OtherUser.into());
        }
        let Candidate { verifier, fingerprint } =
            passwords.candidate(&first.user).ok_or(Denied::BadMethod)?;
        let (waiting, message) = first.answer(verifier, &STANDARD_NO_PAD.encode(random));
        Ok((Course::Scram(Box::new(waiting), fingerprint), message.into()))
    }
}

/// The server speaks first.
fn begin_signature(
    data: &[u8],
    who: Who<'_>,
    senders: Senders<'_>,
    random: &[u8; CHALLENGE_BYTES],
) -> Result<(Course, Bytes), Denied> {
    if senders.keyring.has_no_senders() {
        return Err(Denied::BadMethod);
    }
    if !data.is_empty() {
        return Err(Reason::Malformed.into());
    }
    let course = Course::Signature { client_id: who.client_id.into(), challenge: *random };
    Ok((course, Bytes::copy_from_slice(random)))
}

impl Exchange {
    /// Takes the client's answer to [`Step::Continue`].
    pub(crate) fn answer(self, data: Option<&[u8]>, senders: Senders<'_>) -> Step {
        let data = data.unwrap_or_default();
        let finished = match self.course {
            Course::Scram(waiting, fingerprint) => finish_scram(*waiting, fingerprint, data),
            Course::Signature { client_id, challenge } => {
                finish_signature(&client_id, &challenge, data, senders)
            }
        };
        let named = finished.and_then(|(identity, data)| {
            let user = identity.user().map(|user| &**user);
            if self.must_be.is_some() && self.must_be.as_deref() != user {
                return Err(Reason::OtherUser);
            }
            Ok((identity, data))
        });
        match named {
            Ok((identity, data)) => Step::Done(identity, data),
            Err(reason) => Step::Denied(reason.into()),
        }
    }
}

type Finished = Result<(Identity, Option<Bytes>), Reason>;

fn finish_scram(waiting: ServerFirst, fingerprint: Option<Fingerprint>, data: &[u8]) -> Finished {
    let finished = waiting.finish(data);
    let Some(fingerprint) = fingerprint else {
        // The proof was looked at all the same, so that this took its time.
        return Err(finished.err().filter(|why| *why != Reason::WrongProof).unwrap_or(Reason::UnknownUser));
    };
    Ok((Identity::User(waiting.user.into(), fingerprint), Some(finished?.into())))
}

fn finish_signature(
    client_id: &str,
    challenge: &[u8; CHALLENGE_BYTES],
    data: &[u8],
    senders: Senders<'_>,
) -> Finished {
    let verified = challenge::verify(senders.keyring, client_id, challenge, data, senders.now);
    let (id, sender) = verified.map_err(Reason::of)?;
    // What is no text cannot be a user name.
    let user = ByteString::try_from(id.clone()).map_err(|_| Reason::UnknownUser)?;
    Ok((Identity::Sender(user, Fingerprint::of_key(&sender.key)), None))
}

impl Reason {
    fn of(error: OpenError) -> Self {
        match error {
            OpenError::UnknownSender => Self::UnknownUser,
            OpenError::BadStamp => Self::WrongProof,
            // The others are of envelopes alone, beside these two.
            OpenError::NotAnEnvelope
            | OpenError::WrongAlgorithm
            | OpenError::SenderNotAllowed
            | OpenError::NotFresh
            | OpenError::Replayed
            | OpenError::NotSealed
            | OpenError::UnknownKey
            | OpenError::KeyExpired
            | OpenError::DecryptFailed => Self::Malformed,
        }
    }
}
