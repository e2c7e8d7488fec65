//! What a broker and its devices have to know of each other: a folder with keys, certificates and
//! configuration for the one, secrets and a trusted authority for the others.

use super::content::Content;
use crate::rows::{Durability, Form};
use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use sealmq_crypto::{ContentAlgorithm, SenderKey, TopicKey};
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// What all devices publish below; each has a topic of its own.
pub(super) const ABOVE: &str = "fleet";
/// The listener without TLS, in the order of the configuration.
pub(super) const PLAINTEXT: usize = 0;
/// The listener with TLS.
pub(super) const TLS: usize = 1;

/// A fleet that is to be, and its broker.
pub(crate) struct Site {
    form: Form,
    devices: usize,
    durability: Durability,
}

/// What the clients have.
pub(crate) struct Clients {
    /// A key for each device that stamps; nothing for those that do not.
    pub(crate) keys: Vec<Option<SenderKey>>,
    /// What they seal with.
    pub(crate) content: Arc<Content>,
    /// For those on TLS.
    pub(crate) tls: Arc<ClientConfig>,
    /// Whether the devices are.
    pub(crate) devices_on_tls: bool,
}

impl Site {
    /// This many devices that send so.
    pub(crate) fn new(form: Form, devices: usize, durability: Durability) -> Result<Self> {
        anyhow::ensure!(devices > 0, "a fleet has one device or more");
        Ok(Self { form, devices, durability })
    }

    /// Makes keys and certificates, and puts into a folder what is the broker's.
    pub(crate) fn prepare(&self) -> Result<(TempDir, Clients)> {
        let folder = TempDir::new()?;
        let tls = certificates(folder.path())?;
        let mut configuration = self.configuration();
        let topic_key = match self.form {
            Form::SealedSymmetric => Some(TopicKey::generate(ABOVE, ContentAlgorithm::A256Gcm)?),
            Form::SealedAsymmetric => Some(TopicKey::generate_x25519(ABOVE)?),
            Form::Plain | Form::Stamped | Form::Tls => None,
        };
        if let Some(key) = &topic_key {
            write_secret(folder.path(), "topic.jwk", &key.to_jwk()?)?;
            let key =
                format!("[[topic_key]]\nid = \"{ABOVE}\"\nkey = \"topic.jwk\"\ntopics = [\"{ABOVE}/#\"]\n");
            configuration.push_str(&key);
        }
        let is_stamped = !matches!(self.form, Form::Plain | Form::Tls);
        let mut keys = Vec::new();
        for n in 0..self.devices {
            let key = if is_stamped { Some(SenderKey::generate(format!("dev-{n:04}"))?) } else { None };
            if let Some(key) = &key {
                std::fs::write(folder.path().join(format!("{n}.pub.jwk")), key.public().to_jwk()?)?;
                writeln!(configuration, "[[sender]]\nid = \"dev-{n:04}\"\nkey = \"{n}.pub.jwk\"")?;
                writeln!(configuration, "topics = [\"{ABOVE}/{n}\"]")?;
            }
            keys.push(key);
        }
        std::fs::write(folder.path().join("sealmq.toml"), configuration)?;
        let content = Arc::new(Content::of(topic_key));
        Ok((folder, Clients { keys, content, tls, devices_on_tls: self.form == Form::Tls }))
    }

    fn configuration(&self) -> String {
        let policy = match self.form {
            Form::Plain | Form::Tls => "plain",
            Form::Stamped => "stamped",
            Form::SealedSymmetric | Form::SealedAsymmetric => "sealed",
        };
        format!(
            "data_dir = \"data\"
[[listener]]
bind = \"127.0.0.1:0\"
[[listener]]
bind = \"127.0.0.1:0\"
[listener.tls]
cert = \"server.pem\"
key = \"server.key\"
[storage]
durability = \"{}\"
[telemetry]
sys_interval_s = 0
[[policy]]
topics = [\"{ABOVE}/#\"]
payload = \"{policy}\"
",
            self.durability
        )
    }
}

/// Writes the server's certificate and key; answers what a client needs to trust them.
fn certificates(folder: &Path) -> Result<Arc<ClientConfig>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "sealmq study authority");
    let key = KeyPair::generate()?;
    let mut roots = RootCertStore::empty();
    roots.add(params.self_signed(&key)?.der().clone())?;
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&own, &issuer)?;
    std::fs::write(folder.join("server.pem"), server.pem())?;
    write_secret(folder, "server.key", &own.serialize_pem())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(&[&TLS13])?.with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    // Every device is a stranger to the broker: none goes on with the session of another.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn write_secret(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}
