//! Frames to the client: what is given becomes binary frames, between which pongs and a Close find place.
//!
//! Payload is written as it is given and copied nowhere; only headers and control frames are held, some 140
//! bytes at most. Always holds: a frame that was begun is finished before another one, and after Close
//! nothing follows (RFC 6455 §5.5.1).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The longest payload of one frame: as much as a header of four bytes can say. Between two of them a pong
/// gets its turn.
const FRAME_BYTES_MAX: usize = 65_535;

/// What is sent to the client.
#[derive(Default)]
pub(super) struct Outgoing {
    /// To be written before all else: control frames, and the header of the frame that is begun.
    head: BytesMut,
    /// What the frame that is begun still lacks.
    left: usize,
    /// The latest ping's, if it was not answered yet; older ones need no answer (RFC 6455 §5.5.3).
    pong: Option<Bytes>,
    close: Close,
    unflushed: bool,
}

#[derive(Default)]
enum Close {
    #[default]
    Open,
    Due(CloseCode),
    Said,
}

impl Outgoing {
    /// Answers a ping as soon as no frame is in the way.
    pub(super) fn pong(&mut self, payload: Bytes) {
        self.pong = Some(payload);
    }

    /// Says Close, if it was not said; nothing is written after it.
    pub(super) fn close(&mut self, code: CloseCode) {
        if matches!(self.close, Close::Open) {
            self.close = Close::Due(code);
        }
    }

    /// Sends what waits here, and flushes.
    pub(super) fn poll_send<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        loop {
            // Again after each, for the pong that waited behind another one.
            self.queue_control();
            if self.head.is_empty() {
                break;
            }
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.head))?;
            self.wrote(written)?;
        }
        if self.unflushed {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what the stream takes of `payload`, as the rest of the frame that is begun or as a new one.
    pub(super) fn poll_write<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        payload: &[u8],
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncWrite + Unpin,
    {
        self.queue_control();
        if payload.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.left == 0 {
            if !matches!(self.close, Close::Open) {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.left = payload.len().min(FRAME_BYTES_MAX);
            self.queue_header(OpCode::Data(Data::Binary), self.left);
        }
        let part = payload.get(..self.left).unwrap_or(payload);
        loop {
            let slices = [IoSlice::new(&self.head), IoSlice::new(part)];
            let slices = if self.head.is_empty() { &slices[1..] } else { &slices[..] };
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, slices))?;
            let taken = self.wrote(written)?;
            if taken > 0 {
                self.left -= taken;
                return Poll::Ready(Ok(taken));
            }
        }
    }

    /// Notes what the stream took; how much of it was payload.
    fn wrote(&mut self, written: usize) -> io::Result<usize> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.unflushed = true;
        let of_head = written.min(self.head.len());
        self.head.advance(of_head);
        Ok(written - of_head)
    }

    /// A pong waits until the one before it has left: whoever sends pings and takes no pongs makes nothing
    /// grow here.
    fn queue_control(&mut self) {
        if self.left > 0 {
            return;
        }
        if self.head.is_empty()
            && !matches!(self.close, Close::Said)
            && let Some(payload) = self.pong.take()
        {
            self.queue_header(OpCode::Control(Control::Pong), payload.len());
            self.head.put(payload);
        }
        if let Close::Due(code) = self.close {
            self.queue_header(OpCode::Control(Control::Close), size_of::<u16>());
            self.head.put_u16(code.into());
            self.close = Close::Said;
        }
    }

    fn queue_header(&mut self, opcode: OpCode, length: usize) {
        let header = FrameHeader { opcode, ..FrameHeader::default() };
        let written = header.format(length as u64, &mut (&mut self.head).writer());
        debug_assert!(written.is_ok(), "memory takes everything");
    }
}
