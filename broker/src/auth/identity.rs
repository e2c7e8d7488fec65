//! Who a client was found to be.
//!
//! Made where somebody was authenticated, and kept by his connection; asked after a reload whether what he
//! was let in by is still there. Always holds: neither password, hash nor key can be read out of it.

use bytestring::ByteString;
use sealmq_crypto::SenderPublicKey;
use sha2::{Digest, Sha256};
use std::fmt;

/// Who a client is, and how far that was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nobody asked for a proof: the user name, if any, is only what CONNECT said.
    Claimed(Option<ByteString>),
    /// A user of the password file, by his password or by SCRAM-SHA-256.
    User(ByteString, Fingerprint),
    /// An enrolled sender, by his key.
    Sender(ByteString, Fingerprint),
}

impl Identity {
    /// The user name that access rules and sessions go by; for a sender his id.
    pub(crate) fn user(&self) -> Option<&ByteString> {
        match self {
            Self::Claimed(user) => user.as_ref(),
            Self::User(user, _) | Self::Sender(user, _) => Some(user),
        }
    }

    /// The same, if it was proven.
    pub(crate) fn proven_user(&self) -> Option<&ByteString> {
        match self {
            Self::Claimed(_) => None,
            Self::User(user, _) | Self::Sender(user, _) => Some(user),
        }
    }
}

/// By what somebody was let in, so that one can tell when it is another: a password's line, a sender's key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(credentials: &[u8]) -> Self {
        Self(Sha256::digest(credentials).into())
    }

    /// As the store keeps it.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// As the store kept it.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Of a sender's key.
    pub(crate) fn of_key(key: &SenderPublicKey) -> Self {
        Self::of(&key.to_cose_key())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}
