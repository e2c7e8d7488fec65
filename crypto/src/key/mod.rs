//! Keys: who may stamp, and what contents are sealed with.
//!
//! Raw bytes or a key file come in (`jwk` and `cose_key` read the two forms into one `KeyParts`);
//! typed keys go out, each for one algorithm. Always holds: a secret is wiped from memory when its key is
//! dropped, `Debug` prints the key's id and nothing else, and an error names a field, never what was in it.

mod cose_key;
mod jwk;
mod sender;
mod topic;

use std::fmt;

use zeroize::Zeroizing;

use crate::cipher::ContentAlgorithm;
use crate::error::KeyError;

pub use sender::{SenderKey, SenderPublicKey};
pub(crate) use topic::Agreement;
pub use topic::{Derived, TopicKey, TopicPublicKey};

/// A key as a file describes it, before it is asked to be of a kind.
pub(crate) struct KeyParts {
    pub(crate) id: Vec<u8>,
    pub(crate) material: Material,
}

/// What a key is made of.
pub(crate) enum Material {
    /// A symmetric key, and whether its file names the algorithm.
    Octets { algorithm: ContentAlgorithm, is_named: bool, secret: Zeroizing<Vec<u8>> },
    /// A master, and what its keys are for if its file says so.
    Master { derived: Option<Derived>, secret: Zeroizing<[u8; 32]> },
    /// One or both halves of a key pair.
    Pair { curve: Curve, public: Option<[u8; 32]>, secret: Option<Zeroizing<[u8; 32]>> },
}

/// The curve of a key pair, which is what decides what the pair is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    /// For stamps.
    Ed25519,
    /// For contents.
    X25519,
}

impl Curve {
    const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::X25519 => "X25519",
        }
    }
}

impl KeyParts {
    /// Reads a JWK or a `COSE_Key`. No CBOR map begins like a JSON object, so the first byte decides.
    fn read(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.trim_ascii_start().first() == Some(&b'{') { jwk::read(bytes) } else { cose_key::read(bytes) }
    }

    /// The halves of a pair on this curve.
    fn pair(self, wanted: Curve, kind: &'static str) -> Result<PairParts, KeyError> {
        match self.material {
            Material::Pair { curve, public, secret } if curve == wanted => {
                Ok(PairParts { id: self.id, public, secret })
            }
            Material::Pair { .. } | Material::Octets { .. } | Material::Master { .. } => {
                Err(KeyError::WrongKind(kind))
            }
        }
    }
}

/// The halves of a key pair that are there.
struct PairParts {
    id: Vec<u8>,
    public: Option<[u8; 32]>,
    secret: Option<Zeroizing<[u8; 32]>>,
}

/// The algorithm of a symmetric key of these bytes, which its file may leave out for the AES of that length.
fn octets(named: Option<ContentAlgorithm>, secret: Zeroizing<Vec<u8>>) -> Result<Material, KeyError> {
    let algorithm = match (named, secret.len()) {
        (Some(algorithm), _) => algorithm,
        (None, 16) => ContentAlgorithm::A128Gcm,
        (None, _) => ContentAlgorithm::A256Gcm,
    };
    if secret.len() != algorithm.key_bytes() {
        return Err(KeyError::Length { field: "k", expected: algorithm.key_bytes() });
    }
    Ok(Material::Octets { algorithm, is_named: named.is_some(), secret })
}

/// A master of these bytes.
fn master(derived: Option<Derived>, secret: &[u8]) -> Result<Material, KeyError> {
    let secret = secret.try_into().map_err(|_| KeyError::Length { field: "k", expected: 32 })?;
    Ok(Material::Master { derived, secret: Zeroizing::new(secret) })
}

/// Fresh random bytes for a new secret.
fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

/// Prints a key as its kind and id.
fn debug_id(f: &mut fmt::Formatter<'_>, kind: &str, id: &[u8]) -> fmt::Result {
    write!(f, "{kind}({})", String::from_utf8_lossy(id).escape_debug())
}
