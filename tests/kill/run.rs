//! The rounds: load, kill, start again; and every few rounds the reckoning.
//!
//! One loop on one thread carries all clients. The broker works while they read, so that it is in the
//! middle of anything when it is killed.

use crate::broker::Broker;
use crate::cast::Cast;
use crate::client::Client;
use crate::ledger::Ledger;
use crate::ledger::breach::Kind;
use crate::payload::Payloads;
use crate::rng::Rng;
use crate::{Options, extra, retained};
use anyhow::{Context, Result, bail};
use mio::{Events, Poll};
use std::time::{Duration, Instant};

/// Rounds between two reckonings.
const ROUNDS_A_RECKONING: u32 = 10;
/// The broker dies within so many milliseconds of the first acknowledgement of a round.
const KILL_MS: u64 = 700;
/// And now and then once more, within so many of its start, while it reads back what is there.
const RECOVERY_MS: u64 = 20;
/// Publishers are back within so many milliseconds of a start, subscribers too.
const RETURN_MS: u64 = 100;
/// Without any packet for so long, nothing more will come.
const STALLED: Duration = Duration::from_secs(10);
/// After all that is owed has come, for so long whatever comes is one too many.
const SILENCE: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(1);

/// One run of the program.
pub(crate) struct Run {
    /// What was found so far.
    pub(crate) ledger: Ledger,
    /// The broker.
    pub(crate) broker: Broker,
    cast: Cast,
    payloads: Payloads,
    rng: Rng,
    poll: Poll,
    events: Events,
    /// Whether broker and clients stay, and only connections are cut.
    kills: bool,
    verbose: bool,
    deadline: Option<Instant>,
    /// Whether clients come and go, and subscriptions change.
    roaming: bool,
    /// The time up to which publishers were given what they may send.
    paced_to: Instant,
}

impl Run {
    /// Starts the broker.
    pub(crate) fn new(options: &Options, seed: u64) -> Result<Self> {
        let payloads = Payloads::new(seed);
        let mut ledger = Ledger::default();
        let cast = Cast::new(payloads, &mut ledger);
        let begin = Instant::now();
        Ok(Self {
            ledger,
            broker: Broker::start(&options.broker, &options.durability)?,
            cast,
            payloads,
            rng: Rng::new(seed),
            poll: Poll::new()?,
            events: Events::with_capacity(256),
            kills: !options.no_kill,
            verbose: options.verbose,
            deadline: options.seconds_max.map(|seconds| begin + Duration::from_secs(seconds)),
            roaming: false,
            paced_to: begin,
        })
    }

    /// All rounds, up to the first reckoning that finds something.
    pub(crate) fn rounds(&mut self, rounds: u32, mut progress: impl FnMut(&Ledger)) -> Result<()> {
        self.subscribe()?;
        for round in 1..=rounds {
            self.ledger.begin_round();
            self.round()?;
            if round % ROUNDS_A_RECKONING == 0 || round == rounds {
                self.reckon()?;
            }
            progress(&self.ledger);
            if !self.ledger.breaches.is_empty() && round % ROUNDS_A_RECKONING == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Nothing is sent before everybody is subscribed.
    fn subscribe(&mut self) -> Result<()> {
        self.until("subscriptions", |run| {
            run.cast.subscribers.iter().all(crate::subscriber::Subscriber::is_subscribed)
        })?;
        self.dismiss()
    }

    fn round(&mut self) -> Result<()> {
        for at in 0..self.cast.publishers.len() {
            if let Some(pace) = Cast::pace(at) {
                let burst = self.rng.below(pace.burst + 1);
                self.cast.publishers[at].credit = u32::try_from(burst)?.max(1);
            }
        }
        (self.roaming, self.paced_to) = (true, Instant::now());
        self.until("the first acknowledgement", |run| run.ledger.has_acknowledged())?;
        let time = self.rng.up_to_ms(KILL_MS);
        self.go_on(time)?;
        self.strike()
    }

    /// Everything stops, everybody comes, all is delivered; then the ledger says what is wrong.
    fn reckon(&mut self) -> Result<()> {
        self.roaming = false;
        for subscriber in &mut self.cast.subscribers {
            subscriber.client.absent = false;
        }
        if self.rng.one_in(2) {
            // The queue of the one who was away is read in two parts.
            let time = self.rng.up_to_ms(KILL_MS / 2);
            self.go_on(time)?;
            self.strike()?;
        }
        let is_done = |run: &Self| {
            run.cast.publishers.iter().all(crate::publisher::Publisher::is_done)
                && run.cast.subscribers.iter().all(|subscriber| {
                    subscriber.is_done() && subscriber.extra.as_ref().is_none_or(extra::Extra::is_done)
                })
                && run.ledger.is_complete()
        };
        if self.wait(is_done)? {
            self.go_on(SILENCE)?;
        } else {
            for publisher in &self.cast.publishers {
                publisher.complain(&mut self.ledger);
            }
        }
        self.ledger.settle();
        self.dismiss()
    }

    /// Sends away the one that is away.
    fn dismiss(&mut self) -> Result<()> {
        let absent = self.cast.subscribers.last_mut().context("there are subscribers")?;
        absent.client.absent = true;
        absent.client.leave(true);
        Ok(())
    }

    /// Kills the broker and starts it again, or cuts all connections; then looks at what is retained.
    fn strike(&mut self) -> Result<()> {
        // Not only when the clients have just written.
        let pause = self.rng.up_to_ms(2);
        self.poll.poll(&mut self.events, Some(pause))?;
        self.broker.check_alive()?;
        if self.kills {
            self.broker.kill()?;
            if self.rng.one_in(2) {
                self.read_the_rest();
            }
        }
        let now = Instant::now();
        for client in clients(&mut self.cast) {
            client.leave(false);
        }
        if self.kills {
            if self.rng.one_in(4) {
                let after = self.rng.up_to_ms(RECOVERY_MS);
                self.broker.launch_and_kill(after)?;
            }
            let took = self.broker.launch()?;
            let longest = &mut self.ledger.figures.restart_longest;
            *longest = (*longest).max(took);
            if self.verbose {
                println!("round {}: listens again after {took:?}", self.ledger.round());
            }
        }
        for client in clients(&mut self.cast) {
            client.return_within(now, RETURN_MS, &mut self.rng);
        }
        self.look_at_retained()
    }

    /// What the broker had written before it died binds it as well.
    fn read_the_rest(&mut self) {
        let now = Instant::now();
        let Cast { publishers, subscribers, .. } = &mut self.cast;
        // It ends with an error, as a connection does whose other end is gone.
        for publisher in publishers {
            while publisher.client.socket.is_some() && publisher.receive(&mut self.ledger, now).is_ok() {
                if !publisher.client.is_readable() {
                    break;
                }
            }
        }
        for subscriber in subscribers {
            while subscriber.client.socket.is_some() && subscriber.receive(&mut self.ledger, now).is_ok() {
                if !subscriber.client.is_readable() {
                    break;
                }
            }
        }
    }

    fn look_at_retained(&mut self) -> Result<()> {
        let retainer = self.cast.retainer;
        let publisher = u32::try_from(retainer)?;
        let acknowledged = self.ledger.last_acknowledged(publisher);
        let topic = self.cast.publishers[retainer].topic();
        let found = retained::retained(self.broker.addr, topic, self.payloads)?;
        self.ledger.retained(publisher, found.map(|stamp| stamp.number), acknowledged);
        Ok(())
    }

    /// Takes turns until that holds; an error if nothing happens any more.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        if self.wait(holds)? { Ok(()) } else { bail!("waited in vain for {what}") }
    }

    /// Takes turns until that holds, or nothing happens any more; answers whether it holds.
    fn wait(&mut self, holds: impl Fn(&Self) -> bool) -> Result<bool> {
        let (mut packets, mut since) = (self.ledger.packets, Instant::now());
        while !holds(self) {
            self.turn()?;
            if packets != self.ledger.packets {
                (packets, since) = (self.ledger.packets, Instant::now());
            } else if since.elapsed() > STALLED {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes turns for so long.
    fn go_on(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| now > deadline) {
            bail!("the time is over");
        }
        self.pace(now)?;
        for client in clients(&mut self.cast) {
            client.move_on(now, self.broker.addr, self.poll.registry(), self.roaming, &mut self.rng)?;
        }
        let busy = clients(&mut self.cast).any(|client| client.is_readable());
        self.poll.poll(&mut self.events, Some(if busy { Duration::ZERO } else { TICK }))?;
        for event in self.events.iter().filter(|event| event.is_readable()) {
            let client = clients(&mut self.cast).nth(event.token().0).context("an event of nobody")?;
            if let Some(socket) = &mut client.socket {
                socket.readable = true;
            }
        }
        self.serve(Instant::now())
    }

    /// Gives publishers what they may send since the last time.
    fn pace(&mut self, now: Instant) -> Result<()> {
        let elapsed_ms = now.saturating_duration_since(self.paced_to).as_millis();
        if !self.roaming || elapsed_ms < 10 {
            return Ok(());
        }
        for (at, publisher) in self.cast.publishers.iter_mut().enumerate() {
            if let Some(pace) = Cast::pace(at) {
                publisher.credit += u32::try_from(u128::from(pace.per_second) * elapsed_ms / 1_000)?;
            }
        }
        self.paced_to = now;
        Ok(())
    }

    /// Lets each client read, answer and send.
    fn serve(&mut self, now: Instant) -> Result<()> {
        let Cast { publishers, subscribers, .. } = &mut self.cast;
        let mut lost = Vec::new();
        for subscriber in subscribers.iter_mut() {
            let mut served = subscriber.client.flush();
            if served.is_ok() && subscriber.client.is_readable() {
                served = subscriber.receive(&mut self.ledger, now);
            }
            extra::go_on(subscriber, publishers, &mut self.ledger, now, self.roaming, &mut self.rng);
            note(&mut subscriber.client, served, &mut lost);
        }
        for publisher in publishers {
            let mut served = Ok(());
            if publisher.client.is_readable() {
                served = publisher.receive(&mut self.ledger, now);
            }
            let served = served.and_then(|()| publisher.publish(&mut self.ledger, now));
            note(&mut publisher.client, served, &mut lost);
        }
        if !lost.is_empty() {
            self.broker.check_alive()?;
        }
        for whom in lost {
            self.ledger.breach(Kind::Closed, &whom, None);
        }
        Ok(())
    }
}

/// Notes who lost his connection.
fn note(client: &mut Client, served: Result<()>, lost: &mut Vec<String>) {
    if let Err(error) = served {
        client.leave(false);
        lost.push(format!("{}: {error:#}", client.name));
    }
}

/// Everybody, in the order of their tokens.
fn clients(cast: &mut Cast) -> impl Iterator<Item = &mut Client> {
    let publishers = cast.publishers.iter_mut().map(|publisher| &mut publisher.client);
    publishers.chain(cast.subscribers.iter_mut().map(|subscriber| &mut subscriber.client))
}
