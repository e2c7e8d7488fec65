//! TLS of a listener: certificate, key and the clients' authorities, from PEM files.
//!
//! File names come in, what rustls needs to accept a connection goes out. Always holds: TLS 1.2 or 1.3; the
//! key is the certificate's; where a client authority is named, nobody gets in without a certificate of it.

use crate::error::StartError;
use crate::files;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, RootCertStore, ServerConfig};
use sealmq_config::listener::Tls;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// What a listener accepts TLS connections with.
pub(crate) fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, StartError> {
    for warning in warnings(tls) {
        tracing::warn!("{warning}");
    }
    let provider = Arc::new(default_provider());
    let chain = certificates(&tls.cert)?;
    let key = private_key(&tls.key)?;
    let clients = match &tls.client_ca {
        Some(file) => client_verifier(file, &provider)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| StartError::file(&tls.cert, error.to_string()))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| refused(tls, &error))?;
    // Thousands of devices that come back at once each resume with a ticket, and we need to remember none
    // of them. The tickets' key is this configuration's own: a reload makes all of them worthless.
    config.ticketer =
        Ticketer::new().map_err(|_| StartError::file(&tls.key, "the system gave no random bytes"))?;
    Ok(Arc::new(config))
}

/// What works, for the broker or for some clients, and should not stay so.
pub(crate) fn warnings(tls: &Tls) -> Vec<String> {
    let outside = outside_validity(&tls.cert).ok().flatten();
    let cert = outside.map(|outside| format!("{}: the certificate {outside}", tls.cert.display()));
    let open = files::others_may_read(&tls.key);
    let key =
        open.then(|| format!("{}: can be read by others than its owner; chmod 600 it", tls.key.display()));
    cert.into_iter().chain(key).collect()
}

/// Whether the first certificate in a file is valid now; an error only if there is none.
pub(crate) fn outside_validity(cert: &Path) -> Result<Option<OutsideValidity>, StartError> {
    let chain = certificates(cert)?;
    Ok(chain.first().and_then(|cert| validity(cert, UnixTime::now())))
}

/// How a certificate is not valid now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutsideValidity {
    /// Not any more, since so many seconds.
    Expired(u64),
    /// Not for so many seconds yet.
    NotYet(u64),
}

impl fmt::Display for OutsideValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Expired(seconds) | Self::NotYet(seconds)) = *self;
        let time = match (seconds / 86_400, seconds / 3_600) {
            (0, 0) => "less than an hour".to_owned(),
            (0, 1) => "an hour".to_owned(),
            (0, hours) => format!("{hours} hours"),
            (1, _) => "a day".to_owned(),
            (days, _) => format!("{days} days"),
        };
        match self {
            Self::Expired(_) => write!(f, "expired {time} ago"),
            Self::NotYet(_) => write!(f, "is not valid for {time} yet; is the clock right?"),
        }
    }
}

pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let text = fs::read(file).map_err(|why| StartError::io(file, "read it", why))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| StartError::file(file, pem_error(&error)))?;
    if found.is_empty() {
        return Err(StartError::file(file, "there is no certificate in it, in PEM form"));
    }
    Ok(found)
}

pub(crate) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, StartError> {
    let text = files::read_secret(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let encrypted = text.windows(9).any(|word| word == b"ENCRYPTED");
        let nothing = matches!(error, pem::Error::NoItemsFound);
        let why = match (nothing, encrypted) {
            (true, true) => "the private key is encrypted; it has to be without a passphrase",
            (true, false) => "there is no private key in it, in PEM form",
            (false, _) => pem_error(&error),
        };
        StartError::file(file, why)
    })
}

/// What is wrong with a PEM file. The library's own words would quote what stands there.
fn pem_error(error: &pem::Error) -> &'static str {
    if matches!(error, pem::Error::MissingSectionEnd { .. }) {
        "it is cut off: an END line is missing"
    } else if matches!(error, pem::Error::IllegalSectionStart { .. }) {
        "it is not in PEM form: a BEGIN line is broken"
    } else if matches!(error, pem::Error::Base64Decode(_)) {
        "it is not in PEM form: there is something that is not base64"
    } else {
        "it is not in PEM form"
    }
}

fn client_verifier(
    file: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, StartError> {
    let mut roots = RootCertStore::empty();
    for cert in certificates(file)? {
        roots.add(cert).map_err(|_| StartError::file(file, "it holds a certificate that cannot be read"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    verifier.map_err(|error| StartError::file(file, error.to_string()))
}

/// Certificate and key were both read; which of them is to blame?
fn refused(tls: &Tls, error: &rustls::Error) -> StartError {
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        let why = format!("the private key does not belong to the certificate in {}", tls.cert.display());
        StartError::file(&tls.key, why)
    } else if matches!(error, rustls::Error::InvalidCertificate(_)) {
        StartError::file(&tls.cert, "the certificate cannot be read")
    } else {
        StartError::file(&tls.key, format!("the private key cannot be used: {error}"))
    }
}

/// Asks the verifier of servers' certificates, which looks at the time before anything else, and passes
/// over whatever else it says: a certificate is not judged here.
fn validity(cert: &CertificateDer<'static>, now: UnixTime) -> Option<OutsideValidity> {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).ok()?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider())).build();
    let name = ServerName::try_from("localhost").ok()?;
    let answer = verifier.ok()?.verify_server_cert(cert, &[], &name, &[], now);
    let Err(rustls::Error::InvalidCertificate(error)) = answer else { return None };
    if let CertificateError::ExpiredContext { time, not_after } = error {
        return Some(OutsideValidity::Expired(time.as_secs().saturating_sub(not_after.as_secs())));
    }
    if let CertificateError::NotValidYetContext { time, not_before } = error {
        return Some(OutsideValidity::NotYet(not_before.as_secs().saturating_sub(time.as_secs())));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::development;
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::{ClientConfig, ClientConnection, ServerConnection, SupportedProtocolVersion};
    use std::path::PathBuf;
    use std::time::Duration;

    struct Made {
        ca: PathBuf,
        tls: Tls,
    }

    impl Made {
        fn new(data_dir: &Path) -> Self {
            development::ensure(data_dir).unwrap();
            Self { ca: development::ca_file(data_dir), tls: Tls::development(data_dir) }
        }
    }

    /// A client and a server that talk until both are content or one is not.
    fn handshake(
        server: Arc<ServerConfig>,
        client: ClientConfig,
        name: &str,
    ) -> Result<ClientConnection, rustls::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        for _turn in 0..10 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut wire = wire.as_slice();
            while !wire.is_empty() {
                server.read_tls(&mut wire).unwrap();
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut wire = wire.as_slice();
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets()?;
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok(client)
    }

    fn client(
        ca: &Path,
        version: &'static SupportedProtocolVersion,
        own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(ca).unwrap());
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        match own {
            Some((cert, key)) => builder.with_client_auth_cert(vec![cert], key).unwrap(),
            None => builder.with_no_client_auth(),
        }
    }

    #[test]
    fn the_development_certificate_is_accepted_by_name_and_address() {
        let folder = tempfile::tempdir().unwrap();
        let made = Made::new(folder.path());
        let server = server_config(&made.tls).unwrap();
        for version in [&TLS12, &TLS13] {
            for name in ["localhost", "127.0.0.1", "::1"] {
                let client = handshake(Arc::clone(&server), client(&made.ca, version, None), name).unwrap();
                assert_eq!(client.protocol_version(), Some(version.version), "{name}");
            }
            assert!(handshake(Arc::clone(&server), client(&made.ca, version, None), "example.org").is_err());
        }
    }

    #[test]
    fn with_a_client_authority_nobody_gets_in_without_its_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let made = Made::new(folder.path());
        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = rcgen::CertifiedIssuer::self_signed(params, authority_key).unwrap();
        let client_ca = folder.path().join("clients.pem");
        fs::write(&client_ca, authority.pem()).unwrap();
        let cert = CertificateParams::default().signed_by(&key, &authority).unwrap().der().clone();
        let alone = CertificateParams::default().self_signed(&key).unwrap().der().clone();
        let server = server_config(&Tls { client_ca: Some(client_ca), ..made.tls.clone() }).unwrap();
        for version in [&TLS12, &TLS13] {
            let key = || PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let with = |own| handshake(Arc::clone(&server), client(&made.ca, version, own), "localhost");
            assert!(with(Some((cert.clone(), key()))).is_ok());
            assert!(with(Some((alone.clone(), key()))).is_err());
            assert!(with(None).is_err());
        }
    }

    #[test]
    fn errors_name_the_file_and_quote_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let made = Made::new(folder.path());
        let other = folder.path().join("other");
        let stranger = KeyPair::generate().unwrap().serialize_pem();
        let with_cert = Tls { cert: other.clone(), ..made.tls.clone() };
        let with_key = Tls { key: other.clone(), ..made.tls.clone() };
        let with_ca = Tls { client_ca: Some(other.clone()), ..made.tls.clone() };
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (tls, text, expected) in [
            (&with_cert, "hello", "there is no certificate in it, in PEM form"),
            (&with_cert, cut, "it is cut off: an END line is missing"),
            (&with_cert, junk, "the certificate cannot be read"),
            (&with_key, "hello", "there is no private key in it, in PEM form"),
            (&with_key, encrypted, "the private key is encrypted; it has to be without a passphrase"),
            (&with_key, &stranger, "the private key does not belong to the certificate in"),
            (&with_ca, junk, "it holds a certificate that cannot be read"),
        ] {
            fs::write(&other, text).unwrap();
            let error = server_config(tls).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: {expected}", other.display())), "{error}");
        }
        fs::remove_file(&other).unwrap();
        let error = server_config(&with_key).unwrap_err().to_string();
        assert!(error.ends_with("cannot read it: there is no such file or folder"), "{error}");
    }

    #[test]
    fn a_certificate_outside_its_validity_is_noticed() {
        let mut params = CertificateParams::new(["example.org".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        let at = |seconds| validity(&cert, UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!(at(1_577_836_799), Some(OutsideValidity::NotYet(1)));
        assert_eq!(at(1_577_836_800), None);
        assert_eq!(at(1_609_459_200 + 86_400 * 3), Some(OutsideValidity::Expired(86_400 * 3)));
        assert_eq!(OutsideValidity::Expired(86_400 * 3).to_string(), "expired 3 days ago");
        assert_eq!(OutsideValidity::Expired(7_200).to_string(), "expired 2 hours ago");
    }
}
