//! Who may connect.
//!
//! Owns what was read from `[auth]` and its password file. In comes what a CONNECT says of its user, out
//! comes yes or a [`Denied`]. Always holds: a password is compared on a thread made for slow work, at most
//! one on each core at a time, and takes as long for a user that is not known as for one that is. Who may
//! do what where is asked of [`acl::Permissions`].

pub(crate) mod acl;
pub(crate) mod password;

use crate::error::StartError;
use bytes::Bytes;
use password::Passwords;
use sealmq_protocol::ConnectReturnCode;
use std::fmt;
use std::sync::Arc;

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
            Some(file) => Some(Arc::new(Passwords::load(file).map_err(|error| error.at("auth.password_file"))?)),
            None => None,
        };
        Ok(Self { allow_anonymous: config.allow_anonymous, passwords })
    }

    /// How many users have a password; `None` without a password file.
    pub(crate) fn users(&self) -> Option<usize> {
        self.passwords.as_deref().map(Passwords::count)
    }

    /// Whether a client with this user name and password may connect. The password's bytes are wiped
    /// where nothing else holds them.
    pub(crate) async fn check(&self, user: Option<&str>, password: Option<Bytes>) -> Result<(), Denied> {
        match (user, &self.passwords) {
            (Some(user), Some(passwords)) => {
                let right = passwords.verify(user, password).await;
                if right { Ok(()) } else { Err(Denied::BadUserNameOrPassword) }
            }
            // Without a file there is nothing to compare a name with: it counts as no name.
            (None, _) | (Some(_), None) => {
                password.into_iter().for_each(password::wipe);
                if self.allow_anonymous { Ok(()) } else { Err(Denied::NotAuthorized) }
            }
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
}

impl Denied {
    /// What the client is told ([MQTT-3.2.2-5], §3.2.2.3).
    pub(crate) fn code(self) -> ConnectReturnCode {
        match self {
            Self::BadUserNameOrPassword => ConnectReturnCode::BadUserNameOrPassword,
            Self::NotAuthorized => ConnectReturnCode::NotAuthorized,
        }
    }

    /// The name by which logs and metrics know it.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::BadUserNameOrPassword => "bad-user-name-or-password",
            Self::NotAuthorized => "anonymous-not-allowed",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadUserNameOrPassword => "the user name or the password is wrong",
            Self::NotAuthorized => "a user name and a password are needed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn config(allow_anonymous: bool, password_file: Option<PathBuf>) -> sealmq_config::auth::Auth {
        sealmq_config::auth::Auth { allow_anonymous, password_file, client_id_prefixes: Vec::new() }
    }

    #[tokio::test]
    async fn who_may_connect_depends_on_name_file_and_anonymous() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        std::fs::write(&file, format!("ann:{}\n", password::cheap_hash(b"secret"))).unwrap();
        let (bad, not) = (Err(Denied::BadUserNameOrPassword), Err(Denied::NotAuthorized));
        for (anonymous, with_file, user, word, expected) in [
            (true, false, None, None, Ok(())),
            (false, false, None, None, not),
            (true, false, Some("ann"), Some("any"), Ok(())),
            (false, false, Some("ann"), Some("secret"), not),
            (true, true, None, None, Ok(())),
            (false, true, None, None, not),
            (false, true, Some("ann"), Some("secret"), Ok(())),
            (true, true, Some("ann"), Some("Secret"), bad),
            (true, true, Some("ann"), Some(""), bad),
            (true, true, Some("ann"), None, bad),
            (true, true, Some("bob"), Some("secret"), bad),
            (true, true, Some(""), Some("secret"), bad),
        ] {
            let auth = Auth::load(&config(anonymous, with_file.then(|| file.clone()))).unwrap();
            let answer = auth.check(user, word.map(|word: &str| Bytes::copy_from_slice(word.as_bytes()))).await;
            assert_eq!(answer, expected, "{anonymous} {with_file} {user:?} {word:?}");
        }
    }

    #[test]
    fn each_denial_has_its_return_code() {
        assert_eq!(Denied::BadUserNameOrPassword.code() as u8, 4);
        assert_eq!(Denied::NotAuthorized.code() as u8, 5);
    }

    #[test]
    fn a_missing_password_file_is_named() {
        let error = Auth::load(&config(true, Some("nowhere/passwd".into()))).unwrap_err().to_string();
        assert_eq!(
            error,
            "auth.password_file: nowhere/passwd: cannot read it: there is no such file or folder"
        );
    }
}
