//! One connection to a broker, seen from the client: packets out, packets in, and a ping when nothing else was
//! sent for the keep alive.
//!
//! Owns the stream and both buffers. Always holds: [`Link::next`] and [`Link::send`] may be broken off and called
//! again, nothing of a packet is lost by that; a broker that is silent for the keep alive after a ping is an error.

use super::error::{Answer, ClientError};
use bytes::{Bytes, BytesMut};
use sealmq_protocol::packet::{ConnAck, Connect, Diagnostics, Disconnect, Version};
use sealmq_protocol::{Packet, ProtocolError, ReasonCode, codec};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

/// What a client takes: all that MQTT has a form for.
const LIMITS: codec::Limits =
    codec::Limits { packet_bytes_max: 268_435_460, topic_levels_max: usize::MAX, filters_max: usize::MAX };
/// Bytes asked for in one read.
const ROOM: usize = 16 * 1024;
/// How long a broker may take to close after a DISCONNECT, and to say why it has closed.
const GOODBYE: Duration = Duration::from_secs(3);

/// What packets go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection, from its CONNECT on.
pub(in crate::cli) struct Link {
    place: String,
    version: Version,
    stream: Box<dyn Stream>,
    /// The part of a packet that has come.
    partial: BytesMut,
    /// Whole packets, and maybe a part of one.
    received: Bytes,
    out: BytesMut,
    keep_alive: Option<Duration>,
    ping_at: Option<Instant>,
    pong_by: Option<Instant>,
}

impl Link {
    /// Sends CONNECT and awaits the answer; a refusal is an error.
    pub(super) async fn open(
        place: String,
        stream: Box<dyn Stream>,
        connect: Connect,
    ) -> Result<(Self, ConnAck), ClientError> {
        let mut link = Self {
            place,
            version: connect.version,
            stream,
            partial: BytesMut::new(),
            received: Bytes::new(),
            out: BytesMut::new(),
            keep_alive: None,
            ping_at: None,
            pong_by: None,
        };
        let keep_alive_s = connect.keep_alive_s;
        link.send(&Packet::Connect(Box::new(connect))).await?;
        let Packet::ConnAck(answer) = link.next().await? else { return Err(link.unexpected()) };
        if answer.reason.is_error() {
            let said = link.answer(answer.reason, Some(&answer.properties.diagnostics));
            return Err(ClientError::Refused { place: link.place, answer: said });
        }
        let keep_alive_s = answer.properties.server_keep_alive_s.unwrap_or(keep_alive_s);
        link.keep_alive = (keep_alive_s > 0).then(|| Duration::from_secs(keep_alive_s.into()));
        link.was_sent();
        Ok((link, *answer))
    }

    /// Whom it leads to, as errors name him.
    pub(in crate::cli) fn place(&self) -> &str {
        &self.place
    }

    /// Sends a packet, and what was left of one before.
    pub(in crate::cli) async fn send(&mut self, packet: &Packet) -> Result<(), ClientError> {
        if !codec::encode(packet, self.version, &mut self.out) {
            return Err(ClientError::TooLong);
        }
        match self.flush().await {
            Ok(()) => Ok(()),
            Err(why) => Err(self.why_lost(why).await),
        }
    }

    /// The next packet that is not about the connection itself.
    pub(in crate::cli) async fn next(&mut self) -> Result<Packet, ClientError> {
        loop {
            if let Some(packet) = self.decode()? {
                return Ok(packet);
            }
            self.partial.reserve(ROOM);
            let due = [self.ping_at, self.pong_by].into_iter().flatten().min();
            tokio::select! {
                read = self.stream.read_buf(&mut self.partial) => self.was_read(read)?,
                () = reached(due) => self.ping().await?,
            }
        }
    }

    /// Sends DISCONNECT and awaits the end: whatever the broker had to say against what was sent, it has said
    /// by then.
    pub(in crate::cli) async fn close(mut self) -> Result<(), ClientError> {
        self.send(&Packet::Disconnect(Box::new(Disconnect::of(ReasonCode::Success)))).await?;
        // An error here means that the other end is gone already.
        drop(self.stream.shutdown().await);
        self.ping_at = None;
        let end = async {
            loop {
                match self.next().await {
                    Ok(_) => {}
                    Err(ClientError::Lost { .. }) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        timeout(GOODBYE, end).await.unwrap_or(Ok(()))
    }

    /// What the broker says of something, for people.
    pub(in crate::cli) fn answer(&self, reason: ReasonCode, said: Option<&Diagnostics>) -> Answer {
        Answer::new(reason, self.version, said)
    }

    pub(in crate::cli) fn unexpected(&self) -> ClientError {
        ClientError::Unexpected { place: self.place.clone() }
    }

    /// Takes a packet from what has come.
    fn decode(&mut self) -> Result<Option<Packet>, ClientError> {
        loop {
            if self.received.is_empty() {
                if self.partial.is_empty() || self.checked(codec::missing(&self.partial, &LIMITS))? > 0 {
                    return Ok(None);
                }
                self.received = self.partial.split().freeze();
            }
            let decoded = codec::decode_from_server(&mut self.received, self.version, &LIMITS);
            match self.checked(decoded)? {
                None => {
                    self.partial.extend_from_slice(&self.received);
                    self.received = Bytes::new();
                }
                Some(Packet::PingResp) => self.pong_by = None,
                Some(Packet::Disconnect(disconnect)) => {
                    let answer = self.answer(disconnect.reason, disconnect.diagnostics.as_deref());
                    return Err(ClientError::Ended { place: self.place.clone(), answer });
                }
                packet => return Ok(packet),
            }
        }
    }

    fn checked<T>(&self, read: Result<T, ProtocolError>) -> Result<T, ClientError> {
        read.map_err(|why| ClientError::Malformed { place: self.place.clone(), why })
    }

    fn was_read(&self, read: io::Result<usize>) -> Result<(), ClientError> {
        match read {
            Ok(0) => Err(self.lost(None)),
            Ok(_) => Ok(()),
            // TLS without its goodbye: the end, as without TLS.
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => Err(self.lost(None)),
            Err(why) => Err(self.lost(Some(why))),
        }
    }

    fn lost(&self, why: Option<io::Error>) -> ClientError {
        ClientError::Lost { place: self.place.clone(), why }
    }

    /// The end of the connection, as a failed write found it: it is told better by what still comes.
    async fn why_lost(&mut self, why: io::Error) -> ClientError {
        let end = async {
            loop {
                if let Err(error) = self.decode() {
                    return error;
                }
                self.partial.reserve(ROOM);
                let read = self.stream.read_buf(&mut self.partial).await;
                if let Err(error) = self.was_read(read) {
                    return error;
                }
            }
        };
        match timeout(GOODBYE, end).await {
            Err(_) | Ok(ClientError::Lost { .. }) => self.lost(Some(why)),
            Ok(end) => end,
        }
    }

    /// The keep alive is over, or the answer to a ping overdue.
    async fn ping(&mut self) -> Result<(), ClientError> {
        let Some(keep_alive) = self.keep_alive else { return Ok(()) };
        if self.pong_by.is_some_and(|by| by <= Instant::now()) {
            return Err(ClientError::Silent { place: self.place.clone(), seconds: keep_alive.as_secs() });
        }
        if self.pong_by.is_none() {
            self.pong_by = Some(Instant::now() + keep_alive);
        }
        codec::encode(&Packet::PingReq, self.version, &mut self.out);
        let flushed = self.flush().await;
        flushed.map_err(|why| self.lost(Some(why)))
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.out).await?;
        self.stream.flush().await?;
        self.was_sent();
        Ok(())
    }

    fn was_sent(&mut self) {
        self.ping_at = self.keep_alive.map(|keep_alive| Instant::now() + keep_alive);
    }
}

async fn reached(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
