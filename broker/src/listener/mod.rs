//! Listening sockets. Each accepted connection ends in one byte stream, plain or TLS, with or without
//! WebSocket frames round it, which `connection/` serves without knowing which.
//!
//! Bounds what has not said CONNECT yet: one deadline covers TLS handshake, WebSocket handshake and
//! CONNECT, and beyond `limits.connections_max` only so many are let in to be told so.

pub(crate) mod development;
pub(crate) mod tls;
mod websocket;

use crate::broker::{Broker, Counted};
use crate::connection::{self, Peer};
use crate::error::StartError;
use sealmq_config::Config;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use websocket::Admission;

/// Connections above the bound that are let in to get return code 3; more are closed unheard.
const EXCESS_MAX: usize = 1_024;
/// Connections that the kernel may hold before they are accepted.
const BACKLOG: u32 = 4_096;
/// How long to wait when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listening socket.
pub(crate) struct Listening {
    socket: TcpListener,
    /// Its place in the configuration.
    number: usize,
    /// Where it really listens (port 0 has become a port).
    pub(crate) addr: SocketAddr,
    /// Whether it speaks TLS.
    pub(crate) secure: bool,
    /// Whom it lets in, if it speaks WebSocket.
    websocket: Option<Arc<Admission>>,
}

/// Binds every listener of the configuration, or none.
pub(crate) fn bind_all(config: &Config) -> Result<Vec<Listening>, StartError> {
    config
        .listeners
        .iter()
        .enumerate()
        .map(|(number, listener)| {
            let bound = bind(listener.bind).and_then(|socket| Ok((socket.local_addr()?, socket)));
            let (addr, socket) = bound.map_err(|why| StartError::Bind { addr: listener.bind, why })?;
            let websocket = Admission::of(listener, config.limits.websocket_frame_bytes_max).map(Arc::new);
            Ok(Listening { socket, number, addr, secure: listener.tls.is_some(), websocket })
        })
        .collect()
}

fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

impl Listening {
    /// The scheme of the URLs that lead here.
    pub(crate) fn scheme(&self) -> &'static str {
        match (self.websocket.is_some(), self.secure) {
            (false, false) => "mqtt",
            (false, true) => "mqtts",
            (true, false) => "ws",
            (true, true) => "wss",
        }
    }

    /// Accepts for as long as the broker runs.
    pub(crate) async fn accept_all(self, broker: Arc<Broker>) {
        loop {
            match self.socket.accept().await {
                Ok((stream, addr)) => {
                    if broker.failed_stamps.refuses(addr.ip(), Instant::now()) {
                        broker.metrics.connects_refused.add(1);
                        tracing::debug!(%addr, "closed unheard: too many failed stamps (limits.failed_stamps_per_address)");
                        continue;
                    }
                    let counted = broker.count_connection();
                    if counted.number > broker.limits.connections_max.saturating_add(EXCESS_MAX) {
                        tracing::debug!(%addr, "closed unheard: far too many connections (limits.connections_max)");
                        continue;
                    }
                    self.spawn(&broker, stream, addr, counted);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) =>
                {
                    tracing::debug!(listener = %self.addr, "gone before it was accepted: {error}");
                }
                Err(error) => {
                    // Out of descriptors, mostly: connections that end give them back.
                    tracing::error!(listener = %self.addr, "cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn spawn(&self, broker: &Arc<Broker>, stream: TcpStream, addr: SocketAddr, counted: Counted) {
        let excess = counted.number > broker.limits.connections_max;
        let peer = Peer { addr, secure: self.secure, excess };
        let deadline = Instant::now() + Duration::from_secs(broker.limits.connect_timeout_s);
        // Writes are batched here already; the kernel must not wait for more.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%addr, "closed before CONNECT: {error}");
            return;
        }
        let tls = broker.rules().tls(self.number).cloned();
        if self.secure && tls.is_none() {
            tracing::error!(%addr, listener = %self.addr, "closed: a TLS listener without certificate");
            return;
        }
        let (broker, websocket) = (broker.clone(), self.websocket.clone());
        // A task of its own for each kind, so that those without TLS are no larger for it.
        match tls {
            None => tokio::spawn(async move {
                let _counted = counted;
                serve(broker, stream, peer, deadline, websocket).await;
            }),
            Some(config) => tokio::spawn(async move {
                let _counted = counted;
                let accepted = Box::pin(tokio_rustls::TlsAcceptor::from(config).accept(stream));
                match tokio::time::timeout_at(deadline.into(), accepted).await {
                    // In a box, since it is large, and handed on.
                    Ok(Ok(stream)) => serve(broker, Box::new(stream), peer, deadline, websocket).await,
                    Ok(Err(error)) => tracing::info!(%addr, "TLS handshake failed: {error}"),
                    Err(_) => {
                        tracing::info!(%addr, "closed: no TLS handshake within limits.connect_timeout_s");
                    }
                }
            }),
        };
    }
}

/// Serves MQTT on `stream`, or on the WebSocket that it becomes.
async fn serve<S>(
    broker: Arc<Broker>,
    stream: S,
    peer: Peer,
    deadline: Instant,
    websocket: Option<Arc<Admission>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match websocket {
        None => connection::serve(broker, stream, peer, deadline).await,
        // In a box, so that the tasks of the others are no larger for it.
        Some(admission) => Box::pin(serve_websocket(broker, stream, peer, deadline, admission)).await,
    }
}

async fn serve_websocket<S>(
    broker: Arc<Broker>,
    stream: S,
    peer: Peer,
    deadline: Instant,
    admission: Arc<Admission>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let addr = peer.addr;
    match tokio::time::timeout_at(deadline.into(), websocket::accept(stream, &admission, addr)).await {
        Ok(Ok(Some(mut websocket))) => {
            connection::serve(broker, &mut websocket, peer, deadline).await;
            websocket.close().await;
        }
        // It was refused, and told so.
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%addr, "closed before the WebSocket handshake: {error}"),
        Err(_) => tracing::info!(%addr, "closed: no WebSocket handshake within limits.connect_timeout_s"),
    }
}
