//! Proves to the broker who somebody is, by the key with which he stamps: a challenge comes in, a signed
//! answer goes out, and who made it.
//!
//! The answer is a `COSE_Sign1` in the envelope's own strict form, over a text that names its purpose, the
//! client id and the challenge. Whoever made the challenge takes care that it is new, and used once.
//!
//! Always holds: an answer never passes for an envelope, nor an envelope for an answer, though one key signs
//! both. What is signed is a `Sig_structure`, whose encoding differs wherever one of its parts does. An
//! envelope's `external_aad` is its topic, which is never empty; an answer's is empty. Should an empty topic
//! slip in all the same, the headers part them: an envelope is only taken with a counter or a time under its
//! stamp, and an answer only without. So whoever lets a device sign challenges of his choice gets no
//! envelope, and an envelope seen on the wire lets nobody in.

use bytes::Bytes;

use crate::aad;
use crate::cbor::{Malformed, Reader};
use crate::envelope::{ED25519, EDDSA, STAMP_BYTES, StampHeader, TAG_STAMPED, print_detached};
use crate::error::OpenError;
use crate::key::SenderKey;
use crate::keyring::{Keyring, Sender};

/// How many random bytes a challenge has.
pub const CHALLENGE_BYTES: usize = 32;

const PURPOSE: &[u8] = b"sealmq auth 1";

/// The `external_aad` of an answer.
const NO_TOPIC: &str = "";

/// Answers a challenge. What was signed is left out, since the other side knows it.
pub fn respond(key: &SenderKey, client_id: &str, challenge: &[u8; CHALLENGE_BYTES]) -> Vec<u8> {
    let header = StampHeader { algorithm: EDDSA, sender: key.id(), issued_at: None, sequence: None };
    let protected = header.print();
    let stamp = key.sign(&aad::sig_structure(&protected, NO_TOPIC, &signed_text(client_id, challenge)));
    print_detached(&protected, &stamp)
}

/// The sender who answered, and the id by which the keyring knows him. Of the errors only those that can
/// befall an envelope's header and stamp come up here.
pub fn verify<'k>(
    keyring: &'k Keyring,
    client_id: &str,
    challenge: &[u8; CHALLENGE_BYTES],
    answer: &[u8],
    now: u64,
) -> Result<(&'k Bytes, &'k Sender), OpenError> {
    let answer = Answer::read(answer).map_err(|Malformed| OpenError::NotAnEnvelope)?;
    if !matches!(answer.header.algorithm, EDDSA | ED25519) {
        return Err(OpenError::WrongAlgorithm);
    }
    let enrolled = keyring.enrolled(answer.header.sender).ok_or(OpenError::UnknownSender)?;
    let (_, sender) = enrolled;
    if !sender.validity.contains(now) {
        return Err(OpenError::UnknownSender);
    }
    let text = signed_text(client_id, challenge);
    let is_carried_right = answer.carried.is_none_or(|carried| carried == text);
    let signed = aad::sig_structure(answer.protected, NO_TOPIC, &text);
    if is_carried_right && sender.key.verify(&signed, answer.stamp) {
        Ok(enrolled)
    } else {
        Err(OpenError::BadStamp)
    }
}

/// What is signed. The purpose and the challenge have fixed lengths, so the client id between them has one
/// reading.
fn signed_text(client_id: &str, challenge: &[u8; CHALLENGE_BYTES]) -> Vec<u8> {
    [PURPOSE, client_id.as_bytes(), challenge].concat()
}

/// A well-formed answer.
struct Answer<'a> {
    protected: &'a [u8],
    header: StampHeader<'a>,
    /// What it says was signed; most leave it out.
    carried: Option<&'a [u8]>,
    stamp: &'a [u8; STAMP_BYTES],
}

impl<'a> Answer<'a> {
    fn read(answer: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(answer);
        reader.tag(TAG_STAMPED)?;
        reader.array(4)?;
        let protected = reader.bytes()?;
        reader.empty_map()?;
        let carried = if reader.at_bytes() { Some(reader.bytes()?) } else { reader.null().map(|()| None)? };
        let stamp = reader.bytes_exact()?;
        reader.end()?;
        let header = StampHeader::read(protected)?;
        // These are an envelope's.
        if header.issued_at.is_some() || header.sequence.is_some() {
            return Err(Malformed);
        }
        Ok(Self { protected, header, carried, stamp })
    }
}
