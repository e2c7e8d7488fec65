//! The password file: `user:hash` lines, made by `sealmq passwd`.
//!
//! Owns the users and their argon2id hashes, and the way to compare a password with one. Lines that are
//! empty or begin with `#` say nothing. Always holds: every hash kept was found to be one that can be
//! compared with; a hash is in no error and no log.

use crate::error::StartError;
use argon2::password_hash::phc::PasswordHash;
use argon2::{ARGON2ID_IDENT, Argon2, Params, PasswordHasher, PasswordVerifier};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use tokio::sync::Semaphore;
use zeroize::Zeroize;

/// One comparison may ask for this much memory, in KiB; the default asks for 19 MiB.
const MEMORY_KIB_MAX: u32 = 1 << 20;

/// Users and their hashes.
pub(crate) struct Passwords {
    users: FxHashMap<String, Arc<PasswordHash>>,
    /// What the password of an unknown user is compared with, so that he waits as long as a known one.
    stranger: Option<Arc<PasswordHash>>,
    /// One comparison at a time on each core: more would only take each other's memory.
    permits: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn load(file: &Path) -> Result<Self, StartError> {
        let text = fs::read_to_string(file).map_err(|why| StartError::io(file, "read it", why))?;
        let mut users = FxHashMap::default();
        let mut stranger = None;
        for (line, entry) in entries(&text) {
            let (user, hash) = entry.map_err(|why| StartError::line(file, line, why))?;
            let hash = Arc::new(parse(hash).map_err(|why| StartError::line(file, line, why))?);
            stranger.get_or_insert_with(|| Arc::clone(&hash));
            if users.insert(user.to_owned(), hash).is_some() {
                return Err(StartError::line(file, line, "this user has a line already"));
            }
        }
        let cores = available_parallelism().map_or(1, usize::from);
        Ok(Self { users, stranger, permits: Arc::new(Semaphore::new(cores)) })
    }

    pub(crate) fn count(&self) -> usize {
        self.users.len()
    }

    /// Whether this is the user's password. False too for users that are not known.
    pub(crate) async fn verify(&self, user: &str, password: Option<Bytes>) -> bool {
        let known = self.users.get(user);
        let (Some(password), Some(hash)) = (password, known.or(self.stranger.as_ref())) else {
            return false;
        };
        let hash = Arc::clone(hash);
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return false; // Cannot be: nobody closes the semaphore.
        };
        let compared = tokio::task::spawn_blocking(move || {
            let right = Argon2::default().verify_password(&password, &*hash).is_ok();
            wipe(password);
            drop(permit);
            right
        });
        compared.await.unwrap_or(false) && known.is_some()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

/// The hash of a password as it stands in a password file, with a salt of its own.
pub(crate) fn hash(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    Argon2::default().hash_password(password).map(|hash| hash.to_string())
}

/// Overwrites a password; only where nothing else holds its bytes, such as the read buffer they came in.
pub(crate) fn wipe(password: Bytes) {
    if let Ok(mut bytes) = password.try_into_mut() {
        bytes.as_mut().zeroize();
    }
}

/// The lines of a password file that name a user: the line's number, from 1, and user and hash.
fn entries(text: &str) -> impl Iterator<Item = (usize, Result<(&str, &str), &'static str>)> {
    (1..).zip(text.lines()).filter(|(_, line)| is_entry(line)).map(|(number, line)| {
        let entry = match line.split_once(':') {
            Some(("", _)) => Err("the user name before ':' is empty"),
            Some((user, hash)) => Ok((user, hash.trim_end())),
            None => Err("not a user name, ':' and a hash"),
        };
        (number, entry)
    })
}

/// Whether a line of a password file names a user.
pub(crate) fn is_entry(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
}

fn parse(text: &str) -> Result<PasswordHash, &'static str> {
    let hash = PasswordHash::new(text).map_err(|_| "after ':' there is no hash as `sealmq passwd` makes them")?;
    if hash.algorithm != ARGON2ID_IDENT {
        return Err("the hash is not argon2id");
    }
    let params = Params::try_from(&hash).map_err(|_| "the hash has parameters that argon2id cannot have")?;
    if params.m_cost() > MEMORY_KIB_MAX {
        return Err("the hash asks for more than 1 GiB of memory");
    }
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err("the hash is cut off");
    }
    Ok(hash)
}

/// A hash that is quick to compare with, for tests alone.
#[cfg(test)]
pub(crate) fn cheap_hash(password: &[u8]) -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(password).unwrap().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Passwords, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        fs::write(&file, text).unwrap();
        Passwords::load(&file).map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), ""))
    }

    fn word(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn comments_blank_lines_and_windows_lines_are_read() {
        let text = format!(
            "# users\n\n{}\r\n   \nbob:{}\n",
            format_args!("ann:{}", cheap_hash(b"one")),
            cheap_hash("zwöü\u{0}".as_bytes()),
        );
        let passwords = load(&text).unwrap();
        assert_eq!(passwords.count(), 2);
        assert!(passwords.verify("ann", word("one")).await);
        assert!(passwords.verify("bob", word("zwöü\u{0}")).await);
        assert!(!passwords.verify("bob", word("one")).await);
        assert!(!passwords.verify("eve", word("one")).await);
    }

    #[tokio::test]
    async fn a_hash_of_this_program_verifies() {
        let passwords = load(&format!("ann:{}\n", hash(b"word").unwrap())).unwrap();
        assert!(passwords.verify("ann", word("word")).await);
        assert!(!passwords.verify("ann", word("wort")).await);
    }

    #[tokio::test]
    async fn an_empty_file_knows_nobody() {
        assert!(!load("").unwrap().verify("ann", word("x")).await);
    }

    #[test]
    fn bad_lines_are_named_without_their_hash() {
        let good = cheap_hash(b"x");
        let argon2i = good.replace("argon2id", "argon2i");
        let costly = good.replace("m=8", "m=4194304");
        let cut = good.rsplit_once('$').unwrap().0;
        for (text, expected) in [
            ("ann".to_owned(), "/passwd:1: not a user name, ':' and a hash"),
            (format!("\n:{good}"), "/passwd:2: the user name before ':' is empty"),
            ("ann:plain".to_owned(), "/passwd:1: after ':' there is no hash as `sealmq passwd` makes them"),
            (format!("ann:{argon2i}"), "/passwd:1: the hash is not argon2id"),
            (format!("ann:{costly}"), "/passwd:1: the hash asks for more than 1 GiB of memory"),
            (format!("ann:{cut}"), "/passwd:1: the hash is cut off"),
            (format!("ann:{good}\n#\nann:{good}"), "/passwd:3: this user has a line already"),
        ] {
            assert_eq!(load(&text).unwrap_err(), expected);
        }
    }

    #[test]
    fn debug_shows_no_user_and_no_hash() {
        let passwords = load(&format!("ann:{}\n", cheap_hash(b"x"))).unwrap();
        assert_eq!(format!("{passwords:?}"), "Passwords { users: 1, .. }");
    }

    #[test]
    fn a_password_held_alone_is_wiped() {
        // What can be seen of it: bytes that are held elsewhere stay as they are.
        let password = Bytes::from(b"secret".to_vec());
        let other = password.clone();
        wipe(password);
        assert_eq!(other, "secret");
        wipe(other);
    }
}
