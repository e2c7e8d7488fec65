//! `sealmq enrol`: senders and topic keys of a broker that runs.
//!
//! Arguments come in, and go over the admin socket; text for people goes out. Always holds: of a sender's key
//! only the public half leaves this process, and a topic key's secret goes over the socket alone.

mod import;
mod line;
mod list;

use super::derive::parse_derived;
use super::numbers::counted;
use super::store::PlaceOptions;
use super::{CommandError, ServeOptions, complain, say};
use crate::admin::client::{Client, ClientError};
use crate::admin::protocol::{Answer, Ask, EntryLine, Kept, KeyText, NameLine, WhatWord};
use crate::enrolment::Kind;
use crate::secrets::Secrets;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use sealmq_config::Config;
use sealmq_config::encryption::Bind;
use sealmq_config::units::unix_seconds;
use sealmq_crypto::Derived;
use std::path::PathBuf;

/// Enrols senders and topic keys with a broker that runs; it keeps them until they are removed.
#[derive(Debug, Args)]
#[command(after_help = "\
The broker is found as it finds its data folder: by --config or --data-dir. What
its configuration file names can be disabled and enabled here; all else of it is
changed in the file.

Examples:
  sealmq enrol sender dev-9 --key keys/dev-9.pub.jwk --topics plant/9/#
  sealmq enrol topic-key plant-2 --key keys/plant-2.jwk --topics plant/#
  sealmq enrol disable sender dev-7       at once, and until it is enabled
  sealmq enrol list")]
pub(super) struct EnrolArguments {
    #[command(flatten)]
    place: PlaceOptions,
    #[command(subcommand)]
    command: EnrolCommand,
}

#[derive(Debug, Subcommand)]
enum EnrolCommand {
    /// Say who is enrolled, by the configuration and at run time
    List(list::ListArguments),
    /// Enrol a sender
    Sender(SenderArguments),
    /// Enrol a key that opens sealed payloads
    TopicKey(TopicKeyArguments),
    /// Enrol many, from a JSON object in each line
    Import(import::ImportArguments),
    /// Take all rights away, until they are enabled
    Disable(NamesArguments),
    /// Give them back
    Enable(NamesArguments),
    /// Remove what was enrolled at run time
    Remove(NamesArguments),
    /// Let senders count from the start; what they sent before passes once more
    Reset {
        /// The senders
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct SenderArguments {
    /// The sender's id; envelopes name it
    id: String,
    /// File with its Ed25519 public key, as 'sealmq keys sender' makes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Its stamps count on its own client's connection alone
    #[arg(long, value_name = "WHAT")]
    bind: Option<BindWord>,
    #[command(flatten)]
    terms: Terms,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("secret").required(true).args(["key", "master"]))]
struct TopicKeyArguments {
    /// The key's id; envelopes name it
    id: String,
    /// File with a symmetric key or an X25519 pair
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// File with a master, of which every topic gets a key of its own
    #[arg(long, value_name = "FILE")]
    master: Option<PathBuf>,
    /// What the keys of the master are for, if its file does not say so
    #[arg(long, value_name = "ALGORITHM", value_parser = parse_derived, requires = "master")]
    alg: Option<Derived>,
    #[command(flatten)]
    terms: Terms,
}

#[derive(Debug, Args)]
struct Terms {
    /// The topics that it is for
    #[arg(long, value_name = "FILTER", required = true, num_args = 1..)]
    topics: Vec<String>,
    /// Valid from: a time with its zone, such as 2030-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    not_before: Option<u64>,
    /// Valid until
    #[arg(long, value_name = "TIME", value_parser = time)]
    not_after: Option<u64>,
    /// Put it in the place of what is enrolled at run time by this id
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
struct NamesArguments {
    /// Of what kind they are
    kind: KindWord,
    /// Which: all of them, or none if something is wrong with one
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindWord {
    Sender,
    TopicKey,
}

impl From<KindWord> for Kind {
    fn from(word: KindWord) -> Self {
        match word {
            KindWord::Sender => Self::Sender,
            KindWord::TopicKey => Self::TopicKey,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BindWord {
    /// The client id has to be the sender's id
    ClientId,
    /// The user name has to be the sender's id
    User,
}

impl From<BindWord> for Bind {
    fn from(word: BindWord) -> Self {
        match word {
            BindWord::ClientId => Self::ClientId,
            BindWord::User => Self::User,
        }
    }
}

pub(super) fn run(arguments: &EnrolArguments, before: ServeOptions) -> Result<(), CommandError> {
    let config = arguments.place.load(before)?;
    match &arguments.command {
        EnrolCommand::List(arguments) => list::run(arguments, &config),
        EnrolCommand::Sender(SenderArguments { id, key, bind, terms }) => {
            let key = line::sender_key(&Secrets::of(&config)?, id, key)?;
            enrol(&config, terms, Kind::Sender, id, (key, bind.map(Into::into)))
        }
        EnrolCommand::TopicKey(TopicKeyArguments { id, key, master, alg, terms }) => {
            let secrets = Secrets::of(&config)?;
            let key = match (key, master) {
                (Some(file), _) => line::topic_key(&secrets, id, file)?,
                (None, Some(file)) => line::master(&secrets, id, file, *alg)?,
                (None, None) => return Err(CommandError::Plain("no key was named".to_owned())),
            };
            enrol(&config, terms, Kind::TopicKey, id, (key, None))
        }
        EnrolCommand::Import(arguments) => import::run(arguments, &config),
        EnrolCommand::Disable(names) => change(&config, WhatWord::Disable, names.kind.into(), &names.ids),
        EnrolCommand::Enable(names) => change(&config, WhatWord::Enable, names.kind.into(), &names.ids),
        EnrolCommand::Remove(names) => change(&config, WhatWord::Remove, names.kind.into(), &names.ids),
        EnrolCommand::Reset { ids } => change(&config, WhatWord::Reset, Kind::Sender, ids),
    }
}

fn enrol(
    config: &Config,
    terms: &Terms,
    kind: Kind,
    id: &str,
    (key, bind): (KeyText, Option<Bind>),
) -> Result<(), CommandError> {
    let Terms { topics, not_before, not_after, replace } = terms;
    let (not_before, not_after) = (*not_before, *not_after);
    let (id_text, topics) = (id.to_owned(), topics.clone());
    let bind = bind.map(|bind| bind.name().to_owned());
    let entry = EntryLine { kind, id: id_text, key, bind, topics, not_before, not_after };
    let done = ask(&mut connect(config)?, Ask::Enrol { entries: vec![entry], replace: *replace })?;
    let said = if done.changed > 0 { "is enrolled" } else { "is enrolled so already" };
    say(format!("{} {id} {said}\n", kind.name()).as_bytes())?;
    done.end()
}

fn change(config: &Config, what: WhatWord, kind: Kind, ids: &[String]) -> Result<(), CommandError> {
    let names = ids.iter().map(|id| NameLine { kind, id: id.clone() }).collect();
    let done = ask(&mut connect(config)?, Ask::Change { what, names })?;
    say(changed(what, kind, ids, &done).as_bytes())?;
    done.end()
}

fn changed(what: WhatWord, kind: Kind, ids: &[String], done: &Done) -> String {
    let said = match what {
        WhatWord::Disable => "disabled",
        WhatWord::Enable => "enabled",
        WhatWord::Remove => "removed",
        WhatWord::Reset => "counting from the start",
    };
    if let [id] = ids {
        let already = if done.changed > 0 { "" } else { " already" };
        return format!("{} {id} is {said}{already}\n", kind.name());
    }
    let already = match done.unchanged {
        0 => String::new(),
        unchanged => format!(", {unchanged} of them already"),
    };
    format!("{} {said}{already}\n", counted(ids.len() as u64, kind.name()))
}

fn time(text: &str) -> Result<u64, &'static str> {
    unix_seconds(text).ok_or("a time since 1970 with its zone is needed, such as 2030-01-01T00:00:00Z")
}

/// What the broker has done.
struct Done {
    changed: usize,
    unchanged: usize,
    kept: Kept,
}

impl Done {
    /// How long it will hold: an error where that is not as it should be.
    fn end(&self) -> Result<(), CommandError> {
        match self.kept {
            Kept::Yes => Ok(()),
            Kept::Memory => {
                complain("note: storage.durability is \"memory\": this holds until the broker ends");
                Ok(())
            }
            Kept::NotYet => Err(CommandError::Plain(
                "this is in force, but not kept yet: the store has not taken it; $SYS/broker/store/health says \
                 how it is"
                    .to_owned(),
            )),
        }
    }
}

fn connect(config: &Config) -> Result<Client, CommandError> {
    Ok(Client::connect(&config.data_dir, config.limits.admin_timeout_s)?)
}

/// Asks for a change; shows what the broker warns of.
fn ask(client: &mut Client, ask: Ask) -> Result<Done, ClientError> {
    let Answer::Done { changed, unchanged, kept, warnings } = client.ask(ask)? else {
        return Err(ClientError::Unexpected);
    };
    for warning in warnings {
        complain(&format!("note: {warning}"));
    }
    Ok(Done { changed, unchanged, kept })
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Broken(why) => why.into(),
            ClientError::Refused(_) | ClientError::Unexpected => Self::Plain(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_said_in_words() {
        let ids = |n: usize| (0..n).map(|n| format!("dev-{n}")).collect::<Vec<_>>();
        let done = |changed, unchanged| Done { changed, unchanged, kept: Kept::Yes };
        for (what, ids, done, said) in [
            (WhatWord::Disable, ids(1), done(1, 0), "sender dev-0 is disabled\n"),
            (WhatWord::Enable, ids(1), done(0, 1), "sender dev-0 is enabled already\n"),
            (WhatWord::Remove, ids(3), done(3, 0), "3 senders removed\n"),
            (WhatWord::Disable, ids(3), done(1, 2), "3 senders disabled, 2 of them already\n"),
        ] {
            assert_eq!(changed(what, Kind::Sender, &ids, &done), said);
        }
    }

    #[test]
    fn what_is_not_kept_yet_is_an_error() {
        let end = |kept| Done { changed: 1, unchanged: 0, kept }.end();
        assert!(end(Kept::Yes).is_ok() && end(Kept::Memory).is_ok());
        assert!(end(Kept::NotYet).unwrap_err().to_string().contains("in force, but not kept yet"));
    }

    #[test]
    fn times_have_a_zone() {
        assert_eq!(time("1970-01-01T00:01:00Z"), Ok(60));
        assert!(time("2030-01-01").is_err());
    }
}
