//! Keys as JSON Web Keys: RFC 7517, and RFC 8037 for Ed25519 and X25519.
//!
//! JSON comes in and [`KeyParts`] go out, and back. Fields that are unknown, and `use` and `key_ops`, are
//! passed over; `kid`, the key's id, has to be there. No message of the JSON parser is passed on, since it
//! would quote the text it stumbled over.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::{Curve, Derived, KeyParts, Material, master, octets};
use crate::cipher::ContentAlgorithm;
use crate::error::KeyError;

/// A master's `alg`: how keys are derived from it, and behind this what they are for.
const MASTER: &str = "HKDF-SHA-256/";

/// The fields that are looked at, borrowed from the file wherever its text has no escapes.
#[derive(Deserialize, Serialize)]
struct Jwk<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    kty: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    alg: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    x: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    d: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    k: Option<Cow<'a, str>>,
}

impl Drop for Jwk<'_> {
    fn drop(&mut self) {
        for secret in [&mut self.d, &mut self.k] {
            if let Some(Cow::Owned(text)) = secret {
                text.zeroize();
            }
        }
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<KeyParts, KeyError> {
    let jwk: Jwk<'_> = serde_json::from_slice(bytes)
        .map_err(|error| KeyError::Json { line: error.line(), column: error.column() })?;
    let id = jwk.kid.as_deref().ok_or(KeyError::Missing("kid"))?.as_bytes().to_vec();
    let material = match jwk.kty.as_deref().ok_or(KeyError::Missing("kty"))? {
        "oct" => read_octets(&jwk)?,
        "OKP" => read_pair(&jwk)?,
        _ => return Err(KeyError::Unsupported("kty")),
    };
    Ok(KeyParts { id, material })
}

fn read_octets(jwk: &Jwk<'_>) -> Result<Material, KeyError> {
    if let Some(derived) = jwk.alg.as_deref().and_then(|name| name.strip_prefix(MASTER)) {
        let derived = Derived::from_name(derived).ok_or(KeyError::Unsupported("alg"))?;
        return master(Some(derived), &decode(jwk.k.as_deref().ok_or(KeyError::Missing("k"))?, "k")?);
    }
    let named = match jwk.alg.as_deref() {
        Some(name) => Some(ContentAlgorithm::from_name(name).ok_or(KeyError::Unsupported("alg"))?),
        None => None,
    };
    octets(named, decode(jwk.k.as_deref().ok_or(KeyError::Missing("k"))?, "k")?)
}

fn read_pair(jwk: &Jwk<'_>) -> Result<Material, KeyError> {
    let curve = match jwk.crv.as_deref().ok_or(KeyError::Missing("crv"))? {
        "Ed25519" => Curve::Ed25519,
        "X25519" => Curve::X25519,
        _ => return Err(KeyError::Unsupported("crv")),
    };
    let fits = match (curve, jwk.alg.as_deref()) {
        (_, None) => true,
        (Curve::Ed25519, Some(name)) => matches!(name, "EdDSA" | "Ed25519"),
        (Curve::X25519, Some(name)) => matches!(name, "ECDH-ES" | "ECDH-ES+HKDF-256"),
    };
    if !fits {
        return Err(KeyError::Unsupported("alg"));
    }
    let public = jwk.x.as_deref().map(|text| decode_32(text, "x")).transpose()?;
    let secret = jwk.d.as_deref().map(|text| decode_32(text, "d")).transpose()?;
    Ok(Material::Pair { curve, public: public.map(|public| *public), secret })
}

pub(super) fn print(parts: &KeyParts) -> Result<Zeroizing<String>, KeyError> {
    let id = std::str::from_utf8(&parts.id).map_err(|_| KeyError::Malformed("kid"))?;
    let mut jwk = Jwk { kty: None, crv: None, alg: None, kid: Some(id.into()), x: None, d: None, k: None };
    match &parts.material {
        Material::Octets { algorithm, secret, .. } => {
            jwk.kty = Some("oct".into());
            jwk.alg = Some(algorithm.name().into());
            jwk.k = Some(encode(secret));
        }
        Material::Master { derived, secret } => {
            jwk.kty = Some("oct".into());
            jwk.alg = derived.map(|derived| format!("{MASTER}{}", derived.name()).into());
            jwk.k = Some(encode(secret.as_slice()));
        }
        Material::Pair { curve, public, secret } => {
            jwk.kty = Some("OKP".into());
            jwk.crv = Some(curve.name().into());
            jwk.x = public.as_ref().map(|public| encode(public));
            jwk.d = secret.as_ref().map(|secret| encode(secret.as_slice()));
        }
    }
    // Room for every field, so that no secret stays behind in a buffer that was outgrown.
    let mut text = Zeroizing::new(Vec::with_capacity(256 + 6 * id.len()));
    // Neither can fail: the writer is a buffer, and JSON is text.
    serde_json::to_writer(&mut *text, &jwk).map_err(|_| KeyError::Malformed("kid"))?;
    let text = String::from_utf8(std::mem::take(&mut *text)).map_err(|_| KeyError::Malformed("kid"))?;
    Ok(Zeroizing::new(text))
}

/// RFC 7638: the required fields alone, in the order of their names and without blanks.
pub(super) fn thumbprint(curve: Curve, public: &[u8; 32]) -> String {
    let fields = format!(r#"{{"crv":"{}","kty":"OKP","x":"{}"}}"#, curve.name(), encode(public));
    encode(&Sha256::digest(fields)).into_owned()
}

fn encode(bytes: &[u8]) -> Cow<'static, str> {
    Cow::Owned(URL_SAFE_NO_PAD.encode(bytes))
}

fn decode(text: &str, field: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| KeyError::Malformed(field))
}

fn decode_32(text: &str, field: &'static str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let bytes = decode(text, field)?;
    let bytes = bytes.as_slice().try_into();
    bytes.map(Zeroizing::new).map_err(|_| KeyError::Length { field, expected: 32 })
}
