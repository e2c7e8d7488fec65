//! What `sealmq pub` and `sealmq sub` share: whom to connect to, as whom, and how.
//!
//! Options come in, a [`Link`] goes out, or an error in a line. It is asynchronous, on one thread, so that a
//! signal, a ping that is due and a line on stdin are waited for at once. Always holds: a password is wiped, and
//! never shown.

pub(super) mod error;
mod link;
mod tls;

pub(super) use link::Link;

use super::CommandError;
use crate::files;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use error::ClientError;
use link::Stream;
use rustls::pki_types::ServerName;
use sealmq_protocol::Qos;
use sealmq_protocol::packet::{ConnAck, Connect, ConnectProperties, Version};
use std::convert::Infallible;
use std::fmt;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How long a connection may take to be there: name, TCP, TLS and CONNACK.
const CONNECT_S: u64 = 30;

/// Whom to connect to, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectArguments {
    /// The broker's name or address
    #[arg(short = 'h', long, default_value = "localhost")]
    host: String,
    /// Its port [default: 1883, with TLS 8883]
    #[arg(short, long)]
    port: Option<u16>,
    /// Version of MQTT
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5")]
    protocol_version: MqttVersion,
    /// Client id [default: the broker chooses]
    #[arg(short, long)]
    id: Option<String>,
    /// User name; the password is asked for on a terminal if none is given
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password; others on this machine can see it
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD", requires = "username")]
    password: Option<Secret>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", requires = "username", conflicts_with = "password")]
    password_file: Option<PathBuf>,
    /// Use TLS; certificates, PEM, of the authorities to trust
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// The client's own certificate, PEM
    #[arg(long, value_name = "FILE", requires_all = ["cafile", "key"])]
    cert: Option<PathBuf>,
    /// The private key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Seconds without a packet after which the connection is tested; 0 for never
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,
}

/// A version of MQTT, as it is written on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MqttVersion {
    #[value(name = "5", alias = "mqttv5")]
    V5,
    #[value(name = "311", alias = "mqttv311")]
    V311,
}

impl From<MqttVersion> for Version {
    fn from(version: MqttVersion) -> Self {
        match version {
            MqttVersion::V5 => Self::V5,
            MqttVersion::V311 => Self::V311,
        }
    }
}

/// An argument that is not shown.
#[derive(Clone)]
struct Secret(Zeroizing<String>);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What of a session is to stay when the connection ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SessionTerms {
    /// Seconds for which the session is kept; nothing for one that begins and ends with the connection.
    pub(super) kept_s: Option<u32>,
}

impl ConnectArguments {
    /// The version that is spoken.
    pub(super) fn version(&self) -> Version {
        self.protocol_version.into()
    }

    /// Reads what has to be read, connects, and awaits CONNACK.
    pub(super) async fn connect(&self, session: SessionTerms) -> Result<(Link, ConnAck), CommandError> {
        let connect = self.packet(session)?;
        let tls = match &self.cafile {
            Some(cafile) => Some(tls::connector(cafile, self.cert.as_deref().zip(self.key.as_deref()))?),
            None => None,
        };
        let port = self.port.unwrap_or(if tls.is_some() { 8883 } else { 1883 });
        let place = format!("{}:{port}", self.host);
        let opened = async {
            let failed = |why| ClientError::Connect { place: place.clone(), why };
            let tcp = TcpStream::connect((self.host.as_str(), port)).await.map_err(failed)?;
            tcp.set_nodelay(true).map_err(failed)?;
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(tcp),
                Some(tls) => Box::new(tls.connect(self.host_name()?, tcp).await.map_err(failed)?),
            };
            Link::open(place.clone(), stream, connect).await
        };
        let in_time = timeout(Duration::from_secs(CONNECT_S), opened).await;
        let silent = |_| ClientError::Silent { place: place.clone(), seconds: CONNECT_S };
        Ok(in_time.map_err(silent)??)
    }

    fn host_name(&self) -> Result<ServerName<'static>, ClientError> {
        let name = ServerName::try_from(self.host.clone());
        name.map_err(|_| ClientError::HostName { host: self.host.clone() })
    }

    fn packet(&self, session: SessionTerms) -> Result<Connect, CommandError> {
        let password = self.password()?;
        let password = password.map(|password| Bytes::copy_from_slice(password.as_bytes()));
        if self.protocol_version == MqttVersion::V311 && self.username.is_none() && password.is_some() {
            return Err(CommandError::Plain("a password needs a user name in MQTT 3.1.1".to_owned()));
        }
        Ok(Connect {
            version: self.version(),
            client_id: self.id.as_deref().unwrap_or_default().into(),
            clean_start: session.kept_s.is_none(),
            session_expiry_s: session.kept_s.unwrap_or(0),
            keep_alive_s: self.keepalive,
            will: None,
            user_name: self.username.as_deref().map(Into::into),
            password,
            properties: ConnectProperties::default(),
        })
    }

    fn password(&self) -> Result<Option<Zeroizing<String>>, CommandError> {
        if let Some(Secret(password)) = &self.password {
            return Ok(Some(password.clone()));
        }
        if let Some(file) = &self.password_file {
            let bytes = files::read_secret(file)?;
            let text = std::str::from_utf8(&bytes);
            let text = text.map_err(|_| crate::error::StartError::file(file, "it is not UTF-8"))?;
            return Ok(Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())));
        }
        match &self.username {
            Some(user) if io::stdin().is_terminal() => {
                let typed = rpassword::prompt_password(format!("Password of {user}: "));
                let failed = |why| CommandError::Stream { what: "cannot read the password", why };
                Ok(Some(Zeroizing::new(typed.map_err(failed)?)))
            }
            _ => Ok(None),
        }
    }
}

/// Ctrl-C, and SIGTERM.
pub(super) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    pub(super) fn new() -> Result<Self, CommandError> {
        let catch =
            |kind| signal(kind).map_err(|why| CommandError::Stream { what: "cannot catch signals", why });
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    /// Waits for the next of the two.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Runs a client to its end.
pub(super) fn run<T>(client: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| CommandError::Stream { what: "cannot start the runtime", why })?;
    let done = runtime.block_on(client);
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    done
}

/// A QoS, as it is written on a command line.
pub(super) fn qos(text: &str) -> Result<Qos, String> {
    let number = text.parse().ok().and_then(Qos::from_bits);
    number.ok_or_else(|| "it is 0, 1 or 2".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        connect: ConnectArguments,
    }

    fn parse(line: &str) -> Result<ConnectArguments, clap::Error> {
        let words = ["test"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.connect)
    }

    #[test]
    fn a_password_is_read_and_not_shown() {
        let arguments = parse("-u ann -P geheim").unwrap();
        assert!(!format!("{arguments:?}").contains("geheim"));
        let packet = arguments.packet(SessionTerms::default()).unwrap();
        assert_eq!(packet.user_name.as_deref(), Some("ann"));
        assert_eq!(packet.password.as_deref(), Some(&b"geheim"[..]));
        assert!(parse("-P geheim").is_err(), "a password of whom?");
    }

    #[test]
    fn the_first_line_of_a_file_is_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pw");
        std::fs::write(&file, "geheim\r\nmore\n").unwrap();
        let arguments = parse(&format!("-u ann --password-file {}", file.display())).unwrap();
        assert_eq!(arguments.password().unwrap().unwrap().as_str(), "geheim");
        std::fs::write(&file, [0xFF]).unwrap();
        assert!(arguments.password().unwrap_err().to_string().ends_with("it is not UTF-8"));
    }

    #[test]
    fn versions_go_by_their_names_and_those_of_mosquitto() {
        for (text, version) in
            [("5", Version::V5), ("mqttv5", Version::V5), ("311", Version::V311), ("mqttv311", Version::V311)]
        {
            assert_eq!(parse(&format!("-V {text}")).unwrap().version(), version);
        }
        assert!(parse("-V 4").is_err());
    }

    #[test]
    fn a_certificate_needs_its_key_and_an_authority() {
        assert!(parse("--cafile a --cert b --key c").is_ok());
        for line in ["--cert b --key c", "--cafile a --cert b", "--cafile a --key c"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_kept_session_is_not_started_clean() {
        let arguments = parse("-i c").unwrap();
        let kept = arguments.packet(SessionTerms { kept_s: Some(60) }).unwrap();
        assert!(!kept.clean_start && kept.session_expiry_s == 60);
        assert!(arguments.packet(SessionTerms::default()).unwrap().clean_start);
    }

    #[test]
    fn a_qos_is_one_of_three() {
        assert_eq!(qos("2"), Ok(Qos::ExactlyOnce));
        for text in ["3", "-1", "one", ""] {
            assert!(qos(text).is_err(), "{text}");
        }
    }
}
