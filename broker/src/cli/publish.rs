//! `sealmq pub`: publishes from the command line, sealed where there is a sender's key.
//!
//! A text, all of stdin or its lines come in; PUBLISH packets go out, and what the broker makes of them is
//! told. Always holds: no more messages are unacknowledged at once than the broker takes and [`WINDOW`] allows,
//! lines wait on stdin meanwhile; success means that each message of QoS 1 and 2 was acknowledged as taken.

use super::client::error::ClientError;
use super::client::{self, ConnectArguments, Interrupt, Link, SessionTerms};
use super::sealing::{Sealer, SealingOptions};
use super::{CommandError, complain};
use clap::{ArgAction, Args};
use sealmq_protocol::packet::{Ack, ConnAckProperties, PacketId, Publish, SubscriptionIds};
use sealmq_protocol::{Packet, Qos, ReasonCode, TopicName};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The most messages on their way at once.
const WINDOW: usize = 100;
/// No payload in MQTT is longer, since no packet is.
const PAYLOAD_BYTES_MAX: u64 = 268_435_455;

/// Publishes a message, or each line of stdin as one; sealed with --sender-key and --topic-key.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
A sender's counter is kept beside its key, in KEY.seq, unless --seq or --time is
given. With --sender-key alone the message is stamped, and readable.

Examples:
  sealmq pub -t hello -m world
  sealmq pub -t sealed/temp -m 21.5 -q 1 \\
      --sender-key sealmq-data/keys/device-1.jwk \\
      --topic-key sealmq-data/keys/sealed-1.jwk
  tail -f readings | sealmq pub -l -t plant/7/temp -q 1 -u dev-7 \\
      --password-file secret.txt --cafile ca.pem -h broker.example"
)]
pub(super) struct PubArguments {
    /// The topic
    #[arg(short, long)]
    topic: TopicName,
    /// The message, instead of what comes on stdin
    #[arg(short, long, value_name = "TEXT", conflicts_with = "lines")]
    message: Option<String>,
    /// Each line of stdin is a message; empty ones are passed over
    #[arg(short, long = "stdin-line")]
    lines: bool,
    /// Quality of service: 0, 1 or 2
    #[arg(short, long, default_value = "0", value_parser = client::qos)]
    qos: Qos,
    /// Keep it as the topic's retained message
    #[arg(short, long)]
    retain: bool,
    /// Seconds for all of it; then it is given up
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Stamp with this sender's secret key
    #[arg(long, value_name = "FILE", help_heading = "Envelope")]
    sender_key: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Envelope")]
    sealing: SealingOptions,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) fn run(arguments: &PubArguments) -> Result<(), CommandError> {
    client::run(async {
        let Some(seconds) = arguments.timeout else { return publish(arguments).await };
        let in_time = timeout(Duration::from_secs(seconds), publish(arguments)).await;
        in_time.unwrap_or_else(|_| Err(CommandError::Plain(format!("given up after {seconds} s"))))
    })
}

async fn publish(arguments: &PubArguments) -> Result<(), CommandError> {
    let key = arguments.sender_key.as_deref();
    let sealer = key.map(|key| Sealer::new(key, &arguments.sealing, &arguments.topic)).transpose()?;
    let mut source = Source::new(arguments)?;
    let mut interrupt = Interrupt::new()?;
    let (link, connack) = arguments.connect.connect(SessionTerms::default()).await?;
    let mut publisher = Publisher::new(arguments, sealer, link, &connack.properties)?;
    let mut is_over = false;
    while !(is_over && publisher.in_flight.is_empty()) {
        tokio::select! {
            payload = source.next(), if !is_over && publisher.has_room() => match payload {
                Some(payload) => publisher.publish(&payload?).await?,
                None => is_over = true,
            },
            packet = publisher.link.next() => {
                let packet = packet.map_err(|error| publisher.broken_off(error))?;
                publisher.answered(packet).await?;
            }
            () = interrupt.next() => {
                publisher.link.close().await?;
                return Err(CommandError::Plain("interrupted".to_owned()));
            }
        }
    }
    publisher.link.close().await?;
    if publisher.refused > 0 { Err(CommandError::Told) } else { Ok(()) }
}

/// Where messages come from.
enum Source {
    One(Option<Vec<u8>>),
    /// From a thread that reads stdin: a read cannot be broken off.
    Lines(mpsc::Receiver<io::Result<Vec<u8>>>),
}

impl Source {
    fn new(arguments: &PubArguments) -> Result<Self, CommandError> {
        if let Some(message) = &arguments.message {
            return Ok(Self::One(Some(message.clone().into_bytes())));
        }
        if !arguments.lines {
            let mut payload = Vec::new();
            let read = io::stdin().lock().take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload);
            read.map_err(unread)?;
            return Ok(Self::One(Some(payload)));
        }
        let (sender, receiver) = mpsc::channel(WINDOW);
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            while let Some(line) = next_line(&mut input) {
                let is_last = line.is_err();
                if sender.blocking_send(line).is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Self::Lines(receiver))
    }

    async fn next(&mut self) -> Option<Result<Vec<u8>, CommandError>> {
        match self {
            Self::One(payload) => payload.take().map(Ok),
            Self::Lines(lines) => lines.recv().await.map(|line| line.map_err(unread)),
        }
    }
}

/// The next line that is not empty, without its end.
fn next_line(input: &mut impl BufRead) -> Option<io::Result<Vec<u8>>> {
    loop {
        let mut line = Vec::new();
        match input.take(PAYLOAD_BYTES_MAX + 1).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(why) => return Some(Err(why)),
        }
        line.pop_if(|last| *last == b'\n');
        line.pop_if(|last| *last == b'\r');
        if !line.is_empty() {
            return Some(Ok(line));
        }
    }
}

fn unread(why: io::Error) -> CommandError {
    CommandError::Stream { what: "cannot read stdin", why }
}

/// What is still to come for a message of QoS 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Acknowledged,
    Received,
    Completed,
}

/// A connection with the messages that are on their way.
struct Publisher<'a> {
    arguments: &'a PubArguments,
    sealer: Option<Sealer<'a>>,
    link: Link,
    window: usize,
    in_flight: BTreeMap<PacketId, Awaited>,
    /// Messages so far.
    number: u64,
    refused: u64,
    packet_bytes_max: Option<usize>,
}

impl<'a> Publisher<'a> {
    fn new(
        arguments: &'a PubArguments,
        sealer: Option<Sealer<'a>>,
        link: Link,
        broker: &ConnAckProperties,
    ) -> Result<Self, ClientError> {
        let not_taken =
            |what: &str| ClientError::NotTaken { place: link.place().to_owned(), what: what.to_owned() };
        if broker.maximum_qos.is_some_and(|maximum| arguments.qos > maximum) {
            return Err(not_taken("message of this QoS"));
        }
        if broker.retain_unavailable && arguments.retain {
            return Err(not_taken("retained message"));
        }
        let window = broker.receive_maximum.map_or(WINDOW, |maximum| WINDOW.min(maximum.get().into()));
        let packet_bytes_max =
            broker.maximum_packet_size.map(|size| usize::try_from(size.get()).unwrap_or(usize::MAX));
        Ok(Self {
            arguments,
            sealer,
            link,
            window,
            in_flight: BTreeMap::new(),
            number: 0,
            refused: 0,
            packet_bytes_max,
        })
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.window
    }

    async fn publish(&mut self, payload: &[u8]) -> Result<(), CommandError> {
        let sealed = self.sealer.as_ref().map(|sealer| sealer.seal_next(payload, self.number)).transpose()?;
        let payload = sealed.as_deref().unwrap_or(payload);
        self.number += 1;
        let PubArguments { topic, qos, retain, .. } = self.arguments;
        let (qos, retain) = (*qos, *retain);
        // Header, topic and packet id; the broker has the last word.
        if self.packet_bytes_max.is_some_and(|max| payload.len() + topic.as_str().len() + 5 > max) {
            let what = format!("message of {} bytes", payload.len());
            return Err(ClientError::NotTaken { place: self.link.place().to_owned(), what }.into());
        }
        let packet_id = (qos > Qos::AtMostOnce).then(|| self.free_id());
        let packet = Packet::Publish(Publish {
            dup: false,
            qos,
            retain,
            topic: Some(topic.clone()),
            packet_id,
            topic_alias: None,
            message_expiry_s: None,
            subscription_ids: SubscriptionIds::default(),
            properties: None,
            payload: payload.to_vec().into(),
        });
        if let Some(packet_id) = packet_id {
            let awaited = if qos == Qos::AtLeastOnce { Awaited::Acknowledged } else { Awaited::Received };
            self.in_flight.insert(packet_id, awaited);
        }
        Ok(self.link.send(&packet).await?)
    }

    /// A packet id that is not in use: the window is far smaller than the ids are many.
    fn free_id(&self) -> PacketId {
        let last = self.in_flight.last_key_value().map_or(0, |(id, _)| id.get());
        let next = NonZeroU16::new(last.wrapping_add(1)).unwrap_or(PacketId::MIN);
        let free = |id: &PacketId| !self.in_flight.contains_key(id);
        if free(&next) { next } else { (1..=u16::MAX).filter_map(PacketId::new).find(free).unwrap_or(next) }
    }

    async fn answered(&mut self, packet: Packet) -> Result<(), ClientError> {
        let (ack, awaited) = match packet {
            Packet::PubAck(ack) => (ack, Awaited::Acknowledged),
            Packet::PubRec(ack) => (ack, Awaited::Received),
            Packet::PubComp(ack) => (ack, Awaited::Completed),
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Publish(_)
            | Packet::PubRel(_)
            | Packet::Subscribe(_)
            | Packet::SubAck(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => return Err(self.link.unexpected()),
        };
        if self.in_flight.get(&ack.packet_id) != Some(&awaited) {
            return Err(self.link.unexpected());
        }
        if ack.reason.is_error() {
            self.tell_refusal(&ack);
        } else if awaited == Awaited::Received {
            self.in_flight.insert(ack.packet_id, Awaited::Completed);
            return self.link.send(&Packet::PubRel(Ack::success(ack.packet_id))).await;
        }
        self.in_flight.remove(&ack.packet_id);
        Ok(())
    }

    fn tell_refusal(&mut self, ack: &Ack) {
        self.refused += 1;
        let answer = self.link.answer(ack.reason, ack.diagnostics.as_deref());
        let advice = if ack.reason == ReasonCode::PayloadFormatInvalid && self.sealer.is_none() {
            "; is the topic a sealed one? Then --sender-key and --topic-key are needed"
        } else {
            ""
        };
        complain(&format!("{}: refused by {}: {answer}{advice}", self.arguments.topic, self.link.place()));
    }

    /// The end of a connection, with how much it takes with it.
    fn broken_off(&self, error: ClientError) -> CommandError {
        match self.in_flight.len() {
            0 => error.into(),
            1 => CommandError::Plain(format!("{error}; a message is not acknowledged")),
            open => CommandError::Plain(format!("{error}; {open} messages are not acknowledged")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn lines_come_without_their_ends_and_empty_ones_not_at_all() {
        let mut input = Cursor::new(b"one\n\ntwo\r\n\r\n three");
        let lines: Vec<_> = std::iter::from_fn(|| next_line(&mut input)).map(Result::unwrap).collect();
        assert_eq!(lines, [b"one".to_vec(), b"two".to_vec(), b" three".to_vec()]);
    }
}
