//! Certificates for trying the broker out: an authority and a server certificate for this machine alone.
//!
//! Owns `tls/ca.pem`, `tls/server.pem` and `tls/server.key` in the data folder: made once, then only read.
//! Always holds: there are all three or it is an error; the authority's own key is kept nowhere, so nobody
//! can make further certificates that trust in `ca.pem` would cover.

use super::tls::{self, OutsideValidity};
use crate::error::StartError;
use crate::files;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use sealmq_config::listener::Tls;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

const DAY: Duration = Duration::from_secs(86_400);
const AUTHORITY_DAYS: u32 = 3_650;
/// The longest that some systems accept of a server's certificate.
const SERVER_DAYS: u32 = 825;

/// The development certificates of a data folder.
#[derive(Debug, Clone)]
pub(crate) struct Development {
    /// The authority's certificate, for clients.
    pub(crate) ca: PathBuf,
    /// Certificate and key, for the listener.
    pub(crate) tls: Tls,
    /// Whether they were made just now.
    pub(crate) made: bool,
}

/// The authority's certificate of a data folder, whether it is there or not.
pub(crate) fn ca_file(data_dir: &Path) -> PathBuf {
    data_dir.join("tls").join("ca.pem")
}

/// Finds the development certificates of a data folder, or makes them.
pub(crate) fn ensure(data_dir: &Path) -> Result<Development, StartError> {
    match find(data_dir)? {
        Some(found) => Ok(found),
        None => make(data_dir),
    }
}

/// The development certificates of a data folder; `None` if there are none. An error if some of the three
/// files are missing, or if the server's certificate has expired.
pub(crate) fn find(data_dir: &Path) -> Result<Option<Development>, StartError> {
    let (ca, tls) = (ca_file(data_dir), Tls::development(data_dir));
    let files = [&ca, &tls.cert, &tls.key];
    let (there, missing): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.exists());
    if there.is_empty() {
        return Ok(None);
    }
    if !missing.is_empty() {
        let why = format!(
            "the development certificates are half made: {} missing; remove {} and start again",
            listed(&missing),
            listed(&there),
        );
        return Err(StartError::file(&data_dir.join("tls"), why));
    }
    match tls::outside_validity(&tls.cert)? {
        Some(outside @ OutsideValidity::Expired(_)) => {
            let why = format!(
                "the development certificate {outside}; remove {} and start again, then give the new {} to \
                 the clients",
                listed(&there),
                ca.display(),
            );
            Err(StartError::file(&tls.cert, why))
        }
        Some(OutsideValidity::NotYet(_)) | None => Ok(Some(Development { ca, tls, made: false })),
    }
}

fn make(data_dir: &Path) -> Result<Development, StartError> {
    let (ca, tls) = (ca_file(data_dir), Tls::development(data_dir));
    let folder = data_dir.join("tls");
    let pems = Pems::make(SystemTime::now())
        .map_err(|error| StartError::file(&folder, format!("cannot make the certificates: {error}")))?;
    files::create_folder(&folder)?;
    files::create(&tls.key, files::PRIVATE, pems.server_key.as_bytes())?;
    files::create(&tls.cert, files::PUBLIC, pems.server.as_bytes())?;
    files::create(&ca, files::PUBLIC, pems.authority.as_bytes())?;
    Ok(Development { ca, tls, made: true })
}

/// What goes into the three files.
struct Pems {
    authority: String,
    server: String,
    server_key: Zeroizing<String>,
}

impl Pems {
    fn make(now: SystemTime) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        name(&mut params, "sealmq development CA");
        last(&mut params, now, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        name(&mut params, "sealmq development server");
        last(&mut params, now, SERVER_DAYS);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let server = params.signed_by(&key, &authority)?;
        Ok(Self {
            authority: authority.pem(),
            server: server.pem(),
            server_key: Zeroizing::new(key.serialize_pem()),
        })
    }
}

fn name(params: &mut CertificateParams, name: &str) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
}

/// Valid from a day ago, since clocks differ, and for so many days.
fn last(params: &mut CertificateParams, now: SystemTime, days: u32) {
    let now = date_time_ymd(1970, 1, 1) + now.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = now - DAY;
    params.not_after = now + DAY * (days - 1);
}

fn listed(files: &[&PathBuf]) -> String {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn they_are_made_once_and_then_only_read() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new/data");
        assert!(find(&data).unwrap().is_none());
        let first = ensure(&data).unwrap();
        assert!(first.made);
        let read = || [&first.ca, &first.tls.cert, &first.tls.key].map(|file| fs::read(file).unwrap());
        let before = read();
        assert!(!ensure(&data).unwrap().made);
        assert_eq!(read(), before);
        assert_eq!((mode(&data), mode(&data.join("tls"))), (0o700, 0o700));
        assert_eq!((mode(&first.tls.key), mode(&first.ca)), (0o600, 0o644));
        assert_eq!(fs::read_dir(data.join("tls")).unwrap().count(), 3, "the authority's key is not kept");
    }

    #[test]
    fn a_half_made_set_is_an_error_that_says_what_to_remove() {
        let folder = tempfile::tempdir().unwrap();
        let made = ensure(folder.path()).unwrap();
        fs::remove_file(&made.tls.key).unwrap();
        let error = ensure(folder.path()).unwrap_err().to_string();
        let (key, ca, cert) = (made.tls.key.display(), made.ca.display(), made.tls.cert.display());
        assert!(
            error.contains(&format!("{key} missing; remove {ca} and {cert} and start again")),
            "{error}"
        );
    }

    #[test]
    fn an_expired_certificate_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let made = ensure(folder.path()).unwrap();
        let long_ago = Pems::make(SystemTime::now() - DAY * 830).unwrap();
        fs::write(&made.tls.cert, long_ago.server).unwrap();
        let error = ensure(folder.path()).unwrap_err().to_string();
        assert!(error.contains("the development certificate expired 6 days ago; remove"), "{error}");
    }
}
