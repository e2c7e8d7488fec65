//! WebSocket (RFC 6455) as one more byte stream: MQTT's bytes are the payload of binary frames, wherever
//! the frames begin and end ([MQTT-6.0.0-1], [MQTT-6.0.0-2]).
//!
//! Owns the stream below, plain or TLS, and the state of its frames in both directions. Always holds: payload
//! is passed on as it comes and gathered nowhere, so that the size of a frame costs no memory; an idle
//! connection holds no read buffer; pings and closes are answered by reading, whether anybody writes or not.

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;
mod upgrade;

pub(crate) use upgrade::{Admission, accept};

use bytes::BytesMut;
use incoming::{Event, Fault, Incoming};
use outgoing::Outgoing;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tungstenite::protocol::frame::coding::CloseCode;

/// Reads in a row that bring nothing for the reader (pings, empty frames) before others get their turn.
const EMPTY_READS_MAX: usize = 8;
/// How long the other end may take to close.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection that was upgraded.
pub(crate) struct WebSocket<S> {
    stream: S,
    addr: SocketAddr,
    incoming: Incoming,
    outgoing: Outgoing,
    /// The other end has said Close, or broke the rules: nothing more is read.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Frames of at most `frame_bytes_max` on `stream`, of which `read` was read already.
    fn new(stream: S, read: BytesMut, frame_bytes_max: usize, addr: SocketAddr) -> Self {
        let incoming = Incoming::new(read, frame_bytes_max);
        Self { stream, addr, incoming, outgoing: Outgoing::default(), ended: false }
    }

    /// Says Close if nobody did, and waits for the other end to close. Without, the system would take back
    /// what was just written where something is left unread, and the client would never learn why.
    pub(crate) async fn close(&mut self) {
        let goodbye = async {
            self.shutdown().await?;
            drain(&mut self.stream).await
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    /// Takes what has come apart, as far as `buf` has room.
    fn take_in(&mut self, buf: &mut ReadBuf<'_>) {
        while !self.ended {
            match self.incoming.next(buf) {
                Ok(Event::Exhausted) => return,
                Ok(Event::Ping(payload)) => self.outgoing.pong(payload),
                Ok(Event::Close(code)) => {
                    self.outgoing.close(code);
                    self.ended = true;
                }
                Err(fault) => {
                    self.report(fault);
                    self.outgoing.close(fault.code());
                    self.ended = true;
                }
            }
        }
    }

    fn report(&self, fault: Fault) {
        let (addr, code) = (self.addr, u16::from(fault.code()));
        tracing::info!(%addr, code, clause = fault.clause(), bound = fault.bound(), "WebSocket closed: {fault}");
    }
}

/// Reads and throws away, until the other end closes.
async fn drain<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut read = BytesMut::with_capacity(1_024);
    while stream.read_buf(&mut read).await? > 0 {
        read.clear();
    }
    Ok(())
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        for _ in 0..EMPTY_READS_MAX {
            this.take_in(buf);
            // What the other end does not take now goes out with the next read or write.
            if let Poll::Ready(Err(error)) = this.outgoing.poll_send(&mut this.stream, cx) {
                return Poll::Ready(Err(error));
            }
            if this.ended || buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if ready!(this.incoming.poll_fill(&mut this.stream, cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.outgoing.poll_write(&mut this.stream, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.outgoing.poll_send(&mut this.stream, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.outgoing.close(CloseCode::Normal);
        ready!(this.outgoing.poll_send(&mut this.stream, cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
