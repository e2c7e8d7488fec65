//! The two halves of a sender's key: Ed25519, for stamps.
//!
//! The secret half signs and is on the device (or the broker's own, for what it seals again); the public
//! half is what the broker enrols. Always holds: a public half is a point of the curve and not of small order.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Curve, KeyParts, Material, cose_key, debug_id, jwk, random};
use crate::envelope::STAMP_BYTES;
use crate::error::KeyError;

/// The key a sender stamps with.
pub struct SenderKey {
    id: Vec<u8>,
    // Wipes itself when dropped.
    key: SigningKey,
}

impl SenderKey {
    /// Makes a new key of this id.
    pub fn generate(id: impl Into<Vec<u8>>) -> Result<Self, KeyError> {
        Ok(Self::from_secret(id, &*random()?))
    }

    /// The key of these secret bytes.
    pub fn from_secret(id: impl Into<Vec<u8>>, secret: &[u8; 32]) -> Self {
        Self { id: id.into(), key: SigningKey::from_bytes(secret) }
    }

    /// Reads a JWK or a `COSE_Key`; the public half may be left out, but has to belong to the secret one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let parts = KeyParts::read(bytes)?.pair(Curve::Ed25519, "an Ed25519 key")?;
        let key = Self::from_secret(parts.id, &*parts.secret.ok_or(KeyError::Missing("d"))?);
        match parts.public {
            Some(public) if public != key.key.verifying_key().to_bytes() => Err(KeyError::Mismatch),
            _ => Ok(key),
        }
    }

    /// The key, its secret with it, as a JWK.
    pub fn to_jwk(&self) -> Result<Zeroizing<String>, KeyError> {
        jwk::print(&self.parts())
    }

    /// The key, its secret with it, as a `COSE_Key`.
    pub fn to_cose_key(&self) -> Zeroizing<Vec<u8>> {
        cose_key::print(&self.parts())
    }

    /// The id by which envelopes name the sender.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// The key under another id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id = id.into();
        self
    }

    /// The half to enrol.
    pub fn public(&self) -> SenderPublicKey {
        SenderPublicKey { id: self.id.clone(), key: self.key.verifying_key() }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; STAMP_BYTES] {
        self.key.sign(message).to_bytes()
    }

    fn parts(&self) -> KeyParts {
        KeyParts {
            id: self.id.clone(),
            material: Material::Pair {
                curve: Curve::Ed25519,
                public: Some(self.key.verifying_key().to_bytes()),
                secret: Some(Zeroizing::new(self.key.to_bytes())),
            },
        }
    }
}

impl PartialEq for SenderKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.key.as_bytes().ct_eq(other.key.as_bytes()).into()
    }
}

impl Eq for SenderKey {}

impl fmt::Debug for SenderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_id(f, "SenderKey", &self.id)
    }
}

/// The half of a sender's key that verifies stamps and cannot make them.
#[derive(Clone, PartialEq, Eq)]
pub struct SenderPublicKey {
    id: Vec<u8>,
    key: VerifyingKey,
}

impl SenderPublicKey {
    /// The key of these public bytes.
    pub fn from_public(id: impl Into<Vec<u8>>, public: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(public).map_err(|_| KeyError::Weak)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self { id: id.into(), key })
    }

    /// Reads a JWK or a `COSE_Key`. A file that holds the secret half too is read for its public one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let parts = KeyParts::read(bytes)?.pair(Curve::Ed25519, "an Ed25519 key")?;
        let Some(secret) = parts.secret else {
            return Self::from_public(parts.id, &parts.public.ok_or(KeyError::Missing("x"))?);
        };
        let key = SenderKey::from_secret(parts.id, &secret).public();
        match parts.public {
            Some(public) if public != key.key.to_bytes() => Err(KeyError::Mismatch),
            _ => Ok(key),
        }
    }

    /// The key as a JWK.
    pub fn to_jwk(&self) -> Result<String, KeyError> {
        Ok(jwk::print(&self.parts())?.to_string())
    }

    /// The key as a `COSE_Key`.
    pub fn to_cose_key(&self) -> Vec<u8> {
        cose_key::print(&self.parts()).to_vec()
    }

    /// The key's SHA-256 thumbprint as a JWK (RFC 7638, RFC 8037), for people to compare.
    pub fn thumbprint(&self) -> String {
        jwk::thumbprint(Curve::Ed25519, &self.key.to_bytes())
    }

    /// The key under another id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id = id.into();
        self
    }

    /// The 32 bytes of RFC 8032.
    pub(crate) fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The id that came with the key.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// Whether the stamp holds. Strict: no stamp has a second form that holds as well.
    pub(crate) fn verify(&self, message: &[u8], stamp: &[u8; STAMP_BYTES]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(stamp)).is_ok()
    }

    /// Whether all of these stamps hold, each by its own key over its own message. See [`crate::batch`] for
    /// what may differ from one alone.
    pub(crate) fn verify_all<'a>(
        checks: impl Iterator<Item = (&'a Self, &'a [u8], &'a [u8; STAMP_BYTES])>,
    ) -> bool {
        let (mut messages, mut stamps, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (key, message, stamp) in checks {
            messages.push(message);
            stamps.push(Signature::from_bytes(stamp));
            keys.push(key.key);
        }
        ed25519_dalek::verify_batch(&messages, &stamps, &keys).is_ok()
    }

    fn parts(&self) -> KeyParts {
        KeyParts {
            id: self.id.clone(),
            material: Material::Pair {
                curve: Curve::Ed25519,
                public: Some(self.key.to_bytes()),
                secret: None,
            },
        }
    }
}

impl fmt::Debug for SenderPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_id(f, "SenderPublicKey", &self.id)
    }
}
