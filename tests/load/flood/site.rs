//! Who takes part in a flood: keys, certificates and configuration for the broker, and what is sent, made
//! beforehand so that sending costs next to nothing.

use super::Flood;
use crate::message::Stamp;
use crate::packets::{Version, packet, text};
use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use sealmq_crypto::{ContentAlgorithm, ContentKey, Freshness, SenderKey, TopicKey, seal};
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// What all publish below; each has a topic of its own.
pub(super) const ABOVE: &str = "flood";
/// The listener without TLS, in the order of the configuration.
pub(super) const PLAINTEXT: usize = 0;
/// The listener with TLS.
pub(super) const TLS: usize = 1;

/// How the one is called that floods.
const FLOODER: &str = "flooder";
/// Numbers begin here, so that all take the same room.
const FIRST_SEQ: u64 = 1 << 16;
/// Different bad stamps, sent over and over.
const BAD_STAMPS: u64 = 256;

/// See the module's description.
pub(super) struct Site {
    /// The packets of each honest sender, in their order.
    pub(super) honest: Vec<Vec<Vec<u8>>>,
    /// Packets with bad stamps, one behind the other.
    pub(super) bad: Vec<u8>,
    /// Bytes of each of them.
    pub(super) bad_bytes: usize,
    /// For the subscriber.
    pub(super) tls: Arc<ClientConfig>,
    /// What the broker finds.
    files: Vec<File>,
}

/// Name and text.
type File = (String, String);

impl Site {
    /// Makes everything.
    pub(super) fn new(flood: &Flood) -> Result<Self> {
        let (tls, mut files) = certificates()?;
        let mut configuration = configuration(flood);
        let key = TopicKey::generate(ABOVE, ContentAlgorithm::A256Gcm)?;
        files.push(("topic.jwk".to_owned(), key.to_jwk()?.to_string()));
        let mut enrol = |name: &str| -> Result<SenderKey> {
            let sender = SenderKey::generate(name)?;
            files.push((format!("{name}.pub.jwk"), sender.public().to_jwk()?));
            write!(configuration, "[[sender]]\nid = \"{name}\"\nkey = \"{name}.pub.jwk\"\n")?;
            writeln!(configuration, "topics = [\"{ABOVE}/{name}\"]")?;
            Ok(sender)
        };
        let mut honest = Vec::new();
        for n in 0..flood.senders {
            let name = format!("honest-{n}");
            let sender = enrol(&name)?;
            let packets = (0..flood.messages()).map(|number| {
                let reading = Stamp { sent_ns: 0, publisher: n, number }.bytes();
                publish(&sender, &key, &name, &reading, FIRST_SEQ + u64::from(number), false)
            });
            honest.push(packets.collect::<Result<_>>()?);
        }
        let flooder = enrol(FLOODER)?;
        let bad = (0..BAD_STAMPS).map(|n| publish(&flooder, &key, FLOODER, &[0; 16], FIRST_SEQ + n, true));
        let bad = bad.collect::<Result<Vec<_>>>()?;
        files.push(("sealmq.toml".to_owned(), configuration));
        let bad_bytes = bad.first().map_or(0, Vec::len);
        Ok(Self { honest, bad: bad.concat(), bad_bytes, tls, files })
    }

    /// A folder for a broker that knows nothing yet.
    pub(super) fn folder(&self) -> Result<TempDir> {
        let folder = TempDir::new()?;
        for (name, text) in &self.files {
            write_private(&folder.path().join(name), text)?;
        }
        Ok(folder)
    }
}

/// A PUBLISH of QoS 0 with an envelope of this sender, whose stamp holds or not.
fn publish(
    sender: &SenderKey,
    key: &TopicKey,
    name: &str,
    reading: &[u8],
    seq: u64,
    is_bad: bool,
) -> Result<Vec<u8>> {
    let topic = format!("{ABOVE}/{name}");
    let mut envelope = seal(sender, Some(ContentKey::from(key)), &topic, reading, Freshness::Seq(seq))?;
    // The stamp is at the end.
    if is_bad && let Some(last) = envelope.last_mut() {
        *last ^= 1;
    }
    Ok(packet(0x30, &[text(&topic), Version::V5.properties(&[]), envelope].concat()))
}

fn configuration(flood: &Flood) -> String {
    format!(
        "data_dir = \"data\"
[[listener]]
bind = \"127.0.0.1:0\"
[[listener]]
bind = \"127.0.0.1:0\"
[listener.tls]
cert = \"server.pem\"
key = \"server.key\"
[telemetry]
sys_interval_s = 1
[limits]
failed_stamps_per_connection = {}
failed_stamps_per_address = {}
[[policy]]
topics = [\"{ABOVE}/#\"]
payload = \"sealed\"
[[topic_key]]
id = \"{ABOVE}\"
key = \"topic.jwk\"
topics = [\"{ABOVE}/#\"]
",
        flood.per_connection, flood.per_address
    )
}

/// What a client needs to trust the server, and the server's certificate and key.
fn certificates() -> Result<(Arc<ClientConfig>, Vec<File>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "sealmq load authority");
    let key = KeyPair::generate()?;
    let mut roots = RootCertStore::empty();
    roots.add(params.self_signed(&key)?.der().clone())?;
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&own, &issuer)?;
    let files = vec![("server.pem".to_owned(), server.pem()), ("server.key".to_owned(), own.serialize_pem())];
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    Ok((Arc::new(config.with_no_client_auth()), files))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}
