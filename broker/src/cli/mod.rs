//! The command line: `sealmq` and its commands, each in a file of its own.
//!
//! Arguments come in; text for people goes out, and an exit code: 0, 1 if something went wrong, 2 if the
//! arguments made no sense. Always holds: an error is a line on stderr that begins with `sealmq: `, and holds
//! no secret. Serving is not done here but by whoever calls [`run`].

mod audit;
mod auth_answer;
mod check;
mod client;
mod counter;
mod derive;
mod enrol;
pub(crate) mod greeting;
mod identity;
mod import_mosquitto;
pub(crate) mod keys;
mod layout;
mod numbers;
mod open;
mod opening;
mod passwd;
mod progress;
mod publish;
mod rotate;
mod seal;
mod sealing;
mod serve;
mod store;
mod subscribe;
mod subscriber;

pub use serve::ServeOptions;

use crate::error::StartError;
use crate::secrets::Secrets;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use sealmq_crypto::{KeyError, OpenError, SealError};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What `sealmq --help` shows under the options.
const ADVICE: &str = "\
'sealmq' alone serves this machine, and says what to try. For the rest there are
'sealmq COMMAND --help', docs/configuration.md and docs/encryption.md. Settings
can come from the environment too: SEALMQ_AUTH__ALLOW_ANONYMOUS=false.";

/// An MQTT broker that opens sealed payloads on ingress.
#[derive(Debug, Parser)]
#[command(name = "sealmq", version, about, after_help = ADVICE, disable_help_subcommand = true, term_width = 80)]
struct Arguments {
    #[command(flatten)]
    serve: ServeOptions,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MQTT; what happens without a command, too
    Serve(ServeOptions),
    /// Read all that a start would read, and say what it means
    Check(check::CheckArguments),
    /// Look at a stopped broker's store; check, export, import it
    Store(store::StoreArguments),
    /// Tell whether the audit is as the broker wrote it
    Audit(audit::AuditArguments),
    /// Take over what a mosquitto kept, into an empty store
    ImportMosquitto(import_mosquitto::ImportMosquittoArguments),
    /// Make a key for a sender or for topics
    Keys(keys::KeysArguments),
    /// Add, disable, remove senders and topic keys while it runs
    Enrol(enrol::EnrolArguments),
    /// Make an envelope: plaintext from stdin, envelope to stdout
    Seal(seal::SealArguments),
    /// Open an envelope: envelope from stdin, plaintext to stdout
    Open(open::OpenArguments),
    /// Publish from the command line, sealed if asked to
    Pub(publish::PubArguments),
    /// Subscribe from the command line, and open envelopes
    Sub(subscribe::SubArguments),
    /// Set or delete a user's password in a password file
    Passwd(passwd::PasswdArguments),
    /// Answer a challenge with a sender's key: from stdin to stdout
    AuthAnswer(auth_answer::AuthAnswerArguments),
}

/// Why a command failed; prints as one line, or one for every problem of a configuration.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// A file, mostly.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] sealmq_config::ConfigError),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An envelope could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// An envelope was refused.
    #[error("{}: {_0}", _0.name())]
    Open(#[from] OpenError),
    /// A broker, or the way to it.
    #[error(transparent)]
    Client(#[from] client::error::ClientError),
    /// Standard input, output or the terminal.
    #[error("{what}: {why}")]
    Stream { what: &'static str, why: io::Error },
    /// Anything else, in words.
    #[error("{0}")]
    Plain(String),
    /// Everything was said already.
    #[error("")]
    Told,
}

/// Where the passphrase of encrypted key files is.
#[derive(Debug, Clone, Default, Args)]
struct PassphraseOption {
    /// File with the passphrase of encrypted key files
    #[arg(long, value_name = "FILE", global = true)]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseOption {
    /// The variable that says the same, to the broker too.
    const VARIABLE: &str = "SEALMQ_SECRETS__PASSPHRASE_FILE";

    fn secrets(&self) -> Result<Secrets, StartError> {
        let file = self.passphrase_file.clone();
        let file = file.or_else(|| std::env::var_os(Self::VARIABLE).map(PathBuf::from));
        Secrets::load(file.as_deref())
    }
}

/// Does what the command line asks for; `serve` is called to serve.
pub fn run(serve: impl FnOnce(&ServeOptions) -> anyhow::Result<()>) -> ExitCode {
    let Arguments { serve: options, command } = Arguments::parse();
    if command.as_ref().is_some_and(|command| !options.fits(command)) {
        let words =
            "--config, --listen and --data-dir before a command are for those that read the configuration";
        Arguments::command().error(ErrorKind::ArgumentConflict, words).exit();
    }
    let done = match command {
        None => return serve::run(&options, serve),
        Some(Command::Serve(own)) => return serve::run(&own.or(options), serve),
        Some(Command::Check(arguments)) => check::run(&arguments, options),
        Some(Command::Store(arguments)) => store::run(&arguments, options),
        Some(Command::Audit(arguments)) => audit::run(&arguments, options),
        Some(Command::ImportMosquitto(arguments)) => import_mosquitto::run(&arguments, options),
        Some(Command::Keys(arguments)) => keys::run(&arguments, options),
        Some(Command::Enrol(arguments)) => enrol::run(&arguments, options),
        Some(Command::Seal(arguments)) => seal::run(&arguments),
        Some(Command::Open(arguments)) => open::run(&arguments),
        Some(Command::Pub(arguments)) => publish::run(&arguments),
        Some(Command::Sub(arguments)) => subscribe::run(&arguments),
        Some(Command::Passwd(arguments)) => passwd::run(&arguments),
        Some(Command::AuthAnswer(arguments)) => auth_answer::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError::Told) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Says on stderr what went wrong, a line for each problem.
fn complain(text: &str) {
    let mut stderr = io::stderr().lock();
    for line in text.lines() {
        // Where stderr is gone, there is nobody to tell.
        drop(writeln!(stderr, "sealmq: {line}"));
    }
}

/// Writes to stdout. A reader that has had enough (`| head`) is no error.
fn say(bytes: &[u8]) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::Stream { what: "cannot write to stdout", why })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_fits_on_one_screen() {
        let help = Arguments::command().render_help().to_string();
        assert!(help.lines().count() <= 30, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }

    #[test]
    fn serve_takes_its_options_before_and_after() {
        for line in ["sealmq --config a", "sealmq serve --config a", "sealmq --config a serve"] {
            let Arguments { serve, command } = parse(line).unwrap();
            let options = match command {
                None => serve,
                Some(Command::Serve(own)) => own.or(serve),
                Some(other) => panic!("{other:?}"),
            };
            assert_eq!(options.config_file, Some("a".into()), "{line}");
        }
        let Arguments { serve, command } = parse("sealmq --listen 127.0.0.1:1 keys sender x").unwrap();
        assert!(!serve.fits(&command.unwrap()));
        assert!(parse("sealmq --listen 1883").is_err());
    }

    #[test]
    fn a_refusal_is_told_by_its_name() {
        let error = CommandError::from(OpenError::BadStamp);
        assert_eq!(error.to_string(), "bad-stamp: the stamp does not hold");
    }
}
