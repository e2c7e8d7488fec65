//! `[[subscriber_key]]` and a policy's `egress`: who gets what is confidential without TLS, and how.

use crate::reader::Reader;
use std::path::PathBuf;

/// How a message may leave that was opened from a sealed envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// On secure connections only. Default.
    Secure,
    /// The same, or in an envelope made for the subscriber's own key.
    SecureOrSealed,
}

impl Egress {
    pub(crate) const NAMES: [(&'static str, Self); 2] =
        [("secure", Self::Secure), ("secure-or-sealed", Self::SecureOrSealed)];
}

/// A subscriber who can open envelopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberKey {
    /// Who it is.
    pub holder: Holder,
    /// File with his X25519 public key (JWK or `COSE_Key`).
    pub key: PathBuf,
}

/// Whom a subscriber's key is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// The client with this client id.
    Client(String),
    /// Every client with this user name.
    User(String),
}

impl SubscriberKey {
    pub(crate) fn read(entry: &mut Reader<'_>) -> Option<Self> {
        const ALLOWED: &str = "either client or user";
        let (client, user) = (entry.text_optional("client"), entry.text_optional("user"));
        let key = entry.path_required("key");
        let holder = match (client, user) {
            (Some(client), None) => Holder::Client(client),
            (None, Some(user)) => Holder::User(user),
            (Some(_), Some(_)) => {
                entry.wrong("user", "a user beside a client", ALLOWED);
                return None;
            }
            (None, None) => {
                entry.wrong("client", "neither client nor user", ALLOWED);
                return None;
            }
        };
        Some(Self { holder, key: key? })
    }
}
