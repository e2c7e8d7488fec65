//! A broker on a simulated disk with its clients: what the seed decides happens next, until all is handed out.

use super::executor::Executor;
use super::link::{Heard, Link, connect};
use super::model::{Model, Promise};
use super::publisher::{Publisher, topic};
use super::rng::Rng;
use super::subscriber::{Subscriber, subscribe};
use crate::broker::Broker;
use crate::connection::{Peer, serve};
use crate::rulebook::Rulebook;
use crate::store::layout::Keyspace;
use crate::store::simulated::{Fault, SimulatedDisk};
use crate::store::{Committer, Durability, EngineError, Store};
use sealmq_config::Config;
use sealmq_protocol::packet::{Publish, Version};
use sealmq_protocol::{Packet, Qos};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::DuplexStream;

/// Ticks that a seed has at most before the clients calm down.
const TICKS_MAX: usize = 6_000;
/// Rounds in which everybody does all he can, until nothing is left.
const ROUNDS_MAX: usize = 1_000;

/// Polls without anything from outside, from which on somebody goes round in circles.
const POLLS_MAX: usize = 20_000;

/// What a store promises, and what it is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each keeps its word, and the seed says which one it gives.
    Honest,
    /// It syncs later, and is held to having synced before.
    Lying,
}

/// What happened, to know that it does.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    pub(super) messages: usize,
    pub(super) crashes: usize,
    /// After a batch was written and before anybody was told.
    pub(super) unannounced: usize,
    /// Batches that a crash took.
    pub(super) forgotten: usize,
    pub(super) failed_syncs: usize,
    pub(super) times_full: usize,
    pub(super) refusals: usize,
    pub(super) cuts: usize,
    pub(super) shared: usize,
}

impl Seen {
    /// Both.
    pub(super) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.crashes += other.crashes;
        self.unannounced += other.unannounced;
        self.forgotten += other.forgotten;
        self.failed_syncs += other.failed_syncs;
        self.times_full += other.times_full;
        self.refusals += other.refusals;
        self.cuts += other.cuts;
        self.shared += other.shared;
    }
}

/// See the module's description.
pub(super) struct World {
    rng: Rng,
    config: Config,
    durability: Durability,
    disk: Arc<SimulatedDisk>,
    broker: Arc<Broker>,
    committer: Committer,
    tasks: Executor,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    model: Model,
    pipe_bytes: usize,
    crashes_left: usize,
    full_for: usize,
    seen: Seen,
}

fn start(disk: &Arc<SimulatedDisk>, durability: Durability, config: &Config) -> (Arc<Broker>, Committer) {
    let (store, recovered, committer) = Store::over(disk.clone(), durability, 1 << 20).unwrap();
    let rulebook = Rulebook::for_tests(config);
    (Arc::new(Broker::new(config, &rulebook, Arc::new(store), recovered)), committer)
}

impl World {
    /// What a seed makes.
    pub(super) fn new(seed: u64, kind: Kind) -> Self {
        let mut rng = Rng::new(seed);
        let later = Durability::Async { interval: Duration::from_hours(24) };
        let (durability, promise) = match kind {
            Kind::Lying => (later, Promise::Sync),
            Kind::Honest if rng.one_in(4) => (later, Promise::Async),
            Kind::Honest => (Durability::Sync, Promise::Sync),
        };
        let mut config = Config::default();
        config.limits.inflight_messages_max = 1 + rng.below(8);
        let disk = Arc::new(SimulatedDisk::default());
        let (broker, committer) = start(&disk, durability, &config);
        let mut qos = || if rng.one_in(2) { Qos::ExactlyOnce } else { Qos::AtLeastOnce };
        let sources: Vec<Qos> = (0..4).map(|_| qos()).collect();
        let granted: Vec<Qos> = (0..3).map(|_| qos()).collect();
        let (sources, granted) = (&sources[..2 + rng.below(3)], &granted[..1 + rng.below(3)]);
        let reuses = promise == Promise::Sync && !rng.one_in(3);
        let mut publishers: Vec<_> =
            (0..sources.len()).map(|at| Publisher::new(at, &mut rng, reuses)).collect();
        publishers[0].retains = true;
        let subscribers =
            granted.iter().enumerate().map(|(at, qos)| Subscriber::new(at, *qos, &mut rng)).collect();
        let model = Model::new(promise, sources, granted);
        let (pipe_bytes, crashes_left) = ([40, 200, 4_096][rng.below(3)], 1 + rng.below(3));
        let (tasks, seen, full_for) = (Executor::default(), Seen::default(), 0);
        Self {
            rng,
            config,
            durability,
            disk,
            broker,
            committer,
            tasks,
            publishers,
            subscribers,
            model,
            pipe_bytes,
            crashes_left,
            full_for,
            seen,
        }
    }

    /// Lives through it.
    pub(super) fn run(mut self) -> Result<Seen, String> {
        if self.model.promise == Promise::Async || self.rng.one_in(2) {
            // Sessions and subscriptions are there and synced before anything is lost.
            self.settle(true)?;
        }
        for _ in 0..TICKS_MAX {
            self.tick()?;
            if self.publishers.iter().all(|publisher| publisher.is_done(&self.model))
                && (self.crashes_left == 0 || self.rng.one_in(100))
            {
                break;
            }
        }
        self.fill(false);
        self.settle(false)?;
        self.probe()?;
        self.model.complete()?;
        let kept =
            [Keyspace::Queue, Keyspace::Message, Keyspace::Refs, Keyspace::Inflight, Keyspace::Inbound];
        for keyspace in kept {
            let lossy = self.model.promise == Promise::Async && self.model.life > 0;
            let left = self.disk.count(keyspace);
            // A PUBCOMP that was sent and forgotten leaves the packet id, until its client uses it again.
            if left > 0 && !(lossy && keyspace == Keyspace::Inbound) {
                return Err(format!("{left} keys are left in {}", keyspace.name()));
            }
        }
        self.seen.times_full = self.model.times_full;
        self.seen.refusals = self.model.refusals();
        self.seen.messages = (0..self.publishers.len()).map(|at| self.model.count(at)).sum();
        Ok(self.seen)
    }

    fn tick(&mut self) -> Result<(), String> {
        match self.rng.below(100) {
            0..40 => drop(self.tasks.poll_one(&mut self.rng)),
            40..60 => self.publisher_acts()?,
            60..82 => self.subscriber_acts()?,
            82..97 => self.commit(12)?,
            97 => self.sync()?,
            _ => self.trouble()?,
        }
        if self.full_for > 0 {
            self.full_for -= 1;
            if self.full_for == 0 {
                self.fill(false);
            }
        }
        self.seen.shared = self.seen.shared.max(self.disk.count(Keyspace::Message));
        Ok(())
    }

    fn trouble(&mut self) -> Result<(), String> {
        match self.rng.below(16) {
            0 if self.full_for == 0 => {
                self.full_for = 50 + self.rng.below(200);
                self.fill(true);
            }
            1 if self.crashes_left > 0 && self.full_for == 0 => {
                self.seen.failed_syncs += 1;
                self.disk.fault(Some(Fault::FailedSync));
                match self.committer.step_aloud() {
                    // Without a batch nothing is synced.
                    Ok(()) if self.durability == Durability::Sync || self.disk.sync_now() => {
                        self.disk.fault(None);
                        self.model.written();
                    }
                    Ok(()) | Err(_) => self.crash()?,
                }
            }
            2..5 if self.crashes_left > 0 => self.crash()?,
            5 => self.probe()?,
            _ => {}
        }
        Ok(())
    }

    fn fill(&mut self, full: bool) {
        self.full_for *= usize::from(full);
        self.model.full = full;
        self.disk.fault(full.then_some(Fault::NoSpace));
        self.model.times_full += usize::from(full);
    }

    fn commit(&mut self, crash_in: usize) -> Result<(), String> {
        let mut stepped = self.committer.step_aloud();
        if self.model.full_said && stepped.is_ok() {
            // That was the batch which there had been no room for; what came meanwhile is behind it.
            stepped = self.committer.step_aloud();
        }
        match stepped {
            Ok(()) => self.model.written(),
            Err(EngineError::NoSpace) if self.model.full => {
                self.model.says_full();
                let publishers = self.publishers.iter_mut().filter_map(|it| it.link.as_mut());
                let subscribers = self.subscribers.iter_mut().filter_map(|it| it.link.as_mut());
                publishers.chain(subscribers).for_each(|link| link.while_full = true);
                return Ok(());
            }
            Err(error) => return Err(format!("the store failed: {error}")),
        }
        if crash_in > 0 && self.crashes_left > 0 && self.rng.one_in(5 * crash_in) {
            self.seen.unannounced += 1;
            return self.crash();
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        if !self.disk.sync_now() {
            return Err("a sync failed that should not".into());
        }
        self.model.synced();
        Ok(())
    }

    fn dial(&mut self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(self.pipe_bytes);
        let peer = Peer { addr: ([127, 0, 0, 1], 1).into(), secure: false, excess: false };
        let deadline = Instant::now() + Duration::from_hours(1);
        self.tasks.spawn(serve(self.broker.clone(), theirs, peer, deadline));
        ours
    }

    fn publisher_acts(&mut self) -> Result<(), String> {
        let at = self.rng.below(self.publishers.len());
        if self.publishers[at].link.is_none() {
            let pipe = self.dial();
            self.publishers[at].dial(pipe, &self.model);
            return Ok(());
        }
        let publisher = &mut self.publishers[at];
        match self.rng.below(60) {
            0 => {
                publisher.is_haunted |= publisher.link.take().is_some_and(|link| !link.greeted);
                self.seen.cuts += 1;
            }
            1..20 => drop(publisher.send(&mut self.model)),
            _ => drop(publisher.hear(&mut self.model)?),
        }
        Ok(())
    }

    fn subscriber_acts(&mut self) -> Result<(), String> {
        let at = self.rng.below(self.subscribers.len());
        if self.subscribers[at].link.is_none() {
            if self.rng.one_in(4) {
                let pipe = self.dial();
                self.subscribers[at].dial(pipe, &self.model);
            }
            return Ok(());
        }
        let subscriber = &mut self.subscribers[at];
        match self.rng.below(60) {
            0 => {
                subscriber.is_haunted |= subscriber.link.take().is_some_and(|link| !link.greeted);
                self.seen.cuts += 1;
            }
            1 if subscriber.link.as_ref().is_some_and(|link| link.greeted) => subscriber.leave(),
            2..25 => drop(subscriber.acknowledge()),
            25..30 => drop(subscriber.subscribe(&self.model)),
            _ => drop(subscriber.hear(&mut self.model)?),
        }
        Ok(())
    }

    /// The broker's process ends, and the machine with it. What was on its way to a client may still come.
    fn crash(&mut self) -> Result<(), String> {
        self.crashes_left -= 1;
        self.seen.crashes += 1;
        for publisher in &mut self.publishers {
            while self.rng.one_in(2) && publisher.hear(&mut self.model)? {}
            (publisher.link, publisher.is_haunted) = (None, false);
        }
        for subscriber in &mut self.subscribers {
            while self.rng.one_in(2) && subscriber.hear(&mut self.model)? {}
            (subscriber.link, subscriber.is_haunted) = (None, false);
        }
        self.tasks.abort();
        let unsynced = self.disk.unsynced();
        let kept = self.rng.below(unsynced + 1);
        self.seen.forgotten += unsynced - kept;
        let torn = self.rng.below(400);
        self.disk = Arc::new(self.disk.crash(kept, torn));
        self.fill(false);
        self.model.crashed();
        (self.broker, self.committer) = start(&self.disk, self.durability, &self.config);
        if self.rng.one_in(2) { self.probe() } else { Ok(()) }
    }

    /// Everybody does all he can until nothing is left to do; or, at first, until all are connected.
    fn settle(&mut self, first: bool) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.run_tasks()?;
            for at in 0..self.publishers.len() {
                if self.publishers[at].link.is_none() {
                    let pipe = self.dial();
                    self.publishers[at].dial(pipe, &self.model);
                    moved = true;
                }
                let publisher = &mut self.publishers[at];
                while publisher.hear(&mut self.model)? || (!first && publisher.send(&mut self.model)) {
                    moved = true;
                }
            }
            for at in 0..self.subscribers.len() {
                if self.subscribers[at].link.is_none() {
                    let pipe = self.dial();
                    self.subscribers[at].dial(pipe, &self.model);
                    moved = true;
                }
                let subscriber = &mut self.subscribers[at];
                while subscriber.subscribe(&self.model)
                    || subscriber.hear(&mut self.model)?
                    || subscriber.acknowledge()
                {
                    moved = true;
                }
            }
            self.commit(0)?;
            self.sync()?;
            if !moved && !self.tasks.poll_one(&mut self.rng) {
                return if first { Ok(()) } else { self.stands_still() };
            }
        }
        Err("it does not come to an end".into())
    }

    /// Polls connections until none of them wants to be. Whether any did.
    fn run_tasks(&mut self) -> Result<bool, String> {
        for polls in 0..POLLS_MAX {
            if !self.tasks.poll_one(&mut self.rng) {
                return Ok(polls > 0);
            }
        }
        Err("a connection wakes itself for ever".into())
    }

    /// Nobody moves: because all is done?
    fn stands_still(&self) -> Result<(), String> {
        if let Some(it) = self.publishers.iter().find(|publisher| !publisher.is_done(&self.model)) {
            return Err(format!("publisher {} waits for ever", it.at));
        }
        if let Some(it) = self.subscribers.iter().find(|subscriber| !subscriber.is_done(&self.model)) {
            return Err(format!("subscriber {} waits for ever: {}", it.at, it.state(&self.model)));
        }
        Ok(())
    }

    /// Asks for the retained message, and holds it against what was promised by then.
    fn probe(&mut self) -> Result<(), String> {
        let pipe = self.dial();
        let mut link = Link::new(pipe, connect(Version::V311, "probe".into(), false, None), false);
        link.send(&subscribe(&topic(0), Qos::AtMostOnce));
        let (mut answered, mut found) = (false, None);
        loop {
            let moved = self.run_tasks()?;
            match link.receive()? {
                Heard::Packet(Packet::SubAck(_)) => answered = true,
                Heard::Packet(Packet::Publish(Publish { retain: true, payload, .. })) => {
                    found = Some(payload);
                }
                Heard::Packet(_) => {}
                // The pipe may be shorter than a packet, and take more now.
                Heard::Nothing if moved || self.run_tasks()? => {}
                Heard::Nothing if answered => break,
                Heard::Nothing | Heard::Closed => return Err("the probe got no answer".into()),
            }
        }
        self.model.retained(0, found.as_deref())
    }
}
