//! One byte stream with the buffers it needs: none while it is idle.
//!
//! Reads grow with what comes: 4 KiB for a device that speaks now and then, 64 KiB once a read has
//! filled that. What was encoded is written at once as far as the stream takes it.

use bytes::{Buf, Bytes, BytesMut};
use sealmq_protocol::packet::Version;
use sealmq_protocol::{Packet, ProtocolError, codec};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes asked for in one read, at first and under load.
const ROOM_MIN: usize = 4 * 1024;
const ROOM_MAX: usize = 64 * 1024;
/// Bytes waiting to be written, from which on nothing more is encoded.
const OUT_MAX: usize = 1024 * 1024;
/// The longest CONNECT that MQTT 3.1.1 allows, five strings of 65,535 bytes and the headers, and as much
/// again for the properties of MQTT 5.
const CONNECT_BYTES_MAX: usize = 2 * (5 * (65_535 + 2) + 15);

pub(super) struct Io<S> {
    stream: S,
    /// What was read and not yet taken.
    pub(super) read: BytesMut,
    /// What is to be written.
    pub(super) out: BytesMut,
    room: usize,
    out_hint: usize,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Io<S> {
    pub(super) fn new(stream: S) -> Self {
        let (read, out) = (BytesMut::new(), BytesMut::new());
        Self { stream, read, out, room: ROOM_MIN, out_hint: 0, unflushed: false }
    }

    /// Reads once. `missing` is what the packet at the front still lacks, if that is known.
    pub(super) fn poll_read(&mut self, missing: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // A claimed length earns no memory: the buffer at most doubles with what has come.
        let room = self.room.max(missing.min(self.read.len()));
        self.read.reserve(room);
        let taken = ready!(pin!(self.stream.read_buf(&mut self.read)).poll(cx))?;
        self.room = if taken >= ROOM_MIN { ROOM_MAX } else { ROOM_MIN };
        Poll::Ready(Ok(taken))
    }

    /// Reads once; false if nothing comes any more.
    pub(super) async fn read_some(&mut self, missing: usize) -> bool {
        poll_fn(|cx| self.poll_read(missing, cx)).await.is_ok_and(|bytes| bytes > 0)
    }

    /// One of the first packets, no longer than a CONNECT may be, since nobody knows yet who sends it;
    /// `None` if the stream ends before. What comes after it stays, and all of it on an error.
    pub(super) async fn read_first(
        &mut self,
        version: Version,
        limits: &codec::Limits,
    ) -> Result<Option<Packet>, ProtocolError> {
        let packet_bytes_max = limits.packet_bytes_max.min(CONNECT_BYTES_MAX);
        let limits = codec::Limits { packet_bytes_max, ..*limits };
        loop {
            match codec::missing(&self.read, &limits)? {
                0 => break,
                missing if self.read_some(missing).await => {}
                _ => return Ok(None),
            }
        }
        let whole = self.read.split().freeze();
        let mut rest = whole.clone();
        let packet = codec::decode(&mut rest, version, &limits);
        self.read.extend_from_slice(if packet.is_ok() { &rest } else { &whole });
        packet
    }

    /// Takes what was read. A little of it is copied, so that it does not pin a buffer many times its
    /// size for as long as somebody keeps a slice of it.
    pub(super) fn take(&mut self) -> Bytes {
        if self.read.len() * 8 > self.read.capacity() {
            return self.read.split().freeze();
        }
        let taken = Bytes::copy_from_slice(&self.read);
        self.read.clear();
        taken
    }

    /// Whether more may be encoded.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < OUT_MAX
    }

    /// Whether something waits for the stream to take it.
    pub(super) fn is_writing(&self) -> bool {
        !self.out.is_empty() || self.unflushed
    }

    /// To be called before much is encoded: makes room for about as much as last time.
    pub(super) fn reserve_out(&mut self) {
        if self.out.is_empty() {
            self.out.reserve(self.out_hint);
        }
    }

    /// Writes what the stream takes. Ready with the number of bytes written once nothing waits.
    pub(super) fn poll_write(&mut self, written: &mut u64, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.out.is_empty() {
            self.out_hint = self.out.len().min(ROOM_MAX);
        }
        while !self.out.is_empty() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.out.advance(n);
            *written += n as u64;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the buffers back: the connection is about to wait.
    pub(super) fn rest(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
    }

    /// Writes what is left and says goodbye to the stream.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.out).await?;
        self.stream.shutdown().await
    }

    /// The same; then waits for the other end to close. A socket closed with input unread takes back
    /// what was just written, and the client would never learn why it was refused.
    pub(super) async fn close_read(&mut self) -> io::Result<()> {
        self.close().await?;
        self.read.clear();
        while self.stream.read_buf(&mut self.read).await? > 0 {
            self.read.clear();
        }
        Ok(())
    }
}

/// Appends a packet if it has a form, and one that is no longer than `maximum`. Whether it has.
pub(super) fn encode_within(
    packet: &Packet,
    version: Version,
    maximum: Option<usize>,
    out: &mut BytesMut,
) -> bool {
    append_within(maximum, out, |out| codec::encode(packet, version, out))
}

/// The same for what `encode` appends, which says whether it did.
pub(super) fn append_within(
    maximum: Option<usize>,
    out: &mut BytesMut,
    encode: impl FnOnce(&mut BytesMut) -> bool,
) -> bool {
    let before = out.len();
    let written = encode(out);
    let fits = written && maximum.is_none_or(|maximum| out.len() - before <= maximum);
    if !fits {
        out.truncate(before);
    }
    fits
}
