//! A topic's key: what the contents of its messages are sealed with.
//!
//! Either a symmetric key, a master from which every topic gets a symmetric key of its own, or an X25519
//! pair. Whoever has a [`TopicKey`] seals and opens; a [`TopicPublicKey`] seals only. Out go ciphers ready
//! for one message. Always holds: a symmetric key works with its own algorithm only, and an agreement whose
//! result an attacker could know beforehand is refused.

use std::borrow::Cow;
use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

use super::{Curve, KeyParts, Material, cose_key, debug_id, jwk, random};
use crate::aad;
use crate::cipher::{Cipher, ContentAlgorithm};
use crate::error::KeyError;

/// What the keys that are derived from a master are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Derived {
    /// Symmetric keys of this algorithm.
    Symmetric(ContentAlgorithm),
    /// X25519 pairs.
    X25519,
}

impl Derived {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Symmetric(ContentAlgorithm::A128Gcm),
        Self::Symmetric(ContentAlgorithm::A256Gcm),
        Self::Symmetric(ContentAlgorithm::ChaCha20Poly1305),
        Self::X25519,
    ];

    /// Its name, in configurations and in master files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Symmetric(algorithm) => algorithm.name(),
            Self::X25519 => "X25519",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|derived| derived.name() == name)
    }
}

/// Sets the keys derived for topics apart from everything else that could be derived from the same bytes.
const DERIVATION_LABEL: &[u8] = b"sealmq topic key 1";

/// A key that seals and opens the contents of a topic.
pub struct TopicKey {
    id: Vec<u8>,
    kind: Kind,
}

enum Kind {
    Symmetric { secret: Zeroizing<Vec<u8>>, cipher: Cipher },
    Master { secret: Zeroizing<[u8; 32]>, algorithm: ContentAlgorithm },
    MasterPair { secret: Zeroizing<[u8; 32]> },
    // Both halves wipe themselves when dropped, where there is something to wipe.
    Pair { secret: StaticSecret, public: PublicKey },
}

/// What both sides of an agreement feed into the derivation of the content key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreement<'a> {
    pub(crate) algorithm: ContentAlgorithm,
    pub(crate) recipient_protected: &'a [u8],
}

impl TopicKey {
    /// Makes a new symmetric key of this id.
    pub fn generate(id: impl Into<Vec<u8>>, algorithm: ContentAlgorithm) -> Result<Self, KeyError> {
        let secret = random::<32>()?;
        let secret = secret.get(..algorithm.key_bytes()).unwrap_or_default();
        Self::from_symmetric(id, algorithm, secret)
    }

    /// Makes a new X25519 pair of this id.
    pub fn generate_x25519(id: impl Into<Vec<u8>>) -> Result<Self, KeyError> {
        Ok(Self::from_x25519(id, &*random()?))
    }

    /// Makes a new master of this id.
    pub fn generate_master(id: impl Into<Vec<u8>>, derived: Derived) -> Result<Self, KeyError> {
        Ok(Self::from_any_master(id, derived, &*random()?))
    }

    /// The symmetric key of these bytes, which have to be as many as the algorithm's key has.
    pub fn from_symmetric(
        id: impl Into<Vec<u8>>,
        algorithm: ContentAlgorithm,
        secret: &[u8],
    ) -> Result<Self, KeyError> {
        let wrong_length = KeyError::Length { field: "k", expected: algorithm.key_bytes() };
        let cipher = Cipher::new(algorithm, secret).ok_or(wrong_length)?;
        Ok(Self { id: id.into(), kind: Kind::Symmetric { secret: Zeroizing::new(secret.to_vec()), cipher } })
    }

    /// The X25519 pair of these secret bytes.
    pub fn from_x25519(id: impl Into<Vec<u8>>, secret: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*secret);
        let public = PublicKey::from(&secret);
        Self { id: id.into(), kind: Kind::Pair { secret, public } }
    }

    /// A master of these bytes, from which every topic gets a symmetric key of its own.
    pub fn from_master(id: impl Into<Vec<u8>>, algorithm: ContentAlgorithm, master: &[u8; 32]) -> Self {
        Self { id: id.into(), kind: Kind::Master { secret: Zeroizing::new(*master), algorithm } }
    }

    /// A master of these bytes, from which every topic gets an X25519 pair of its own.
    pub fn from_x25519_master(id: impl Into<Vec<u8>>, master: &[u8; 32]) -> Self {
        Self { id: id.into(), kind: Kind::MasterPair { secret: Zeroizing::new(*master) } }
    }

    /// Makes a new key of the same kind.
    pub fn successor(&self, id: impl Into<Vec<u8>>) -> Result<Self, KeyError> {
        match (self.derives(), self.symmetric_algorithm()) {
            (Some(derived), _) => Self::generate_master(id, derived),
            (None, Some(algorithm)) => Self::generate(id, algorithm),
            (None, None) => Self::generate_x25519(id),
        }
    }

    fn from_any_master(id: impl Into<Vec<u8>>, derived: Derived, master: &[u8; 32]) -> Self {
        match derived {
            Derived::Symmetric(algorithm) => Self::from_master(id, algorithm, master),
            Derived::X25519 => Self::from_x25519_master(id, master),
        }
    }

    /// Reads a JWK or a `COSE_Key` of a symmetric key or an X25519 pair.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let parts = KeyParts::read(bytes)?;
        if let Material::Octets { algorithm, secret, .. } = &parts.material {
            return Self::from_symmetric(parts.id, *algorithm, secret);
        }
        if let Material::Master { .. } = &parts.material {
            return Err(KeyError::Master);
        }
        let parts = parts.pair(Curve::X25519, "a symmetric or an X25519 key")?;
        let key = Self::from_x25519(parts.id, &*parts.secret.ok_or(KeyError::Missing("d"))?);
        match (parts.public, &key.kind) {
            (Some(given), Kind::Pair { public, .. }) if given != public.to_bytes() => Err(KeyError::Mismatch),
            _ => Ok(key),
        }
    }

    /// Reads the file of a master: one that says so, or a symmetric key of 32 bytes that names no algorithm.
    /// What the file does not say of its keys is as `derived` says, which it may not contradict; AES-256-GCM
    /// where neither says anything.
    pub fn master_from_bytes(bytes: &[u8], derived: Option<Derived>) -> Result<Self, KeyError> {
        let parts = KeyParts::read(bytes)?;
        let (own, secret) = match parts.material {
            Material::Master { derived, secret } => (derived, secret),
            Material::Octets { is_named: false, secret, .. } => {
                let secret = secret.as_slice().try_into();
                (None, secret.map(Zeroizing::new).map_err(|_| KeyError::Length { field: "k", expected: 32 })?)
            }
            Material::Octets { .. } | Material::Pair { .. } => return Err(KeyError::NoMaster),
        };
        match (own, derived) {
            (Some(own), Some(derived)) if own != derived => Err(KeyError::OtherDerived(own.name())),
            _ => {
                let derived = own.or(derived).unwrap_or(Derived::Symmetric(ContentAlgorithm::A256Gcm));
                Ok(Self::from_any_master(parts.id, derived, &secret))
            }
        }
    }

    /// Reads a key, or a master that says it is one.
    pub fn any_from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match Self::from_bytes(bytes) {
            Err(KeyError::Master) => Self::master_from_bytes(bytes, None),
            read => read,
        }
    }

    /// What the keys derived from a master are for; nothing if this is no master.
    pub const fn derives(&self) -> Option<Derived> {
        match &self.kind {
            Kind::Master { algorithm, .. } => Some(Derived::Symmetric(*algorithm)),
            Kind::MasterPair { .. } => Some(Derived::X25519),
            Kind::Symmetric { .. } | Kind::Pair { .. } => None,
        }
    }

    /// The key of one topic, of the same id: what a device is given. Nothing if this is no master.
    pub fn derived(&self, topic: &str) -> Option<Self> {
        match &self.kind {
            Kind::Master { secret, algorithm } => {
                let key = self.derive(secret, topic);
                Self::from_symmetric(self.id.clone(), *algorithm, key.get(..algorithm.key_bytes())?).ok()
            }
            Kind::MasterPair { secret } => {
                Some(Self::from_x25519(self.id.clone(), &self.derive(secret, topic)))
            }
            Kind::Symmetric { .. } | Kind::Pair { .. } => None,
        }
    }

    /// The key, its secret with it, as a JWK. A master says that it is one, and what its keys are for.
    pub fn to_jwk(&self) -> Result<Zeroizing<String>, KeyError> {
        jwk::print(&self.parts())
    }

    /// The key, its secret with it, as a `COSE_Key`. A master says that it is one, not what its keys are for.
    pub fn to_cose_key(&self) -> Zeroizing<Vec<u8>> {
        cose_key::print(&self.parts())
    }

    /// The id by which envelopes name the key.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// The key under another id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id = id.into();
        self
    }

    /// The half that only seals, for this topic; a symmetric key has none.
    pub fn public(&self, topic: &str) -> Option<TopicPublicKey> {
        let key = match &self.kind {
            Kind::Pair { public, .. } => *public,
            Kind::MasterPair { secret } => PublicKey::from(&self.derive_pair(secret, topic)),
            Kind::Symmetric { .. } | Kind::Master { .. } => return None,
        };
        Some(TopicPublicKey { id: self.id.clone(), key })
    }

    /// The cipher of a key that is symmetric and not a master.
    pub(crate) const fn kept_cipher(&self) -> Option<&Cipher> {
        match &self.kind {
            Kind::Symmetric { cipher, .. } => Some(cipher),
            Kind::Master { .. } | Kind::Pair { .. } | Kind::MasterPair { .. } => None,
        }
    }

    /// The cipher of a topic's own symmetric key; nothing if the key is no master of such.
    pub(crate) fn derived_cipher(&self, topic: &str) -> Option<Cipher> {
        let Kind::Master { secret, algorithm } = &self.kind else { return None };
        let key = self.derive(secret, topic);
        Cipher::new(*algorithm, key.get(..algorithm.key_bytes())?)
    }

    /// The algorithm of the key's symmetric contents, known before any derivation.
    pub const fn symmetric_algorithm(&self) -> Option<ContentAlgorithm> {
        match &self.kind {
            Kind::Symmetric { cipher, .. } => Some(cipher.algorithm()),
            Kind::Master { algorithm, .. } => Some(*algorithm),
            Kind::Pair { .. } | Kind::MasterPair { .. } => None,
        }
    }

    /// Whether the key is for asymmetric contents.
    pub const fn is_asymmetric(&self) -> bool {
        matches!(self.kind, Kind::Pair { .. } | Kind::MasterPair { .. })
    }

    /// The cipher agreed on with the owner of an ephemeral key. Nothing if the key is not for asymmetric
    /// contents, or if the ephemeral one is of small order.
    pub(crate) fn agree(
        &self,
        topic: &str,
        ephemeral: &[u8; 32],
        agreement: Agreement<'_>,
    ) -> Option<Cipher> {
        let ephemeral = PublicKey::from(*ephemeral);
        let shared = match &self.kind {
            Kind::Pair { secret, .. } => secret.diffie_hellman(&ephemeral),
            Kind::MasterPair { secret } => self.derive_pair(secret, topic).diffie_hellman(&ephemeral),
            Kind::Symmetric { .. } | Kind::Master { .. } => return None,
        };
        content_cipher(&shared, agreement)
    }

    fn derive(&self, master: &[u8; 32], topic: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let info = [DERIVATION_LABEL, &[0], &self.id, &[0], topic.as_bytes()];
        let derived = Hkdf::<Sha256>::new(None, master).expand_multi_info(&info, key.as_mut_slice());
        // HKDF refuses only outputs of more than 8,160 bytes.
        debug_assert!(derived.is_ok());
        key
    }

    fn derive_pair(&self, master: &[u8; 32], topic: &str) -> StaticSecret {
        StaticSecret::from(*self.derive(master, topic))
    }

    fn parts(&self) -> KeyParts {
        let material = match &self.kind {
            Kind::Symmetric { secret, cipher } => {
                Material::Octets { algorithm: cipher.algorithm(), is_named: true, secret: secret.clone() }
            }
            Kind::Master { secret, .. } | Kind::MasterPair { secret } => {
                Material::Master { derived: self.derives(), secret: secret.clone() }
            }
            Kind::Pair { secret, public } => Material::Pair {
                curve: Curve::X25519,
                public: Some(public.to_bytes()),
                secret: Some(Zeroizing::new(secret.to_bytes())),
            },
        };
        KeyParts { id: self.id.clone(), material }
    }

    /// What sets one key apart from another, its secret last.
    fn distinction(&self) -> (u8, Option<ContentAlgorithm>, Cow<'_, [u8]>) {
        match &self.kind {
            Kind::Symmetric { secret, cipher } => (0, Some(cipher.algorithm()), Cow::Borrowed(secret)),
            Kind::Master { secret, algorithm } => (1, Some(*algorithm), Cow::Borrowed(secret.as_slice())),
            Kind::MasterPair { secret } => (2, None, Cow::Borrowed(secret.as_slice())),
            Kind::Pair { secret, .. } => (3, None, Cow::Borrowed(secret.as_bytes())),
        }
    }
}

impl PartialEq for TopicKey {
    fn eq(&self, other: &Self) -> bool {
        let (kind, algorithm, secret) = self.distinction();
        let (other_kind, other_algorithm, other_secret) = other.distinction();
        (&self.id, kind, algorithm) == (&other.id, other_kind, other_algorithm)
            && secret.ct_eq(&other_secret).into()
    }
}

impl Eq for TopicKey {}

impl fmt::Debug for TopicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_id(f, "TopicKey", &self.id)
    }
}

/// The public half of a topic's X25519 key, with which one can seal and not open.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicPublicKey {
    id: Vec<u8>,
    key: PublicKey,
}

impl TopicPublicKey {
    /// The key of these public bytes.
    pub fn from_public(id: impl Into<Vec<u8>>, public: &[u8; 32]) -> Self {
        Self { id: id.into(), key: PublicKey::from(*public) }
    }

    /// Reads a JWK or a `COSE_Key`. A file that holds the secret half too is read for its public one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let parts = KeyParts::read(bytes)?.pair(Curve::X25519, "an X25519 key")?;
        let derived = parts.secret.map(|secret| PublicKey::from(&StaticSecret::from(*secret)).to_bytes());
        match (parts.public, derived) {
            (Some(public), Some(derived)) if public != derived => Err(KeyError::Mismatch),
            (Some(public), _) | (None, Some(public)) => Ok(Self::from_public(parts.id, &public)),
            (None, None) => Err(KeyError::Missing("x")),
        }
    }

    /// Whether it is of small order: everybody knows what is agreed on with such a key.
    pub fn is_weak(&self) -> bool {
        // Which secret does not matter: all of them are multiples of the cofactor.
        !StaticSecret::from([1; 32]).diffie_hellman(&self.key).was_contributory()
    }

    /// The key as a JWK.
    pub fn to_jwk(&self) -> Result<String, KeyError> {
        Ok(jwk::print(&self.parts())?.to_string())
    }

    /// The key as a `COSE_Key`.
    pub fn to_cose_key(&self) -> Vec<u8> {
        cose_key::print(&self.parts()).to_vec()
    }

    /// The id by which envelopes name the key.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// The ephemeral public key of these secret bytes, and the cipher agreed on with the topic's owner.
    /// Nothing if this key is of small order.
    pub(crate) fn agree(&self, ephemeral: &[u8; 32], agreement: Agreement<'_>) -> Option<([u8; 32], Cipher)> {
        let ephemeral = StaticSecret::from(*ephemeral);
        let cipher = content_cipher(&ephemeral.diffie_hellman(&self.key), agreement)?;
        Some((PublicKey::from(&ephemeral).to_bytes(), cipher))
    }

    fn parts(&self) -> KeyParts {
        let (public, secret) = (Some(self.key.to_bytes()), None);
        KeyParts { id: self.id.clone(), material: Material::Pair { curve: Curve::X25519, public, secret } }
    }
}

impl fmt::Debug for TopicPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_id(f, "TopicPublicKey", &self.id)
    }
}

/// Nothing if the secret is all zero, which everybody knows who sent a point of small order.
fn content_cipher(shared: &SharedSecret, agreement: Agreement<'_>) -> Option<Cipher> {
    if !shared.was_contributory() {
        return None;
    }
    let info = aad::kdf_context(agreement.algorithm, agreement.recipient_protected);
    let mut key = Zeroizing::new([0; 32]);
    let key = key.get_mut(..agreement.algorithm.key_bytes())?;
    Hkdf::<Sha256>::new(None, shared.as_bytes()).expand(&info, key).ok()?;
    Cipher::new(agreement.algorithm, key)
}
