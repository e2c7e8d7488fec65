//! Opens envelopes: payload in, plaintext and sender out, or the one reason why not.
//!
//! The road has a type for every promise earned: [`Opener::identify`] gives an [`Identified`] envelope (well
//! formed, a known sender, on a topic of his), [`Identified::verify`] a [`Verified`] one (the stamp holds),
//! [`Verified::unseal`] an [`Unsealed`] one (new so far, its content open) and [`Unsealed::take`] an
//! [`Opened`] one (its number taken). Cheap checks come first. The steps are apart so that many envelopes can
//! be verified together ([`verify_all`](crate::verify_all)), and the dear ones on whatever thread, while
//! numbers are taken in the order in which a sender sent them. Always holds: nothing is remembered of an
//! envelope that did not open, so a bad content cannot burn its sender's number.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::aad::{self, EncContext};
use crate::cipher::ContentAlgorithm;
use crate::derived::{Derived, Name};
use crate::envelope::{ECDH_ES_HKDF_256, ED25519, EDDSA, Envelope, STAMP_BYTES, Sealed};
use crate::error::OpenError;
use crate::key::{Agreement, SenderPublicKey, TopicKey};
use crate::keyring::{Keyring, Sender};
use crate::replay::{Claim, Mark, ReplayWindows, Reservation};

/// What a topic asks of its payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// An envelope whose content is the plaintext.
    Stamped,
    /// An envelope whose content is sealed under a key of the topic.
    Sealed,
    /// An envelope whose content is none of our business; it is passed on whole.
    EndToEnd,
}

/// An envelope that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The plaintext; under [`Policy::EndToEnd`], the whole envelope.
    pub plaintext: Bytes,
    /// The id of the sender whose stamp it bears.
    pub sender: Bytes,
    /// What was taken, for a journal that outlives a restart.
    pub mark: Mark,
}

/// Opens envelopes with the keys of a keyring.
#[derive(Debug)]
pub struct Opener {
    keyring: Keyring,
    max_clock_skew_s: u64,
    derived: Derived,
}

impl Opener {
    /// An opener that allows a sender's clock to differ by this many seconds. It keeps a derived cipher or two
    /// for the next message; see [`Self::keeping_derived`].
    pub fn new(keyring: Keyring, max_clock_skew_s: u64) -> Self {
        Self { keyring, max_clock_skew_s, derived: Derived::new(2) }
    }

    /// The same, and keeps this many derived ciphers: of topics by their master, and of ephemeral keys.
    #[must_use]
    pub fn keeping_derived(self, ciphers_max: usize) -> Self {
        Self { derived: Derived::new(ciphers_max), ..self }
    }

    /// One that works with other keys and is the same in everything else.
    #[must_use]
    pub fn with_keyring(&self, keyring: Keyring) -> Self {
        Self::new(keyring, self.max_clock_skew_s).keeping_derived(self.derived.ciphers_max())
    }

    /// The keys it works with.
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Makes every check on a payload that came on this topic, in the order of the specification.
    pub fn open(
        &self,
        replay: &ReplayWindows,
        policy: Policy,
        topic: &str,
        payload: &Bytes,
        now: u64,
    ) -> Result<Opened, OpenError> {
        self.identify(topic, payload, now)?.verify()?.unseal(replay, policy)?.take(replay)
    }

    /// The checks that cost next to nothing: size and structure, algorithm, sender, topic.
    pub fn identify<'a>(
        &'a self,
        topic: &'a str,
        payload: &'a Bytes,
        now: u64,
    ) -> Result<Identified<'a>, OpenError> {
        let envelope = Envelope::parse(payload)?;
        if !matches!(envelope.header.algorithm, EDDSA | ED25519) {
            return Err(OpenError::WrongAlgorithm);
        }
        let enrolled = self.keyring.enrolled(envelope.header.sender);
        let (sender_id, sender) = enrolled.ok_or(OpenError::UnknownSender)?;
        if !sender.validity.contains(now) {
            return Err(OpenError::UnknownSender);
        }
        if !sender.topics.contains(topic) {
            return Err(OpenError::SenderNotAllowed);
        }
        Ok(Identified { opener: self, topic, payload, now, envelope, sender_id, sender })
    }
}

/// A well-formed envelope that claims to be of an enrolled sender who may publish here.
#[derive(Debug)]
pub struct Identified<'a> {
    opener: &'a Opener,
    topic: &'a str,
    payload: &'a Bytes,
    now: u64,
    envelope: Envelope<'a>,
    sender_id: &'a Bytes,
    sender: &'a Sender,
}

impl<'a> Identified<'a> {
    /// Verifies the stamp: the dear step.
    pub fn verify(self) -> Result<Verified<'a>, OpenError> {
        let holds = self.stamp().is_some_and(|stamp| self.sender.key.verify(&self.signed(), stamp));
        if holds { Ok(Verified(self)) } else { Err(OpenError::BadStamp) }
    }

    /// The id of the sender that it claims.
    pub const fn sender(&self) -> &'a Bytes {
        self.sender_id
    }

    /// The stamp, if it has the length of one.
    pub(crate) fn stamp(&self) -> Option<&'a [u8; STAMP_BYTES]> {
        self.envelope.stamp.try_into().ok()
    }

    /// What the stamp is over.
    pub(crate) fn signed(&self) -> Vec<u8> {
        aad::sig_structure(self.envelope.protected, self.topic, self.envelope.content)
    }

    /// What verifies it.
    pub(crate) const fn sender_key(&self) -> &'a SenderPublicKey {
        &self.sender.key
    }

    /// Somebody has verified the stamp.
    pub(crate) const fn verified(self) -> Verified<'a> {
        Verified(self)
    }
}

/// An envelope whose stamp holds.
#[derive(Debug)]
pub struct Verified<'a>(Identified<'a>);

/// An envelope that is open, and whose number is not taken yet.
#[derive(Debug)]
pub struct Unsealed {
    opened: Opened,
    claim: Claim,
}

impl Unsealed {
    /// Whose it is, and what would be taken.
    pub const fn mark(&self) -> (&Bytes, Mark) {
        (&self.opened.sender, self.opened.mark)
    }

    /// Whether it could still be taken; takes nothing.
    pub fn check(&self, replay: &ReplayWindows) -> Result<(), OpenError> {
        replay.check(&self.opened.sender, &self.claim)
    }

    /// Takes the sender's number, unless it was taken meanwhile, or the sender has another key now.
    pub fn take(self, replay: &ReplayWindows) -> Result<Opened, OpenError> {
        self.reserve(replay).map(|(opened, _)| opened)
    }

    /// The same, and it can be given back.
    pub fn reserve(self, replay: &ReplayWindows) -> Result<(Opened, Reservation), OpenError> {
        let Self { opened, claim } = self;
        let reservation = replay.take(&opened.sender, &claim)?;
        Ok((opened, reservation))
    }
}

impl Verified<'_> {
    /// Freshness, then the content.
    pub fn unseal(self, replay: &ReplayWindows, policy: Policy) -> Result<Unsealed, OpenError> {
        let Identified { opener, payload, now, envelope, sender_id, sender, .. } = self.0;
        let (mark, key, skew_s) = (self.mark()?, sender.key.to_bytes(), opener.max_clock_skew_s);
        let claim = Claim { mark, key, now, skew_s };
        replay.check(sender_id, &claim)?;
        let plaintext = match policy {
            Policy::Stamped => payload.slice_ref(envelope.content),
            Policy::Sealed => self.decrypted()?,
            Policy::EndToEnd => payload.clone(),
        };
        Ok(Unsealed { opened: Opened { plaintext, sender: sender_id.clone(), mark }, claim })
    }

    /// What the envelope shows of its newness; a counter goes before a time, but the time has to hold too.
    fn mark(&self) -> Result<Mark, OpenError> {
        let Identified { opener, now, envelope, .. } = &self.0;
        let header = envelope.header;
        if header.issued_at.is_some_and(|issued_at| issued_at.abs_diff(*now) > opener.max_clock_skew_s) {
            return Err(OpenError::NotFresh);
        }
        match (header.sequence, header.issued_at) {
            (Some(sequence), _) => Ok(Mark::Seq(sequence)),
            (None, Some(issued_at)) => {
                Ok(Mark::Timed { issued_at, stamp_hash: Sha256::digest(envelope.stamp).into() })
            }
            (None, None) => Err(OpenError::NotFresh),
        }
    }

    /// Opens the sealed content with the topic's key.
    fn decrypted(&self) -> Result<Bytes, OpenError> {
        let Identified { opener, topic, now, envelope, .. } = &self.0;
        let sealed = Sealed::parse(envelope.content)?;
        let entry = opener.keyring.topic_key(sealed.key_id).ok_or(OpenError::UnknownKey)?;
        if !entry.topics.contains(topic) {
            return Err(OpenError::UnknownKey);
        }
        if !entry.validity.contains(*now) {
            return Err(OpenError::KeyExpired);
        }
        let algorithm = allowed_algorithm(&sealed, &entry.key)?;
        let sender = envelope.header.sender;
        let plaintext = decrypt(&sealed, algorithm, (&entry.key, &opener.derived), sender, topic);
        plaintext.map(Bytes::from).inspect(|_| entry.count_opened()).ok_or(OpenError::DecryptFailed)
    }
}

/// The content's algorithm, if it is the one that the key is for.
fn allowed_algorithm(sealed: &Sealed<'_>, key: &TopicKey) -> Result<ContentAlgorithm, OpenError> {
    let claimed = ContentAlgorithm::from_cose_number(sealed.algorithm).ok_or(OpenError::WrongAlgorithm)?;
    let allowed = match sealed.recipient {
        None => key.symmetric_algorithm() == Some(claimed),
        // Such a key is for the agreement; what is agreed on is new for every message and may be of any AEAD.
        Some(recipient) => key.is_asymmetric() && recipient.algorithm == ECDH_ES_HKDF_256,
    };
    if allowed { Ok(claimed) } else { Err(OpenError::WrongAlgorithm) }
}

fn decrypt(
    sealed: &Sealed<'_>,
    algorithm: ContentAlgorithm,
    (key, derived): (&TopicKey, &Derived),
    sender: &[u8],
    topic: &str,
) -> Option<Vec<u8>> {
    if let Some(recipient) = sealed.recipient {
        let agreement = Agreement { algorithm, recipient_protected: recipient.protected };
        let aad = aad::enc_structure(EncContext::Encrypt, sealed.protected, sender, topic);
        let number = algorithm.cose_number().to_be_bytes();
        let name = Name::of(&[key.id(), topic.as_bytes(), recipient.ephemeral, &number, recipient.protected]);
        let cipher = derived.cipher(name, || key.agree(topic, recipient.ephemeral, agreement))?;
        return cipher.open(sealed.iv, &aad, sealed.ciphertext);
    }
    let aad = aad::enc_structure(EncContext::Encrypt0, sealed.protected, sender, topic);
    if let Some(cipher) = key.kept_cipher() {
        return cipher.open(sealed.iv, &aad, sealed.ciphertext);
    }
    let cipher = derived.cipher(Name::of(&[key.id(), topic.as_bytes()]), || key.derived_cipher(topic))?;
    cipher.open(sealed.iv, &aad, sealed.ciphertext)
}

/// The identity of a payload: a packet sent again with these very bytes is a repetition, not an attack.
pub fn payload_digest(payload: &[u8]) -> [u8; 32] {
    Sha256::digest(payload).into()
}
