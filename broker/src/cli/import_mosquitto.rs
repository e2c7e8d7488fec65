//! `sealmq import-mosquitto`: what mosquitto kept, into an empty store.

use super::layout::Layout;
use super::numbers::{counted, grouped};
use super::progress::Progress;
use super::store::{PlaceOptions, folder, refused};
use super::{CommandError, ServeOptions, say};
use crate::error::StartError;
use crate::files::create_folder;
use crate::mosquitto::error::FileError;
use crate::mosquitto::import::{Left, MoveError, Moved, Others, Rules, Users, import};
use crate::mosquitto::{Reader, Version};
use crate::now::{Clock, Now};
use crate::store::offline::open_empty;
use clap::{Args, ValueEnum};
use sealmq_config::Config;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is taken, and whose it is then.
#[derive(Debug, Args)]
#[command(after_help = "\
Taken are retained messages, sessions, subscriptions and queues, with what is in
flight, from the file of a stopped mosquitto 2 or 1.6.

A session belongs to one user: another one who comes with its client id gets a
new session, and what waited is gone. What mosquitto writes of user names is not
reliable, so say whose the sessions are; by default they are for clients that
connect without a user name.")]
pub(super) struct ImportMosquittoArguments {
    #[command(flatten)]
    place: PlaceOptions,
    /// Whose the sessions are that --users does not name
    #[arg(long, value_name = "WHO")]
    user: Option<Who>,
    /// Whose the sessions are: a file with a line 'user:client id' for each
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// The persistence file: mosquitto.db
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    /// Of clients without a user name
    None,
    /// Of the user whose name is the client id
    ClientId,
    /// Of the user in the file, who can be the wrong one
    Recorded,
}

pub(super) fn run(arguments: &ImportMosquittoArguments, before: ServeOptions) -> Result<(), CommandError> {
    let config = arguments.place.load(before)?;
    let rules = Rules {
        users: arguments.users(&config)?,
        expiry_max: config.mqtt.session_expiry_max_s.map(Duration::from_secs),
        qos0: config.storage.queue_qos0,
    };
    let file = &*arguments.file;
    let source = File::open(file).map_err(|why| StartError::io(file, "read it", why))?;
    let mut source = BufReader::with_capacity(1 << 20, source);
    let folder = folder(&config);
    // What is no such file makes no store.
    let version = Reader::new(&mut source).map_err(|why| told(file, &why))?.version();
    std::io::Seek::rewind(&mut source).map_err(|why| StartError::io(file, "read it", why))?;
    create_folder(&folder)?;
    let engine = open_empty(&folder, config.storage.cache_bytes).map_err(|why| refused(&folder, &why))?;
    let time = (Clock::read(), Now::read().unix_s.saturating_mul(1_000));
    let moved = {
        let mut progress = Progress::new("read");
        import(source, &engine, &rules, time, &mut |bytes| progress.add(bytes))
    };
    let moved = moved.map_err(|why| match why {
        MoveError::File(why) => told(file, &why),
        MoveError::Fill(why) => StartError::file(&folder, why.to_string()).into(),
    })?;
    say(text(&folder, (file, version), &moved).as_bytes())
}

fn told(file: &Path, why: &FileError) -> CommandError {
    StartError::file(file, why.to_string()).into()
}

impl ImportMosquittoArguments {
    fn users(&self, config: &Config) -> Result<Users, CommandError> {
        if self.user.is_none() && self.users.is_none() && !config.auth.allow_anonymous {
            return Err(CommandError::Plain(
                "nobody connects here without a user name, so say whose the sessions are: --users or --user"
                    .into(),
            ));
        }
        let others = match self.user {
            None | Some(Who::None) => Others::Nobody,
            Some(Who::ClientId) => Others::ClientId,
            Some(Who::Recorded) => Others::Recorded,
        };
        let mut users = Users { others, ..Users::default() };
        let Some(file) = &self.users else { return Ok(users) };
        let text = fs::read_to_string(file).map_err(|why| StartError::io(file, "read it", why))?;
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let pair =
                line.split_once(':').filter(|(user, client_id)| !user.is_empty() && !client_id.is_empty());
            let Some((user, client_id)) = pair else {
                return Err(StartError::line(file, at + 1, "it should be 'user:client id'").into());
            };
            if users.by_client_id.insert(client_id.into(), user.into()).is_some() {
                return Err(StartError::line(file, at + 1, "this client id is there twice").into());
            }
        }
        Ok(users)
    }
}

fn text(folder: &Path, (file, version): (&Path, Version), moved: &Moved) -> String {
    let mut layout = Layout::default();
    let writer = match version {
        Version::Five => "mosquitto 1.6",
        Version::Six => "mosquitto 2",
    };
    layout.section("file", &[[file.display().to_string(), format!("of {writer}")]]);
    layout.section("store", &[[folder.display().to_string()]]);
    let of_it = |number: u64, what: &str| match number {
        0 => String::new(),
        number => format!("{} of them {what}", grouped(number)),
    };
    let taken = [
        (moved.retained, counted(moved.retained, "retained message"), String::new()),
        (
            moved.sessions,
            counted(moved.sessions, "session"),
            of_it(moved.sessions_of_nobody, "for clients without a user name"),
        ),
        (moved.subscriptions, counted(moved.subscriptions, "subscription"), String::new()),
        (
            moved.queued,
            format!("{} in queues", counted(moved.queued, "message")),
            of_it(moved.in_flight, "sent before and not acknowledged"),
        ),
        (moved.released, format!("{} to clients", counted(moved.released, "PUBREL")), String::new()),
        (
            moved.inbound,
            format!("{} from clients", counted(moved.inbound, "unreleased message")),
            String::new(),
        ),
    ];
    layout.section("taken", &rows(taken));
    layout.section("left out", &rows(left(&moved.left)));
    layout.section("damaged", &moved.left.flaws.iter().map(|flaw| [flaw.clone()]).collect::<Vec<_>>());
    layout.line("");
    layout.line("note: mosquitto's file has no shared subscriptions: their clients must subscribe again");
    if moved.sessions_of_nobody > 0 {
        layout.line("note: a client with a user name gets a new session instead of one without: see --users");
    }
    layout.finish()
}

fn left(left: &Left) -> [(u64, String, String); 7] {
    let row = |number, one: &str, why: &str| (number, counted(number, one), why.to_owned());
    [
        row(left.sessions_expired, "session", "expired"),
        row(left.sessions_short, "session", "that end with their connection"),
        row(left.of_no_session, "record", "of sessions that were not taken"),
        row(left.expired, "message", "expired"),
        row(left.sys, "message", "of mosquitto about itself ($SYS)"),
        row(left.qos0, "message", "of QoS 0 in queues (storage.queue_qos0 is false)"),
        row(left.damaged, "record", "that make no sense"),
    ]
}

/// Those that there are.
fn rows<const N: usize>(rows: [(u64, String, String); N]) -> Vec<[String; 2]> {
    rows.into_iter().filter(|(number, ..)| *number > 0).map(|(_, what, more)| [what, more]).collect()
}
