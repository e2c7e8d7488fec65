//! Many envelopes for one X25519 key: what the broker makes of messages that leave for a subscriber.
//!
//! One agreement serves many messages, so that each costs a stamp and no more. The ephemeral secret is gone
//! when the agreement is made; how long its content key serves is the caller's to say. IVs begin at random and
//! count up, so that none comes twice under a content key and nothing random is needed for a message. Plaintexts
//! come in with their freshness, whose counter must not come twice; envelopes go out, in the same form as those
//! of [`crate::seal()`].

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::aad::{self, EncContext};
use crate::cbor::head_bytes;
use crate::cipher::{Cipher, ContentAlgorithm, IV_BYTES, TAG_BYTES};
use crate::envelope::{ECDH_ES_HKDF_256, Recipient, STAMP_BYTES, Sealed, print_protected, print_stamped};
use crate::error::SealError;
use crate::key::{Agreement, SenderKey, TopicPublicKey};
use crate::seal::{Freshness, stamp, stamp_header};

/// What is agreed on: there is hardware for it wherever there is for any.
const ALGORITHM: ContentAlgorithm = ContentAlgorithm::A256Gcm;

/// Makes envelopes for one key; see the module's description.
pub struct Resealer {
    sender: Arc<SenderKey>,
    key_id: Vec<u8>,
    // Wipes itself when dropped.
    cipher: Cipher,
    ephemeral: [u8; 32],
    protected: Vec<u8>,
    recipient_protected: Vec<u8>,
    next_iv: u128,
    sealed: u64,
}

impl Resealer {
    /// Agrees on a content key with the owner of `key`, to whom `sender` will stamp.
    pub fn new(sender: Arc<SenderKey>, key: &TopicPublicKey) -> Result<Self, SealError> {
        let (mut iv, mut ephemeral) = ([0; 16], Zeroizing::new([0; 32]));
        getrandom::fill(&mut iv).map_err(|_| SealError::Random)?;
        getrandom::fill(ephemeral.as_mut_slice()).map_err(|_| SealError::Random)?;
        let recipient_protected = print_protected(ECDH_ES_HKDF_256, None);
        let agreement = Agreement { algorithm: ALGORITHM, recipient_protected: &recipient_protected };
        let (ephemeral, cipher) = key.agree(&ephemeral, agreement).ok_or(SealError::WeakKey)?;
        Ok(Self {
            sender,
            key_id: key.id().to_vec(),
            cipher,
            ephemeral,
            protected: print_protected(ALGORITHM.cose_number(), None),
            recipient_protected,
            next_iv: u128::from_be_bytes(iv),
            sealed: 0,
        })
    }

    /// How many envelopes it has made.
    pub const fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Makes an envelope.
    pub fn seal(
        &mut self,
        topic: &str,
        plaintext: &[u8],
        freshness: Freshness,
    ) -> Result<Vec<u8>, SealError> {
        let iv = self.take_iv();
        let aad = aad::enc_structure(EncContext::Encrypt, &self.protected, self.sender.id(), topic);
        let ciphertext = self.cipher.seal(&iv, &aad, plaintext).ok_or(SealError::TooLong)?;
        let content = self.content(&iv, &ciphertext);
        Ok(stamp(&self.sender, topic, &content, freshness))
    }

    /// The lowest 96 bits, which come again after 2^96 messages.
    fn take_iv(&mut self) -> [u8; IV_BYTES] {
        let [_, _, _, _, iv @ ..] = self.next_iv.to_be_bytes();
        self.next_iv = self.next_iv.wrapping_add(1);
        self.sealed += 1;
        iv
    }

    fn content(&self, iv: &[u8; IV_BYTES], ciphertext: &[u8]) -> Vec<u8> {
        content(&self.key_id, (&self.protected, &self.recipient_protected), iv, &self.ephemeral, ciphertext)
    }
}

impl fmt::Debug for Resealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resealer for {}", String::from_utf8_lossy(&self.key_id).escape_debug())
    }
}

fn content(
    key_id: &[u8],
    (protected, recipient_protected): (&[u8], &[u8]),
    iv: &[u8; IV_BYTES],
    ephemeral: &[u8; 32],
    ciphertext: &[u8],
) -> Vec<u8> {
    let recipient = Recipient { protected: recipient_protected, algorithm: ECDH_ES_HKDF_256, ephemeral };
    let algorithm = ALGORITHM.cose_number();
    Sealed { protected, algorithm, key_id, iv, ciphertext, recipient: Some(recipient) }.print()
}

/// How large the envelopes of a sender for a key are: known before one is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeSize {
    /// Bytes beside the content and the head that says its length.
    stamp: usize,
    /// Bytes of the content beside the ciphertext and its head.
    content: usize,
}

impl EnvelopeSize {
    /// Of envelopes that show their freshness as `freshness` does: numbers below 2^32 are shorter than others.
    pub fn new(sender_id: &[u8], key_id: &[u8], freshness: Freshness) -> Self {
        let protected = print_protected(ALGORITHM.cose_number(), None);
        let recipient_protected = print_protected(ECDH_ES_HKDF_256, None);
        let content = content(key_id, (&protected, &recipient_protected), &[0; IV_BYTES], &[0; 32], &[]);
        let header = stamp_header(sender_id, freshness).print();
        let stamp = print_stamped(&header, &[], &[0; STAMP_BYTES]);
        Self { stamp: stamp.len() - head_bytes(0), content: content.len() - head_bytes(0) }
    }

    /// Round so many bytes of plaintext.
    pub const fn of(self, plaintext_bytes: usize) -> usize {
        let ciphertext = plaintext_bytes + TAG_BYTES;
        let content = self.content + head_bytes(ciphertext) + ciphertext;
        self.stamp + head_bytes(content) + content
    }
}
