//! Connections that block, for a while at most: whoever waits looks now and then whether it is over.

use crate::client::answer;
use crate::packets::{self, CONNACK, SUBACK, Version};
use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long reading and writing wait at most.
const LOOK: Duration = Duration::from_millis(50);

/// Connects as this client.
pub(super) fn connect(addr: SocketAddr, client_id: &str) -> Result<TcpStream> {
    let mut stream = open(addr)?;
    greet(&mut stream, client_id)?;
    look(&stream)?;
    Ok(stream)
}

/// Connects as this client and subscribes with QoS 0, over TLS.
pub(super) fn subscribe_tls(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
    client_id: &str,
    filters: &[&str],
) -> Result<Reader<StreamOwned<ClientConnection, TcpStream>>> {
    let tls = ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?;
    let mut stream = StreamOwned::new(tls, open(addr)?);
    subscribe(&mut stream, client_id, filters)?;
    look(&stream.sock)?;
    Ok(Reader { stream, read: Vec::new() })
}

/// The same without TLS.
pub(super) fn subscribe_plain(
    addr: SocketAddr,
    client_id: &str,
    filters: &[&str],
) -> Result<Reader<TcpStream>> {
    let mut stream = open(addr)?;
    subscribe(&mut stream, client_id, filters)?;
    look(&stream)?;
    Ok(Reader { stream, read: Vec::new() })
}

fn open(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(addr).context("no broker listens there")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

fn look(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(LOOK))?;
    Ok(stream.set_write_timeout(Some(LOOK))?)
}

fn greet(stream: &mut (impl Read + Write), client_id: &str) -> Result<()> {
    stream.write_all(&packets::connect(Version::V5, client_id, true, &[]))?;
    stream.flush()?;
    packets::receive_maximum(Version::V5, &answer(stream, CONNACK)?)?;
    Ok(())
}

fn subscribe(stream: &mut (impl Read + Write), client_id: &str, filters: &[&str]) -> Result<()> {
    greet(stream, client_id)?;
    stream.write_all(&packets::subscribe(Version::V5, 1, filters, 0))?;
    stream.flush()?;
    let granted = answer(stream, SUBACK)?;
    if !granted.ends_with(&vec![0; filters.len()]) {
        bail!("the subscription is not granted: {granted:02x?}");
    }
    Ok(())
}

/// A connection on which messages come.
pub(super) struct Reader<S> {
    stream: S,
    /// What is no whole packet yet.
    read: Vec<u8>,
}

impl<S: Read> Reader<S> {
    /// Reads once, which may bring nothing; passes each whole packet on, its first byte and its body.
    pub(super) fn receive(&mut self, mut each: impl FnMut(u8, &[u8]) -> Result<()>) -> Result<()> {
        let mut room = [0; 16 * 1024];
        match self.stream.read(&mut room) {
            Ok(0) => bail!("the broker has closed a connection"),
            Ok(n) => self.read.extend_from_slice(&room[..n]),
            Err(error) if is_timeout(error.kind()) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut at = 0;
        while let Some((first, body, length)) = packets::front(&self.read[at..]) {
            each(first, body)?;
            at += length;
        }
        self.read.drain(..at);
        Ok(())
    }
}

/// Whether nothing is wrong but that it takes its time.
pub(super) fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
