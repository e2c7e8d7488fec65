//! The CBOR shape of envelope and sealed content: parse and print, without keys.
//!
//! Bytes come in and borrowed parts go out, nothing copied; printing is the other way round. What is parsed
//! here is well formed and nothing more: no stamp was verified, no key looked up, and an algorithm is only
//! the number that was found. Always holds: one envelope and no byte after it, all labels of a map differ,
//! nothing critical that we do not know, and the algorithm comes from the protected header alone.
//! Labels that are unknown and not critical are passed over, as are unknown claims (RFC 8392 §3).

use crate::cbor::{Malformed, Reader, Writer, head_bytes};
use crate::cipher::IV_BYTES;
use crate::error::OpenError;

/// The largest payload looked at. It is the largest MQTT packet; the broker's own limits lie far below.
const ENVELOPE_BYTES_MAX: usize = 268_435_455;

/// How many bytes a stamp has.
pub(crate) const STAMP_BYTES: usize = 64;

/// What a stamp's `COSE_Sign1` is tagged with.
pub(crate) const TAG_STAMPED: u64 = 18;
const TAG_SYMMETRIC: u64 = 16;
const TAG_ASYMMETRIC: u64 = 96;

const ALGORITHM: i128 = 1;
const CRITICAL: i128 = 2;
const KEY_ID: i128 = 4;
const IV: i128 = 5;
const PARTIAL_IV: i128 = 6;
const CLAIMS: i128 = 15;
const EPHEMERAL: i128 = -1;
const CLAIM_ISSUED_AT: i128 = 6;
const CLAIM_SEQUENCE: i128 = -65537;

const KEY_TYPE: i128 = 1;
const KEY_CURVE: i128 = -1;
const KEY_X: i128 = -2;
const KEY_TYPE_OKP: u64 = 1;
const CURVE_X25519: u64 = 4;

/// The algorithm that writes its stamps by the general name `EdDSA`.
pub(crate) const EDDSA: i128 = -8;
/// The same algorithm by its fully specified name (RFC 9864).
pub(crate) const ED25519: i128 = -19;
/// How the content key of the asymmetric form is agreed on: ECDH-ES + HKDF-256.
pub(crate) const ECDH_ES_HKDF_256: i128 = -25;
/// Stands for an algorithm that is named by text; COSE reserves the number.
const NAMED_BY_TEXT: i128 = 0;

/// A stamped envelope, borrowed from a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The protected header as it was on the wire.
    pub(crate) protected: &'a [u8],
    /// What stands in it.
    pub(crate) header: StampHeader<'a>,
    /// The plaintext, or the encoding of a [`Sealed`].
    pub(crate) content: &'a [u8],
    /// The stamp, of any length yet.
    pub(crate) stamp: &'a [u8],
}

/// What the protected header of an envelope says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StampHeader<'a> {
    pub(crate) algorithm: i128,
    pub(crate) sender: &'a [u8],
    pub(crate) issued_at: Option<u64>,
    pub(crate) sequence: Option<u64>,
}

impl<'a> Envelope<'a> {
    /// Reads a payload that has to be one envelope; the failure is always [`OpenError::NotAnEnvelope`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, OpenError> {
        if payload.len() > ENVELOPE_BYTES_MAX {
            return Err(OpenError::NotAnEnvelope);
        }
        Self::read(payload).map_err(|Malformed| OpenError::NotAnEnvelope)
    }

    /// The key id of whoever claims to have stamped it.
    pub const fn sender(&self) -> &'a [u8] {
        self.header.sender
    }

    /// The plaintext or the sealed content.
    pub const fn content(&self) -> &'a [u8] {
        self.content
    }

    fn read(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.tag(TAG_STAMPED)?;
        reader.array(4)?;
        let protected = reader.bytes()?;
        reader.empty_map()?;
        let content = reader.bytes()?;
        let stamp = reader.bytes()?;
        reader.end()?;
        Ok(Self { protected, header: StampHeader::read(protected)?, content, stamp })
    }
}

impl<'a> StampHeader<'a> {
    pub(crate) fn read(protected: &'a [u8]) -> Result<Self, Malformed> {
        let (mut algorithm, mut sender) = (None, None);
        let (mut issued_at, mut sequence) = (None, None);
        let mut reader = Reader::new(protected);
        reader.header(|reader, label| {
            match label {
                Some(ALGORITHM) => algorithm = Some(read_algorithm(reader)?),
                Some(KEY_ID) => sender = Some(reader.bytes()?),
                Some(CLAIMS) => reader.header(|reader, claim| {
                    match claim {
                        Some(CLAIM_ISSUED_AT) => issued_at = Some(reader.uint()?),
                        Some(CLAIM_SEQUENCE) => sequence = Some(reader.uint()?),
                        _ => reader.skip()?,
                    }
                    Ok(())
                })?,
                Some(CRITICAL) => return Err(Malformed),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        reader.end()?;
        Ok(Self {
            algorithm: algorithm.ok_or(Malformed)?,
            sender: sender.ok_or(Malformed)?,
            issued_at,
            sequence,
        })
    }

    /// The protected header's bytes.
    pub(crate) fn print(&self) -> Vec<u8> {
        let claims = u64::from(self.issued_at.is_some()) + u64::from(self.sequence.is_some());
        let mut writer = Writer::with_capacity(40 + self.sender.len());
        writer.map(if claims == 0 { 2 } else { 3 });
        writer.int(ALGORITHM).int(self.algorithm);
        writer.int(KEY_ID).bytes(self.sender);
        if claims > 0 {
            writer.int(CLAIMS).map(claims);
        }
        if let Some(issued_at) = self.issued_at {
            writer.int(CLAIM_ISSUED_AT).uint(issued_at);
        }
        if let Some(sequence) = self.sequence {
            writer.int(CLAIM_SEQUENCE).uint(sequence);
        }
        writer.finish()
    }
}

/// Prints an envelope of a protected header, a content and the stamp over both.
pub(crate) fn print_stamped(protected: &[u8], content: &[u8], stamp: &[u8; STAMP_BYTES]) -> Vec<u8> {
    let parts = [protected, content, stamp.as_slice()];
    let length: usize = parts.iter().map(|part| head_bytes(part.len()) + part.len()).sum();
    let mut writer = Writer::with_capacity(3 + length);
    writer.tag(TAG_STAMPED).array(4).bytes(protected).map(0).bytes(content).bytes(stamp);
    writer.finish()
}

/// Prints a protected header and the stamp over it and a content that is not sent along (RFC 9052 §2).
pub(crate) fn print_detached(protected: &[u8], stamp: &[u8; STAMP_BYTES]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(8 + protected.len() + STAMP_BYTES);
    writer.tag(TAG_STAMPED).array(4).bytes(protected).map(0).null().bytes(stamp);
    writer.finish()
}

/// A sealed content, borrowed from an envelope's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed<'a> {
    /// The protected header as it was on the wire.
    pub(crate) protected: &'a [u8],
    pub(crate) algorithm: i128,
    pub(crate) key_id: &'a [u8],
    pub(crate) iv: &'a [u8; IV_BYTES],
    pub(crate) ciphertext: &'a [u8],
    /// Only the asymmetric form has one.
    pub(crate) recipient: Option<Recipient<'a>>,
}

/// How the content key of the asymmetric form was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipient<'a> {
    /// The protected header as it was on the wire.
    pub(crate) protected: &'a [u8],
    pub(crate) algorithm: i128,
    pub(crate) ephemeral: &'a [u8; 32],
}

impl<'a> Sealed<'a> {
    /// Reads a content that has to be sealed; the failure is always [`OpenError::NotSealed`].
    pub(crate) fn parse(content: &'a [u8]) -> Result<Self, OpenError> {
        Self::read(content).map_err(|Malformed| OpenError::NotSealed)
    }

    fn read(content: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(content);
        let asymmetric = match reader.any_tag()? {
            TAG_SYMMETRIC => false,
            TAG_ASYMMETRIC => true,
            _ => return Err(Malformed),
        };
        reader.array(if asymmetric { 4 } else { 3 })?;
        let protected = reader.bytes()?;
        let iv = read_iv(&mut reader)?;
        let ciphertext = reader.bytes()?;
        let recipient = if asymmetric { Some(read_recipients(&mut reader)?) } else { None };
        reader.end()?;
        let (algorithm, own_key_id) = read_protected(protected)?;
        let (key_id, recipient) = match recipient {
            Some((key_id, recipient)) => (Some(key_id), Some(recipient)),
            None => (own_key_id, None),
        };
        Ok(Self { protected, algorithm, key_id: key_id.ok_or(Malformed)?, iv, ciphertext, recipient })
    }

    pub(crate) fn print(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128 + self.key_id.len() + self.ciphertext.len());
        writer.tag(if self.recipient.is_some() { TAG_ASYMMETRIC } else { TAG_SYMMETRIC });
        writer.array(if self.recipient.is_some() { 4 } else { 3 }).bytes(self.protected);
        writer.map(1).int(IV).bytes(self.iv);
        writer.bytes(self.ciphertext);
        if let Some(recipient) = self.recipient {
            writer.array(1).array(3).bytes(recipient.protected).map(2);
            writer.int(KEY_ID).bytes(self.key_id);
            writer.int(EPHEMERAL).map(3);
            writer.int(KEY_TYPE).uint(KEY_TYPE_OKP);
            writer.int(KEY_CURVE).uint(CURVE_X25519);
            writer.int(KEY_X).bytes(recipient.ephemeral);
            writer.bytes(&[]);
        }
        writer.finish()
    }
}

/// A protected header with an algorithm and, in the symmetric form, the key's id.
pub(crate) fn print_protected(algorithm: i128, key_id: Option<&[u8]>) -> Vec<u8> {
    let mut writer = Writer::with_capacity(8 + key_id.map_or(0, <[u8]>::len));
    writer.map(1 + u64::from(key_id.is_some()));
    writer.int(ALGORITHM).int(algorithm);
    if let Some(key_id) = key_id {
        writer.int(KEY_ID).bytes(key_id);
    }
    writer.finish()
}

fn read_protected(protected: &[u8]) -> Result<(i128, Option<&[u8]>), Malformed> {
    let (mut algorithm, mut key_id) = (None, None);
    let mut reader = Reader::new(protected);
    reader.header(|reader, label| {
        match label {
            Some(ALGORITHM) => algorithm = Some(read_algorithm(reader)?),
            Some(KEY_ID) => key_id = Some(reader.bytes()?),
            // An IV belongs into the unprotected header, and a label into one of the two.
            Some(CRITICAL | IV | PARTIAL_IV) => return Err(Malformed),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    reader.end()?;
    Ok((algorithm.ok_or(Malformed)?, key_id))
}

fn read_iv<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; IV_BYTES], Malformed> {
    let mut iv = None;
    reader.header(|reader, label| {
        match label {
            Some(IV) => iv = Some(reader.bytes_exact()?),
            // What decides over key and cipher is only taken from the protected header.
            Some(ALGORITHM | CRITICAL | KEY_ID | PARTIAL_IV) => return Err(Malformed),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    iv.ok_or(Malformed)
}

fn read_recipients<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Recipient<'a>), Malformed> {
    reader.array(1)?;
    reader.array(3)?;
    let protected = reader.bytes()?;
    let (mut key_id, mut ephemeral) = (None, None);
    reader.header(|reader, label| {
        match label {
            Some(KEY_ID) => key_id = Some(reader.bytes()?),
            Some(EPHEMERAL) => ephemeral = Some(read_ephemeral(reader)?),
            Some(ALGORITHM | CRITICAL) => return Err(Malformed),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    reader.bytes_exact::<0>()?;
    let (algorithm, protected_key_id) = read_protected(protected)?;
    if protected_key_id.is_some() {
        return Err(Malformed);
    }
    let recipient = Recipient { protected, algorithm, ephemeral: ephemeral.ok_or(Malformed)? };
    Ok((key_id.ok_or(Malformed)?, recipient))
}

fn read_ephemeral<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; 32], Malformed> {
    let (mut key_type, mut curve, mut x) = (None, None, None);
    reader.header(|reader, label| {
        match label {
            Some(KEY_TYPE) => key_type = Some(reader.uint()?),
            Some(KEY_CURVE) => curve = Some(reader.uint()?),
            Some(KEY_X) => x = Some(reader.bytes_exact()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    if (key_type, curve) != (Some(KEY_TYPE_OKP), Some(CURVE_X25519)) {
        return Err(Malformed);
    }
    x.ok_or(Malformed)
}

fn read_algorithm(reader: &mut Reader<'_>) -> Result<i128, Malformed> {
    Ok(reader.int_or_text()?.unwrap_or(NAMED_BY_TEXT))
}
