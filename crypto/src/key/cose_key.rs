//! Keys as `COSE_Key`: RFC 9052 §7 and RFC 9053 §7.
//!
//! One CBOR map comes in and [`KeyParts`] go out, and back. Labels that are unknown, and `key_ops`, are
//! passed over; `kid`, the key's id, has to be there. The fields are named in errors as JWK names them.

use zeroize::Zeroizing;

use super::{Curve, KeyParts, Material, master, octets};
use crate::cbor::{Malformed, Reader, Writer};
use crate::cipher::ContentAlgorithm;
use crate::envelope::{ECDH_ES_HKDF_256, ED25519, EDDSA};
use crate::error::KeyError;

const KEY_TYPE: i128 = 1;
const KEY_ID: i128 = 2;
const ALGORITHM: i128 = 3;
// A curve of a pair, the bytes of a symmetric key.
const CURVE_OR_KEY: i128 = -1;
const X: i128 = -2;
const D: i128 = -4;

// direct+HKDF-SHA-256 (RFC 9053 §6.1.2): a secret from which keys are derived.
const ALGORITHM_MASTER: i128 = -10;

const KEY_TYPE_OKP: i128 = 1;
const KEY_TYPE_SYMMETRIC: i128 = 4;
const CURVE_X25519: i128 = 4;
const CURVE_ED25519: i128 = 6;

/// The fields that are looked at, borrowed from the file.
#[derive(Default)]
struct Fields<'a> {
    key_type: Option<i128>,
    id: Option<&'a [u8]>,
    algorithm: Option<i128>,
    curve: Option<i128>,
    key: Option<&'a [u8]>,
    x: Option<&'a [u8]>,
    d: Option<&'a [u8]>,
}

pub(super) fn read(bytes: &[u8]) -> Result<KeyParts, KeyError> {
    let fields = Fields::read(bytes).map_err(|Malformed| KeyError::Cbor)?;
    let id = fields.id.ok_or(KeyError::Missing("kid"))?.to_vec();
    let material = match fields.key_type.ok_or(KeyError::Missing("kty"))? {
        KEY_TYPE_SYMMETRIC => fields.octets()?,
        KEY_TYPE_OKP => fields.pair()?,
        _ => return Err(KeyError::Unsupported("kty")),
    };
    Ok(KeyParts { id, material })
}

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut reader = Reader::new(bytes);
        reader.header(|reader, label| {
            match label {
                Some(KEY_TYPE) => fields.key_type = reader.int_or_text()?,
                Some(KEY_ID) => fields.id = Some(reader.bytes()?),
                Some(ALGORITHM) => fields.algorithm = Some(reader.int_or_text()?.unwrap_or_default()),
                Some(CURVE_OR_KEY) if reader.at_bytes() => fields.key = Some(reader.bytes()?),
                Some(CURVE_OR_KEY) => fields.curve = reader.int_or_text()?,
                Some(X) => fields.x = Some(reader.bytes()?),
                Some(D) => fields.d = Some(reader.bytes()?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        reader.end()?;
        Ok(fields)
    }

    fn octets(&self) -> Result<Material, KeyError> {
        let named = match self.algorithm {
            Some(ALGORITHM_MASTER) => return master(None, self.key.ok_or(KeyError::Missing("k"))?),
            Some(number) => {
                Some(ContentAlgorithm::from_cose_number(number).ok_or(KeyError::Unsupported("alg"))?)
            }
            None => None,
        };
        octets(named, Zeroizing::new(self.key.ok_or(KeyError::Missing("k"))?.to_vec()))
    }

    fn pair(&self) -> Result<Material, KeyError> {
        let curve = match self.curve.ok_or(KeyError::Missing("crv"))? {
            CURVE_ED25519 => Curve::Ed25519,
            CURVE_X25519 => Curve::X25519,
            _ => return Err(KeyError::Unsupported("crv")),
        };
        let fits = match (curve, self.algorithm) {
            (_, None) => true,
            (Curve::Ed25519, Some(number)) => matches!(number, EDDSA | ED25519),
            (Curve::X25519, Some(number)) => number == ECDH_ES_HKDF_256,
        };
        if !fits {
            return Err(KeyError::Unsupported("alg"));
        }
        let public = self.x.map(|x| array_32(x, "x")).transpose()?;
        let secret = self.d.map(|d| array_32(d, "d")).transpose()?;
        Ok(Material::Pair { curve, public, secret: secret.map(Zeroizing::new) })
    }
}

pub(super) fn print(parts: &KeyParts) -> Zeroizing<Vec<u8>> {
    // Room for every field, so that no secret stays behind in a buffer that was outgrown.
    let mut writer = Writer::with_capacity(128 + parts.id.len());
    match &parts.material {
        Material::Octets { algorithm, secret, .. } => {
            writer.map(4).int(KEY_TYPE).int(KEY_TYPE_SYMMETRIC).int(KEY_ID).bytes(&parts.id);
            writer.int(ALGORITHM).int(algorithm.cose_number()).int(CURVE_OR_KEY).bytes(secret);
        }
        Material::Master { secret, .. } => {
            writer.map(4).int(KEY_TYPE).int(KEY_TYPE_SYMMETRIC).int(KEY_ID).bytes(&parts.id);
            writer.int(ALGORITHM).int(ALGORITHM_MASTER).int(CURVE_OR_KEY).bytes(secret.as_slice());
        }
        Material::Pair { curve, public, secret } => {
            let halves = u64::from(public.is_some()) + u64::from(secret.is_some());
            writer.map(3 + halves).int(KEY_TYPE).int(KEY_TYPE_OKP).int(KEY_ID).bytes(&parts.id);
            writer.int(CURVE_OR_KEY).int(match curve {
                Curve::Ed25519 => CURVE_ED25519,
                Curve::X25519 => CURVE_X25519,
            });
            if let Some(public) = public {
                writer.int(X).bytes(public);
            }
            if let Some(secret) = secret {
                writer.int(D).bytes(secret.as_slice());
            }
        }
    }
    Zeroizing::new(writer.finish())
}

fn array_32(bytes: &[u8], field: &'static str) -> Result<[u8; 32], KeyError> {
    bytes.try_into().map_err(|_| KeyError::Length { field, expected: 32 })
}
