//! Why an envelope was refused or could not be made.
//!
//! [`OpenError`] is detailed so that logs, metrics and the audit topic can say what happened. Whoever sent
//! the envelope learns none of it: the broker gives one answer for all. No error here carries a payload, a
//! key or a part of either.

use std::fmt;

use thiserror::Error;

/// Why an envelope was not taken; the sender of the packet is at fault, or somebody on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenError {
    /// The bytes are not a stamped COSE envelope.
    NotAnEnvelope,
    /// The stamp is by another algorithm than Ed25519, or the content by another than its key is for.
    WrongAlgorithm,
    /// Nobody of this name is enrolled, or not at this time.
    UnknownSender,
    /// The sender is enrolled, but not for this topic.
    SenderNotAllowed,
    /// The stamp does not hold for this topic, header and content.
    BadStamp,
    /// There is neither counter nor time under the stamp, or the time is too far from ours.
    NotFresh,
    /// The counter or the timed stamp was taken before, or is below the window.
    Replayed,
    /// The content has not the form of a sealed one.
    NotSealed,
    /// The content is sealed under a key that is not known for this topic.
    UnknownKey,
    /// The content's key is known, but not valid at this time.
    KeyExpired,
    /// The content's key does not open it.
    DecryptFailed,
}

impl OpenError {
    /// Every variant, in the order in which the checks are made.
    pub const ALL: [Self; 11] = [
        Self::NotAnEnvelope,
        Self::WrongAlgorithm,
        Self::UnknownSender,
        Self::SenderNotAllowed,
        Self::BadStamp,
        Self::NotFresh,
        Self::Replayed,
        Self::NotSealed,
        Self::UnknownKey,
        Self::KeyExpired,
        Self::DecryptFailed,
    ];

    /// The name by which metrics, audit records and test vectors know this failure.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAnEnvelope => "not-an-envelope",
            Self::WrongAlgorithm => "wrong-algorithm",
            Self::UnknownSender => "unknown-sender",
            Self::SenderNotAllowed => "sender-not-allowed",
            Self::BadStamp => "bad-stamp",
            Self::NotFresh => "not-fresh",
            Self::Replayed => "replayed",
            Self::NotSealed => "not-sealed",
            Self::UnknownKey => "unknown-key",
            Self::KeyExpired => "key-expired",
            Self::DecryptFailed => "decrypt-failed",
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnEnvelope => "the payload is not a stamped envelope",
            Self::WrongAlgorithm => "the algorithm is not the one its key is for",
            Self::UnknownSender => "the sender is not enrolled at this time",
            Self::SenderNotAllowed => "the sender may not publish to this topic",
            Self::BadStamp => "the stamp does not hold",
            Self::NotFresh => "neither counter nor time shows that the envelope is new",
            Self::Replayed => "the envelope was taken before",
            Self::NotSealed => "the content is not sealed",
            Self::UnknownKey => "the content's key is not known for this topic",
            Self::KeyExpired => "the content's key is not valid at this time",
            Self::DecryptFailed => "the content does not open",
        })
    }
}

impl std::error::Error for OpenError {}

/// Why an envelope could not be made; we, or our operator's key, are at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The system gave no random bytes.
    #[error("no random bytes to be had")]
    Random,
    /// The X25519 key is a point of small order, under which anybody could read.
    #[error("the content key is of small order")]
    WeakKey,
    /// The plaintext is longer than the cipher may take.
    #[error("the plaintext is too long")]
    TooLong,
}

/// Why a key could not be read or written; the operator is at fault. It names the field, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The file begins like JSON but is no object of text fields.
    #[error("not a JWK: see line {line}, column {column}")]
    Json {
        /// The line of the trouble, from 1.
        line: usize,
        /// The column of the trouble, from 1.
        column: usize,
    },
    /// The file is neither JSON nor one CBOR map with labels that differ.
    #[error("neither a JWK nor a COSE_Key")]
    Cbor,
    /// A field that has to be there is not.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field is of the wrong type or badly encoded.
    #[error("the field {0} cannot be read")]
    Malformed(&'static str),
    /// A field has a value that this program does not know.
    #[error("the field {0} names something not supported")]
    Unsupported(&'static str),
    /// A field has the wrong length.
    #[error("the field {field} must hold {expected} bytes")]
    Length {
        /// The field.
        field: &'static str,
        /// The bytes it has to hold.
        expected: usize,
    },
    /// The key is well formed, and of another kind than asked for.
    #[error("the key is not {0}")]
    WrongKind(&'static str),
    /// The file holds a master, where a key that seals is asked for.
    #[error("this is a master, from which keys are derived, and no key itself")]
    Master,
    /// The file holds a key, where a master is asked for.
    #[error("this is a key and no master")]
    NoMaster,
    /// The master is for other keys than asked for.
    #[error("the master is for keys of {0}")]
    OtherDerived(&'static str),
    /// The public half in the file is not the secret half's.
    #[error("the public half does not belong to the secret half")]
    Mismatch,
    /// The public key is no point of the curve, or one of small order, for which anybody can sign or read.
    #[error("the public key is weak")]
    Weak,
    /// The system gave no random bytes.
    #[error("no random bytes to be had")]
    Random,
}

/// Why a keyring could not be built; the operator is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyringError {
    /// Two senders have the same id.
    #[error("two senders have the id {0:?}")]
    DuplicateSender(String),
    /// Two topic keys have the same id.
    #[error("two topic keys have the id {0:?}")]
    DuplicateTopicKey(String),
}
