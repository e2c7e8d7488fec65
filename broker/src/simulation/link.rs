//! A client's end of a connection: packets in and out, and never any waiting.

use bytes::{Bytes, BytesMut};
use sealmq_protocol::packet::{Connect, ConnectProperties, Version};
use sealmq_protocol::{Packet, ReasonCode, codec};
use std::num::NonZeroU16;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// What there was to read.
pub(super) enum Heard {
    Packet(Packet),
    Nothing,
    Closed,
}

/// See the module's description.
pub(super) struct Link {
    pipe: DuplexStream,
    version: Version,
    read: BytesMut,
    out: BytesMut,
    /// Whether CONNACK came.
    pub(super) greeted: bool,
    /// Whether the store has said while it was there that there is no room.
    pub(super) while_full: bool,
}

impl Link {
    /// Begins with this CONNECT.
    pub(super) fn new(pipe: DuplexStream, connect: Connect, while_full: bool) -> Self {
        let version = connect.version;
        let (read, out) = (BytesMut::new(), BytesMut::new());
        let mut link = Self { pipe, version, read, out, greeted: false, while_full };
        link.send(&Packet::Connect(Box::new(connect)));
        link
    }

    /// Sends this, as far as the pipe takes it.
    pub(super) fn send(&mut self, packet: &Packet) {
        codec::encode(packet, self.version, &mut self.out);
        self.flush();
    }

    /// Sends what is left to send.
    pub(super) fn flush(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while !self.out.is_empty()
            && let Poll::Ready(Ok(n)) = Pin::new(&mut self.pipe).poll_write(&mut cx, &self.out)
        {
            let _ = self.out.split_to(n);
        }
    }

    /// The next packet.
    pub(super) fn receive(&mut self) -> Result<Heard, String> {
        self.flush();
        let limits = codec::Limits { packet_bytes_max: 1 << 16, topic_levels_max: 16, filters_max: 16 };
        loop {
            let mut bytes = Bytes::copy_from_slice(&self.read);
            let packet = codec::decode_from_server(&mut bytes, self.version, &limits);
            if let Some(packet) = packet.map_err(|error| format!("the broker sent nonsense: {error}"))? {
                let _ = self.read.split_to(self.read.len() - bytes.len());
                return Ok(Heard::Packet(packet));
            }
            let mut space = [0; 256];
            let mut buffer = ReadBuf::new(&mut space);
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut self.pipe).poll_read(&mut cx, &mut buffer) {
                Poll::Pending => return Ok(Heard::Nothing),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.read.extend_from_slice(buffer.filled());
                }
                Poll::Ready(_) => return Ok(Heard::Closed),
            }
        }
    }
}

/// The next packet for a client that lasts. A connection that ends ends the run, unless one that he gave up
/// may have taken his session over: then he has none, and begins anew.
pub(super) fn next(link: &mut Option<Link>, is_haunted: bool) -> Result<Heard, String> {
    let heard = link.as_mut().map_or(Ok(Heard::Nothing), Link::receive)?;
    match heard {
        Heard::Closed | Heard::Packet(Packet::Disconnect(_)) if is_haunted => {
            *link = None;
            Ok(Heard::Closed)
        }
        Heard::Closed => Err("was cut off".into()),
        Heard::Packet(_) | Heard::Nothing => Ok(heard),
    }
}

/// A CONNACK that says no, which only a store without room is allowed.
pub(super) fn refused(link: &mut Option<Link>, reason: ReasonCode) -> Result<(), String> {
    let link = link.take().filter(|link| link.while_full);
    link.map(drop).ok_or_else(|| format!("refused with {reason:?}"))
}

/// A CONNECT for a session to keep, or for one that ends with the connection.
pub(super) fn connect(version: Version, client_id: String, kept: bool, window: Option<u16>) -> Connect {
    let receive_maximum = window.and_then(NonZeroU16::new);
    let mut properties = ConnectProperties::default();
    if let Some(window) = receive_maximum {
        properties.receive_maximum = window;
    }
    Connect {
        version,
        client_id: client_id.into(),
        clean_start: !kept,
        session_expiry_s: if kept { u32::MAX } else { 0 },
        keep_alive_s: 0,
        will: None,
        user_name: None,
        password: None,
        properties,
    }
}
