//! One socket: what was read and is not yet a packet, what waits to be written.
//!
//! Nothing waits here. Packets are read and written as many at once as there are.

use crate::packets;
use anyhow::{Result, bail};
use mio::net::TcpStream;
use std::io::{ErrorKind, Read, Write};

const READ_BYTES: usize = 256 * 1024;

/// A socket with its buffers.
pub(crate) struct Socket {
    stream: TcpStream,
    read: Box<[u8]>,
    filled: usize,
    /// What is to be written; anybody may add to it, then [`Socket::flush`].
    pub(crate) out: Vec<u8>,
    written: usize,
    /// Whether there may be something to read.
    pub(crate) readable: bool,
}

impl Socket {
    /// Takes a connected one.
    pub(crate) fn new(stream: std::net::TcpStream) -> Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            read: vec![0; READ_BYTES].into_boxed_slice(),
            filled: 0,
            out: Vec::with_capacity(READ_BYTES),
            written: 0,
            readable: false,
        })
    }

    /// What the system is asked to wait for.
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
