//! Who may connect.
//!
//! Owns what was read from `[auth]` and its password file. In comes what a client says of itself, out comes
//! an [`Identity`] or a [`Denied`]. Three ways lead there:
//!
//! | how | by | asked of |
//! |---|---|---|
//! | user name and password, or no name | [`Auth::check`] | the password file, argon2id |
//! | `SCRAM-SHA-256` | [`Auth::begin`], [`Exchange::answer`] | the password file, SCRAM verifier |
//! | `sealmq-ed25519` | [`Auth::begin`], [`Exchange::answer`] | the enrolled senders |
//!
//! Always holds: a password is compared on a thread made for slow work, at most one on each core at a time;
//! and an unknown user is treated like one that is known, whichever way he takes. Who may do what where is
//! asked of [`acl::Permissions`].

pub(crate) mod acl;
mod exchange;
mod identity;
pub(crate) mod password;
mod scram;
#[cfg(test)]
mod tests;
pub(crate) mod verifier;

pub(crate) use exchange::{Exchange, Senders, Step, Who};
pub(crate) use identity::{Fingerprint, Identity};

use crate::error::StartError;
use bytes::Bytes;
use password::Passwords;
use sealmq_protocol::ReasonCode;
use std::fmt;
use std::sync::Arc;

/// The method that proves a password without showing it (RFC 7677).
const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The method that proves the possession of an enrolled sender's key.
const SEALMQ_ED25519: &str = "sealmq-ed25519";

/// Who may connect; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    allow_anonymous: bool,
    passwords: Option<Arc<Passwords>>,
}

impl Auth {
    /// Reads the password file, where one is named.
    pub(crate) fn load(config: &sealmq_config::auth::Auth) -> Result<Self, StartError> {
        let passwords = match &config.password_file {
            Some(file) => {
                Some(Arc::new(Passwords::load(file).map_err(|error| error.at("auth.password_file"))?))
            }
            None => None,
        };
        Ok(Self { allow_anonymous: config.allow_anonymous, passwords })
    }

    /// How many users have a password; `None` without a password file.
    pub(crate) fn users(&self) -> Option<usize> {
        self.passwords.as_deref().map(Passwords::count)
    }

    /// Whether somebody has a password.
    pub(crate) fn has_user(&self, user: &str) -> bool {
        self.passwords.as_deref().is_some_and(|passwords| passwords.fingerprint(user).is_some())
    }

    /// How many of them have a verifier for `SCRAM-SHA-256`.
    pub(crate) fn scram_users(&self) -> usize {
        self.passwords.as_deref().map_or(0, Passwords::scram_count)
    }

    /// Who a client with this user name and password is. The password's bytes are wiped where nothing else
    /// holds them.
    pub(crate) async fn check(
        &self,
        user: Option<&str>,
        password: Option<Bytes>,
    ) -> Result<Identity, Denied> {
        // Without a file there is nothing to compare a name with: it counts as no name.
        if let (Some(user), Some(passwords)) = (user, &self.passwords) {
            let line = passwords.verify(user, password).await.ok_or(Denied::BadUserNameOrPassword)?;
            return Ok(Identity::User(user.into(), line));
        }
        password.into_iter().for_each(password::wipe);
        if self.allow_anonymous {
            Ok(Identity::Claimed(user.map(Into::into)))
        } else {
            Err(Denied::NotAuthorized)
        }
    }

    /// Whether a connected client may stay after a reload: what it was let in by is there unchanged, be it
    /// that nothing was asked for, a line of the password file, or an enrolled key that is valid now.
    pub(crate) fn still_admits(&self, identity: &Identity, senders: Senders<'_>) -> bool {
        match identity {
            // A name that is asked for a password now was not when the client gave it.
            Identity::Claimed(user) => self.allow_anonymous && (user.is_none() || self.passwords.is_none()),
            Identity::User(user, line) => {
                self.passwords.as_deref().and_then(|passwords| passwords.fingerprint(user)) == Some(*line)
            }
            Identity::Sender(id, key) => senders.keyring.sender(id.as_bytes()).is_some_and(|sender| {
                sender.validity.contains(senders.now) && Fingerprint::of_key(&sender.key) == *key
            }),
        }
    }
}

/// Why a client may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The user is not known, or the password is wrong or missing; which of them, nobody is told.
    BadUserNameOrPassword,
    /// Clients without a user name that we know may not connect at all.
    NotAuthorized,
    /// There is no such authentication method, or the configuration has nobody who could use it.
    BadMethod,
    /// The exchange failed; why, only the log is told.
    NotProven(Reason),
}

/// How an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A message is not what has to come at this point.
    Malformed,
    /// The client wants its channel bound in, or contradicts itself about that.
    ChannelBinding,
    /// The user has no SCRAM verifier; the sender is not enrolled at this time.
    UnknownUser,
    /// It is proven, or was to be proven, that the client is somebody else than it said.
    OtherUser,
    /// The message is of another exchange.
    OtherNonce,
    /// The password or the key is another, or the message was altered.
    WrongProof,
}

impl From<Reason> for Denied {
    fn from(reason: Reason) -> Self {
        Self::NotProven(reason)
    }
}

impl Denied {
    /// What the client is told, in CONNACK and DISCONNECT alike (§3.2.2.2, §3.14.2.1). A failed exchange
    /// gives one answer, whatever the reason.
    pub(crate) fn reason(self) -> ReasonCode {
        match self {
            Self::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
            Self::NotAuthorized | Self::NotProven(_) => ReasonCode::NotAuthorized,
            Self::BadMethod => ReasonCode::BadAuthenticationMethod,
        }
    }

    /// The name by which logs and metrics know it.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::BadUserNameOrPassword => "bad-user-name-or-password",
            Self::NotAuthorized => "anonymous-not-allowed",
            Self::BadMethod => "bad-authentication-method",
            Self::NotProven(_) => "not-proven",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadUserNameOrPassword => "the user name or the password is wrong",
            Self::NotAuthorized => "a user name and a password are needed",
            Self::BadMethod => "nobody is set up for this authentication method",
            Self::NotProven(Reason::Malformed) => "authentication failed: a message is malformed",
            Self::NotProven(Reason::ChannelBinding) => {
                "authentication failed: channel binding is not offered"
            }
            Self::NotProven(Reason::UnknownUser) => "authentication failed: the user is not known",
            Self::NotProven(Reason::OtherUser) => "authentication failed: the user name is another",
            Self::NotProven(Reason::OtherNonce) => {
                "authentication failed: the answer is to another challenge"
            }
            Self::NotProven(Reason::WrongProof) => "authentication failed: the proof does not hold",
        })
    }
}
