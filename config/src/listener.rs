//! `[[listener]]`: where to listen, and with which certificate.

use crate::reader::{REQUIRED, Reader};
use crate::value::text;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes any free one.
    pub bind: SocketAddr,
    /// TLS; without it the listener is plaintext.
    pub tls: Option<Tls>,
}

/// Certificate and key of a TLS listener, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates that sign clients' certificates; set: clients must show one.
    pub client_ca: Option<PathBuf>,
}

impl Listener {
    /// The two of a broker without configuration file: plaintext on 127.0.0.1:1883 and TLS on
    /// 127.0.0.1:8883, with [`Tls::development`].
    pub fn development(data_dir: &Path) -> [Self; 2] {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        [
            Self { bind: local(1883), tls: None },
            Self { bind: local(8883), tls: Some(Tls::development(data_dir)) },
        ]
    }

    pub(crate) fn read(listener: &mut Reader<'_>) -> Option<Self> {
        let bind = listener.value(
            "bind",
            "an address and a port, such as \"0.0.0.0:1883\" or \"[::]:1883\"",
            REQUIRED,
            |value| text(value)?.parse().ok(),
        );
        let tls = listener.table_optional("tls", Tls::read);
        Some(Self { bind: bind?, tls })
    }
}

impl Tls {
    /// Where the certificate that a broker makes for itself stands: `tls/server.pem` and
    /// `tls/server.key` in the data folder.
    pub fn development(data_dir: &Path) -> Self {
        let folder = data_dir.join("tls");
        Self { cert: folder.join("server.pem"), key: folder.join("server.key"), client_ca: None }
    }

    fn read(tls: &mut Reader<'_>) -> Option<Self> {
        let cert = tls.path_required("cert");
        let key = tls.path_required("key");
        let client_ca = tls.path_optional("client_ca");
        Some(Self { cert: cert?, key: key?, client_ca })
    }
}
