//! The bytes that bind an envelope to its topic and its sender.
//!
//! Header bytes, ids and the topic go in; out come the three structures of COSE that are signed,
//! authenticated or fed to the key derivation, and are never sent: `Sig_structure` (RFC 9052 §4.4),
//! `Enc_structure` (§5.3) and `KDF_Context` (RFC 9053 §5.2). Protected headers enter as the bytes that were
//! on the wire, never encoded again, so that there is nothing for two encoders to disagree about.

use crate::cbor::{Writer, head_bytes};
use crate::cipher::ContentAlgorithm;

const SIGNATURE_1: &str = "Signature1";

/// Which of the two sealed forms an `Enc_structure` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EncContext {
    /// Under a symmetric key of the topic.
    Encrypt0,
    /// Under a key agreed on with the topic's X25519 key.
    Encrypt,
}

/// What the stamp signs; the topic is its external data. An answer to a challenge has none.
pub(crate) fn sig_structure(protected: &[u8], topic: &str, content: &[u8]) -> Vec<u8> {
    let parts = [protected, topic.as_bytes(), content];
    let length: usize = parts.iter().map(|part| head_bytes(part.len()) + part.len()).sum();
    let mut writer = Writer::with_capacity(2 + SIGNATURE_1.len() + length);
    writer.array(4).text(SIGNATURE_1);
    for part in parts {
        writer.bytes(part);
    }
    writer.finish()
}

/// What the AEAD authenticates beside the ciphertext; the sender and the topic are its external data.
pub(crate) fn enc_structure(context: EncContext, protected: &[u8], sender: &[u8], topic: &str) -> Vec<u8> {
    let external = 1 + head_bytes(sender.len()) + sender.len() + head_bytes(topic.len()) + topic.len();
    let mut writer = Writer::with_capacity(24 + protected.len() + external);
    writer.array(3);
    writer.text(match context {
        EncContext::Encrypt0 => "Encrypt0",
        EncContext::Encrypt => "Encrypt",
    });
    writer.bytes(protected);
    writer.bytes_head(external).array(2).bytes(sender).text(topic);
    writer.finish()
}

/// What the content key is derived for: the algorithm and its key's length, between two empty parties.
pub(crate) fn kdf_context(algorithm: ContentAlgorithm, recipient_protected: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(24 + recipient_protected.len());
    writer.array(4).int(algorithm.cose_number());
    for _party in 0..2 {
        writer.array(3).null().null().null();
    }
    writer.array(2).uint(algorithm.key_bytes() as u64 * 8).bytes(recipient_protected);
    writer.finish()
}
