//! Why a client of the command line could not do what it was asked to: the broker's answers and the network.
//!
//! Each prints as one line that names the broker. Text of the broker is shown without control characters, so
//! that it cannot write over what stands on a terminal.

use crate::error::plain;
use sealmq_protocol::packet::{Diagnostics, Version};
use sealmq_protocol::{ProtocolError, ReasonCode};
use std::fmt;
use std::io;

/// Why a connection could not be made, or came to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens, or TLS does not come about.
    #[error("cannot connect to {place}: {}", plain(why))]
    Connect { place: String, why: io::Error },
    /// A name that no certificate can have.
    #[error("{host}: no name of a host that a certificate could be for")]
    HostName { host: String },
    /// CONNACK says no.
    #[error("{place} refuses the connection: {answer}")]
    Refused { place: String, answer: Answer },
    /// DISCONNECT says why.
    #[error("{place} ends the connection: {answer}")]
    Ended { place: String, answer: Answer },
    /// The connection is gone, and nobody says why.
    #[error("the connection to {place} is lost{}", because(why.as_ref()))]
    Lost { place: String, why: Option<io::Error> },
    /// What had to come did not come.
    #[error("{place} does not answer within {seconds} s")]
    Silent { place: String, seconds: u64 },
    /// Bytes that are no packet.
    #[error("{place} sends what is not MQTT: {why}")]
    Malformed { place: String, why: ProtocolError },
    /// A packet that has no place there.
    #[error("{place} sends a packet that nobody asked for")]
    Unexpected { place: String },
    /// A packet that has no form on the wire.
    #[error("the message is too long for MQTT")]
    TooLong,
    /// The broker has said that it does not take such a message.
    #[error("{place} takes no {what}")]
    NotTaken { place: String, what: String },
}

fn because(why: Option<&io::Error>) -> String {
    why.map(|why| format!(": {}", plain(why))).unwrap_or_default()
}

/// A reason code as it is shown to people, with what the broker says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    reason: ReasonCode,
    version: Version,
    words: Option<String>,
}

impl Answer {
    pub(crate) fn new(reason: ReasonCode, version: Version, diagnostics: Option<&Diagnostics>) -> Self {
        let words = diagnostics.and_then(|said| said.reason_string.as_deref()).map(harmless);
        Self { reason, version, words }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.name())?;
        // MQTT 3.1.1 has numbers of its own.
        if self.version == Version::V5 {
            write!(f, " (0x{:02X})", self.reason.byte())?;
        }
        match &self.words {
            Some(words) => write!(f, ": {words}"),
            None => Ok(()),
        }
    }
}

/// Text without control characters: they are shown as escapes.
pub(crate) fn harmless(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shows_name_number_and_words() {
        let said = Diagnostics::of("not \u{1b}[2J you");
        let answer = Answer::new(ReasonCode::NotAuthorized, Version::V5, Some(&said));
        assert_eq!(answer.to_string(), r"not authorized (0x87): not \u{1b}[2J you");
        let old = Answer::new(ReasonCode::BadUserNameOrPassword, Version::V311, None);
        assert_eq!(old.to_string(), "bad user name or password");
    }

    #[test]
    fn errors_are_one_line_that_names_the_broker() {
        let place = || "localhost:1883".to_owned();
        let why = io::Error::from_raw_os_error(111);
        let error = ClientError::Connect { place: place(), why };
        assert_eq!(error.to_string(), "cannot connect to localhost:1883: connection refused");
        let lost = ClientError::Lost { place: place(), why: None };
        assert_eq!(lost.to_string(), "the connection to localhost:1883 is lost");
    }
}
