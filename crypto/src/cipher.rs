//! The three AEADs a content may be sealed with; the only file that names their crates.
//!
//! A key's bytes go in once and stay expanded, so that a message costs no key schedule; every cipher wipes
//! itself when dropped. A ciphertext here always ends with its tag of 16 bytes, and an IV has 12.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;

/// How many bytes an IV has, for every algorithm here.
pub(crate) const IV_BYTES: usize = 12;

/// How many bytes its tag adds to a ciphertext, for every algorithm here.
pub(crate) const TAG_BYTES: usize = 16;

/// An algorithm that seals contents. A symmetric key is for one of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentAlgorithm {
    /// AES-128-GCM.
    A128Gcm,
    /// AES-256-GCM.
    A256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305,
}

impl ContentAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::A128Gcm, Self::A256Gcm, Self::ChaCha20Poly1305];

    /// Its number in COSE (RFC 9053 §4).
    pub const fn cose_number(self) -> i128 {
        match self {
            Self::A128Gcm => 1,
            Self::A256Gcm => 3,
            Self::ChaCha20Poly1305 => 24,
        }
    }

    /// Its name in the registry of COSE algorithms, which keys in JWK form carry as `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A128Gcm => "A128GCM",
            Self::A256Gcm => "A256GCM",
            Self::ChaCha20Poly1305 => "ChaCha20/Poly1305",
        }
    }

    /// How many bytes its key has.
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::A128Gcm => 16,
            Self::A256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// The algorithm of this number in COSE.
    pub fn from_cose_number(number: i128) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.cose_number() == number)
    }

    /// The algorithm of this name; `C20P`, the name some JOSE libraries use, is known too.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "C20P" {
            return Some(Self::ChaCha20Poly1305);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// An algorithm with its key.
pub(crate) enum Cipher {
    A128Gcm(Box<Aes128Gcm>),
    A256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl Cipher {
    /// Nothing if the key has not the algorithm's length.
    pub(crate) fn new(algorithm: ContentAlgorithm, key: &[u8]) -> Option<Self> {
        match algorithm {
            ContentAlgorithm::A128Gcm => {
                Aes128Gcm::new_from_slice(key).ok().map(|cipher| Self::A128Gcm(Box::new(cipher)))
            }
            ContentAlgorithm::A256Gcm => {
                Aes256Gcm::new_from_slice(key).ok().map(|cipher| Self::A256Gcm(Box::new(cipher)))
            }
            ContentAlgorithm::ChaCha20Poly1305 => ChaCha20Poly1305::new_from_slice(key)
                .ok()
                .map(|cipher| Self::ChaCha20Poly1305(Box::new(cipher))),
        }
    }

    pub(crate) const fn algorithm(&self) -> ContentAlgorithm {
        match self {
            Self::A128Gcm(_) => ContentAlgorithm::A128Gcm,
            Self::A256Gcm(_) => ContentAlgorithm::A256Gcm,
            Self::ChaCha20Poly1305(_) => ContentAlgorithm::ChaCha20Poly1305,
        }
    }

    /// Nothing if the plaintext is longer than the algorithm takes.
    pub(crate) fn seal(&self, iv: &[u8; IV_BYTES], aad: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: plaintext, aad };
        match self {
            Self::A128Gcm(cipher) => cipher.encrypt(&(*iv).into(), payload).ok(),
            Self::A256Gcm(cipher) => cipher.encrypt(&(*iv).into(), payload).ok(),
            Self::ChaCha20Poly1305(cipher) => cipher.encrypt(&(*iv).into(), payload).ok(),
        }
    }

    /// Nothing if key, IV, ciphertext and associated data do not belong together.
    pub(crate) fn open(&self, iv: &[u8; IV_BYTES], aad: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: ciphertext, aad };
        match self {
            Self::A128Gcm(cipher) => cipher.decrypt(&(*iv).into(), payload).ok(),
            Self::A256Gcm(cipher) => cipher.decrypt(&(*iv).into(), payload).ok(),
            Self::ChaCha20Poly1305(cipher) => cipher.decrypt(&(*iv).into(), payload).ok(),
        }
    }
}
