//! One connection: its socket, what was read and is not yet a packet, what waits to be written.
//!
//! CONNECT and SUBSCRIBE wait for their answers; from then on nothing waits. Packets are read and
//! written as many at once as there are.

use crate::packets::{self, Version};
use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

const READ_BYTES: usize = 256 * 1024;
/// How long an answer may take before the load begins.
const ANSWER: Duration = Duration::from_secs(10);

/// A connected client.
pub(crate) struct Client {
    stream: TcpStream,
    read: Box<[u8]>,
    filled: usize,
    /// What is to be written; anybody may add to it, then [`Client::flush`].
    pub(crate) out: Vec<u8>,
    written: usize,
    /// Whether there may be something to read.
    pub(crate) readable: bool,
    /// Messages of QoS 1 and 2 that the broker takes unacknowledged.
    pub(crate) receive_maximum: u32,
}

impl Client {
    /// Connects, and subscribes to the filter with this QoS if there is one.
    pub(crate) fn connect(
        addr: SocketAddr,
        version: Version,
        connect: &[u8],
        subscription: Option<(&str, u8)>,
    ) -> Result<Self> {
        let mut stream = std::net::TcpStream::connect(addr).context("no broker listens there")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(connect)?;
        let connack = answer(&mut stream, packets::CONNACK)?;
        let receive_maximum = packets::receive_maximum(version, &connack)?;
        if let Some((filter, qos)) = subscription {
            stream.write_all(&packets::subscribe(version, filter, qos))?;
            let granted = answer(&mut stream, packets::SUBACK)?;
            if granted.last() != Some(&qos) {
                bail!("the subscription is not granted: {granted:02x?}");
            }
        }
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            read: vec![0; READ_BYTES].into_boxed_slice(),
            filled: 0,
            out: Vec::with_capacity(READ_BYTES),
            written: 0,
            readable: false,
            receive_maximum,
        })
    }

    /// The socket, to be waited for.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads once, as much as there is room for, and passes each whole packet on: its first byte and its
    /// body, and `out` for what answers it.
    pub(crate) fn receive(
        &mut self,
        mut each: impl FnMut(u8, &[u8], &mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let room = &mut self.read[self.filled..];
        let asked = room.len();
        match self.stream.read(room) {
            Ok(0) => bail!("the broker has closed a connection"),
            Ok(n) => {
                self.filled += n;
                // Less than asked for: whatever comes now is told by an event of its own.
                self.readable = n == asked;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) => return Err(error.into()),
        }
        let mut at = 0;
        while let Some((first, body, length)) = packets::front(&self.read[at..self.filled]) {
            each(first, body, &mut self.out)?;
            at += length;
        }
        self.read.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    /// Writes what the socket takes. What it does not take is written when it says that it can.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}

/// The body of the next packet, which is of this kind and comes alone.
fn answer(stream: &mut std::net::TcpStream, kind: u8) -> Result<Vec<u8>> {
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
