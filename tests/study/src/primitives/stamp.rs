//! The stamps: who has made this, and is it whole? Ed25519 one by one and in batches, ECDSA on P-256, and
//! HMAC-SHA-256 with a key that both sides have.
//!
//! Ed25519 is verified strictly, as the broker does it; a batch is of as many senders as messages, which is
//! the worst case. ECDSA is deterministic (RFC 6979).

use super::{READING_BYTES, Task};
use crate::rows::{Kind, Operation};
use anyhow::{Context, Result};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey, verify_batch};
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa;
use p256::ecdsa::signature::Verifier;
use sha2::Sha256;
use std::rc::Rc;

/// Messages that are verified at once.
const BATCHES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Someone who stamps, and whoever checks it.
trait Stamp {
    /// How it is called.
    fn name(&self) -> &'static str;
    /// A stamp for the message.
    fn sign(&self, message: &[u8]) -> Vec<u8>;
    /// Whether it holds for the message.
    fn verify(&self, message: &[u8], stamp: &[u8]) -> bool;
}

struct Ed25519(SigningKey);

impl Stamp for Ed25519 {
    fn name(&self) -> &'static str {
        "Ed25519"
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).to_bytes().to_vec()
    }

    fn verify(&self, message: &[u8], stamp: &[u8]) -> bool {
        let stamp = Signature::from_slice(stamp);
        // A reference, so that the key's point is not computed again.
        let key: &VerifyingKey = self.0.as_ref();
        stamp.is_ok_and(|stamp| key.verify_strict(message, &stamp).is_ok())
    }
}

struct EcdsaP256 {
    secret: ecdsa::SigningKey,
    public: ecdsa::VerifyingKey,
}

impl EcdsaP256 {
    fn new(secret: &[u8]) -> Result<Self> {
        let secret = ecdsa::SigningKey::from_slice(secret).ok().context("no secret of P-256")?;
        Ok(Self { public: *secret.verifying_key(), secret })
    }
}

impl Stamp for EcdsaP256 {
    fn name(&self) -> &'static str {
        "ECDSA P-256"
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let stamp: ecdsa::Signature = self.secret.sign(message);
        stamp.to_bytes().to_vec()
    }

    fn verify(&self, message: &[u8], stamp: &[u8]) -> bool {
        let stamp = ecdsa::Signature::from_slice(stamp);
        stamp.is_ok_and(|stamp| self.public.verify(message, &stamp).is_ok())
    }
}

struct HmacSha256(Hmac<Sha256>);

impl HmacSha256 {
    fn new(key: &[u8]) -> Result<Self> {
        Ok(Self(Hmac::new_from_slice(key).ok().context("no key of HMAC")?))
    }
}

impl Stamp for HmacSha256 {
    fn name(&self) -> &'static str {
        "HMAC-SHA-256"
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.clone().chain_update(message).finalize().into_bytes().to_vec()
    }

    fn verify(&self, message: &[u8], stamp: &[u8]) -> bool {
        self.0.clone().chain_update(message).verify_slice(stamp).is_ok()
    }
}

fn candidates() -> Result<[Rc<dyn Stamp>; 3]> {
    let secret = [0x17; 32];
    Ok([
        Rc::new(Ed25519(SigningKey::from_bytes(&secret))),
        Rc::new(EcdsaP256::new(&secret)?),
        Rc::new(HmacSha256::new(&secret)?),
    ])
}

pub(super) fn tasks(sizes: &[usize]) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for stamp in candidates()? {
        for size in sizes {
            let message = vec![0xA5; *size];
            let made = stamp.sign(&message);
            let task = |operation, work| Task {
                kind: Kind::Stamp,
                name: stamp.name().to_owned(),
                operation,
                size_bytes: *size,
                batch: 1,
                added_bytes: made.len(),
                work,
            };
            tasks.push(task(Operation::Sign, signing(stamp.clone(), message.clone())));
            tasks.push(task(Operation::Verify, verifying(stamp.clone(), message, made.clone())));
        }
    }
    tasks.extend(BATCHES.map(|batch| Task {
        kind: Kind::Stamp,
        name: "Ed25519 in batches".to_owned(),
        operation: Operation::Verify,
        size_bytes: READING_BYTES,
        batch,
        added_bytes: Signature::BYTE_SIZE,
        work: verifying_together(&Together::of(batch)),
    }));
    Ok(tasks)
}

fn signing(stamp: Rc<dyn Stamp>, message: Vec<u8>) -> Box<dyn FnMut() -> bool> {
    Box::new(move || !stamp.sign(&message).is_empty())
}

fn verifying(stamp: Rc<dyn Stamp>, message: Vec<u8>, made: Vec<u8>) -> Box<dyn FnMut() -> bool> {
    Box::new(move || stamp.verify(&message, &made))
}

/// Messages with their stamps, each of another sender.
#[derive(Clone)]
struct Together {
    messages: Vec<Vec<u8>>,
    stamps: Vec<Signature>,
    keys: Vec<VerifyingKey>,
}

impl Together {
    fn of(batch: usize) -> Self {
        let mut together = Self { messages: Vec::new(), stamps: Vec::new(), keys: Vec::new() };
        for n in 0..batch {
            let mut secret = [0x29; 32];
            // Senders that differ; which they are is all the same.
            for (byte, part) in secret.iter_mut().zip(n.to_le_bytes()) {
                *byte = part;
            }
            let key = SigningKey::from_bytes(&secret);
            let message = vec![0xA5; READING_BYTES];
            together.stamps.push(key.sign(&message));
            together.keys.push(key.verifying_key());
            together.messages.push(message);
        }
        together
    }

    fn verify(&self, messages: &[&[u8]]) -> bool {
        verify_batch(messages, &self.stamps, &self.keys).is_ok()
    }
}

fn verifying_together(together: &Together) -> Box<dyn FnMut() -> bool> {
    let together = together.clone();
    Box::new(move || {
        let messages: Vec<&[u8]> = together.messages.iter().map(Vec::as_slice).collect();
        together.verify(&messages)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::tests::bytes;

    #[test]
    fn ed25519_gives_its_published_answer() {
        // RFC 8032 §7.1, test 2.
        let secret = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let stamp = Ed25519(SigningKey::from_bytes(&secret.try_into().unwrap()));
        let expected = bytes(concat!(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ));
        assert_eq!(stamp.sign(&[0x72]), expected);
        assert!(stamp.verify(&[0x72], &expected));
    }

    #[test]
    fn ecdsa_gives_its_published_answer() {
        // RFC 6979 appendix A.2.5, SHA-256, "sample".
        let secret = bytes("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
        let stamp = EcdsaP256::new(&secret).unwrap();
        let expected = bytes(concat!(
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
            "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
        ));
        assert_eq!(stamp.sign(b"sample"), expected);
        assert!(stamp.verify(b"sample", &expected));
    }

    #[test]
    fn hmac_gives_its_published_answer() {
        // RFC 4231 §4.3, test case 2.
        let stamp = HmacSha256::new(b"Jefe").unwrap();
        let expected = bytes("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(stamp.sign(b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn every_stamp_holds_for_its_message_alone() {
        for stamp in candidates().unwrap() {
            let made = stamp.sign(b"21.5");
            assert!(stamp.verify(b"21.5", &made), "{}", stamp.name());
            assert!(!stamp.verify(b"99.9", &made), "{}", stamp.name());
            assert!(!stamp.verify(b"21.5", &made[1..]), "{}", stamp.name());
        }
    }

    #[test]
    fn one_bad_stamp_spoils_its_batch() {
        let mut together = Together::of(5);
        let verify = |together: &Together| verifying_together(together)();
        assert!(verify(&together));
        together.messages[3][0] ^= 1;
        assert!(!verify(&together));
    }
}
