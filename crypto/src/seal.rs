//! Makes envelopes: plaintext in, stamped and, with a content key, sealed payload out.
//!
//! What a device does, and the broker when it seals again for a subscriber. Randomness is an argument of
//! [`seal_with_random`], and the system's in [`seal`]: an IV for every message, and an ephemeral key for
//! every asymmetric one. The counter is the caller's, who must not use a number twice.

use zeroize::Zeroizing;

use crate::aad::{self, EncContext};
use crate::cipher::{ContentAlgorithm, IV_BYTES};
use crate::envelope::{
    ECDH_ES_HKDF_256, EDDSA, Recipient, Sealed, StampHeader, print_protected, print_stamped,
};
use crate::error::SealError;
use crate::key::{Agreement, SenderKey, TopicKey, TopicPublicKey};

/// How an envelope shows that it is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// By the sender's counter.
    Seq(u64),
    /// By the time, in seconds since 1970.
    Time(u64),
    /// By both.
    Both {
        /// The sender's counter.
        seq: u64,
        /// The time, in seconds since 1970.
        time: u64,
    },
}

/// What a content is sealed with.
#[derive(Debug, Clone, Copy)]
pub enum ContentKey<'a> {
    /// A symmetric key; of an X25519 pair, its public half with AES-256-GCM.
    Topic(&'a TopicKey),
    /// An X25519 key, and the algorithm to seal with once a key is agreed on.
    Public(&'a TopicPublicKey, ContentAlgorithm),
}

impl<'a> From<&'a TopicKey> for ContentKey<'a> {
    fn from(key: &'a TopicKey) -> Self {
        Self::Topic(key)
    }
}

impl<'a> From<&'a TopicPublicKey> for ContentKey<'a> {
    fn from(key: &'a TopicPublicKey) -> Self {
        Self::Public(key, ContentAlgorithm::A256Gcm)
    }
}

/// Fills a buffer with random bytes.
pub type Random<'a> = dyn FnMut(&mut [u8]) -> Result<(), SealError> + 'a;

/// Makes an envelope for this topic, with the system's randomness. Without a content key the plaintext
/// itself is the content: merely stamped, or sealed end to end by the caller.
pub fn seal(
    sender: &SenderKey,
    content_key: Option<ContentKey<'_>>,
    topic: &str,
    plaintext: &[u8],
    freshness: Freshness,
) -> Result<Vec<u8>, SealError> {
    let mut random = |buffer: &mut [u8]| getrandom::fill(buffer).map_err(|_| SealError::Random);
    seal_with_random(&mut random, sender, content_key, topic, plaintext, freshness)
}

/// Does what [`seal`] does, with the randomness given. Bytes that repeat give the plaintext away.
pub fn seal_with_random(
    random: &mut Random<'_>,
    sender: &SenderKey,
    content_key: Option<ContentKey<'_>>,
    topic: &str,
    plaintext: &[u8],
    freshness: Freshness,
) -> Result<Vec<u8>, SealError> {
    match content_key {
        None => Ok(stamp(sender, topic, plaintext, freshness)),
        Some(key) => {
            let content = seal_content(random, sender.id(), key, topic, plaintext)?;
            Ok(stamp(sender, topic, &content, freshness))
        }
    }
}

pub(crate) fn stamp(sender: &SenderKey, topic: &str, content: &[u8], freshness: Freshness) -> Vec<u8> {
    let protected = stamp_header(sender.id(), freshness).print();
    let stamp = sender.sign(&aad::sig_structure(&protected, topic, content));
    print_stamped(&protected, content, &stamp)
}

pub(crate) fn stamp_header(sender: &[u8], freshness: Freshness) -> StampHeader<'_> {
    let (sequence, issued_at) = match freshness {
        Freshness::Seq(seq) => (Some(seq), None),
        Freshness::Time(time) => (None, Some(time)),
        Freshness::Both { seq, time } => (Some(seq), Some(time)),
    };
    StampHeader { algorithm: EDDSA, sender, issued_at, sequence }
}

fn seal_content(
    random: &mut Random<'_>,
    sender: &[u8],
    key: ContentKey<'_>,
    topic: &str,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    match key {
        ContentKey::Public(key, algorithm) => {
            seal_asymmetric(random, sender, (key, algorithm), topic, plaintext)
        }
        ContentKey::Topic(key) => match key.public(topic) {
            Some(public) => {
                seal_asymmetric(random, sender, (&public, ContentAlgorithm::A256Gcm), topic, plaintext)
            }
            None => seal_symmetric(random, sender, key, topic, plaintext),
        },
    }
}

fn seal_symmetric(
    random: &mut Random<'_>,
    sender: &[u8],
    key: &TopicKey,
    topic: &str,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut iv = [0; IV_BYTES];
    random(&mut iv)?;
    let derived;
    let cipher = if let Some(kept) = key.kept_cipher() {
        kept
    } else {
        // Every kind of key without a public half has a cipher.
        derived = key.derived_cipher(topic).ok_or(SealError::WeakKey)?;
        &derived
    };
    let algorithm = cipher.algorithm().cose_number();
    let protected = print_protected(algorithm, Some(key.id()));
    let aad = aad::enc_structure(EncContext::Encrypt0, &protected, sender, topic);
    let ciphertext = cipher.seal(&iv, &aad, plaintext).ok_or(SealError::TooLong)?;
    let sealed = Sealed {
        protected: &protected,
        algorithm,
        key_id: key.id(),
        iv: &iv,
        ciphertext: &ciphertext,
        recipient: None,
    };
    Ok(sealed.print())
}

fn seal_asymmetric(
    random: &mut Random<'_>,
    sender: &[u8],
    (key, algorithm): (&TopicPublicKey, ContentAlgorithm),
    topic: &str,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (mut iv, mut ephemeral) = ([0; IV_BYTES], Zeroizing::new([0; 32]));
    random(&mut iv)?;
    random(ephemeral.as_mut_slice())?;
    let protected = print_protected(algorithm.cose_number(), None);
    let recipient_protected = print_protected(ECDH_ES_HKDF_256, None);
    let agreement = Agreement { algorithm, recipient_protected: &recipient_protected };
    let (ephemeral, cipher) = key.agree(&ephemeral, agreement).ok_or(SealError::WeakKey)?;
    let aad = aad::enc_structure(EncContext::Encrypt, &protected, sender, topic);
    let ciphertext = cipher.seal(&iv, &aad, plaintext).ok_or(SealError::TooLong)?;
    let recipient =
        Recipient { protected: &recipient_protected, algorithm: ECDH_ES_HKDF_256, ephemeral: &ephemeral };
    let sealed = Sealed {
        protected: &protected,
        algorithm: algorithm.cose_number(),
        key_id: key.id(),
        iv: &iv,
        ciphertext: &ciphertext,
        recipient: Some(recipient),
    };
    Ok(sealed.print())
}
