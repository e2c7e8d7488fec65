//! From an accepted socket to a connected session: the first packet, who it is, whether it may, and
//! the session it gets. Everything before the CONNACK is bounded in time and in bytes; what is
//! refused gets its return code and a line in the log that names the rule.

use super::Connection;
use super::timer::Timer;
use crate::broker::Broker;
use crate::connection::io::Io;
use crate::log_limit::LogLimit;
use crate::mailbox::Command;
use crate::registry::{ClaimError, Claimed};
use crate::router::Turn;
use crate::session::Ending;
use crate::session::connect::{self, Refused};
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_protocol::packet::{ConnAck, Connect, Version};
use sealmq_protocol::{ConnectReturnCode, Packet, ProtocolError, codec};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// The longest CONNECT that MQTT 3.1.1 allows: five strings of 65,535 bytes and the headers.
const CONNECT_BYTES_MAX: usize = 5 * (65_535 + 2) + 15;
/// Characters of a name in a log line.
const LOGGED_CHARS: usize = 128;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) addr: SocketAddr,
    /// Whether nobody in between can read: TLS.
    pub(crate) secure: bool,
    /// Whether it is one too many, and to be refused.
    pub(crate) excess: bool,
}

/// How a connection ended before it was one.
enum Failure {
    /// With the client id, which is only asked for.
    Refused(Refused, ByteString),
    Protocol(ProtocolError),
    SocketClosed,
}

/// Serves one client on `stream`, to the end. A CONNECT must have come by `deadline`.
pub(crate) async fn serve<S>(broker: Arc<Broker>, stream: S, peer: Peer, deadline: Instant)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut io = Io::new(stream);
    let greeted = tokio::time::timeout_at(deadline.into(), greet(&broker, &mut io, peer)).await;
    let failure = match greeted {
        Ok(Ok(greeted)) => return connected(broker, io, peer, greeted).await,
        Ok(Err(failure)) => failure,
        Err(_) => {
            broker.metrics.connects_refused.add(1);
            tracing::info!(addr = %peer.addr, "closed: no CONNECT within limits.connect_timeout_s");
            return;
        }
    };
    broker.metrics.connects_refused.add(1);
    match failure {
        Failure::SocketClosed => tracing::debug!(addr = %peer.addr, "closed before CONNECT"),
        Failure::Protocol(error) => {
            broker.metrics.protocol_errors.add(1);
            tracing::info!(addr = %peer.addr, clause = error.clause(), bound = bound(error), "closed: {error}");
            if let Some(code) = error.connect_return_code() {
                encode_connack(code, false, &mut io);
            }
        }
        Failure::Refused(Refused { code, rule }, client_id) => {
            let client = shortened(Some(client_id.as_ref()));
            tracing::info!(addr = %peer.addr, code = code as u8, client, "CONNECT refused: {rule}");
            encode_connack(code, false, &mut io);
        }
    }
    let _ = tokio::time::timeout(GOODBYE, io.close_read()).await;
}

struct Greeted {
    connect: Box<Connect>,
    claimed: Claimed,
}

async fn greet<S>(broker: &Broker, io: &mut Io<S>, peer: Peer) -> Result<Greeted, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connect = read_connect(broker, io).await?;
    let asked = connect.client_id.clone();
    let refused = |refused: Refused| Failure::Refused(refused, asked.clone());
    let refuse = |code, rule| Err(refused(Refused { code, rule }));
    if broker.is_stopping() {
        return refuse(ConnectReturnCode::ServerUnavailable, "the server is shutting down");
    }
    if peer.excess {
        return refuse(ConnectReturnCode::ServerUnavailable, "too many connections (limits.connections_max)");
    }
    let client_id = connect::client_id(&connect, &broker.connect_rules, random_u128()).map_err(refused)?;
    let auth = broker.rules().auth.clone();
    auth.check(connect.user_name.as_deref(), connect.password.take()).await.map_err(|denied| {
        tracing::info!(client = %client_id.escape_debug(), addr = %peer.addr, user = shortened(connect.user_name.as_deref()), "{denied}");
        refused(Refused { code: denied.code(), rule: denied.rule() })
    })?;
    match broker.registry.claim(&client_id, connect.user_name.as_ref(), connect.clean_session).await {
        Ok(claimed) => Ok(Greeted { connect, claimed }),
        Err(ClaimError::Full) => {
            refuse(ConnectReturnCode::ServerUnavailable, "too many sessions (limits.sessions_max)")
        }
        Err(ClaimError::Superseded) => Err(Failure::SocketClosed),
    }
}

/// The first packet, which must be CONNECT ([MQTT-3.1.0-1]). What follows it stays in the buffer.
async fn read_connect<S>(broker: &Broker, io: &mut Io<S>) -> Result<Box<Connect>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut limits = broker.codec_limits;
    limits.packet_bytes_max = limits.packet_bytes_max.min(CONNECT_BYTES_MAX);
    loop {
        if io.read.first().is_some_and(|first| first >> 4 != 1) {
            return Err(Failure::Protocol(ProtocolError::FirstPacketNotConnect));
        }
        let missing = codec::missing(&io.read, &limits).map_err(Failure::Protocol)?;
        if missing == 0 {
            break;
        }
        let read = std::future::poll_fn(|cx| io.poll_read(missing, cx)).await;
        if read.unwrap_or(0) == 0 {
            return Err(Failure::SocketClosed);
        }
    }
    let mut bytes = io.read.split().freeze();
    let packet = codec::decode(&mut bytes, &limits).map_err(Failure::Protocol)?;
    io.read.extend_from_slice(&bytes);
    match packet {
        Some(Packet::Connect(connect)) => Ok(connect),
        Some(_) | None => Err(Failure::Protocol(ProtocolError::FirstPacketNotConnect)),
    }
}

async fn connected<S>(broker: Arc<Broker>, mut io: Io<S>, peer: Peer, greeted: Greeted)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Greeted { connect, claimed } = greeted;
    let Claimed { mut session, mailbox, present } = claimed;
    let Connect { version, clean_session, keep_alive_s, will, user_name, .. } = *connect;
    tracing::info!(
        client = %session.client_id().escape_debug(), addr = %peer.addr, secure = peer.secure, ?version,
        user = shortened(user_name.as_deref()), clean_session, session_present = present, keep_alive_s, "connected"
    );
    // MQTT 3.1 has no session-present flag.
    encode_connack(ConnectReturnCode::Accepted, present && version > Version::V31, &mut io);
    broker.metrics.connects_accepted.add(1);
    session.attach(keep_alive_s, will, peer.secure, Instant::now());
    mailbox.attach(peer.secure);
    if broker.is_stopping() {
        mailbox.tell(Command::Finish);
    }
    let rules = broker.rules();
    let mut connection = Connection {
        permissions: rules.permissions(session.client_id(), user_name.as_deref()),
        user: user_name,
        io,
        session,
        mailbox,
        peer,
        rules,
        turn: Turn::default(),
        input: Bytes::new(),
        held: VecDeque::new(),
        paused: None,
        stalled: None,
        timer: Timer::default(),
        refusals: LogLimit::default(),
        draining: false,
        finishing: false,
        broker,
    };
    connection.enforce_permissions();
    let ending = connection.run().await;
    connection.finish(ending).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The will, the log line, the session back to the registry, and a goodbye to the socket.
    async fn finish(mut self, ending: Ending) {
        let now = super::Now::read();
        self.log_ending(ending);
        if self.broker.is_stopping() && !self.draining {
            // It needs no telling any more.
            self.broker.drained();
        }
        if ending.publishes_will()
            && let Some(will) = self.session.take_will()
        {
            self.publish_will(will, now);
        }
        let Self { broker, mut io, session, mailbox, .. } = self;
        broker.registry.release(session, &mailbox, now.instant);
        if ending != Ending::SocketClosed {
            // Whoever took the session over does not wait for this.
            let _ = tokio::time::timeout(GOODBYE, io.close()).await;
        }
    }

    fn log_ending(&self, ending: Ending) {
        let (client, addr) = (self.session.client_id().escape_debug(), self.peer.addr);
        match ending {
            Ending::Disconnect => tracing::info!(%client, %addr, "disconnected"),
            Ending::SocketClosed => tracing::info!(%client, %addr, "connection lost"),
            Ending::Protocol(error) => {
                self.broker.metrics.protocol_errors.add(1);
                tracing::info!(%client, %addr, clause = error.clause(), bound = bound(error), "closed: {error}");
            }
            Ending::TakenOver => {
                tracing::info!(%client, %addr, clause = "MQTT-3.1.4-2", "closed: taken over by a new connection");
            }
            Ending::Overrun => {
                tracing::warn!(%client, %addr, "closed: fell too far behind its subscriptions (limits.inbox_messages_max, limits.inbox_bytes_max)");
            }
            Ending::WriteStalled => {
                tracing::warn!(%client, %addr, "closed: takes nothing of what is written to it (limits.write_stall_s)");
            }
            Ending::Refused => {
                tracing::warn!(%client, %addr, "closed: a message was refused and the policy says on_refusal = \"disconnect\"");
            }
            Ending::Shutdown => tracing::info!(%client, %addr, "closed: the server is shutting down"),
        }
    }
}

/// The key of the configuration that an error of the protocol went beyond, if it was one of ours.
fn bound(error: ProtocolError) -> Option<&'static str> {
    [
        (ProtocolError::PacketTooLarge, "mqtt.packet_bytes_max"),
        (ProtocolError::TooManyTopicLevels, "limits.topic_levels_max"),
        (ProtocolError::TooManyFilters, "limits.filters_per_packet_max"),
        (ProtocolError::ReceiveMaximumExceeded, "limits.inbound_qos2_max"),
    ]
    .into_iter()
    .find_map(|(ours, key)| (ours == error).then_some(key))
}

/// A name as far as a log line has room for it.
fn shortened(name: Option<&str>) -> Option<&str> {
    name.map(|name| name.char_indices().nth(LOGGED_CHARS).map_or(name, |(end, _)| name.split_at(end).0))
}

fn encode_connack<S>(code: ConnectReturnCode, session_present: bool, io: &mut Io<S>) {
    codec::encode(&Packet::ConnAck(ConnAck { session_present, code }), &mut io.out);
}

/// For the client ids that the server makes. Unguessable where the system has randomness; without,
/// unique in this process at least.
fn random_u128() -> u128 {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_ok() {
        return u128::from_ne_bytes(bytes);
    }
    u128::from(MADE.fetch_add(1, Ordering::Relaxed))
}
