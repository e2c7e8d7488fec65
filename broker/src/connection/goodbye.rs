//! What is said at the end of a connection: to the client, and to the log.

use super::Connection;
use super::handshake::bound;
use super::io::encode_within;
use crate::session::Ending;
use sealmq_protocol::packet::{Diagnostics, Disconnect, Version};
use sealmq_protocol::{Packet, ReasonCode};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The DISCONNECT by which an MQTT 5 client learns why it is closed (§4.13.1). Whether there is one.
    pub(super) fn say_why(&mut self, ending: Ending) -> bool {
        let Some(reason) = ending.reason().filter(|_| self.version == Version::V5) else { return false };
        let mut disconnect = Disconnect::of(reason);
        if let Some(text) = ending.explanation().filter(|_| self.session.wants_problem_information()) {
            disconnect.diagnostics = Some(Diagnostics::of(&text));
        }
        // As much of it as the client takes ([MQTT-3.1.2-24]).
        [disconnect, Disconnect::of(reason)].into_iter().any(|disconnect| {
            let packet = Packet::Disconnect(Box::new(disconnect));
            encode_within(&packet, self.version, self.packet_bytes_max, &mut self.io.out)
        })
    }

    pub(super) fn log_ending(&self, ending: Ending) {
        let (client, addr) = (self.session.client_id().escape_debug(), self.peer.addr);
        match ending {
            Ending::Disconnect(ReasonCode::Success) => tracing::info!(%client, %addr, "disconnected"),
            Ending::Disconnect(reason) => {
                tracing::info!(%client, %addr, reason = ?reason, "disconnected, and said why");
            }
            Ending::SocketClosed => tracing::info!(%client, %addr, "connection lost"),
            Ending::Protocol(error) => {
                self.broker.metrics.protocol_errors.add(1);
                let clause = error.clause(self.version);
                tracing::info!(%client, %addr, clause, bound = bound(error), "closed: {error}");
            }
            Ending::TakenOver => {
                let clause = if self.version == Version::V5 { "MQTT-3.1.4-3" } else { "MQTT-3.1.4-2" };
                tracing::info!(%client, %addr, clause, "closed: taken over by a new connection");
            }
            Ending::Overrun => {
                tracing::warn!(%client, %addr, "closed: fell too far behind its subscriptions (limits.inbox_messages_max, limits.inbox_bytes_max)");
            }
            Ending::WriteStalled => {
                tracing::warn!(%client, %addr, "closed: takes nothing of what is written to it (limits.write_stall_s)");
            }
            Ending::Refused(_) => {
                tracing::warn!(%client, %addr, "closed: a message was refused and the policy says on_refusal = \"disconnect\"");
            }
            Ending::FailedStamps => {
                tracing::warn!(%client, %addr, "closed: too many failed stamps (limits.failed_stamps_per_connection, limits.failed_stamps_per_address)");
            }
            Ending::UserGone => {
                tracing::warn!(%client, %addr, "closed: what it was let in by is not there any more, or has changed");
            }
            Ending::NotAuthenticated(_) => {
                tracing::warn!(%client, %addr, "closed: did not prove anew who it is");
            }
            Ending::AnswerTooLarge => {
                tracing::warn!(%client, %addr, "closed: an answer is larger than the client's maximum packet size");
            }
            Ending::StoreFailed => {
                tracing::error!(%client, %addr, "closed: its queue cannot be read");
            }
            Ending::NotSealed => {
                tracing::error!(%client, %addr, "closed: it cannot be sent an envelope");
            }
            Ending::Shutdown => tracing::info!(%client, %addr, "closed: the server is shutting down"),
        }
    }
}
