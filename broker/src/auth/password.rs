//! The password file: `user:hash` or `user:hash:verifier` lines, made by `sealmq passwd`.
//!
//! Owns the users with their argon2id hashes and SCRAM verifiers, and the way to compare a password with a
//! hash. Lines that are empty or begin with `#` say nothing. Always holds: every hash kept was found to be one
//! that can be compared with; a hash is in no error and no log; and who asks for a user that is not known is
//! answered as if he were.

use super::identity::Fingerprint;
use super::verifier::{self, Verifier};
use crate::error::StartError;
use argon2::password_hash::phc::PasswordHash;
use argon2::{ARGON2ID_IDENT, Argon2, Params, PasswordHasher, PasswordVerifier};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use tokio::sync::Semaphore;
use zeroize::{Zeroize, Zeroizing};

/// One comparison may ask for this much memory, in KiB; the default asks for 19 MiB.
const MEMORY_KIB_MAX: u32 = 1 << 20;

/// What verifiers of unknown users are made of. It is the same for as long as the process runs, since one
/// that changes at a reload would tell them from known ones, which do not.
static DISGUISE: OnceLock<Zeroizing<[u8; 32]>> = OnceLock::new();

/// Users and what is kept of their passwords.
pub(crate) struct Passwords {
    users: FxHashMap<String, Kept>,
    /// What the password of an unknown user is compared with, so that he waits as long as a known one.
    stranger: Option<Arc<PasswordHash>>,
    /// Whose looks the verifiers of unknown users are given: all that there are, so that neither their number
    /// of iterations tells them from known ones, nor their length of salt.
    models: Box<[Arc<Verifier>]>,
    disguise: Zeroizing<[u8; 32]>,
    /// One comparison at a time on each core: more would only take each other's memory.
    permits: Arc<Semaphore>,
}

/// What is kept of a user's password.
struct Kept {
    hash: Arc<PasswordHash>,
    verifier: Option<Arc<Verifier>>,
    fingerprint: Fingerprint,
}

/// What somebody who gives a name is led through SCRAM with.
pub(super) struct Candidate {
    pub(super) verifier: Arc<Verifier>,
    /// Missing if there is no such user, or none with a verifier: then no proof will do.
    pub(super) fingerprint: Option<Fingerprint>,
}

impl Passwords {
    pub(crate) fn load(file: &Path) -> Result<Self, StartError> {
        let text = fs::read_to_string(file).map_err(|why| StartError::io(file, "read it", why))?;
        let text = Zeroizing::new(text);
        let mut users = FxHashMap::default();
        let (mut stranger, mut models) = (None, Vec::new());
        for (line, entry) in entries(&text) {
            let wrong = |why| StartError::line(file, line, why);
            let (user, credentials) = entry.map_err(wrong)?;
            let kept = Kept::parse(credentials).map_err(wrong)?;
            stranger.get_or_insert_with(|| Arc::clone(&kept.hash));
            models.extend(kept.verifier.clone());
            if users.insert(user.to_owned(), kept).is_some() {
                return Err(wrong("this user has a line already"));
            }
        }
        let disguise = disguise().ok_or_else(|| StartError::file(file, "no random bytes to be had"))?;
        let cores = available_parallelism().map_or(1, usize::from);
        let permits = Arc::new(Semaphore::new(cores));
        Ok(Self { users, stranger, models: models.into(), disguise, permits })
    }

    pub(crate) fn count(&self) -> usize {
        self.users.len()
    }

    /// How many users have a verifier for SCRAM.
    pub(crate) fn scram_count(&self) -> usize {
        self.models.len()
    }

    /// By what this user is let in at present.
    pub(super) fn fingerprint(&self, user: &str) -> Option<Fingerprint> {
        self.users.get(user).map(|kept| kept.fingerprint)
    }

    /// What a client that gives this name is led through SCRAM with; `None` if nobody has a verifier.
    pub(super) fn candidate(&self, user: &str) -> Option<Candidate> {
        let drawn = verifier::hmac(&self.disguise, &[b"model ", user.as_bytes()]);
        let drawn = drawn.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let at = drawn.checked_rem(self.models.len() as u64)?;
        let model = usize::try_from(at).ok().and_then(|at| self.models.get(at))?;
        // Made for known users too, so that it takes as long.
        let disguised = Arc::new(model.disguised_as(user, &self.disguise));
        let known = self.users.get(user).and_then(|kept| Some((kept.verifier.clone()?, kept.fingerprint)));
        Some(match known {
            Some((verifier, fingerprint)) => Candidate { verifier, fingerprint: Some(fingerprint) },
            None => Candidate { verifier: disguised, fingerprint: None },
        })
    }

    /// By what the user is let in, if this is his password; nothing for users that are not known.
    pub(super) async fn verify(&self, user: &str, password: Option<Bytes>) -> Option<Fingerprint> {
        let password = password?;
        let known = self.users.get(user);
        let Some(hash) = known.map(|kept| &kept.hash).or(self.stranger.as_ref()).map(Arc::clone) else {
            wipe(password);
            return None;
        };
        // Never fails: nobody closes the semaphore.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let compared = tokio::task::spawn_blocking(move || {
            let right = Argon2::default().verify_password(&password, &*hash).is_ok();
            wipe(password);
            drop(permit);
            right
        });
        let right = compared.await.unwrap_or(false);
        known.filter(|_| right).map(|kept| kept.fingerprint)
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

/// The hash of a password, with a salt of its own.
fn hash(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    Argon2::default().hash_password(password).map(|hash| hash.to_string())
}

/// Overwrites a password; only where nothing else holds its bytes, such as the read buffer they came in.
pub(crate) fn wipe(password: Bytes) {
    if let Ok(mut bytes) = password.try_into_mut() {
        bytes.as_mut().zeroize();
    }
}

/// What a password file keeps of a password: the hash and, if iterations are given, the SCRAM verifier.
pub(crate) fn credentials(password: &[u8], iterations: Option<u32>) -> Result<Zeroizing<String>, String> {
    let hash = hash(password).map_err(|error| error.to_string())?;
    let Some(iterations) = iterations else { return Ok(Zeroizing::new(hash)) };
    let mut salt = [0; verifier::SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|_| "no random bytes to be had")?;
    let verifier = Verifier::of_password(password, &salt, iterations)
        .map_err(|why| format!("the password does not do for SCRAM-SHA-256 (--no-scram): {why}"))?;
    Ok(Zeroizing::new(format!("{hash}:{}", verifier.to_text().as_str())))
}

fn disguise() -> Option<Zeroizing<[u8; 32]>> {
    if DISGUISE.get().is_none() {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).ok()?;
        // Whoever comes second takes the first one's.
        let _ = DISGUISE.set(bytes);
    }
    DISGUISE.get().cloned()
}

/// The lines of a password file that name a user: the line's number, from 1, and user and credentials.
fn entries(text: &str) -> impl Iterator<Item = (usize, Result<(&str, &str), &'static str>)> {
    (1..).zip(text.lines()).filter(|(_, line)| is_entry(line)).map(|(number, line)| {
        let entry = match line.split_once(':') {
            Some(("", _)) => Err("the user name before ':' is empty"),
            Some((user, credentials)) => Ok((user, credentials.trim_end())),
            None => Err("not a user name, ':' and a hash"),
        };
        (number, entry)
    })
}

/// Whether a line of a password file names a user.
pub(crate) fn is_entry(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
}

impl Kept {
    fn parse(credentials: &str) -> Result<Self, &'static str> {
        let (hash, verifier) = match credentials.split_once(':') {
            Some((hash, verifier)) => (hash, Some(Arc::new(Verifier::parse(verifier)?))),
            None => (credentials, None),
        };
        let fingerprint = Fingerprint::of(credentials.as_bytes());
        Ok(Self { hash: Arc::new(parse_hash(hash)?), verifier, fingerprint })
    }
}

fn parse_hash(text: &str) -> Result<PasswordHash, &'static str> {
    let hash =
        PasswordHash::new(text).map_err(|_| "after ':' there is no hash as `sealmq passwd` makes them")?;
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

    async fn passes(passwords: &Passwords, user: &str, password: &'static str) -> bool {
        passwords.verify(user, Some(Bytes::from_static(password.as_bytes()))).await.is_some()
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
        assert!(passes(&passwords, "ann", "one").await);
        assert!(passes(&passwords, "bob", "zwöü\u{0}").await);
        assert!(!passes(&passwords, "bob", "one").await);
        assert!(!passes(&passwords, "eve", "one").await);
    }

    #[tokio::test]
    async fn a_hash_of_this_program_verifies() {
        for (iterations, scram) in [(None, 0), (Some(5000), 1)] {
            let passwords = load(&format!("ann:{}\n", *credentials(b"word", iterations).unwrap())).unwrap();
            assert!(passes(&passwords, "ann", "word").await);
            assert!(!passes(&passwords, "ann", "wort").await);
            assert_eq!((passwords.count(), passwords.scram_count()), (1, scram));
        }
    }

    #[test]
    fn two_verifiers_of_one_password_differ() {
        let [one, other] = [(); 2].map(|()| credentials(b"word", Some(4096)).unwrap());
        assert_ne!(one.rsplit_once(':'), other.rsplit_once(':'));
    }

    #[test]
    fn a_password_that_scram_cannot_take_is_named_with_the_way_out() {
        let error = credentials(b"\xff", Some(4096)).unwrap_err();
        assert_eq!(error, "the password does not do for SCRAM-SHA-256 (--no-scram): it is not UTF-8");
        assert!(credentials(b"\xff", None).is_ok());
    }

    #[test]
    fn lines_with_and_without_a_verifier_stand_together() {
        let (old, new) = (cheap_hash(b"x"), credentials(b"x", Some(4096)).unwrap());
        let passwords = load(&format!("ann:{old}\r\nbob:{}\r\n", *new)).unwrap();
        assert_eq!((passwords.count(), passwords.scram_count()), (2, 1));
        for (user, known) in [("ann", false), ("bob", true), ("eve", false)] {
            assert_eq!(passwords.candidate(user).unwrap().fingerprint.is_some(), known, "{user}");
        }
        assert!(load(&format!("ann:{old}\n")).unwrap().candidate("ann").is_none(), "nobody has one");
    }

    #[tokio::test]
    async fn an_empty_file_knows_nobody() {
        assert!(!passes(&load("").unwrap(), "ann", "x").await);
    }

    #[test]
    fn bad_lines_are_named_without_their_hash() {
        let good = cheap_hash(b"x");
        let argon2i = good.replace("argon2id", "argon2i");
        let costly = good.replace("m=8", "m=4194304");
        let cut = good.rsplit_once('$').unwrap().0;
        let no_verifier =
            "/passwd:1: after the hash there is no SCRAM-SHA-256 verifier as `sealmq passwd` makes them";
        for (text, expected) in [
            ("ann".to_owned(), "/passwd:1: not a user name, ':' and a hash"),
            (format!("\n:{good}"), "/passwd:2: the user name before ':' is empty"),
            ("ann:plain".to_owned(), "/passwd:1: after ':' there is no hash as `sealmq passwd` makes them"),
            (format!("ann:{argon2i}"), "/passwd:1: the hash is not argon2id"),
            (format!("ann:{costly}"), "/passwd:1: the hash asks for more than 1 GiB of memory"),
            (format!("ann:{cut}"), "/passwd:1: the hash is cut off"),
            (format!("ann:{good}:"), no_verifier),
            (format!("ann:{good}:SCRAM-SHA-1$4096:c2FsdA==$"), no_verifier),
            (
                format!("ann:{good}:SCRAM-SHA-256$1:c2FsdA==$:"),
                "/passwd:1: the SCRAM-SHA-256 verifier has not 4,096 to 10,000,000 iterations",
            ),
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
