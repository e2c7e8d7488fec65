//! `sealmq auth-answer`: what a client of the method `sealmq-ed25519` does with a challenge.
//!
//! The challenge's 32 bytes come in on stdin, the answer's bytes go out.

use super::{CommandError, PassphraseOption, say};
use crate::keys;
use clap::Args;
use sealmq_crypto::challenge::{self, CHALLENGE_BYTES};
use std::io::{self, Read};
use std::path::PathBuf;

/// Answers a challenge of the authentication method sealmq-ed25519: challenge from stdin, answer to stdout,
/// both as bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sealmq auth-answer --sender-key keys/dev-7.jwk --client-id c1 < challenge > answer")]
pub(super) struct AuthAnswerArguments {
    /// The sender's secret key
    #[arg(long, value_name = "FILE")]
    sender_key: PathBuf,
    /// The client id as CONNECT has it; empty if it has none
    #[arg(long, value_name = "ID")]
    client_id: String,
    #[command(flatten)]
    passphrase: PassphraseOption,
    /// The sender's id, if it is not the one in the key file
    #[arg(long, value_name = "ID")]
    sender_id: Option<String>,
}

pub(super) fn run(arguments: &AuthAnswerArguments) -> Result<(), CommandError> {
    let mut key = keys::sender_secret(&arguments.passphrase.secrets()?, &arguments.sender_key)?;
    if let Some(id) = &arguments.sender_id {
        key = key.with_id(id.clone());
    }
    let challenge = read_challenge(io::stdin().lock())?;
    say(&challenge::respond(&key, &arguments.client_id, &challenge))
}

fn read_challenge(input: impl Read) -> Result<[u8; CHALLENGE_BYTES], CommandError> {
    let mut bytes = Vec::with_capacity(CHALLENGE_BYTES + 1);
    let read = input.take(CHALLENGE_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|why| CommandError::Stream { what: "cannot read stdin", why })?;
    bytes.try_into().map_err(|_| CommandError::Plain("a challenge has 32 bytes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_has_32_bytes() {
        for (length, fits) in [(0, false), (31, false), (32, true), (33, false), (4096, false)] {
            assert_eq!(read_challenge(vec![7; length].as_slice()).is_ok(), fits, "{length}");
        }
    }
}
