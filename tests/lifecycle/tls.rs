//! TLS: both versions, and client certificates where a listener asks for them.

use crate::harness::certificates::{Certificates, Pair, certificates};
use crate::harness::clients::{Subscriber, publish_tls, tls};
use crate::harness::packets::connack;
use crate::harness::{Broker, Connect, Publish, Setup, Wire};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::sync::Arc;

/// A client that trusts this authority alone.
pub(super) fn trusting(ca: &str) -> Arc<ClientConfig> {
    speaking(&[&TLS13, &TLS12], ca)
}

/// A client that speaks these versions alone.
fn speaking(versions: &[&'static SupportedProtocolVersion], ca: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

#[test]
fn both_versions_are_spoken() {
    let broker = Broker::start();
    for version in [&TLS12, &TLS13] {
        let config = speaking(&[version], &certificates().ca);
        let mut wire = Wire::open_tls_at(broker.tls_addr(), config).connected(&Connect::new("c"), false);
        wire.subscribe("a", 1);
        wire.publish(&Publish::new("a", vec![b'x'; 100_000]).qos(1, 1));
        assert_eq!(wire.expect_publish().payload.len(), 100_000);
    }
}

#[test]
fn both_versions_are_spoken_with_mosquitto() {
    let broker = Broker::start();
    for version in ["tlsv1.2", "tlsv1.3"] {
        let subscriber = Subscriber::start_tls(&broker, &["-t", "a", "-q", "1", "--tls-version", version]);
        let sent = publish_tls(&broker, &["-t", "a", "-m", version, "-q", "1", "--tls-version", version]);
        assert!(sent.status.success(), "{sent:?}");
        assert_eq!(subscriber.message(0).text(), version);
    }
}

/// What is no TLS on a TLS listener, and the reverse, is closed.
#[test]
fn wrong_kind_of_listener_is_closed() {
    let broker = Broker::start();
    let mut plain = Wire::open_at(broker.tls_addr());
    plain.send(Connect::new("plain").bytes());
    while plain.try_receive().is_ok() {}
    broker.log_line(|line| line.contains("TLS handshake failed"));
    assert!(Wire::open_tls_at(broker.addr(), trusting(&certificates().ca)).try_send("x").is_err());
}

const CLIENT_CA: &str = r#"
[[listener]]
bind = "127.0.0.1:0"
[listener.tls]
cert = "server.pem"
key = "server.key"
client_ca = "ca.pem"
"#;

fn own(pair: &Pair) -> (&str, &str) {
    (&pair.cert, &pair.key)
}

#[test]
fn client_with_a_certificate_is_let_in() {
    let broker = Broker::with_config(CLIENT_CA);
    let mut wire = Wire::open_tls_as(&broker, Some(own(&certificates().client)));
    wire.send(Connect::new("c").bytes());
    wire.expect(connack(false, 0));
}

/// With TLS 1.3 the client learns of it with its first read.
#[test]
fn client_without_a_certificate_is_not_let_in() {
    let broker = Broker::with_config(CLIENT_CA);
    let foreign = Certificates::make();
    for (n, pair) in [None, Some(own(&foreign.client))].into_iter().enumerate() {
        let mut wire = Wire::open_tls_as(&broker, pair);
        let sent = wire.try_send(Connect::new("c").bytes());
        assert!(sent.is_err() || wire.try_receive().is_err());
        let line = broker.log().nth_line(n, |line| line.contains("TLS handshake failed"));
        assert_eq!(line.field("addr"), Some(&*wire.local_addr().to_string()));
    }
}

#[test]
fn client_certificates_work_with_mosquitto() {
    let made = certificates();
    let setup = Setup::new().file("client.pem", &made.client.cert).file("client.key", &made.client.key);
    let broker = setup.config(CLIENT_CA).start();
    let file = |name: &str| broker.dir().join(name).display().to_string();
    let (cert, key) = (file("client.pem"), file("client.key"));
    let identity = ["--cert", &cert, "--key", &key];
    let subscriber = Subscriber::start_tls(&broker, &[&["-t", "a"], &identity[..]].concat());
    let sent = publish_tls(&broker, &[&["-t", "a", "-m", "1"], &identity[..]].concat());
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(subscriber.message(0).text(), "1");
    let refused = publish_tls(&broker, &["-t", "a", "-m", "2", "-q", "1"]);
    assert!(!refused.status.success(), "{refused:?}");
    let refused = Subscriber::spawn(tls(&broker), &["-t", "a"]);
    broker.log().nth_line(1, |line| line.contains("TLS handshake failed"));
    assert!(refused.messages_so_far().is_empty());
}
