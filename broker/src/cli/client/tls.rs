//! TLS towards a broker: whom to trust, and what to show, from PEM files.
//!
//! File names come in, what connects goes out. Always holds: TLS 1.2 or 1.3, and a broker's certificate that
//! none of the named authorities has signed for its name ends the connection.

use crate::error::StartError;
use crate::listener::tls::{certificates, private_key};
use rustls::crypto::ring::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// What TLS connections are made with; `own` is the client's certificate and its key.
pub(super) fn connector(cafile: &Path, own: Option<(&Path, &Path)>) -> Result<TlsConnector, StartError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(cafile)? {
        roots.add(certificate).map_err(|error| StartError::file(cafile, error.to_string()))?;
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| StartError::file(cafile, error.to_string()))?;
    let builder = versions.with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| StartError::file(cert, error.to_string()))?,
    };
    Ok(TlsConnector::from(Arc::new(config)))
}
