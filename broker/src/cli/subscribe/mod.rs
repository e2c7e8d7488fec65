//! `sealmq sub`: subscribes from the command line, and opens envelopes where there are keys.
//!
//! PUBLISH packets come in, lines on stdout go out. Always holds: a message of QoS 1 or 2 is acknowledged once it
//! is on stdout, and one of QoS 2 is there once; with keys, nothing is shown but what a named sender has stamped
//! for this topic, and what is not is told on stderr.

mod format;

use super::client::error::{ClientError, harmless};
use super::client::{self, ConnectArguments, Interrupt, Link, SessionTerms};
use super::opening::opener;
use super::sealing::now;
use super::{CommandError, PassphraseOption, complain};
use clap::{ArgAction, Args};
use format::{Format, Shown};
use sealmq_crypto::{OpenError, Opened, Opener, Policy, ReplayWindows};
use sealmq_protocol::packet::{
    Ack, PacketId, Publish, RetainHandling, SubAck, Subscribe, SubscriptionOptions, UserProperties, Version,
};
use sealmq_protocol::{Packet, Qos, SubscriptionFilter};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Envelopes with a time instead of a counter that are remembered for each sender; after that the oldest are
/// forgotten, and what is as old is refused.
const TIMED_STAMPS_MAX: usize = 65_536;

/// Prints the messages of topics; opens envelopes with --sender-key and --topic-key.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
The broker opens sealed topics itself, for subscribers with TLS. Keys are for what
comes in an envelope: end-to-end topics, and what the broker has sealed again.
Then only what is from these senders is shown; the rest is named on stderr.

Examples:
  sealmq sub -t 'plant/#' -v --cafile sealmq-data/tls/ca.pem
  sealmq sub -t 'private/7/#' --sender-key keys/dev-7.pub.jwk \\
      --topic-key keys/room-7.jwk
  sealmq sub -t status -C 1 -W 5 -F '%t %q %l %x'

FORMAT: %t topic, %p payload, %x the same in hex, %l its length, %q QoS, %r 1 if
retained, %s sender of the envelope, %%; \\n, \\t, \\\\."
)]
#[allow(clippy::struct_excessive_bools, reason = "a command line has many switches")]
pub(super) struct SubArguments {
    /// Topic filter; may be given several times
    #[arg(short, long = "topic", value_name = "FILTER", required = true)]
    topics: Vec<SubscriptionFilter>,
    /// Quality of service at most: 0, 1 or 2
    #[arg(short, long, default_value = "0", value_parser = client::qos)]
    qos: Qos,
    /// End after N messages
    #[arg(short = 'C', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds; an error if --count is not reached by then
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Print the topic before each message
    #[arg(short, long, conflicts_with = "format")]
    verbose: bool,
    /// Print each message so
    #[arg(short = 'F', long)]
    format: Option<Format>,
    /// Print no line end after a message
    #[arg(short = 'N', long = "no-newline")]
    no_line_end: bool,
    /// Leave out retained messages
    #[arg(short = 'R', long)]
    no_retained: bool,
    /// Keep the session so many seconds after the end; needs --id
    #[arg(short = 'x', long, value_name = "SECONDS", requires = "id")]
    session_expiry: Option<u32>,
    /// Say on stderr what was connected to and subscribed
    #[arg(short, long)]
    debug: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Key of a sender to believe, public or secret; may be given several times
    #[arg(long = "sender-key", value_name = "FILE", help_heading = "Envelope")]
    sender_keys: Vec<PathBuf>,
    /// Key to open with, symmetric, an X25519 pair or a master; may be given several times
    #[arg(long = "topic-key", value_name = "FILE", requires = "sender_keys", help_heading = "Envelope")]
    topic_keys: Vec<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseOption,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) fn run(arguments: &SubArguments) -> Result<(), CommandError> {
    client::run(subscribe(arguments))
}

async fn subscribe(arguments: &SubArguments) -> Result<(), CommandError> {
    let opening = Opening::new(arguments)?;
    let mut interrupt = Interrupt::new()?;
    let deadline = arguments.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let session = SessionTerms { kept_s: arguments.session_expiry };
    let (link, connack) = arguments.connect.connect(session).await?;
    let mut subscriber = Subscriber::new(arguments, opening, link);
    if connack.session_present {
        subscriber.debug("connected, to a session that was kept");
    } else {
        subscriber.debug("connected");
    }
    subscriber.ask().await?;
    loop {
        let over = tokio::select! {
            packet = subscriber.link.next() => subscriber.take(packet?).await?,
            () = interrupt.next() => Some(Over::Done),
            () = reached(deadline) => Some(Over::OutOfTime),
        };
        if let Some(over) = over {
            subscriber.link.close().await?;
            return over.told(arguments, subscriber.refused);
        }
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Why it ends in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Done,
    OutOfTime,
    NothingSubscribed,
}

impl Over {
    fn told(self, arguments: &SubArguments, refused: usize) -> Result<(), CommandError> {
        match (self, arguments.count, arguments.timeout) {
            (Self::OutOfTime, Some(count), Some(seconds)) => {
                Err(CommandError::Plain(format!("fewer than {count} messages within {seconds} s")))
            }
            // Each filter was told already.
            _ if refused > 0 => Err(CommandError::Told),
            _ => Ok(()),
        }
    }
}

/// Opens what comes in envelopes.
struct Opening {
    opener: Opener,
    policy: Policy,
    taken: ReplayWindows,
}

impl Opening {
    /// Reads the keys; nothing where no sender is named.
    fn new(arguments: &SubArguments) -> Result<Option<Self>, CommandError> {
        if arguments.sender_keys.is_empty() {
            return Ok(None);
        }
        let (opener, policy) =
            opener(&arguments.passphrase.secrets()?, &arguments.sender_keys, None, &arguments.topic_keys)?;
        Ok(Some(Self { opener, policy, taken: ReplayWindows::new(TIMED_STAMPS_MAX) }))
    }

    /// What is in the envelope. One that comes twice is refused, but for retained messages: they are old by
    /// nature, and come in any order.
    fn open(&self, topic: &str, publish: &Publish) -> Result<Opened, OpenError> {
        let nothing_before = ReplayWindows::new(1);
        let taken = if publish.retain { &nothing_before } else { &self.taken };
        self.opener.open(taken, self.policy, topic, &publish.payload, now())
    }
}

/// A connection with its subscriptions.
struct Subscriber<'a> {
    arguments: &'a SubArguments,
    opening: Option<Opening>,
    format: Format,
    link: Link,
    is_terminal: bool,
    shown: u64,
    refused: usize,
    /// Messages of QoS 2 that were shown and are not released.
    unreleased: BTreeSet<PacketId>,
}

impl<'a> Subscriber<'a> {
    fn new(arguments: &'a SubArguments, opening: Option<Opening>, link: Link) -> Self {
        let format = arguments.format.clone();
        Self {
            arguments,
            opening,
            format: format
                .unwrap_or_else(|| if arguments.verbose { Format::verbose() } else { Format::plain() }),
            link,
            is_terminal: io::stdout().is_terminal(),
            shown: 0,
            refused: 0,
            unreleased: BTreeSet::new(),
        }
    }

    fn debug(&self, what: &str) {
        if self.arguments.debug {
            complain(&format!("{}: {what}", self.link.place()));
        }
    }

    async fn ask(&mut self) -> Result<(), ClientError> {
        let is_v5 = self.arguments.connect.version() == Version::V5;
        let retain_handling = if self.arguments.no_retained && is_v5 {
            RetainHandling::DoNotSend
        } else {
            RetainHandling::Send
        };
        let options = SubscriptionOptions { retain_handling, ..SubscriptionOptions::of(self.arguments.qos) };
        let filters = self.arguments.topics.iter().map(|filter| (Ok(filter.clone()), options));
        let subscribe = Subscribe {
            packet_id: PacketId::MIN,
            filters: filters.collect(),
            subscription_id: None,
            user_properties: UserProperties::default(),
        };
        self.link.send(&Packet::Subscribe(subscribe)).await
    }

    async fn take(&mut self, packet: Packet) -> Result<Option<Over>, CommandError> {
        match packet {
            Packet::SubAck(answer) => self.subscribed(&answer),
            Packet::Publish(publish) => return self.published(publish).await,
            Packet::PubRel(ack) => {
                self.unreleased.remove(&ack.packet_id);
                self.link.send(&Packet::PubComp(Ack::success(ack.packet_id))).await?;
                return Ok(None);
            }
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubComp(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => return Err(self.link.unexpected().into()),
        }
        let nothing = self.refused == self.arguments.topics.len();
        Ok(nothing.then_some(Over::NothingSubscribed))
    }

    fn subscribed(&mut self, answer: &SubAck) {
        for (filter, reason) in self.arguments.topics.iter().zip(&answer.reasons) {
            let filter = harmless(&filter.to_string());
            if reason.is_error() {
                self.refused += 1;
                let answer = self.link.answer(*reason, answer.diagnostics.as_deref());
                complain(&format!("{filter}: refused by {}: {answer}", self.link.place()));
            } else {
                self.debug(&format!("subscribed to {filter} with QoS {}", reason.byte()));
            }
        }
    }

    async fn published(&mut self, publish: Publish) -> Result<Option<Over>, CommandError> {
        let is_new = match (publish.qos, publish.packet_id) {
            (Qos::ExactlyOnce, Some(id)) => self.unreleased.insert(id),
            _ => true,
        };
        let is_left_out = self.arguments.no_retained && publish.retain;
        if is_new && !is_left_out && !self.show(&publish)? {
            // Whoever reads it has had enough.
            return Ok(Some(Over::Done));
        }
        if let Some(packet_id) = publish.packet_id {
            let ack = Ack::success(packet_id);
            let is_twofold = publish.qos == Qos::ExactlyOnce;
            self.link.send(&if is_twofold { Packet::PubRec(ack) } else { Packet::PubAck(ack) }).await?;
        }
        Ok(self.arguments.count.filter(|count| self.shown >= *count).map(|_| Over::Done))
    }

    /// Prints a message; false if nobody reads it.
    fn show(&mut self, publish: &Publish) -> Result<bool, CommandError> {
        let Some(topic) = &publish.topic else { return Err(self.link.unexpected().into()) };
        let opened = match &self.opening {
            None => None,
            Some(opening) => match opening.open(topic.as_str(), publish) {
                Ok(opened) => Some(opened),
                Err(error) => {
                    complain(&format!("{}: {}: {error}", harmless(topic.as_str()), error.name()));
                    return Ok(true);
                }
            },
        };
        let shown = Shown {
            topic: topic.as_str(),
            payload: opened.as_ref().map_or(&publish.payload, |opened| &opened.plaintext),
            sender: opened.as_ref().map_or(&[], |opened| &opened.sender),
            qos: publish.qos,
            retain: publish.retain,
        };
        let mut line = self.format.line(&shown, self.is_terminal);
        if !self.arguments.no_line_end {
            line.push(b'\n');
        }
        self.shown += 1;
        let mut stdout = io::stdout().lock();
        match stdout.write_all(&line).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(why) => Err(CommandError::Stream { what: "cannot write to stdout", why }),
        }
    }
}
