//! From an HTTP request to a WebSocket, or to an answer that says why not.
//!
//! Bytes of a stream come in; a [`WebSocket`] goes out, or nothing after the refusal was sent and logged.
//! Always holds: a web page gets in only from an origin that the listener admits; the request is bounded
//! here in bytes, and in time by whoever calls.

use super::{GOODBYE, WebSocket, drain};
use bytes::{Buf, BytesMut};
use sealmq_config::listener::Listener;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tungstenite::http::header::{HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tungstenite::http::{HeaderMap, StatusCode};

/// Bytes of a request; a longer one gets 431.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Bytes read at once.
const ROOM: usize = 1_024;
/// Where MQTT is served.
const PATHS: [&str; 2] = ["/mqtt", "/"];
/// The subprotocols, of MQTT 3.1.1 and later and of 3.1 ([MQTT-6.0.0-4]).
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Characters of an origin in a log line.
const LOGGED_CHARS: usize = 128;

/// Whom a listener lets in, and how large frames may be.
#[derive(Debug)]
pub(crate) struct Admission {
    origins: Origins,
    frame_bytes_max: usize,
}

/// The web pages that may connect.
#[derive(Debug, PartialEq, Eq)]
enum Origins {
    Any,
    Listed(Vec<String>),
}

/// Why there is no upgrade.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    status: StatusCode,
    rule: &'static str,
    /// A line that the status asks for, if any.
    header: &'static str,
}

impl Refused {
    const fn new(status: StatusCode, rule: &'static str) -> Self {
        Self { status, rule, header: "" }
    }
}

impl Admission {
    /// As the configuration says; `None` where the listener speaks no WebSocket.
    pub(crate) fn of(listener: &Listener, frame_bytes_max: usize) -> Option<Self> {
        let origins = match &listener.origins {
            Some(origins) if origins.iter().any(|origin| origin == "*") => Origins::Any,
            Some(origins) => Origins::Listed(origins.clone()),
            None if listener.bind.ip().is_loopback() => Origins::Any,
            None => Origins::Listed(Vec::new()),
        };
        listener.websocket.then_some(Self { origins, frame_bytes_max })
    }

    /// The answer to a request.
    fn answer(&self, request: &Request) -> Result<Response, Refused> {
        if !PATHS.contains(&request.uri().path()) {
            return Err(Refused::new(StatusCode::NOT_FOUND, "there is nothing here; the path is /mqtt"));
        }
        let mut response = create_response(request).map_err(|error| refused(&error))?;
        if !self.origins.admit(request.headers()) {
            let rule = "the web page's origin is not admitted (listener.origins)";
            return Err(Refused::new(StatusCode::FORBIDDEN, rule));
        }
        let Some(subprotocol) = subprotocol(request.headers()) else {
            let rule = "no subprotocol that is spoken here; it is \"mqtt\" [MQTT-6.0.0-3]";
            return Err(Refused::new(StatusCode::BAD_REQUEST, rule));
        };
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        Ok(response)
    }
}

impl Origins {
    /// Only browsers send an origin, and they always do; everything else is no web page.
    fn admit(&self, headers: &HeaderMap) -> bool {
        let listed = |origin: &HeaderValue| match self {
            Self::Any => true,
            Self::Listed(origins) => origins.iter().any(|own| own.as_bytes() == origin.as_bytes()),
        };
        headers.get_all(ORIGIN).iter().all(listed)
    }
}

/// The first that the client offers of those spoken here.
fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    let mut offers = lines.flat_map(|line| line.split(',').map(str::trim));
    offers.find_map(|offer| SUBPROTOCOLS.into_iter().find(|own| *own == offer))
}

/// Upgrades the connection, or refuses to, and says so.
pub(crate) async fn accept<S>(
    mut stream: S,
    admission: &Admission,
    addr: SocketAddr,
) -> io::Result<Option<WebSocket<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut read = BytesMut::with_capacity(ROOM);
    let request = read_request(&mut stream, &mut read).await?;
    let origin = request.as_ref().ok().and_then(|request| request.headers().get(ORIGIN)).map(shown);
    match request.and_then(|request| admission.answer(&request)) {
        Ok(response) => {
            let mut answer = Vec::new();
            write_response(&mut answer, &response).map_err(io::Error::other)?;
            stream.write_all(&answer).await?;
            stream.flush().await?;
            Ok(Some(WebSocket::new(stream, read, admission.frame_bytes_max, addr)))
        }
        Err(Refused { status, rule, header }) => {
            tracing::info!(%addr, status = status.as_u16(), origin, "WebSocket refused: {rule}");
            let length = rule.len() + 1;
            let answer = format!(
                "HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Type: text/plain\r\n\
                 Content-Length: {length}\r\n\r\n{rule}\n"
            );
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            let _ = tokio::time::timeout(GOODBYE, drain(&mut stream)).await;
            Ok(None)
        }
    }
}

/// The whole request; what follows it stays in `read`.
async fn read_request<S>(stream: &mut S, read: &mut BytesMut) -> io::Result<Result<Request, Refused>>
where
    S: AsyncRead + Unpin,
{
    loop {
        read.reserve(ROOM);
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match Request::try_parse(read) {
            Ok(Some((length, request))) => {
                read.advance(length);
                return Ok(Ok(request));
            }
            Ok(None) if read.len() < REQUEST_BYTES_MAX => {}
            Ok(None) => {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                return Ok(Err(Refused::new(status, "the request is longer than 8 KiB")));
            }
            Err(error) => return Ok(Err(refused(&error))),
        }
    }
}

/// What is wrong with a request.
fn refused(error: &Error) -> Refused {
    let Error::Protocol(error) = error else {
        return Refused::new(StatusCode::BAD_REQUEST, "this is no HTTP request");
    };
    if matches!(error, ProtocolError::WrongHttpMethod) {
        let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "the method is GET");
        return Refused { header: "Allow: GET\r\n", ..refused };
    }
    if matches!(
        error,
        ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader
    ) {
        let refused = Refused::new(StatusCode::UPGRADE_REQUIRED, "MQTT by WebSocket is served here");
        return Refused { header: "Upgrade: websocket\r\n", ..refused };
    }
    if matches!(error, ProtocolError::MissingSecWebSocketVersionHeader) {
        let refused = Refused::new(StatusCode::UPGRADE_REQUIRED, "the WebSocket version is 13");
        return Refused { header: "Sec-WebSocket-Version: 13\r\n", ..refused };
    }
    Refused::new(StatusCode::BAD_REQUEST, "the WebSocket handshake is broken")
}

/// An origin as a log line has room for it.
fn shown(origin: &HeaderValue) -> String {
    origin.as_bytes().escape_ascii().take(LOGGED_CHARS).map(char::from).collect()
}
