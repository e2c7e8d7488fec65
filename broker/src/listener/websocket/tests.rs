//! Frames in, bytes out and back; requests in, answers out.

use super::incoming::{Event, Fault, Incoming};
use super::{Admission, WebSocket, accept};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use sealmq_config::listener::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tungstenite::protocol::frame::coding::CloseCode;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = FIN | 0x8;
const PING: u8 = FIN | 0x9;
const PONG: u8 = FIN | 0xA;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const BOUND: usize = 100_000;

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// The head of a frame that a client sends.
fn head(first: u8, length: usize) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..=125 => head.push(0x80 | u8::try_from(length).unwrap()),
        126..=65_535 => {
            head.push(0x80 | 0x7E);
            head.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            head.push(0x80 | 0x7F);
            head.extend((length as u64).to_be_bytes());
        }
    }
    head.extend(MASK);
    head
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key);
    head(first, payload.len()).into_iter().chain(masked).collect()
}

/// What is made of `bytes` with much room: payload, pings, and how it ended.
fn taken(bytes: &[u8]) -> (Vec<u8>, Vec<Bytes>, Result<Event, Fault>) {
    let mut incoming = Incoming::new(BytesMut::from(bytes), BOUND);
    let mut room = vec![0; bytes.len() + 1];
    let mut buf = ReadBuf::new(&mut room);
    let mut pings = Vec::new();
    loop {
        match incoming.next(&mut buf) {
            Ok(Event::Ping(payload)) => pings.push(payload),
            end => return (buf.filled().to_vec(), pings, end),
        }
    }
}

fn fault(bytes: &[u8]) -> Fault {
    taken(bytes).2.unwrap_err()
}

/// The next frame that the client gets.
async fn received(client: &mut DuplexStream) -> (u8, Vec<u8>) {
    let mut two = [0; 2];
    client.read_exact(&mut two).await.unwrap();
    let length = match two[1] {
        126 => usize::from(client.read_u16().await.unwrap()),
        127 => panic!("no frame is so long"),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    client.read_exact(&mut payload).await.unwrap();
    (two[0], payload)
}

fn pair(capacity: usize) -> (WebSocket<DuplexStream>, DuplexStream) {
    let (server, client) = duplex(capacity);
    (WebSocket::new(server, BytesMut::new(), BOUND, addr()), client)
}

proptest! {
    /// [MQTT-6.0.0-2] However the bytes are cut into frames, messages, reads and buffers.
    #[test]
    fn payload_comes_out_as_it_went_in(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>(), any::<bool>()), 0..20),
        room in 1_usize..400,
        piece in 1_usize..500,
    ) {
        let (mut wire, mut sent, mut within) = (Vec::new(), Vec::new(), false);
        for (payload, last, ping) in &frames {
            let opcode = if within { CONTINUATION } else { BINARY };
            wire.extend(frame(if *last { FIN | opcode } else { opcode }, payload));
            within = !last;
            if *ping {
                wire.extend(frame(PING, b"?"));
            }
            sent.extend_from_slice(payload);
        }
        let (mut websocket, mut client) = pair(piece);
        let got = runtime().block_on(async move {
            let client = async {
                // Pongs are read too: nothing may wait for them.
                let (mut reader, mut writer) = tokio::io::split(&mut client);
                let mut pongs = Vec::new();
                let _ = tokio::join!(async { writer.write_all(&wire).await.unwrap(); writer.shutdown().await },
                    reader.read_to_end(&mut pongs));
            };
            let server = async {
                let (mut got, mut buf) = (Vec::new(), vec![0; room]);
                while let n @ 1.. = websocket.read(&mut buf).await.unwrap() {
                    got.extend_from_slice(&buf[..n]);
                }
                drop(websocket);
                got
            };
            tokio::join!(client, server).1
        });
        prop_assert_eq!(got, sent);
    }

    #[test]
    fn any_bytes_are_taken_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (payload, ..) = taken(&bytes);
        prop_assert!(payload.len() <= bytes.len());
    }
}

#[test]
fn text_is_refused_at_its_first_byte() {
    assert_eq!(fault(&head(FIN | TEXT, 5)), Fault::Text);
    assert_eq!(fault(&head(TEXT, 0)), Fault::Text);
    assert_eq!((Fault::Text.code(), Fault::Text.clause()), (CloseCode::Unsupported, Some("MQTT-6.0.0-1")));
}

#[test]
fn too_large_a_frame_is_refused_at_its_head() {
    assert_eq!(taken(&head(FIN | BINARY, BOUND)).2, Ok(Event::Exhausted));
    assert_eq!(fault(&head(FIN | BINARY, BOUND + 1)), Fault::TooLarge);
    let longest = [&[FIN | BINARY, 0xFF][..], &[0xFF; 8], &MASK].concat();
    assert_eq!(fault(&longest), Fault::TooLarge);
    assert_eq!(Fault::TooLarge.code(), CloseCode::Size);
}

#[test]
fn frames_that_are_none_are_refused() {
    for bytes in [
        vec![FIN | BINARY, 1, b'x'],
        frame(FIN | 0x40 | BINARY, b"x"),
        frame(FIN | 0x3, b"x"),
        frame(FIN | 0xB, b"x"),
        frame(FIN | CONTINUATION, b"x"),
        [frame(BINARY, b"x"), frame(BINARY, b"y")].concat(),
        frame(PING & !FIN, b"x"),
        head(PING, 126),
        frame(CLOSE, &[3]),
        frame(CLOSE, &1_005_u16.to_be_bytes()),
        frame(CLOSE, &[3, 0xE8, 0xFF]),
    ] {
        assert_eq!(fault(&bytes).code(), CloseCode::Protocol, "{bytes:02x?}");
    }
}

#[test]
fn control_frames_stand_between_the_parts_of_a_message() {
    let bytes = [frame(BINARY, b"ab"), frame(PING, b"1"), frame(PONG, b"2"), frame(FIN, b"c")].concat();
    let (payload, pings, end) = taken(&[bytes, frame(CLOSE, &1_001_u16.to_be_bytes())].concat());
    assert_eq!(
        (&*payload, &*pings, end),
        (&b"abc"[..], &[Bytes::from("1")][..], Ok(Event::Close(CloseCode::Away)))
    );
    assert_eq!(taken(&frame(CLOSE, b"")).2, Ok(Event::Close(CloseCode::Normal)));
}

#[test]
fn payload_before_a_fault_is_delivered() {
    let (mut websocket, mut client) = pair(1_000);
    runtime().block_on(async {
        let wire = [frame(FIN | BINARY, b"first"), frame(FIN | TEXT, b"then"), frame(FIN | BINARY, b"late")];
        client.write_all(&wire.concat()).await.unwrap();
        let mut got = Vec::new();
        websocket.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"first");
        assert_eq!(received(&mut client).await, (CLOSE, 1_003_u16.to_be_bytes().to_vec()));
        let error = websocket.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn ping_and_close_are_answered_by_reading() {
    let (mut websocket, mut client) = pair(1_000);
    runtime().block_on(async {
        client.write_all(&[frame(PING, b"are you there"), frame(CLOSE, b"")].concat()).await.unwrap();
        assert_eq!(websocket.read(&mut [0; 10]).await.unwrap(), 0);
        assert_eq!(received(&mut client).await, (PONG, b"are you there".to_vec()));
        assert_eq!(received(&mut client).await, (CLOSE, 1_000_u16.to_be_bytes().to_vec()));
    });
}

#[test]
fn what_is_written_comes_in_binary_frames_and_ends_with_close() {
    let sent: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    // A client that takes a little at a time, and asks in between.
    let (mut websocket, mut client) = pair(1_000);
    let got = runtime().block_on(async {
        let server = async {
            websocket.write_all(&sent).await.unwrap();
            websocket.flush().await.unwrap();
            websocket.shutdown().await.unwrap();
        };
        let client = async {
            let mut got = Vec::new();
            loop {
                match received(&mut client).await {
                    (first, part) if first == FIN | BINARY => got.extend(part),
                    end => break assert_eq!(end, (CLOSE, 1_000_u16.to_be_bytes().to_vec())),
                }
            }
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            got
        };
        tokio::join!(server, client).1
    });
    assert!(got == sent);
}

fn poll_read(websocket: &mut WebSocket<DuplexStream>) -> Poll<io::Result<()>> {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(websocket).poll_read(&mut cx, &mut ReadBuf::new(&mut [0; 100]))
}

fn poll_write(websocket: &mut WebSocket<DuplexStream>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(websocket).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
}

#[test]
fn slow_reader_stops_the_writer_and_pongs_wait_for_the_end_of_a_frame() {
    let (mut websocket, mut client) = pair(10);
    assert!(matches!(poll_write(&mut websocket, b"0123456789"), Poll::Ready(Ok(8))));
    assert!(poll_write(&mut websocket, b"89").is_pending());
    runtime().block_on(async {
        client.write_all(&frame(PING, b"?")).await.unwrap();
        assert!(poll_read(&mut websocket).is_pending());
        let mut begun = [0; 10];
        client.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"\x82\x0A01234567");
        assert!(poll_read(&mut websocket).is_pending());
        assert!(matches!(poll_write(&mut websocket, b"89 and more"), Poll::Ready(Ok(2))));
        assert!(poll_read(&mut websocket).is_pending());
        let mut rest = [0; 5];
        client.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"89\x8A\x01?");
    });
}

/// Of pings whose answers are not taken only the last is answered.
#[test]
fn pings_without_end_make_nothing_grow() {
    let (mut websocket, mut client) = pair(200);
    runtime().block_on(async {
        for n in 0..=255_u8 {
            client.write_all(&frame(PING, &[n; 100])).await.unwrap();
            assert!(poll_read(&mut websocket).is_pending());
        }
        // The first two are on their way or begun; one more turn sends all that is left.
        assert_eq!(received(&mut client).await, (PONG, vec![0; 100]));
        let mut begun = [0; 98];
        client.read_exact(&mut begun).await.unwrap();
        assert!(poll_read(&mut websocket).is_pending());
        drop(websocket);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [&[1; 4][..], &[PONG, 100], &[255; 100]].concat());
    });
}

/// Frames that hold nothing bring the reader nothing; others get their turn in between.
#[test]
fn empty_frames_do_not_hold_the_task() {
    struct Endless;
    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(&frame(FIN | BINARY, b""));
            Poll::Ready(Ok(()))
        }
    }
    impl AsyncWrite for Endless {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let mut websocket = WebSocket::new(Endless, BytesMut::new(), BOUND, addr());
    let mut cx = Context::from_waker(Waker::noop());
    let read = Pin::new(&mut websocket).poll_read(&mut cx, &mut ReadBuf::new(&mut [0; 100]));
    assert!(read.is_pending());
}

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fn admission(bind: &str, origins: Option<&[&str]>) -> Admission {
    let origins = origins.map(|origins| origins.iter().map(|&origin| origin.to_owned()).collect());
    let listener = Listener { websocket: true, origins, ..Listener::plaintext(bind.parse().unwrap()) };
    Admission::of(&listener, BOUND).unwrap()
}

/// The answer to a request, and whether there is a WebSocket after it.
fn answer(request: &str, admission: &Admission) -> (String, bool) {
    runtime().block_on(async {
        let (server, mut client) = duplex(64 * 1024);
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let upgraded = accept(server, admission, addr()).await.unwrap().is_some();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        (answer, upgraded)
    })
}

#[track_caller]
fn assert_refused(request: &str, status: &str) {
    let (answer, upgraded) = answer(request, &admission("127.0.0.1:0", None));
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && !upgraded, "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

#[test]
fn upgrade_is_answered_as_the_rfc_says() {
    let (answer, upgraded) = answer(REQUEST, &admission("127.0.0.1:0", None));
    let answer = answer.to_lowercase();
    assert!(upgraded && answer.starts_with("http/1.1 101 "), "{answer}");
    // The key and its answer are those of RFC 6455 §1.3.
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
    assert!(answer.contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
}

#[test]
fn what_is_no_upgrade_gets_its_status() {
    let with = |from: &str, to: &str| {
        assert!(REQUEST.contains(from));
        REQUEST.replacen(from, to, 1)
    };
    assert_refused(&with("/mqtt", "/other"), "404");
    assert_refused(&with("/mqtt", "/mqtt/"), "404");
    assert_refused(&with("GET", "POST"), "405");
    assert_refused(&with("Upgrade: websocket\r\n", ""), "426");
    assert_refused(&with("keep-alive, Upgrade", "close"), "426");
    assert_refused(&with("Version: 13", "Version: 8"), "426");
    assert_refused(&with("dGhlIHNhbXBsZSBub25jZQ==", "short"), "400");
    assert_refused(&with("Sec-WebSocket-Protocol: mqtt\r\n", ""), "400");
    assert_refused(&with("Protocol: mqtt", "Protocol: chat, MQTT"), "400");
    assert_refused(&with("HTTP/1.1", "HTTP/1.0"), "400");
    assert_refused("\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", "400");
    assert_refused(&format!("GET /mqtt HTTP/1.1\r\nA: {}", "a".repeat(9_000)), "431");
}

proptest! {
    #[test]
    fn any_request_is_answered_without_panic(
        at in 0..REQUEST.len(),
        cut in 0..20_usize,
        put in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut request = REQUEST.as_bytes().to_vec();
        request.splice(at..(at + cut).min(REQUEST.len()), put);
        runtime().block_on(async {
            let (server, mut client) = duplex(64 * 1024);
            client.write_all(&request).await.unwrap();
            client.shutdown().await.unwrap();
            // An error says that the request did not end.
            drop(accept(server, &admission("127.0.0.1:0", None), addr()).await);
        });
    }
}

/// A client that does not wait for the answer loses nothing.
#[test]
fn what_follows_the_request_is_kept() {
    runtime().block_on(async {
        let (server, mut client) = duplex(64 * 1024);
        let bytes = [REQUEST.as_bytes(), &frame(FIN | BINARY, b"early")].concat();
        client.write_all(&bytes).await.unwrap();
        let upgraded = accept(server, &admission("127.0.0.1:0", None), addr()).await.unwrap();
        let mut got = [0; 5];
        upgraded.unwrap().read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"early");
    });
}

#[test]
fn first_offer_that_is_spoken_is_taken() {
    for (offers, taken) in [
        ("mqttv3.1, mqtt", "mqttv3.1"),
        ("chat,mqtt , mqttv3.1", "mqtt"),
        ("chat\r\nSec-WebSocket-Protocol: mqtt", "mqtt"),
    ] {
        let request = REQUEST.replace("Protocol: mqtt", &format!("Protocol: {offers}"));
        let (answer, upgraded) = answer(&request, &admission("127.0.0.1:0", None));
        assert!(upgraded && answer.contains(&format!("sec-websocket-protocol: {taken}\r\n")), "{answer}");
    }
    for path in ["/", "/mqtt?key=value"] {
        assert!(answer(&REQUEST.replace("/mqtt", path), &admission("127.0.0.1:0", None)).1, "{path}");
    }
}

#[test]
fn pages_get_in_from_origins_that_are_admitted() {
    let listed: Option<&[&str]> = Some(&["https://a.example", "http://b.example:8080"]);
    for (bind, origins, origin, admitted) in [
        ("127.0.0.1:0", None, Some("https://any.example"), true),
        ("[::1]:0", None, Some("null"), true),
        ("0.0.0.0:0", None, Some("https://any.example"), false),
        ("0.0.0.0:0", None, None, true),
        ("0.0.0.0:0", Some(&["*"][..]), Some("https://any.example"), true),
        ("0.0.0.0:0", listed, Some("https://a.example"), true),
        ("0.0.0.0:0", listed, Some("http://b.example:8080"), true),
        ("0.0.0.0:0", listed, Some("http://a.example"), false),
        ("0.0.0.0:0", listed, Some("https://a.example.evil"), false),
        ("0.0.0.0:0", listed, Some("null"), false),
        ("0.0.0.0:0", listed, Some("https://a.example\r\nOrigin: https://b.example"), false),
        ("127.0.0.1:0", listed, Some("http://localhost"), false),
        ("127.0.0.1:0", Some(&[]), Some("http://localhost"), false),
        ("127.0.0.1:0", Some(&[]), None, true),
    ] {
        let header = origin.map(|origin| format!("\r\nOrigin: {origin}")).unwrap_or_default();
        let request = REQUEST.replace("Host: a", &format!("Host: a{header}"));
        let (answer, upgraded) = answer(&request, &admission(bind, origins));
        let status = if admitted { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " };
        assert!(answer.starts_with(status) && upgraded == admitted, "{bind} {origins:?} {origin:?} {answer}");
    }
}

/// After a large frame, and a pause, nothing is held.
#[test]
fn idle_connection_holds_no_buffer() {
    let (mut websocket, mut client) = pair(200_000);
    runtime().block_on(async {
        client.write_all(&frame(FIN | BINARY, &vec![1; BOUND])).await.unwrap();
        websocket.read_exact(&mut vec![0; BOUND]).await.unwrap();
        assert!(poll_read(&mut websocket).is_pending());
        assert_eq!(websocket.incoming.capacity(), 0);
    });
}
