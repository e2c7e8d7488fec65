//! The broker's own Ed25519 key: what it stamps with, and by which devices know it.
//!
//! The configuration comes in, the key under the configuration's id goes out. Always holds: a file that was
//! named is never made, so that a wrong path is an error and no new identity; the default one is made where it
//! is missing, for its owner alone, and encrypted where there is a passphrase.

use crate::error::StartError;
use crate::now::Now;
use crate::secrets::Secrets;
use crate::{files, keys};
use sealmq_config::Config;
use sealmq_crypto::{Freshness, SenderKey};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Reads the key.
pub(crate) fn load(config: &Config, secrets: &Secrets) -> Result<SenderKey, StartError> {
    let file = config.identity.file(&config.data_dir);
    if config.identity.key.is_none() && !file.exists() {
        return Err(StartError::file(&file, "the broker's identity is not there; the first start makes it"));
    }
    let key = keys::sender_secret(secrets, &file).map_err(|error| error.at("identity.key"))?;
    Ok(key.with_id(config.identity.id.as_str()))
}

/// Makes the key, if none is named and none is there. Whether it did.
pub(crate) fn ensure(config: &Config) -> Result<bool, StartError> {
    let file = config.identity.file(&config.data_dir);
    if config.identity.key.is_some() || file.exists() {
        return Ok(false);
    }
    let made = SenderKey::generate(config.identity.id.as_str()).and_then(|key| key.to_jwk());
    let jwk = made.map_err(|error| StartError::file(&file, format!("cannot make the key: {error}")))?;
    if let Some(folder) = file.parent() {
        files::create_folder(folder)?;
    }
    let mut line = Zeroizing::new(String::with_capacity(jwk.len() + 1));
    line.push_str(&jwk);
    line.push('\n');
    let sealed = Secrets::of(config)?.sealed(line.as_bytes());
    let sealed = sealed.map_err(|why| StartError::io(&file, "encrypt it", why))?;
    files::create(&file, files::PRIVATE, &sealed)?;
    Ok(true)
}

/// Whether a start would make the key.
pub(crate) fn is_to_come(config: &Config) -> bool {
    config.identity.key.is_none() && !config.identity.file(&config.data_dir).exists()
}

/// The numbers under the broker's stamps: one for each, for all who get any, beside the time.
///
/// They begin at the microseconds since 1970 and count up by one, so that none comes twice after a restart
/// either: a process stamps fewer than a million a second. Nothing has to be kept for that, but a clock that is
/// right; after one that was set back, receivers refuse what comes until it has caught up.
pub(crate) struct Stamps(AtomicU64);

impl Stamps {
    /// For a broker that starts now.
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(AtomicU64::new(u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2)))
    }

    /// For the next stamp.
    pub(crate) fn next(&self, now: Now) -> Freshness {
        Freshness::Both { seq: self.0.fetch_add(1, Ordering::Relaxed), time: now.unix_s }
    }

    /// One that takes as much room as any: until 2106 times do not grow.
    pub(crate) fn longest(now: Now) -> Freshness {
        Freshness::Both { seq: u64::MAX, time: now.unix_s.max(u32::MAX.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn load(config: &Config) -> Result<SenderKey, StartError> {
        super::load(config, &Secrets::in_plain())
    }

    fn config(folder: &Path) -> Config {
        Config { data_dir: folder.join("data"), ..Config::default() }
    }

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        assert!(is_to_come(&config));
        let error = load(&config).unwrap_err().to_string();
        assert!(error.ends_with("the broker's identity is not there; the first start makes it"), "{error}");
        assert!(ensure(&config).unwrap() && !is_to_come(&config));
        let file = folder.path().join("data/keys/identity.jwk");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let key = load(&config).unwrap();
        assert!(!ensure(&config).unwrap());
        assert!(load(&config).unwrap() == key && key.id() == b"sealmq");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = load(&config).unwrap_err().to_string();
        assert!(error.starts_with("identity.key: ") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn under_a_passphrase_it_is_encrypted() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        let passphrase = folder.path().join("passphrase");
        files::create(&passphrase, files::PRIVATE, b"correct horse\n").unwrap();
        config.secrets.passphrase_file = Some(passphrase);
        assert!(ensure(&config).unwrap());
        let file = folder.path().join("data/keys/identity.jwk");
        assert!(fs::read(&file).unwrap().starts_with(b"age-encryption.org/v1\n"));
        assert!(!ensure(&config).unwrap());
        assert_eq!(super::load(&config, &Secrets::of(&config).unwrap()).unwrap().id(), b"sealmq");
        let error = load(&config).unwrap_err().to_string();
        assert!(error.contains("no passphrase is set"), "{error}");
    }

    #[test]
    fn the_configuration_names_key_and_id() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        let file = folder.path().join("own.jwk");
        config.identity.key = Some(file.clone());
        config.identity.id = "plant".to_owned();
        assert!(!ensure(&config).unwrap() && !file.exists(), "a named file is not made");
        let error = load(&config).unwrap_err().to_string();
        assert!(error.starts_with("identity.key: ") && error.contains("own.jwk: cannot read it"), "{error}");
        let own = SenderKey::generate("other").unwrap();
        files::create(&file, files::PRIVATE, own.to_jwk().unwrap().as_bytes()).unwrap();
        assert_eq!(load(&config).unwrap(), own.with_id("plant"));
    }

    #[test]
    fn no_number_comes_twice_not_even_after_a_restart() {
        let seq = |stamps: &Stamps| {
            let Freshness::Both { seq, time } = stamps.next(Now::read()) else { panic!("both") };
            assert!(time > 0);
            seq
        };
        let first = Stamps::new();
        let numbers = [seq(&first), seq(&first), seq(&first)];
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        // No clock is finer than that, and no stamp made as fast.
        let begun = std::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_micros(10) {}
        assert!(seq(&Stamps::new()) > numbers[2]);
    }

    #[test]
    fn half_a_key_stamps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        let file = folder.path().join("own.pub.jwk");
        fs::write(&file, SenderKey::generate("own").unwrap().public().to_jwk().unwrap()).unwrap();
        config.identity.key = Some(file);
        assert!(load(&config).unwrap_err().to_string().contains("to stamp, the secret one is needed"));
    }
}
