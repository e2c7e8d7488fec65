//! A WebSocket client of the tests' own (RFC 6455): frames go out as they are asked for, right or wrong, and
//! come in one by one. Written into and read from as a stream, it carries MQTT: each write is a binary frame.

use super::PATIENCE;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// Set on the last frame of a message.
pub(crate) const FIN: u8 = 0x80;
/// Opcode of a frame that goes on with a message.
pub(crate) const CONTINUATION: u8 = 0x0;
/// Opcode of a text frame.
pub(crate) const TEXT: u8 = 0x1;
/// Opcode of a binary frame.
pub(crate) const BINARY: u8 = 0x2;
/// First byte of a Close.
pub(crate) const CLOSE: u8 = FIN | 0x8;
/// First byte of a ping.
pub(crate) const PING: u8 = FIN | 0x9;
/// First byte of its answer.
pub(crate) const PONG: u8 = FIN | 0xA;

/// What every request of the tests has, but for path, subprotocol and origin. The key is that of
/// RFC 6455 §1.3, and so is the answer to it.
const HEADERS: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ANSWER_TO_KEY: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Any will do; a client's frames are masked.
const MASK: [u8; 4] = [0xA5, 0x5A, 0x3C, 0xC3];

/// One frame from the broker: its first byte and its payload.
pub(crate) type Frame = (u8, Vec<u8>);

/// A stream of either kind.
trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// One connection.
pub(crate) struct WebSocket {
    stream: Box<dyn Stream>,
    local: SocketAddr,
    /// Payload of binary frames that was not read yet.
    read: Vec<u8>,
}

/// The request for an upgrade: path, offered subprotocols, further lines.
pub(crate) fn request(path: &str, subprotocols: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{HEADERS}Sec-WebSocket-Protocol: {subprotocols}\r\n{more}\r\n")
}

impl WebSocket {
    /// A connection that was upgraded for MQTT 3.1.1 and later; on TLS, with a `config` for it.
    pub(crate) fn open(addr: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        let (socket, answer) = Self::ask(addr, tls, &request("/mqtt", "mqtt", ""));
        assert_upgraded(&answer, "mqtt");
        socket
    }

    /// A connection on which this request was sent, and the head of the answer.
    pub(crate) fn ask(addr: SocketAddr, tls: Option<Arc<ClientConfig>>, request: &str) -> (Self, String) {
        let mut socket = Self::connect(addr, tls);
        socket.stream.write_all(request.as_bytes()).unwrap();
        socket.stream.flush().unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.stream.read_exact(&mut byte).expect("an answer comes");
            answer.extend(byte);
        }
        (socket, String::from_utf8(answer).unwrap())
    }

    /// A connection on which nothing was sent yet.
    pub(crate) fn connect(addr: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        let tcp = TcpStream::connect(addr).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let local = tcp.local_addr().unwrap();
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(tcp),
            Some(config) => {
                let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
                Box::new(StreamOwned::new(connection, tcp))
            }
        };
        Self { stream, local, read: Vec::new() }
    }

    /// The address that the broker sees.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends a frame, masked, with this first byte.
    pub(crate) fn send_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        let payload = payload.as_ref();
        let mut bytes = head(first, payload.len() as u64);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.send_raw(&bytes);
    }

    /// Sends the head of a frame that claims so much payload.
    pub(crate) fn send_head(&mut self, first: u8, length: u64) {
        self.send_raw(&head(first, length));
    }

    /// Sends bytes, any bytes.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
        self.stream.flush().unwrap();
    }

    /// The next frame, whole; an error at the end of the connection or of patience. What a server sends is
    /// never masked (RFC 6455 §5.1).
    pub(crate) fn try_receive_frame(&mut self) -> io::Result<Frame> {
        let [first, short] = self.bytes()?;
        let length = match short {
            0..126 => u64::from(short),
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            128.. => panic!("a masked frame from a server"),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload)?;
        Ok((first, payload))
    }

    /// The next frame is this one.
    #[track_caller]
    pub(crate) fn expect_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        let got = self.try_receive_frame().expect("a frame comes");
        assert_eq!(got, (first, payload.as_ref().to_vec()));
    }

    /// The next frame is a Close with this code, and nothing follows it.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) {
        self.expect_frame(CLOSE, code.to_be_bytes());
        self.send_frame(CLOSE, code.to_be_bytes());
        self.expect_end();
    }

    /// The broker ends the connection.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let error = self.stream.read_exact(&mut [0]).expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    /// Everything up to the end of the connection, as text.
    pub(crate) fn skip_to_end(&mut self) -> String {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the broker ends the connection");
        String::from_utf8_lossy(&rest).into_owned()
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The answer is an upgrade to this subprotocol.
#[track_caller]
pub(crate) fn assert_upgraded(answer: &str, subprotocol: &str) {
    let lines: Vec<_> = answer.split("\r\n").collect();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let has = |name: &str, value: &str| {
        let named = |line: &&str| {
            line.split_once(": ").is_some_and(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
        };
        assert!(lines.iter().any(named), "{name}: {value} is not in {answer}");
    };
    has("Upgrade", "websocket");
    has("Connection", "Upgrade");
    has("Sec-WebSocket-Accept", ANSWER_TO_KEY);
    has("Sec-WebSocket-Protocol", subprotocol);
}

fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => head.push(0x80 | short),
        (_, Ok(medium)) => {
            head.push(0x80 | 0x7E);
            head.extend(medium.to_be_bytes());
        }
        (_, Err(_)) => {
            head.push(0x80 | 0x7F);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend(MASK);
    head
}

impl Write for WebSocket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut bytes = head(FIN | BINARY, buf.len() as u64);
        bytes.extend(buf.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.stream.write_all(&bytes)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// [MQTT-6.0.0-1] Whatever comes has to be binary; a Close is the end.
impl Read for WebSocket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.read.is_empty() {
            match self.try_receive_frame()? {
                (CLOSE, code) => {
                    self.send_frame(CLOSE, code);
                    return Ok(0);
                }
                (first, payload) => {
                    assert_eq!(first, FIN | BINARY, "not a binary frame");
                    self.read = payload;
                }
            }
        }
        let length = buf.len().min(self.read.len());
        buf[..length].copy_from_slice(&self.read[..length]);
        self.read.drain(..length);
        Ok(length)
    }
}
