//! `[[listener]]`: where to listen, and with which certificate.

use std::net::SocketAddr;
use std::path::PathBuf;

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Listener {
    /// Address and port.
    pub bind: SocketAddr,
    /// TLS; without it the listener is plaintext.
    pub tls: Option<Tls>,
}

/// Certificate and key of a TLS listener, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Tls {
    /// The server's certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates that sign clients' certificates; set: clients must show one.
    pub client_ca: Option<PathBuf>,
}
