//! The exchange of AUTH packets (MQTT 5 §4.12): before the CONNACK, and again when the client wants it.
//! Carries packets to and from [`crate::auth::Exchange`] and decides nothing; what is proven, `auth/` says.

use super::Connection;
use super::io::{Io, encode_within};
use crate::auth::{Denied, Identity, Step, Who, password};
use crate::broker::Broker;
use crate::now::Now;
use crate::rulebook::Rulebook;
use crate::session::{Ending, connect};
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_protocol::packet::{Auth, Connect, Version};
use sealmq_protocol::{Packet, ProtocolError, ReasonCode};
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of randomness for an exchange.
const RANDOM_BYTES: usize = 32;

/// Who a client has proven to be, with what it is told at the end.
pub(super) struct Authenticated {
    pub(super) identity: Identity,
    pub(super) data: Option<Bytes>,
}

/// Why nobody was proven.
pub(super) enum NotAuthenticated {
    Denied(Denied),
    Protocol(ProtocolError),
    /// What the client has to be asked does not fit into its maximum packet size.
    TooLarge,
    SocketClosed,
}

impl From<ProtocolError> for NotAuthenticated {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// Whether the client may connect: by the exchange that it asked for, or by user name and password.
pub(super) async fn greet<S>(
    broker: &Broker,
    io: &mut Io<S>,
    connect: &mut Connect,
) -> Result<Authenticated, NotAuthenticated>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let rules = broker.rules();
    let Some(method) = connect.properties.authentication_method.clone() else {
        let checked = rules.auth.check(connect.user_name.as_deref(), connect.password.take()).await;
        return checked
            .map(|identity| Authenticated { identity, data: None })
            .map_err(NotAuthenticated::Denied);
    };
    // Of no use beside an exchange, and a secret all the same.
    connect.password.take().into_iter().for_each(password::wipe);
    let who = Who { client_id: &connect.client_id, user: connect.user_name.as_deref() };
    let packet_bytes_max = connect::packet_bytes_max(connect);
    let data = connect.properties.authentication_data.as_deref();
    let mut step = begin(&rules, &method, data, who)?;
    loop {
        match step {
            Step::Done(identity, data) => return Ok(Authenticated { identity, data }),
            Step::Denied(denied) => return Err(NotAuthenticated::Denied(denied)),
            Step::Continue(exchange, data) => {
                // [MQTT-4.12.0-2]
                let auth = Auth { data: Some(data), ..auth(ReasonCode::ContinueAuthentication, &method) };
                let packet = Packet::Auth(Box::new(auth));
                if !encode_within(&packet, Version::V5, packet_bytes_max, &mut io.out) {
                    return Err(NotAuthenticated::TooLarge);
                }
                let auth = read_auth(broker, io).await?;
                if auth.method.as_ref() != Some(&method) {
                    return Err(ProtocolError::AuthMethodChanged.into()); // [MQTT-4.12.0-5]
                }
                if auth.reason != ReasonCode::ContinueAuthentication {
                    return Err(ProtocolError::UnexpectedAuth.into()); // [MQTT-4.12.0-3]
                }
                step = exchange.answer(auth.data.as_deref(), rules.senders(Now::read()));
            }
        }
    }
}

fn begin(
    rules: &Rulebook,
    method: &str,
    data: Option<&[u8]>,
    who: Who<'_>,
) -> Result<Step, NotAuthenticated> {
    let mut random = [0; RANDOM_BYTES];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::error!("no random bytes for an authentication: {error}");
        return Err(NotAuthenticated::SocketClosed);
    }
    Ok(rules.auth.begin(method, data, who, rules.senders(Now::read()), &random))
}

fn auth(reason: ReasonCode, method: &ByteString) -> Auth {
    Auth { reason, method: Some(method.clone()), data: None, diagnostics: None }
}

/// The next packet, which must be AUTH or DISCONNECT ([MQTT-3.1.2-30]).
async fn read_auth<S>(broker: &Broker, io: &mut Io<S>) -> Result<Box<Auth>, NotAuthenticated>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closed = |_| NotAuthenticated::SocketClosed;
    std::future::poll_fn(|cx| io.poll_write(&mut 0, cx)).await.map_err(closed)?;
    match io.read_first(Version::V5, &broker.codec_limits).await? {
        Some(Packet::Auth(auth)) => Ok(auth),
        Some(Packet::Disconnect(_)) | None => Err(NotAuthenticated::SocketClosed),
        Some(_) => Err(ProtocolError::UnexpectedPacket.into()),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A step of a re-authentication (§4.12.1). Everything else goes on meanwhile, as who the client is
    /// already.
    pub(super) fn authenticate(&mut self, received: Auth) -> Result<(), Ending> {
        let Some(method) = received.method else {
            return Err(Ending::Protocol(ProtocolError::UnexpectedAuth));
        };
        let data = received.data.as_deref();
        let step = match (received.reason, self.exchange.take()) {
            (ReasonCode::Reauthenticate, _) => {
                let user = self.identity.user().map(|user| &**user);
                let who = Who { client_id: self.session.client_id(), user };
                begin(&self.rules, &method, data, who).map_err(|_| Ending::SocketClosed)?
            }
            (ReasonCode::ContinueAuthentication, Some(exchange)) => {
                exchange.answer(data, self.rules.senders(Now::read()))
            }
            _ => return Err(Ending::Protocol(ProtocolError::UnexpectedAuth)),
        };
        let answer = match step {
            Step::Continue(exchange, data) => {
                self.exchange = Some(Box::new(exchange));
                Auth { data: Some(data), ..auth(ReasonCode::ContinueAuthentication, &method) }
            }
            Step::Done(identity, data) => {
                self.identity = identity;
                Auth { data, ..auth(ReasonCode::Success, &method) }
            }
            // [MQTT-4.12.1-2]
            Step::Denied(denied) => {
                let (client, addr) = (self.session.client_id().escape_debug(), self.peer.addr);
                let user = self.identity.user().map(|user| user.escape_debug().to_string());
                tracing::info!(%client, %addr, user, "{denied}");
                return Err(Ending::NotAuthenticated(denied.reason()));
            }
        };
        self.send(&Packet::Auth(Box::new(answer)))
    }
}
