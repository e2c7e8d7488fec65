//! Secrets at rest: key files that their owner alone may read, in plain or encrypted under a passphrase.
//!
//! Owns the passphrase, and what was decrypted with it: each file once, for as long as the [`Secrets`] live.
//! File names come in, bytes that are wiped go out. Always holds: what [`KeyFile::secret`] gives, nobody but
//! the file's owner could read there; an encrypted file costs no more work than [`WORK_FACTOR_MAX`] says.

use crate::error::StartError;
use crate::files;
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, scrypt};
use parking_lot::Mutex;
use sealmq_config::Config;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// With what every age file begins.
const AGE: &[u8] = b"age-encryption.org/v1\n";
/// With what every age file begins that was made for mail.
const AGE_ARMORED: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
/// Of the files that are made here, 2 to this: 64 MiB, and a fifth of a second. A broker decrypts all its
/// keys at each start, and the passphrase comes from a file, so it can be one that cannot be guessed at all.
const WORK_FACTOR: u8 = 16;
/// Of the files that are read: what age's own tool asks for, 256 MiB and about a second.
const WORK_FACTOR_MAX: u8 = 18;

/// See the module's description.
pub(crate) struct Secrets {
    passphrase: Option<Passphrase>,
    decrypted: Mutex<BTreeMap<PathBuf, Arc<Zeroizing<Vec<u8>>>>>,
}

struct Passphrase {
    file: PathBuf,
    text: SecretString,
    identity: scrypt::Identity,
}

/// What a key file holds.
pub(crate) struct KeyFile {
    file: PathBuf,
    bytes: Arc<Zeroizing<Vec<u8>>>,
    open_mode: Option<u32>,
}

impl KeyFile {
    /// Its bytes, for what is in it that everybody may know.
    pub(crate) fn public(&self) -> &[u8] {
        &self.bytes
    }

    /// Its bytes, for the secret that is in it. An error where others may read the file.
    pub(crate) fn secret(&self) -> Result<&[u8], StartError> {
        match self.open_mode {
            None => Ok(&self.bytes),
            Some(mode) => Err(open_to_others(&self.file, mode)),
        }
    }
}

impl Secrets {
    /// Secrets in plain alone.
    pub(crate) fn in_plain() -> Self {
        Self { passphrase: None, decrypted: Mutex::default() }
    }

    /// With the passphrase of a configuration, where it names one.
    pub(crate) fn of(config: &Config) -> Result<Self, StartError> {
        let file = config.secrets.passphrase_file.as_deref();
        Self::load(file).map_err(|error| error.at("secrets.passphrase_file"))
    }

    /// With the passphrase of this file, where one is named.
    pub(crate) fn load(passphrase_file: Option<&Path>) -> Result<Self, StartError> {
        let passphrase = passphrase_file.map(Passphrase::read).transpose()?;
        Ok(Self { passphrase, ..Self::in_plain() })
    }

    /// Whether files are made encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        self.passphrase.is_some()
    }

    /// Reads a key file, and decrypts it if it is encrypted.
    pub(crate) fn read(&self, file: &Path) -> Result<KeyFile, StartError> {
        let (bytes, mode) = files::read_with_mode(file)?;
        let open_mode = files::is_open(mode).then_some(mode);
        let bytes = if bytes.starts_with(AGE) {
            // Only secrets are encrypted, so it need not be opened to be refused.
            if let Some(mode) = open_mode {
                return Err(open_to_others(file, mode));
            }
            self.decrypted(file, &bytes)?
        } else if bytes.starts_with(AGE_ARMORED) {
            return Err(StartError::file(file, "it is an armored age file; encrypt it without armor"));
        } else {
            Arc::new(bytes)
        };
        Ok(KeyFile { file: file.to_owned(), bytes, open_mode })
    }

    /// Whether a file that was read is encrypted.
    pub(crate) fn was_encrypted(&self, file: &Path) -> bool {
        self.decrypted.lock().contains_key(file)
    }

    /// What goes into the file of a secret.
    pub(crate) fn sealed(&self, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, std::io::Error> {
        let Some(passphrase) = &self.passphrase else { return Ok(Zeroizing::new(secret.to_vec())) };
        let mut recipient = scrypt::Recipient::new(passphrase.text.clone());
        recipient.set_work_factor(WORK_FACTOR);
        let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
        let mut sealed = Zeroizing::new(Vec::with_capacity(secret.len() + 512));
        let mut writer = encryptor.map_err(std::io::Error::other)?.wrap_output(&mut *sealed)?;
        writer.write_all(secret)?;
        writer.finish()?;
        Ok(sealed)
    }

    fn decrypted(&self, file: &Path, sealed: &[u8]) -> Result<Arc<Zeroizing<Vec<u8>>>, StartError> {
        if let Some(known) = self.decrypted.lock().get(file) {
            return Ok(known.clone());
        }
        let Some(passphrase) = &self.passphrase else {
            let why =
                "it is encrypted, and no passphrase is set: secrets.passphrase_file, or --passphrase-file";
            return Err(StartError::file(file, why));
        };
        let opened = Arc::new(decrypt(sealed, passphrase).map_err(|why| StartError::file(file, why))?);
        self.decrypted.lock().insert(file.to_owned(), opened.clone());
        Ok(opened)
    }
}

impl Passphrase {
    /// The first line of a file.
    fn read(file: &Path) -> Result<Self, StartError> {
        let (bytes, mode) = files::read_with_mode(file)?;
        if files::is_open(mode) {
            return Err(open_to_others(file, mode));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| StartError::file(file, "it is not UTF-8"))?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(StartError::file(file, "its first line, which is the passphrase, is empty"));
        }
        let text = SecretString::from(line.to_owned());
        let mut identity = scrypt::Identity::new(text.clone());
        identity.set_max_work_factor(WORK_FACTOR_MAX);
        Ok(Self { file: file.to_owned(), text, identity })
    }
}

fn decrypt(sealed: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, String> {
    let damaged = || "it is encrypted, and damaged".to_owned();
    let decryptor = Decryptor::new_buffered(sealed).map_err(|_| damaged())?;
    if !decryptor.is_scrypt() {
        return Err("it is encrypted to a key of age, and not under a passphrase".to_owned());
    }
    let identity = std::iter::once(&passphrase.identity as &dyn age::Identity);
    let mut reader = decryptor.decrypt(identity).map_err(|why| {
        if let DecryptError::ExcessiveWork { required, .. } = why {
            format!("its work factor is {required}; allowed: up to {WORK_FACTOR_MAX}")
        } else if matches!(why, DecryptError::DecryptionFailed | DecryptError::NoMatchingKeys) {
            format!(
                "the passphrase in {} is not the one that it is encrypted under",
                passphrase.file.display()
            )
        } else {
            damaged()
        }
    })?;
    // Room for all of it at once: a vector that grows leaves its bytes behind.
    let mut opened = Zeroizing::new(Vec::with_capacity(sealed.len()));
    reader.read_to_end(&mut opened).map_err(|_| damaged())?;
    Ok(opened)
}

fn open_to_others(file: &Path, mode: u32) -> StartError {
    let why = format!(
        "it holds a secret, and others than its owner may read it (mode {mode:04o}): chmod 600 {}",
        file.display()
    );
    StartError::file(file, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    /// A folder with a passphrase in `passphrase`, and the secrets that it opens.
    fn folder() -> (tempfile::TempDir, Secrets) {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("passphrase"), b"correct horse\n", 0o600);
        let secrets = Secrets::load(Some(&folder.path().join("passphrase"))).unwrap();
        (folder, secrets)
    }

    fn put(file: &Path, bytes: &[u8], mode: u32) {
        fs::write(file, bytes).unwrap();
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }

    fn why(secrets: &Secrets, file: &Path) -> String {
        let error = secrets.read(file).err().expect("it is refused").to_string();
        error.strip_prefix(&format!("{}: ", file.display())).unwrap().to_owned()
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused_and_a_public_key_is_not() {
        let (folder, secrets) = folder();
        let file = folder.path().join("key");
        for (mode, is_open) in
            [(0o600, false), (0o400, false), (0o700, false), (0o640, true), (0o604, true), (0o644, true)]
        {
            put(&file, b"{}", mode);
            let read = secrets.read(&file).unwrap();
            assert_eq!(read.public(), b"{}");
            match read.secret() {
                Ok(bytes) => assert!(!is_open && bytes == b"{}", "{mode:o}"),
                Err(error) => {
                    let advice = format!("(mode {mode:04o}): chmod 600 {}", file.display());
                    assert!(is_open && error.to_string().ends_with(&advice), "{error}");
                }
            }
        }
    }

    #[test]
    fn what_is_encrypted_opens_with_its_passphrase_alone() {
        let (folder, secrets) = folder();
        let file = folder.path().join("key.age");
        let sealed = secrets.sealed(b"secret").unwrap();
        assert!(secrets.encrypts() && sealed.starts_with(AGE));
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        put(&file, &sealed, 0o600);
        assert_eq!(secrets.read(&file).unwrap().secret().unwrap(), b"secret");
        // Decrypted once: what lies there meanwhile is not looked at.
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        put(&file, &damaged, 0o600);
        assert_eq!(secrets.read(&file).unwrap().secret().unwrap(), b"secret");
        let again = Secrets::load(Some(&folder.path().join("passphrase"))).unwrap();
        assert_eq!(why(&again, &file), "it is encrypted, and damaged");
        put(&file, &sealed, 0o600);
        let missing =
            "it is encrypted, and no passphrase is set: secrets.passphrase_file, or --passphrase-file";
        assert_eq!(why(&Secrets::in_plain(), &file), missing);
        put(&folder.path().join("other"), b"wrong", 0o600);
        let other = Secrets::load(Some(&folder.path().join("other"))).unwrap();
        assert!(why(&other, &file).ends_with("other is not the one that it is encrypted under"));
        put(&file, &sealed, 0o640);
        assert!(why(&secrets, &file).contains("chmod 600"), "encrypted or not");
    }

    #[test]
    fn what_would_take_too_long_or_another_key_is_refused() {
        let (folder, secrets) = folder();
        let file = folder.path().join("key.age");
        let stanza = |line: &str| {
            let body = "A".repeat(43);
            [AGE, format!("-> {line}\n{body}\n--- {body}\n0123456789abcdef").as_bytes()].concat()
        };
        put(&file, &stanza("scrypt bBjlhJVYZeE4aqUdmtRHfw 19"), 0o600);
        assert_eq!(why(&secrets, &file), "its work factor is 19; allowed: up to 18");
        put(&file, &stanza("X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc"), 0o600);
        assert_eq!(why(&secrets, &file), "it is encrypted to a key of age, and not under a passphrase");
        put(&file, &[AGE_ARMORED, b"\nYWdl\n"].concat(), 0o600);
        assert_eq!(why(&secrets, &file), "it is an armored age file; encrypt it without armor");
        put(&file, &[AGE, b"-> "].concat(), 0o600);
        assert_eq!(why(&secrets, &file), "it is encrypted, and damaged");
    }

    #[test]
    fn a_passphrase_is_a_line_that_its_owner_alone_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        for (bytes, mode, expected) in [
            (&b"x\n"[..], 0o644, "chmod 600"),
            (b"", 0o600, "is empty"),
            (b"\nx", 0o600, "is empty"),
            (b"\xff\n", 0o600, "it is not UTF-8"),
        ] {
            put(&file, bytes, mode);
            let error = Secrets::load(Some(&file)).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Secrets::load(Some(&folder.path().join("none"))).is_err());
    }

    #[test]
    fn without_a_passphrase_a_secret_is_written_as_it_is() {
        let secrets = Secrets::in_plain();
        assert_eq!((&**secrets.sealed(b"secret").unwrap(), secrets.encrypts()), (&b"secret"[..], false));
    }
}
