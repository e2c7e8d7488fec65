//! From an accepted socket to a connected session: the first packet, who it is, whether it may, and
//! the session it gets. Everything before the CONNACK is bounded in time and in bytes; what is
//! refused gets its return code and a line in the log that names the rule.

use super::Connection;
use super::admission::Admission;
use super::authenticate::{self, Authenticated, NotAuthenticated};
use super::io::{Io, encode_within};
use super::timer::Timer;
use crate::audit::Whose;
use crate::auth::Identity;
use crate::broker::Broker;
use crate::mailbox::{Command, Mailbox};
use crate::now::Now;
use crate::registry::{Claim, ClaimError, Claimed, DelayedWill};
use crate::router::Turn;
use crate::session::connect::{self, Refused, Terms};
use crate::session::{Ending, Session, WillAtEnd};
use crate::store::Position;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sealmq_protocol::packet::{ConnAck, ConnAckProperties, Connect, Diagnostics, Version};
use sealmq_protocol::{Packet, ProtocolError, ReasonCode, codec};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

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
    /// With what was asked for.
    Refused(Refused, Box<Connect>),
    /// With the protocol level, if CONNECT had said it, and the client id, if it is known.
    Protocol(ProtocolError, Option<u8>, Option<ByteString>),
    SocketClosed,
}

/// Serves one client on `stream`, to the end. A CONNECT must have come by `deadline`.
pub(crate) async fn serve<S>(broker: Arc<Broker>, stream: S, peer: Peer, deadline: Instant)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut io = Io::new(stream);
    // In a box that is gone when the greeting is over: a task stays as large as it ever was.
    let greeting = Box::pin(greet(&broker, &mut io, peer));
    let failure = match tokio::time::timeout_at(deadline.into(), greeting).await {
        Ok(Ok(greeted)) => {
            let Some(mut connection) = accept(broker, io, peer, greeted) else { return };
            let ending = connection.run().await;
            return connection.finish(ending).await;
        }
        Ok(Err(failure)) => failure,
        Err(_) => {
            broker.metrics.connects_refused.add(1);
            tracing::info!(addr = %peer.addr, "closed: not connected, or not authenticated, within limits.connect_timeout_s");
            return;
        }
    };
    broker.metrics.connects_refused.add(1);
    match failure {
        Failure::SocketClosed => tracing::debug!(addr = %peer.addr, "closed before CONNECT"),
        Failure::Protocol(error, level, client_id) => {
            broker.metrics.protocol_errors.add(1);
            let clause = error.clause(if level == Some(5) { Version::V5 } else { Version::V311 });
            let client = shortened(client_id.as_deref());
            tracing::info!(addr = %peer.addr, client, clause, bound = bound(error), "closed: {error}");
            refuse_malformed(error, level, &mut io.out);
        }
        Failure::Refused(refused, connect) => {
            let client = shortened(Some(&connect.client_id));
            let code = refused.reason.byte();
            tracing::info!(addr = %peer.addr, code, client, "CONNECT refused: {}", refused.rule);
            refuse(&broker, refused, &connect, &mut io.out);
        }
    }
    let _ = tokio::time::timeout(GOODBYE, io.close_read()).await;
}

/// The CONNACK to what is no good CONNECT, in the form of its version; where that is not known, or
/// MQTT 3.1.1 has no return code for it, the close says it all ([MQTT-3.1.4-1]).
fn refuse_malformed(error: ProtocolError, level: Option<u8>, out: &mut BytesMut) {
    let version = match (error, level) {
        (_, Some(5)) => Version::V5,
        (ProtocolError::UnacceptableProtocolVersion { level }, _) if level > 5 => Version::V5,
        (ProtocolError::UnacceptableProtocolVersion { .. }, _) => Version::V311,
        _ => return,
    };
    let properties = ConnAckProperties::default();
    let connack = ConnAck { session_present: false, reason: error.reason(), properties };
    codec::encode(&Packet::ConnAck(Box::new(connack)), version, out);
}

/// The CONNACK to a CONNECT that is refused. MQTT 5 clients learn the rule, if they want to
/// ([MQTT-3.1.2-29] leaves it to us), and where to go instead, if there is another server.
fn refuse(broker: &Broker, refused: Refused, connect: &Connect, out: &mut BytesMut) {
    let mut properties = ConnAckProperties::default();
    if connect.properties.request_problem_information {
        properties.diagnostics =
            Diagnostics { reason_string: Some(refused.rule.into()), ..Diagnostics::default() };
    }
    if refused.reason == ReasonCode::UseAnotherServer {
        properties.server_reference = broker.connect_rules.offer.server_reference.as_deref().map(Into::into);
    }
    let connack = ConnAck { session_present: false, reason: refused.reason, properties };
    send_connack(connack, connect.version, connect::packet_bytes_max(connect), out);
}

/// Writes a CONNACK within the client's maximum packet size, if need be without what may be left out
/// ([MQTT-3.2.2-19]). Whether it was written.
fn send_connack(connack: ConnAck, version: Version, maximum: Option<usize>, out: &mut BytesMut) -> bool {
    let mut packet = Packet::ConnAck(Box::new(connack));
    if encode_within(&packet, version, maximum, out) {
        return true;
    }
    if let Packet::ConnAck(connack) = &mut packet {
        connack.properties.diagnostics = Diagnostics::default();
        connack.properties.response_information = None;
    }
    encode_within(&packet, version, maximum, out)
}

struct Greeted {
    connect: Box<Connect>,
    claimed: Claimed,
    authenticated: Authenticated,
}

async fn greet<S>(broker: &Broker, io: &mut Io<S>, peer: Peer) -> Result<Greeted, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connect = read_connect(broker, io).await?;
    match admit(broker, io, peer, &mut connect).await {
        Ok((claimed, authenticated)) => Ok(Greeted { connect, claimed, authenticated }),
        Err(NotAdmitted::Refused(refused)) => Err(Failure::Refused(refused, connect)),
        Err(NotAdmitted::Protocol(error)) => Err(Failure::Protocol(error, Some(5), Some(connect.client_id))),
        Err(NotAdmitted::SocketClosed) => Err(Failure::SocketClosed),
    }
}

/// Why a good CONNECT leads to no session.
enum NotAdmitted {
    Refused(Refused),
    Protocol(ProtocolError),
    SocketClosed,
}

async fn admit<S>(
    broker: &Broker,
    io: &mut Io<S>,
    peer: Peer,
    connect: &mut Connect,
) -> Result<(Claimed, Authenticated), NotAdmitted>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let rules = &broker.connect_rules;
    let refuse = |reason, rule| Err(NotAdmitted::Refused(Refused { reason, rule }));
    if broker.is_stopping() {
        return refuse(ReasonCode::ServerUnavailable, "the server is shutting down");
    }
    let elsewhere = rules.offer.server_reference.is_some().then_some(ReasonCode::UseAnotherServer);
    if peer.excess {
        let reason = elsewhere.unwrap_or(ReasonCode::ServerBusy);
        return refuse(reason, "too many connections (limits.connections_max)");
    }
    let client_id = connect::client_id(connect, rules, random_u128()).map_err(NotAdmitted::Refused)?;
    connect::check_will(connect, rules).map_err(NotAdmitted::Refused)?;
    let authenticated = authenticate::greet(broker, io, connect).await.map_err(|error| match error {
        NotAuthenticated::Denied(denied) => {
            let user = connect.user_name.as_deref();
            let whose = Whose { client: &client_id, addr: Some(peer.addr), user };
            broker.audit.record_denied(denied.rule(), whose);
            tracing::info!(client = %client_id.escape_debug(), addr = %peer.addr, user = shortened(user), "{denied}");
            NotAdmitted::Refused(Refused { reason: denied.reason(), rule: denied.rule() })
        }
        NotAuthenticated::Protocol(error) => NotAdmitted::Protocol(error),
        NotAuthenticated::TooLarge => {
            let rule = "AUTH is larger than the client's maximum packet size";
            NotAdmitted::Refused(Refused { reason: ReasonCode::PacketTooLarge, rule })
        }
        NotAuthenticated::SocketClosed => NotAdmitted::SocketClosed,
    })?;
    let claim = Claim {
        client_id: &client_id,
        user: authenticated.identity.user(),
        clean_start: connect.clean_start,
        persistent: connect::session_expiry_s(connect, &rules.offer) > 0,
    };
    // Before anything is claimed: a session that cannot be had stays as it is, its will and its expiry too.
    if claim.persistent && broker.store.has_no_space() {
        return refuse(ReasonCode::ServerUnavailable, "no space is left for the store");
    }
    match broker.registry.claim(claim).await {
        Ok(mut claimed) => {
            // Before the store is waited for: what it is told next does not have the will any more.
            if let Some(will) = claimed.due_will.take() {
                broker.publish_will(will);
            }
            let claimed = take_up(broker, connect, claimed, &authenticated.identity).await?;
            Ok((claimed, authenticated))
        }
        Err(ClaimError::Full) => {
            let reason = elsewhere.unwrap_or(ReasonCode::QuotaExceeded);
            refuse(reason, "too many sessions (limits.sessions_max)")
        }
        Err(ClaimError::Superseded) => Err(NotAdmitted::SocketClosed),
    }
}

/// A session that the store keeps, as it is there; with what the client has said of it kept before it is
/// told so. A client that is not waited for any more leaves the session where it was.
async fn take_up(
    broker: &Broker,
    connect: &Connect,
    claimed: Claimed,
    identity: &Identity,
) -> Result<Claimed, NotAdmitted> {
    if !claimed.session.is_stored() {
        return Ok(claimed);
    }
    let mut untaken = Untaken { broker, claimed: Some(claimed) };
    let refuse = |rule| NotAdmitted::Refused(Refused { reason: ReasonCode::ServerUnavailable, rule });
    let Some(claimed) = &mut untaken.claimed else { return Err(NotAdmitted::SocketClosed) };
    let expiry = connect::expiry(connect, &broker.connect_rules.offer);
    let will = connect.will.clone().map(|will| (identity.clone(), will));
    let position = broker.registry.keep_connected(claimed, expiry, will);
    broker.store.kick();
    // From here on what was appended before can be read too.
    broker.store.applied(position).await;
    if claimed.present
        && let Err(error) = broker.registry.resume(&mut claimed.session)
    {
        tracing::error!(client = %claimed.session.client_id().escape_debug(), "its session cannot be read: {error}");
        return Err(refuse("the session cannot be read from the store"));
    }
    untaken.claimed.take().ok_or(NotAdmitted::SocketClosed)
}

/// A claimed session that goes back to the registry unless a connection takes it.
struct Untaken<'a> {
    broker: &'a Broker,
    claimed: Option<Claimed>,
}

impl Drop for Untaken<'_> {
    fn drop(&mut self) {
        if let Some(Claimed { mut session, mailbox, present, due_will: _ }) = self.claimed.take() {
            if !present {
                // Nobody was told that it is there.
                session.resume_expiry(Some(Duration::ZERO));
            }
            self.broker.registry.release(session, &mailbox, None, Instant::now());
        }
    }
}

/// The first packet, which must be CONNECT ([MQTT-3.1.0-1]). What follows it stays in the buffer.
async fn read_connect<S>(broker: &Broker, io: &mut Io<S>) -> Result<Box<Connect>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let not_connect = Failure::Protocol(ProtocolError::FirstPacketNotConnect, None, None);
    // The first byte says whether the other end speaks MQTT; one that does not may never send as much
    // as its second byte would mean.
    if io.read.is_empty() && !io.read_some(0).await {
        return Err(Failure::SocketClosed);
    }
    if io.read.first().is_some_and(|first| first >> 4 != 1) {
        return Err(not_connect);
    }
    match io.read_first(Version::V5, &broker.codec_limits).await {
        Ok(Some(Packet::Connect(connect))) => Ok(connect),
        Ok(Some(_)) => Err(not_connect),
        Ok(None) => Err(Failure::SocketClosed),
        Err(error) => Err(Failure::Protocol(error, codec::connect_level(&io.read), None)),
    }
}

/// Answers CONNECT and puts the connection together; `None` if the client cannot be answered.
fn accept<S>(broker: Arc<Broker>, mut io: Io<S>, peer: Peer, greeted: Greeted) -> Option<Box<Connection<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Greeted { connect, claimed, authenticated } = greeted;
    let Claimed { mut session, mailbox, present, due_will: _ } = claimed;
    let Authenticated { identity, data } = authenticated;
    let user = identity.user().cloned();
    let (version, clean_start) = (connect.version, connect.clean_start);
    let packet_bytes_max = connect::packet_bytes_max(&connect);
    let mut properties =
        connect::connack(&connect, session.client_id(), user.as_deref(), &broker.connect_rules.offer);
    properties.authentication_data = data;
    // MQTT 3.1 has no session-present flag.
    let session_present = present && version > Version::V31;
    let connack = ConnAck { session_present, reason: ReasonCode::Success, properties };
    if !send_connack(connack, version, packet_bytes_max, &mut io.out) {
        // Nothing may come before a CONNACK ([MQTT-3.2.0-1]), so that there is nothing to be said.
        let_go(&broker, *connect, (session, mailbox), peer);
        return None;
    }
    let terms = Terms::of(*connect, &broker.connect_rules);
    tracing::info!(
        client = %session.client_id().escape_debug(), addr = %peer.addr, secure = peer.secure, ?version,
        user = shortened(user.as_deref()), clean_start,
        session_present = present, keep_alive_s = terms.keep_alive_s, "connected"
    );
    broker.metrics.connects_accepted.add(1);
    session.attach(terms, peer.secure, Instant::now());
    let rules = broker.rules();
    mailbox.attach(rules.subscriber_keys.channel(peer.secure, session.client_id(), user.as_deref()));
    if broker.is_stopping() {
        mailbox.tell(Command::Finish);
    }
    let mut connection = Box::new(Connection {
        permissions: rules.permissions(session.client_id(), user.as_deref()),
        identity,
        version,
        packet_bytes_max,
        exchange: None,
        sealer: None,
        io,
        turn: Turn::of(session.id()),
        session,
        mailbox,
        peer,
        rules,
        keys_as_of: Now::read().unix_s,
        input: Bytes::new(),
        admission: Admission::default(),
        held: VecDeque::new(),
        answers: 0,
        promised: Position::START,
        unread: None,
        awaited: None,
        awaited_unread: None,
        paused: None,
        stalled: None,
        timer: Timer::default(),
        refusals: None,
        draining: false,
        finishing: false,
        broker,
    });
    connection.enforce_permissions();
    Some(connection)
}

/// Gives a session back whose client cannot be answered: its maximum packet size is below the CONNACK.
fn let_go(
    broker: &Broker,
    connect: Connect,
    (mut session, mailbox): (Box<Session>, Arc<Mailbox>),
    peer: Peer,
) {
    broker.metrics.connects_refused.add(1);
    let client = session.client_id().escape_debug().to_string();
    tracing::info!(addr = %peer.addr, client, "closed: CONNACK is larger than the client's maximum packet size");
    // It was never accepted, and so has no will; but it has asked how long its session is kept.
    let terms = Terms::of(Connect { will: None, ..connect }, &broker.connect_rules);
    session.attach(terms, peer.secure, Instant::now());
    broker.registry.release(session, &mailbox, None, Instant::now());
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The will, the log line, the session back to the registry, and a goodbye to the socket.
    async fn finish(mut self: Box<Self>, ending: Ending) {
        let now = Now::read();
        self.log_ending(ending);
        if self.broker.is_stopping() && !self.draining {
            // It needs no telling any more.
            self.broker.drained();
        }
        let (mut delayed, mut will_gone) = (None, Position::START);
        match self.session.will_at_end() {
            WillAtEnd::None => {}
            WillAtEnd::TakenBack => will_gone = self.broker.registry.keep_will_gone(&self.session),
            WillAtEnd::Later(will, delay) if !self.broker.is_stopping() || self.session.is_stored() => {
                let (identity, addr) = (self.identity.clone(), Some(self.peer.addr));
                let due = now.instant.checked_add(delay);
                delayed = due.map(|due| DelayedWill { due, identity, addr, will });
            }
            WillAtEnd::Now(will) | WillAtEnd::Later(will, _) => self.publish_will(will, now),
        }
        let told = self.say_why(ending);
        let Self { broker, mut io, session, mailbox, .. } = *self;
        broker.registry.release(session, &mailbox, delayed, now.instant);
        // Whoever took the session over does not wait for this.
        if ending != Ending::SocketClosed {
            let goodbye = async {
                // Who sees the end of the connection knows that no crash brings the will out again.
                broker.store.reached(will_gone).await;
                if told { io.close_read().await } else { io.close().await }
            };
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
    }
}

/// The key of the configuration that an error of the protocol went beyond, if it was one of ours.
pub(super) fn bound(error: ProtocolError) -> Option<&'static str> {
    [
        (ProtocolError::PacketTooLarge, "mqtt.packet_bytes_max"),
        (ProtocolError::TooManyTopicLevels, "limits.topic_levels_max"),
        (ProtocolError::TooManyFilters, "limits.filters_per_packet_max"),
        (ProtocolError::ReceiveMaximumExceeded, "mqtt.receive_maximum or limits.inbound_qos2_max"),
        (ProtocolError::TopicAlias, "mqtt.topic_alias_maximum"),
        (ProtocolError::QosNotSupported, "mqtt.qos_max"),
        (ProtocolError::RetainNotSupported, "mqtt.retain_available"),
    ]
    .into_iter()
    .find_map(|(ours, key)| (ours == error).then_some(key))
}

/// A name as far as a log line has room for it.
fn shortened(name: Option<&str>) -> Option<&str> {
    name.map(|name| name.char_indices().nth(LOGGED_CHARS).map_or(name, |(end, _)| name.split_at(end).0))
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
