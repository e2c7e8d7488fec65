//! Certificates for TLS: one authority, made once for each run of the tests, and what it signs.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::sync::OnceLock;

/// An authority that the tests trust, a server certificate for `localhost` and `127.0.0.1`, and one
/// for a client; all PEM.
pub(crate) struct Certificates {
    /// The authority's certificate.
    pub(crate) ca: String,
    /// The server's certificate and its key.
    pub(crate) server: Pair,
    /// The client's certificate and its key.
    pub(crate) client: Pair,
}

/// A certificate and its private key, PEM.
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) cert: String,
    /// The private key.
    pub(crate) key: String,
}

/// The certificates of this run.
pub(crate) fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(Certificates::make)
}

impl Certificates {
    /// An authority of its own, with what it signs: for tests that need a second one.
    pub(crate) fn make() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "sealmq test authority");
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let server = pair(&issuer, "localhost", &["localhost", "127.0.0.1"]);
        let client = pair(&issuer, "test-client", &["test-client"]);
        Self { ca, server, client }
    }
}

fn pair(issuer: &Issuer<'_, KeyPair>, name: &str, alternatives: &[&str]) -> Pair {
    let alternatives: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(alternatives).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, issuer).unwrap().pem();
    Pair { cert, key: key.serialize_pem() }
}
