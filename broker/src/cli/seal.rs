//! `sealmq seal`: what a device does, on the command line.
//!
//! A plaintext comes in on stdin, an envelope goes out, or many of them for a load generator. How one is made is
//! in `sealing.rs`; here is where it comes from and goes to.

use super::CommandError;
use super::sealing::{Sealer, SealingOptions};
use crate::error::StartError;
use clap::Args;
use sealmq_protocol::TopicName;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Makes an envelope: plaintext from stdin, envelope to stdout. Without a topic key it is stamped only.
#[derive(Debug, Args)]
#[command(after_help = "\
All of stdin is sealed, a line feed at its end, too: hence printf, and not echo.
Without --seq and --time, a counter is kept beside the sender's key: KEY.seq.

Examples:
  printf 21.5 | sealmq seal --topic plant/7 --sender-key keys/dev-7.jwk \\
      --topic-key keys/plant-1.jwk | mosquitto_pub -t plant/7 -s
  printf 21.5 | sealmq seal --topic plant/7 --sender-key keys/dev-7.jwk \\
      --topic-key keys/plant-1.jwk --count 10000 --out envelopes")]
pub(super) struct SealArguments {
    /// The topic it will be published to; the envelope holds for no other
    #[arg(long)]
    topic: TopicName,
    /// The sender's secret key
    #[arg(long, value_name = "FILE")]
    sender_key: PathBuf,
    #[command(flatten)]
    sealing: SealingOptions,
    /// Make N envelopes, each after its length as 4 bytes, big-endian
    #[arg(long, value_name = "N", requires = "out", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Write to this file, instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &SealArguments) -> Result<(), CommandError> {
    if arguments.out.is_none() && io::stdout().is_terminal() {
        let advice = "an envelope is binary and nothing for a terminal; \
                      pipe it into `mosquitto_pub -t TOPIC -s`, or name a file with --out";
        return Err(CommandError::Plain(advice.to_owned()));
    }
    let sealer = Sealer::new(&arguments.sender_key, &arguments.sealing, &arguments.topic)?;
    let mut plaintext = Zeroizing::new(Vec::new());
    let read = io::stdin().lock().read_to_end(&mut plaintext);
    read.map_err(|why| CommandError::Stream { what: "cannot read stdin", why })?;
    let Some(file) = &arguments.out else {
        return super::say(&sealer.seal(&plaintext, sealer.first(1)?, 0)?);
    };
    let first = sealer.first(arguments.count.unwrap_or(1))?;
    let failed = |why| CommandError::Start(StartError::io(file, "write it", why));
    let mut out = BufWriter::new(File::create(file).map_err(failed)?);
    match arguments.count {
        None => out.write_all(&sealer.seal(&plaintext, first, 0)?).map_err(failed)?,
        Some(count) => {
            let mut progress = Progress::new(count);
            for number in 0..count {
                let envelope = sealer.seal(&plaintext, first, number)?;
                write_framed(&mut out, &envelope).map_err(failed)?;
                progress.reached(number + 1);
            }
            progress.end();
        }
    }
    out.flush().map_err(failed)
}

fn write_framed(out: &mut impl Write, envelope: &[u8]) -> io::Result<()> {
    let length = u32::try_from(envelope.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(envelope)
}

/// Tells on a terminal how far a long run is.
struct Progress {
    total: u64,
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    const PAUSE: Duration = Duration::from_millis(500);

    fn new(total: u64) -> Self {
        let next = io::stderr().is_terminal().then(|| Instant::now() + Self::PAUSE);
        Self { total, next, shown: false }
    }

    fn reached(&mut self, number: u64) {
        if number.is_multiple_of(64)
            && let Some(next) = self.next
            && next <= Instant::now()
        {
            self.show(number);
            self.next = Some(Instant::now() + Self::PAUSE);
        }
    }

    fn end(&mut self) {
        if self.shown {
            self.show(self.total);
            drop(io::stderr().write_all(b"\n"));
        }
    }

    fn show(&mut self, number: u64) {
        self.shown = true;
        let percent = u128::from(number) * 100 / u128::from(self.total.max(1));
        // Where stderr is gone, nobody looks.
        drop(write!(io::stderr(), "\r{number} of {} envelopes, {percent} %", self.total));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Arguments;
    use super::super::open::{OpenArguments, open};
    use super::super::sealing::First;
    use super::*;
    use crate::files;
    use clap::Parser;
    use sealmq_crypto::{ContentAlgorithm, OpenError, SenderKey, TopicKey};
    use std::path::Path;

    /// A folder with `dev.jwk`, `dev.pub.jwk`, `sym.jwk`, `pair.jwk` and `pair.pub.jwk`.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            files::replace(&folder.path().join(name), files::PRIVATE, text.as_bytes()).unwrap();
        };
        let sender = SenderKey::generate("dev").unwrap();
        let symmetric = TopicKey::generate("sym", ContentAlgorithm::ChaCha20Poly1305).unwrap();
        let pair = TopicKey::generate_x25519("pair").unwrap();
        write("dev.jwk", &sender.to_jwk().unwrap());
        write("dev.pub.jwk", &sender.public().to_jwk().unwrap());
        write("sym.jwk", &symmetric.to_jwk().unwrap());
        write("pair.jwk", &pair.to_jwk().unwrap());
        write("pair.pub.jwk", &pair.public("").unwrap().to_jwk().unwrap());
        folder
    }

    fn arguments(folder: &Path, line: &str) -> Arguments {
        let folder = format!("{}/", folder.display());
        Arguments::try_parse_from(line.replace('@', &folder).split(' ')).unwrap()
    }

    fn sealing(folder: &Path, line: &str) -> SealArguments {
        match arguments(folder, &format!("sealmq seal --topic a/b {line}")).command {
            Some(super::super::Command::Seal(arguments)) => arguments,
            other => panic!("{other:?}"),
        }
    }

    fn opening(folder: &Path, line: &str) -> OpenArguments {
        match arguments(folder, &format!("sealmq open {line}")).command {
            Some(super::super::Command::Open(arguments)) => arguments,
            other => panic!("{other:?}"),
        }
    }

    fn sealer(arguments: &SealArguments) -> Result<Sealer<'_>, StartError> {
        Sealer::new(&arguments.sender_key, &arguments.sealing, &arguments.topic)
    }

    fn sealed(folder: &Path, line: &str) -> Vec<u8> {
        let arguments = sealing(folder, line);
        let sealer = sealer(&arguments).unwrap();
        sealer.seal(b"21.5", sealer.first(1).unwrap(), 0).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let folder = folder();
        let folder = folder.path();
        for (seal_with, open_with) in [
            ("--sender-key @dev.jwk", "--sender-key @dev.pub.jwk"),
            ("--sender-key @dev.jwk --time", "--sender-key @dev.jwk"),
            ("--sender-key @dev.jwk --topic-key @sym.jwk", "--sender-key @dev.pub.jwk --topic-key @sym.jwk"),
            (
                "--sender-key @dev.jwk --topic-key @pair.jwk",
                "--sender-key @dev.pub.jwk --topic-key @pair.jwk",
            ),
            (
                "--sender-key @dev.jwk --topic-key @pair.pub.jwk",
                "--sender-key @dev.jwk --topic-key @pair.jwk",
            ),
            ("--sender-key @dev.jwk --sender-id x", "--sender-key @dev.pub.jwk --sender-id x"),
        ] {
            let envelope = sealed(folder, seal_with);
            let opened =
                open(&opening(folder, &format!("--topic a/b {open_with}")), envelope.clone()).unwrap();
            assert_eq!(opened.plaintext, "21.5", "{seal_with}");
            let elsewhere = open(&opening(folder, &format!("--topic a/c {open_with}")), envelope);
            assert!(matches!(elsewhere, Err(CommandError::Open(OpenError::BadStamp))), "{seal_with}");
        }
    }

    #[test]
    fn the_counter_rises_from_run_to_run() {
        let folder = folder();
        let arguments = sealing(folder.path(), "--sender-key @dev.jwk");
        let first = |count| match sealer(&arguments).unwrap().first(count).unwrap() {
            First::Seq(seq) => seq,
            First::Time => panic!("no counter"),
        };
        assert_eq!((first(1), first(1), first(5), first(1)), (1, 2, 3, 8));
    }

    #[test]
    fn a_number_or_the_time_leaves_the_counter_alone() {
        let folder = folder();
        sealed(folder.path(), "--sender-key @dev.jwk --seq 9");
        sealed(folder.path(), "--sender-key @dev.jwk --time");
        assert!(!folder.path().join("dev.jwk.seq").exists());
    }

    #[test]
    fn frames_are_a_length_and_the_bytes() {
        let mut out = Vec::new();
        write_framed(&mut out, b"abc").unwrap();
        write_framed(&mut out, b"").unwrap();
        assert_eq!(out, b"\0\0\0\x03abc\0\0\0\0");
    }

    #[test]
    fn a_public_key_does_not_stamp() {
        let folder = folder();
        let arguments = sealing(folder.path(), "--sender-key @dev.pub.jwk");
        let error = sealer(&arguments).err().unwrap().to_string();
        assert!(error.ends_with("to stamp, the secret one is needed"), "{error}");
    }
}
