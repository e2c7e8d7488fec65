//! `[[listener]]`: where to listen, and with which certificate.

use crate::reader::{REQUIRED, Reader};
use crate::value::text;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes any free one.
    pub bind: SocketAddr,
    /// TLS; without it the listener is plaintext.
    pub tls: Option<Tls>,
    /// Whether MQTT comes in WebSocket frames.
    pub websocket: bool,
    /// The web pages that may connect by WebSocket, in the form that browsers send; `"*"` stands for all.
    /// Without it: all of them if `bind` is a loopback address, else none.
    pub origins: Option<Vec<String>>,
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
    /// One that speaks plain MQTT over TCP.
    pub fn plaintext(bind: SocketAddr) -> Self {
        Self { bind, tls: None, websocket: false, origins: None }
    }

    /// The four of a broker without configuration file, on 127.0.0.1: plaintext on 1883 and TLS on 8883, with
    /// [`Tls::development`]; the same by WebSocket on 8083 and 8084.
    pub fn development(data_dir: &Path) -> [Self; 4] {
        let plain = |port| Self::plaintext((Ipv4Addr::LOCALHOST, port).into());
        let secure = |port| Self { tls: Some(Tls::development(data_dir)), ..plain(port) };
        [
            plain(1883),
            secure(8883),
            Self { websocket: true, ..plain(8083) },
            Self { websocket: true, ..secure(8084) },
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
        let websocket = listener.boolean("websocket", false);
        let origins = listener.each_optional(
            "origins",
            (
                "a list of origins, such as \"https://app.example:8443\", or \"*\" for any",
                "an origin, such as \"https://app.example:8443\", or \"*\" for any",
            ),
            origin,
        );
        Some(Self { bind: bind?, tls, websocket, origins })
    }
}

/// An origin as browsers send it (RFC 6454 §6.2): lower case, without the port that the scheme implies.
fn origin(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let text = text.to_ascii_lowercase();
    let (scheme, place) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    // A host in brackets is an IPv6 address, whose colons begin no port.
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (place, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    let port = match port {
        None => None,
        Some(port) => Some(port.parse::<u16>().ok()?),
    };
    if !is_scheme || !is_host {
        return None;
    }
    match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => Some(format!("{scheme}://{host}")),
        (_, Some(port)) => Some(format!("{scheme}://{host}:{port}")),
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
