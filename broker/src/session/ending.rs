//! Why a connection ends, and what an MQTT 5 client is told of it before the socket is closed.

use sealmq_protocol::{ProtocolError, ReasonCode};
use std::borrow::Cow;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client sent DISCONNECT, for this reason.
    Disconnect(ReasonCode),
    /// The socket is gone.
    SocketClosed,
    /// The client broke the protocol.
    Protocol(ProtocolError),
    /// A new connection claimed the client id.
    TakenOver,
    /// The client fell too far behind its subscriptions.
    Overrun,
    /// The client takes nothing of what is written to it.
    WriteStalled,
    /// The policy of a topic asks for it when a message is refused; with what the client is told.
    Refused(ReasonCode),
    /// Too many stamps failed, of this connection or of its address.
    FailedStamps,
    /// A reload took the user away.
    UserGone,
    /// The client did not prove anew who it is; with what it is told.
    NotAuthenticated(ReasonCode),
    /// What the client asked for cannot be answered within its maximum packet size.
    AnswerTooLarge,
    /// The session's queue cannot be read.
    StoreFailed,
    /// What is confidential cannot be put into an envelope.
    NotSealed,
    /// The server stops.
    Shutdown,
}

impl Ending {
    /// What a DISCONNECT to an MQTT 5 client says ([MQTT-3.14.0-1], §4.13); none where the client ended it,
    /// or cannot be told.
    pub(crate) fn reason(self) -> Option<ReasonCode> {
        Some(match self {
            Self::Disconnect(_) | Self::SocketClosed | Self::WriteStalled => return None,
            Self::Protocol(error) => error.reason(),
            Self::TakenOver => ReasonCode::SessionTakenOver,
            Self::Overrun | Self::FailedStamps => ReasonCode::QuotaExceeded,
            Self::Refused(reason) | Self::NotAuthenticated(reason) => reason,
            Self::UserGone => ReasonCode::AdministrativeAction,
            Self::AnswerTooLarge => ReasonCode::PacketTooLarge,
            Self::StoreFailed | Self::NotSealed => ReasonCode::UnspecifiedError,
            Self::Shutdown => ReasonCode::ServerShuttingDown,
        })
    }

    /// The same for people, for clients that want to hear it.
    pub(crate) fn explanation(self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Protocol(error) => return Some(Cow::Owned(error.to_string())),
            Self::Refused(_) => "a message was refused, and the topic's policy ends the connection then",
            Self::Overrun => "too many messages wait for this client",
            Self::FailedStamps => "too many stamps did not hold",
            Self::UserGone => "what this client was let in by is not there any more, or has changed",
            Self::AnswerTooLarge => "an answer is larger than the client's maximum packet size",
            Self::StoreFailed => "the messages of this client cannot be read",
            Self::Disconnect(_)
            | Self::SocketClosed
            | Self::TakenOver
            | Self::WriteStalled
            | Self::NotAuthenticated(_)
            | Self::NotSealed
            | Self::Shutdown => return None,
        };
        Some(Cow::Borrowed(text))
    }
}
