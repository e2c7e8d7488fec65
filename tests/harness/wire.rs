//! One raw connection to the broker, plaintext, TLS or WebSocket: bytes out, whole packets in, every wait bounded.

use super::broker::Broker;
use super::packets::{self, Connect, PINGREQ, PINGRESP, Publish};
use super::websocket::WebSocket;
use super::{PATIENCE, certificates::certificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

/// One connection.
pub(crate) struct Wire {
    stream: Stream,
    local: SocketAddr,
    /// What was read and belongs to a later packet.
    read: Vec<u8>,
    /// PUBLISH packets that came while an answer was awaited.
    stashed: VecDeque<Vec<u8>>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    WebSocket(WebSocket),
}

impl Wire {
    /// A plaintext connection on which nothing was sent yet.
    pub(crate) fn open(broker: &Broker) -> Self {
        Self::open_at(broker.addr())
    }

    /// The same, to this address.
    pub(crate) fn open_at(addr: SocketAddr) -> Self {
        let tcp = tcp(addr);
        let local = tcp.local_addr().unwrap();
        Self { stream: Stream::Plain(tcp), local, read: Vec::new(), stashed: VecDeque::new() }
    }

    /// A TLS connection on which nothing was sent yet.
    pub(crate) fn open_tls(broker: &Broker) -> Self {
        Self::open_tls_as(broker, None)
    }

    /// The same, with a client certificate and its key (PEM).
    pub(crate) fn open_tls_as(broker: &Broker, own: Option<(&str, &str)>) -> Self {
        Self::open_tls_at(broker.tls_addr(), tls_config(own))
    }

    /// A TLS connection to this address, made as `config` says.
    pub(crate) fn open_tls_at(addr: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let tcp = tcp(addr);
        let local = tcp.local_addr().unwrap();
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        Self {
            stream: Stream::Tls(Box::new(StreamOwned::new(connection, tcp))),
            local,
            read: Vec::new(),
            stashed: VecDeque::new(),
        }
    }

    /// MQTT by a WebSocket on which nothing was sent yet, each [`Wire::send`] in a frame.
    pub(crate) fn by(websocket: WebSocket) -> Self {
        let local = websocket.local_addr();
        Self { stream: Stream::WebSocket(websocket), local, read: Vec::new(), stashed: VecDeque::new() }
    }

    /// Sends CONNECT on a new plaintext connection, and expects it to be accepted without a session
    /// from before.
    pub(crate) fn connect(broker: &Broker, connect: &Connect) -> Self {
        Self::open(broker).connected(connect, false)
    }

    /// The same, where a session from before is expected.
    pub(crate) fn resume(broker: &Broker, connect: &Connect) -> Self {
        Self::open(broker).connected(connect, true)
    }

    /// A client with a clean session and nothing else to say.
    pub(crate) fn client(broker: &Broker, id: &str) -> Self {
        Self::connect(broker, &Connect::new(id))
    }

    /// The same over TLS.
    pub(crate) fn client_tls(broker: &Broker, id: &str) -> Self {
        Self::open_tls(broker).connected(&Connect::new(id), false)
    }

    /// Sends CONNECT, and expects it to be accepted.
    pub(crate) fn connected(mut self, connect: &Connect, session_present: bool) -> Self {
        self.send(connect.bytes());
        self.expect(packets::connack(session_present, 0));
        self
    }

    /// The address that the broker sees.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends bytes, any bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the broker reads");
    }

    /// Sends bytes to a broker that may have closed the connection.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream: &mut dyn Write = match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream,
            Stream::WebSocket(stream) => stream,
        };
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }

    /// The next packet, whole; an error at the end of the connection or of patience.
    pub(crate) fn try_receive(&mut self) -> io::Result<Vec<u8>> {
        match self.stashed.pop_front() {
            Some(packet) => Ok(packet),
            None => self.read_packet(),
        }
    }

    fn read_packet(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = packet_length(&self.read) {
                let rest = self.read.split_off(length);
                return Ok(std::mem::replace(&mut self.read, rest));
            }
            self.fill()?;
        }
    }

    /// The next packet, whole.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        self.try_receive().expect("a packet comes")
    }

    fn fill(&mut self) -> io::Result<()> {
        let stream: &mut dyn Read = match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream,
            Stream::WebSocket(stream) => stream,
        };
        let mut room = [0; 16 * 1024];
        let n = stream.read(&mut room)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read.extend_from_slice(&room[..n]);
        Ok(())
    }

    /// The next packet is this one.
    #[track_caller]
    pub(crate) fn expect(&mut self, packet: impl AsRef<[u8]>) {
        let (got, wanted) = (self.receive(), packet.as_ref());
        let readable = |bytes: &[u8]| Publish::parse(bytes).map(|publish| format!("{publish:?}"));
        assert!(
            got == wanted,
            "expected {wanted:02x?} {:?}, got {got:02x?} {:?}",
            readable(wanted),
            readable(&got)
        );
    }

    /// This packet comes; PUBLISH packets before it are left for later.
    #[track_caller]
    pub(crate) fn expect_answer(&mut self, packet: impl AsRef<[u8]>) {
        let (got, wanted) = (self.receive_answer(), packet.as_ref());
        assert!(got == wanted, "expected {wanted:02x?}, got {got:02x?}");
    }

    /// The next packet that is no PUBLISH; those before it are left for later.
    #[track_caller]
    pub(super) fn receive_answer(&mut self) -> Vec<u8> {
        loop {
            let got = self.read_packet().expect("an answer comes");
            if got[0] >> 4 != 3 {
                return got;
            }
            self.stashed.push_back(got);
        }
    }

    /// Drops the PUBLISH packets that were left for later.
    pub(super) fn forget_stashed(&mut self) {
        self.stashed.clear();
    }

    /// The next packet is a PUBLISH.
    #[track_caller]
    pub(crate) fn expect_publish(&mut self) -> Publish {
        let packet = self.receive();
        Publish::parse(&packet).unwrap_or_else(|| panic!("expected PUBLISH, got {packet:02x?}"))
    }

    /// The next packet is a PUBLISH with this payload, and is answered as its QoS asks (QoS 2 with all
    /// of its packets).
    #[track_caller]
    pub(crate) fn take(&mut self, payload: &str) -> Publish {
        let publish = self.expect_publish();
        assert_eq!(publish.text(), payload, "{publish:?}");
        self.acknowledge(&publish);
        publish
    }

    /// Answers a PUBLISH as its QoS asks.
    #[track_caller]
    pub(crate) fn acknowledge(&mut self, publish: &Publish) {
        match publish.qos {
            0 => {}
            1 => self.send(packets::puback(publish.id)),
            _ => {
                self.send(packets::pubrec(publish.id));
                self.expect_answer(packets::pubrel(publish.id));
                self.send(packets::pubcomp(publish.id));
            }
        }
    }

    /// Nothing comes before the answer to a PINGREQ sent now, nor before a second one: whatever the
    /// broker had routed to this client by now would have been sent between the two.
    #[track_caller]
    pub(crate) fn expect_nothing_but_pong(&mut self) {
        for _ in 0..2 {
            self.send(PINGREQ);
            self.expect(PINGRESP);
        }
    }

    /// The broker closes the connection, and says nothing before.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        match self.try_receive() {
            Ok(packet) => panic!("expected the end of the connection, got {packet:02x?}"),
            Err(error) => {
                let waited = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                assert!(!waited, "the connection stays open");
                assert!(self.read.is_empty(), "a packet is cut off: {:02x?}", self.read);
            }
        }
    }

    /// Subscribes, and expects the QoS asked for.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: impl AsRef<[u8]>, qos: u8) {
        self.send(packets::subscribe(0x5B5B, &[(filter, qos)]));
        self.expect(packets::suback(0x5B5B, &[qos]));
    }

    /// Sends a message and waits until the broker has taken it over, so that it is routed when this
    /// returns: by its acknowledgement, or for QoS 0 by a PINGRESP.
    #[track_caller]
    pub(crate) fn publish(&mut self, publish: &Publish) {
        self.send(publish.bytes());
        match publish.qos {
            0 => {
                self.send(PINGREQ);
                self.expect_answer(PINGRESP);
            }
            1 => self.expect_answer(packets::puback(publish.id)),
            _ => {
                self.expect_answer(packets::pubrec(publish.id));
                self.send(packets::pubrel(publish.id));
                self.expect_answer(packets::pubcomp(publish.id));
            }
        }
    }

    /// Sends DISCONNECT, and waits until the broker has closed the connection.
    #[track_caller]
    pub(crate) fn disconnect(mut self) {
        self.send(packets::DISCONNECT);
        self.expect_closed();
    }

    /// Ends the connection without DISCONNECT.
    pub(crate) fn cut(self) {
        drop(self);
    }

    /// Ends the sending direction only.
    pub(crate) fn shut_down_sending(&mut self) {
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
            Stream::WebSocket(_) => panic!("a WebSocket says Close instead"),
        };
        stream.shutdown(Shutdown::Write).unwrap();
    }
}

fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A client that trusts the tests' authority, and shows this certificate with its key (PEM).
pub(crate) fn tls_config(own: Option<(&str, &str)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificates().ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(roots);
    Arc::new(match own {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// The length of the packet at the front, if it is there as a whole.
fn packet_length(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0;
    for (n, byte) in bytes.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            let length = 2 + n + remaining;
            return (bytes.len() >= length).then_some(length);
        }
    }
    None
}
