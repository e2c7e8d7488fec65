//! Frames from the client: taken apart as far as they have come, their payload unmasked and passed on.
//!
//! Bytes of the stream come in, payload and what the control frames say goes out; a [`Fault`] says which
//! rule was broken. Always holds: of a data frame nothing waits for the rest of it.

use bytes::{Buf, Bytes, BytesMut};
use std::fmt;
use std::future::Future;
use std::io::{self, Cursor};
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Bytes asked for in one read, at first and under load.
const ROOM_MIN: usize = 4 * 1024;
const ROOM_MAX: usize = 64 * 1024;
/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What the client sends.
pub(super) struct Incoming {
    /// As the stream gave it: headers, and payload that is still masked.
    read: BytesMut,
    room: usize,
    /// What is still to come of the data frame at hand.
    payload: Payload,
    /// Whether its message goes on after it.
    within: bool,
    frame_bytes_max: u64,
}

#[derive(Default)]
struct Payload {
    left: u64,
    /// Turned so that the next byte goes with the first of it.
    mask: [u8; 4],
}

/// What was met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing that does not need more input, or more room for payload.
    Exhausted,
    Ping(Bytes),
    /// With the code to answer it with.
    Close(CloseCode),
}

/// A rule that the client broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A text frame.
    Text,
    /// A frame that is larger than the bound.
    TooLarge,
    /// Frames that are none by RFC 6455.
    Frame(&'static str),
}

impl Incoming {
    pub(super) fn new(read: BytesMut, frame_bytes_max: usize) -> Self {
        let frame_bytes_max = frame_bytes_max as u64;
        Self { read, room: ROOM_MIN, payload: Payload::default(), within: false, frame_bytes_max }
    }

    /// Reads once. An idle connection is left without a buffer.
    pub(super) fn poll_fill<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        self.read.reserve(self.room);
        let taken = pin!(stream.read_buf(&mut self.read)).poll(cx);
        if let Poll::Ready(Ok(taken)) = taken {
            self.room = if taken >= ROOM_MIN { ROOM_MAX } else { ROOM_MIN };
        } else if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        taken
    }

    /// Bytes of memory held for what is read.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.read.capacity()
    }

    /// Puts payload into `buf` up to the next control frame.
    pub(super) fn next(&mut self, buf: &mut ReadBuf<'_>) -> Result<Event, Fault> {
        loop {
            self.pass_on(buf);
            if self.payload.left > 0 {
                return Ok(Event::Exhausted);
            }
            let mut cursor = Cursor::new(self.read.as_ref());
            let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Fault::Frame("an unknown opcode"))?;
            let Some((header, length)) = parsed else { return Ok(Event::Exhausted) };
            let header_bytes = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
            if header.rsv1 || header.rsv2 || header.rsv3 {
                return Err(Fault::Frame("a reserved bit is set"));
            }
            let Some(mask) = header.mask else { return Err(Fault::Frame("a frame is not masked")) };
            match header.opcode {
                OpCode::Data(data) => {
                    self.begin_data(data, &header, length)?;
                    self.payload = Payload { left: length, mask };
                    self.read.advance(header_bytes);
                }
                OpCode::Control(control) => {
                    if !header.is_final || length > CONTROL_BYTES_MAX {
                        return Err(Fault::Frame("a control frame is fragmented or too long"));
                    }
                    let whole = header_bytes.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
                    if self.read.len() < whole {
                        return Ok(Event::Exhausted);
                    }
                    let mut payload = self.read.split_to(whole).split_off(header_bytes);
                    unmask(&mut payload, mask);
                    match control {
                        Control::Ping => return Ok(Event::Ping(Bytes::copy_from_slice(&payload))),
                        Control::Close => return Ok(Event::Close(close_code(&payload)?)),
                        Control::Pong | Control::Reserved(_) => {}
                    }
                }
            }
        }
    }

    fn begin_data(&mut self, data: Data, header: &FrameHeader, length: u64) -> Result<(), Fault> {
        match (data, self.within) {
            (Data::Text, _) => return Err(Fault::Text),
            (Data::Binary, true) => return Err(Fault::Frame("a message begins within another one")),
            (Data::Continue, false) => return Err(Fault::Frame("a continuation of nothing")),
            (Data::Binary, false) | (Data::Continue, true) => {}
            (Data::Reserved(_), _) => return Err(Fault::Frame("an unknown opcode")),
        }
        if length > self.frame_bytes_max {
            return Err(Fault::TooLarge);
        }
        self.within = !header.is_final;
        Ok(())
    }

    /// Payload that is there and has room.
    fn pass_on(&mut self, buf: &mut ReadBuf<'_>) {
        let left = usize::try_from(self.payload.left).unwrap_or(usize::MAX);
        let length = left.min(self.read.len()).min(buf.remaining());
        let Some(part) = self.read.get_mut(..length) else { return };
        unmask(part, self.payload.mask);
        buf.put_slice(part);
        self.payload.left -= length as u64;
        self.payload.mask.rotate_left(length % 4);
        self.read.advance(length);
    }
}

/// Eight bytes at a time (RFC 6455 §5.3).
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(mask)) * 0x1_0000_0001;
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The code that answers a Close: its own (RFC 6455 §5.5.1), where it may stand there at all.
fn close_code(payload: &[u8]) -> Result<CloseCode, Fault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(CloseCode::Normal) } else { Err(Fault::Frame("half a code")) };
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    if !code.is_allowed() || std::str::from_utf8(reason).is_err() {
        return Err(Fault::Frame("a code or reason that may not be sent"));
    }
    Ok(code)
}

impl Fault {
    /// What the connection is closed with (RFC 6455 §7.4.1).
    pub(super) fn code(self) -> CloseCode {
        match self {
            Self::Text => CloseCode::Unsupported,
            Self::TooLarge => CloseCode::Size,
            Self::Frame(_) => CloseCode::Protocol,
        }
    }

    /// The clause of MQTT that was broken, if it was one of MQTT.
    pub(super) fn clause(self) -> Option<&'static str> {
        (self == Self::Text).then_some("MQTT-6.0.0-1")
    }

    /// The key of the bound, if it was one.
    pub(super) fn bound(self) -> Option<&'static str> {
        (self == Self::TooLarge).then_some("limits.websocket_frame_bytes_max")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text frame; MQTT comes in binary ones"),
            Self::TooLarge => f.write_str("a frame is too large"),
            Self::Frame(rule) => write!(f, "{rule}"),
        }
    }
}
