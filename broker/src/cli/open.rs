//! `sealmq open`: what the broker does with an envelope, on the command line.
//!
//! An envelope comes in on stdin, its plaintext goes out. Whether it is fresh and new cannot be told here: that
//! takes somebody who remembers; the counter or time under the stamp is shown with `--verbose`.

use super::{CommandError, PassphraseOption, opening::opener, say, sealing::now};
use bytes::Bytes;
use clap::Args;
use sealmq_crypto::{Mark, Opened, ReplayWindows};
use sealmq_protocol::TopicName;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::slice;

/// Opens an envelope: envelope from stdin, plaintext to stdout. Without a topic key, the content has to be
/// the plaintext itself.
#[derive(Debug, Args)]
#[command(after_help = "\
Whether the envelope is fresh and was not taken before is not checked.

Example:
  sealmq open --topic plant/7 --sender-key keys/dev-7.pub.jwk \\
      --topic-key keys/plant-1.jwk < envelope")]
pub(super) struct OpenArguments {
    /// The topic it was published to
    #[arg(long)]
    topic: TopicName,
    /// The sender's key, public or secret
    #[arg(long, value_name = "FILE")]
    sender_key: PathBuf,
    /// The topic's key: symmetric, an X25519 pair, or a master
    #[arg(long, value_name = "FILE")]
    topic_key: Option<PathBuf>,
    /// The sender's id, if it is not the one in the key file
    #[arg(long, value_name = "ID")]
    sender_id: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseOption,
    /// Show the counter or the time under the stamp, on stderr
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(arguments: &OpenArguments) -> Result<(), CommandError> {
    let mut envelope = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut envelope);
    read.map_err(|why| CommandError::Stream { what: "cannot read stdin", why })?;
    let opened = open(arguments, envelope)?;
    if arguments.verbose {
        let fresh = match opened.mark {
            Mark::Seq(seq) => format!("seq {seq}"),
            Mark::Timed { issued_at, .. } => format!("iat {issued_at}"),
        };
        // Where stderr is gone, nobody looks.
        drop(writeln!(io::stderr(), "sender {}, {fresh}", opened.sender.escape_ascii()));
    }
    say(&opened.plaintext)
}

pub(super) fn open(arguments: &OpenArguments, envelope: Vec<u8>) -> Result<Opened, CommandError> {
    let OpenArguments { topic, sender_key, topic_key, sender_id, .. } = arguments;
    let (secrets, senders) = (arguments.passphrase.secrets()?, slice::from_ref(sender_key));
    let (opener, policy) = opener(&secrets, senders, sender_id.as_deref(), topic_key.as_slice())?;
    Ok(opener.open(&ReplayWindows::new(1), policy, topic.as_str(), &Bytes::from(envelope), now())?)
}
