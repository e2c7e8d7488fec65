//! One connection, with or without TLS, and the bytes that really went over it.
//!
//! It begins with questions that wait for their answers, on a socket that blocks; from then on nothing waits.

use crate::packets;
use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take before the fleet sends.
const ANSWER: Duration = Duration::from_secs(20);
/// Of a buffer to read through.
pub(super) const SCRATCH_BYTES: usize = 64 * 1024;
/// Reads of one turn, so that all get theirs.
const READS: usize = 8;

/// A stream that counts.
struct Counted<S> {
    stream: S,
    read_bytes: u64,
    written_bytes: u64,
}

impl<S: Read> Read for Counted<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.read_bytes += n as u64;
        Ok(n)
    }
}

impl<S: Write> Write for Counted<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.stream.write(bytes)?;
        self.written_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A connection that answers questions in their order.
pub(super) struct Opening {
    stream: Counted<std::net::TcpStream>,
    tls: Option<Box<ClientConnection>>,
}

impl Opening {
    /// Connects, with TLS if there is something to trust.
    pub(super) fn new(addr: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let stream = std::net::TcpStream::connect(addr).context("no broker listens there")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let tls = match tls {
            None => None,
            Some(config) => {
                let mut tls = ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?;
                tls.set_buffer_limit(None);
                Some(Box::new(tls))
            }
        };
        Ok(Self { stream: Counted { stream, read_bytes: 0, written_bytes: 0 }, tls })
    }

    /// Sends a packet; the body of the answer, which has to be of this kind.
    pub(super) fn ask(&mut self, packet: &[u8], kind: u8) -> Result<Vec<u8>> {
        let Self { stream, tls } = self;
        match tls {
            None => answer(stream, packet, kind),
            Some(tls) => answer(&mut rustls::Stream::new(tls.as_mut(), stream), packet, kind),
        }
    }

    /// From now on it does not wait.
    pub(super) fn open(self) -> Result<Link> {
        let Counted { stream, read_bytes, written_bytes } = self.stream;
        stream.set_nonblocking(true)?;
        Ok(Link {
            stream: Counted { stream: TcpStream::from_std(stream), read_bytes, written_bytes },
            tls: self.tls,
            read: Vec::new(),
            out: Vec::new(),
            written: 0,
            readable: true,
        })
    }
}

fn answer(stream: &mut (impl Read + Write), packet: &[u8], kind: u8) -> Result<Vec<u8>> {
    stream.write_all(packet)?;
    stream.flush()?;
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).context("the broker does not answer")?;
        bytes.extend(byte);
        if let Some((first, body, _)) = packets::front(&bytes) {
            if first >> 4 != kind {
                bail!("the broker answers with {first:#04x}");
            }
            return Ok(body.to_vec());
        }
    }
}

/// A connection on which nothing waits.
pub(super) struct Link {
    stream: Counted<TcpStream>,
    tls: Option<Box<ClientConnection>>,
    /// What was read and is no whole packet yet.
    read: Vec<u8>,
    /// What is to be written; anybody may add to it, then [`Link::flush`].
    pub(super) out: Vec<u8>,
    written: usize,
    /// Whether there may be more to read.
    pub(super) readable: bool,
}

impl Link {
    /// What the system is asked to wait for.
    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream.stream
    }

    /// Bytes on the wire, both ways.
    pub(super) fn bytes(&self) -> u64 {
        self.stream.read_bytes + self.stream.written_bytes
    }

    /// Bytes on the wire to the broker.
    pub(super) fn written_bytes(&self) -> u64 {
        self.stream.written_bytes
    }

    /// Reads what is there, up to a bound and through `scratch`, and passes each whole packet on: its first
    /// byte and its body, and `out` for what answers it.
    pub(super) fn receive(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(u8, &[u8], &mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..READS {
            self.readable = self.read_once(scratch)?;
            if !self.readable {
                break;
            }
        }
        let mut at = 0;
        while let Some((first, body, length)) = packets::front(self.read.get(at..).unwrap_or_default()) {
            each(first, body, &mut self.out)?;
            at += length;
        }
        self.read.drain(..at);
        Ok(())
    }

    /// Reads once; whether there may be more.
    fn read_once(&mut self, scratch: &mut [u8]) -> Result<bool> {
        let Some(tls) = &mut self.tls else { return append(&mut self.stream, scratch, &mut self.read) };
        match tls.read_tls(&mut self.stream) {
            Ok(0) => bail!("the broker has closed a connection"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        tls.process_new_packets()?;
        while append(&mut tls.reader(), scratch, &mut self.read)? {}
        Ok(true)
    }

    /// Writes what the socket takes; the rest when it says that it can.
    pub(super) fn flush(&mut self) -> Result<()> {
        let Some(tls) = &mut self.tls else {
            while self.written < self.out.len() {
                match self.stream.write(self.out.get(self.written..).unwrap_or_default()) {
                    Ok(n) => self.written += n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            self.out.clear();
            self.written = 0;
            return Ok(());
        };
        tls.writer().write_all(&self.out)?;
        self.out.clear();
        while tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Reads once, to the end of `buffer`; whether there may be more.
fn append(stream: &mut impl Read, scratch: &mut [u8], buffer: &mut Vec<u8>) -> Result<bool> {
    match stream.read(scratch) {
        Ok(0) => bail!("the broker has closed a connection"),
        Ok(n) => {
            buffer.extend_from_slice(scratch.get(..n).unwrap_or_default());
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}
