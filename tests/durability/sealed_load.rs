//! Sealed messages while the broker is killed: several senders, each with a key and a counter of its own, publish
//! without TLS and without a pause; one subscriber over TLS has a session that outlives the kills, another one begins
//! anew after each.
//!
//! Two senders publish what that session keeps, two what only passes through: for those the broker sets numbers
//! aside in the store ahead of time. After each kill whatever was acknowledged before it is sent again by somebody
//! else, while the senders go on. Each has some envelopes on their way when the broker goes, and repeats them.

use super::{Way, await_interval};
use crate::encryption::{RULES, topic_key};
use crate::harness::packets::puback;
use crate::harness::packets5::{Answer, PUBACK};
use crate::harness::wire::tls_config;
use crate::harness::{Broker, Connect, Connect5, PATIENCE, Publish, Publish5, Setup, Wire};
use sealmq_crypto::{ContentKey, Freshness, SenderKey, TopicKey, seal};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::mpsc;

/// Envelopes of one sender that are on their way at once.
const ON_THE_WAY: usize = 16;
/// Messages of each sender that are taken, at least, between two kills.
const EACH: usize = 150;
/// What a kill may cost a sender of numbers that were not taken (docs/encryption.md, "Replay").
const LOST_MAX: usize = 1_024;
const NO_SUBSCRIBERS: u8 = 0x10;
const REFUSED: u8 = 0x99;
const FENCE: &str = "fence";

/// A device: what it has sealed, and what was said of it.
struct Sender {
    key: SenderKey,
    topic: String,
    is_kept: bool,
    /// The number of the first is 1.
    envelopes: Vec<Vec<u8>>,
    /// Sent and not answered, oldest first.
    open: VecDeque<u64>,
    taken: BTreeSet<u64>,
    /// Of those that were taken, what a kill must not undo.
    held: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// Not answered when the broker was killed, and sent again.
    unanswered: BTreeSet<u64>,
}

/// The packet id of a number.
fn id(number: u64) -> u16 {
    u16::try_from(number % 60_000).unwrap() + 1
}

/// The broker is gone, and not just slow.
#[track_caller]
fn assert_gone(error: &io::Error) {
    assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "nothing comes any more");
}

impl Sender {
    fn new(n: usize) -> Self {
        let is_kept = n < 2;
        let topic = format!("plant/{}/{n}", if is_kept { "kept" } else { "passing" });
        let key = SenderKey::generate(format!("load-{n}")).unwrap();
        let (taken, held, refused, unanswered) = Default::default();
        Self {
            key,
            topic,
            is_kept,
            envelopes: Vec::new(),
            open: VecDeque::new(),
            taken,
            held,
            refused,
            unanswered,
        }
    }

    fn name(&self) -> &str {
        std::str::from_utf8(self.key.id()).unwrap()
    }

    /// What is in the envelope of this number.
    fn text(&self, number: u64) -> String {
        format!("{} {number}", self.name())
    }

    /// The number of a message, if it is one of this sender's.
    fn number_in(&self, text: &str) -> Option<u64> {
        text.strip_prefix(self.name())?.trim_start().parse().ok()
    }

    /// Whether a message was sent again since the broker was killed before it had answered.
    fn repeats(&self, text: &str) -> bool {
        self.number_in(text).is_some_and(|number| self.unanswered.contains(&number))
    }

    fn seal_next(&mut self, key: &TopicKey) -> u64 {
        let number = self.envelopes.len() as u64 + 1;
        let (text, freshness) = (self.text(number), Freshness::Seq(number));
        let content = Some(ContentKey::from(key));
        self.envelopes.push(seal(&self.key, content, &self.topic, text.as_bytes(), freshness).unwrap());
        self.open.push_back(number);
        number
    }

    fn packet(&self, number: u64) -> Publish5 {
        let envelope = &self.envelopes[usize::try_from(number).unwrap() - 1];
        Publish5::new(&self.topic, envelope).qos(1, id(number))
    }

    /// Publishes until the broker is gone, or in the last round until enough was taken and all is answered. Says so
    /// when enough was taken, and which that were.
    fn run(
        &mut self,
        addr: SocketAddr,
        key: &TopicKey,
        last: bool,
        enough: &mpsc::Sender<(usize, BTreeSet<u64>)>,
    ) {
        let mut wire = Wire::open_at(addr);
        wire.send(Connect5::new(self.name()).persistent(3_600).bytes());
        wire.expect_connack(0);
        for number in &self.open {
            wire.send(self.packet(*number).dup().bytes());
        }
        let mut taken = 0;
        loop {
            while self.open.len() < ON_THE_WAY && !(last && taken >= EACH) {
                let number = self.seal_next(key);
                // Where the broker is gone, reading says so, behind what it has said before.
                let _ = wire.try_send(self.packet(number).bytes());
            }
            let Some(number) = self.open.front().copied() else { return };
            let answer = match wire.try_receive() {
                Ok(packet) => Answer::parse(&packet),
                Err(error) => {
                    assert_gone(&error);
                    assert!(!last, "the broker is gone");
                    return;
                }
            };
            assert_eq!((answer.first, answer.id), (PUBACK, id(number)), "answers come in order");
            self.open.pop_front();
            match answer.code() {
                0 | NO_SUBSCRIBERS => {
                    taken += 1;
                    self.taken.insert(number);
                }
                REFUSED => {
                    self.refused.insert(number);
                }
                code => panic!("{} is answered with {code:#04x}", self.text(number)),
            }
            if taken == EACH && answer.code() != REFUSED {
                let n = self.name().rsplit('-').next().unwrap().parse().unwrap();
                enough.send((n, self.taken.clone())).unwrap();
            }
        }
    }
}

/// A subscriber: in which round what came, and what came once more.
#[derive(Default)]
struct Reader {
    round: usize,
    seen: BTreeMap<String, usize>,
    again: Vec<Again>,
}

/// A message that came once more.
#[derive(Debug)]
struct Again {
    text: String,
    dup: bool,
    /// Kills between this time and the one before.
    kills: usize,
}

impl Reader {
    /// Takes all that comes, until the broker is gone, or in the last round up to the fence.
    fn run(&mut self, mut wire: Wire, last: bool) {
        self.round += 1;
        loop {
            let packet = match wire.try_receive() {
                Ok(packet) => packet,
                Err(error) => {
                    assert_gone(&error);
                    assert!(!last, "the broker is gone");
                    return;
                }
            };
            let publish = Publish::parse(&packet).expect("a message comes");
            let _ = wire.try_send(puback(publish.id));
            if publish.topic() == FENCE {
                return;
            }
            let text = publish.text().to_owned();
            if let Some(before) = self.seen.insert(text.clone(), self.round) {
                self.again.push(Again { text, dup: publish.dup, kills: self.round - before });
            }
        }
    }
}

/// All of them, and what holds of them.
struct Load {
    /// Whether all that was acknowledged is held, or only what was a moment ago.
    is_sync: bool,
    senders: Vec<Sender>,
    /// Of the session that stays.
    keeper: Reader,
    /// Of one that begins anew each time.
    watcher: Reader,
}

impl Load {
    fn new(is_sync: bool) -> (Self, Setup) {
        let senders: Vec<_> = (0..4).map(Sender::new).collect();
        let mut setup = crate::encryption::setup().config(RULES);
        for sender in &senders {
            let (name, topic) = (sender.name(), &sender.topic);
            let enrolled = format!(
                "[[sender]]\nid = \"{name}\"\nkey = \"keys/{name}.pub.jwk\"\ntopics = [\"{topic}\"]\n"
            );
            let key = sender.key.public().to_jwk().unwrap();
            setup = setup.file(&format!("keys/{name}.pub.jwk"), key).config(&enrolled);
        }
        let way = if is_sync { Way::SyncKill } else { Way::AsyncKill };
        let (keeper, watcher) = Default::default();
        (Self { is_sync, senders, keeper, watcher }, setup.config(way.storage()))
    }

    /// Load on a broker, up to its end: a kill in the middle, or in the last round the fence.
    fn round(&mut self, broker: Broker, last: bool) -> Setup {
        let key = topic_key(&broker, "aes256");
        let (addr, tls_addr) = (broker.addr(), broker.tls_addr());
        let tls = || Wire::open_tls_at(tls_addr, tls_config(None));
        let connect = Connect::new("keeper").persistent();
        let is_first = self.senders.iter().all(|sender| sender.envelopes.is_empty());
        let mut keeper = tls().connected(&connect, !is_first);
        if is_first {
            keeper.subscribe("plant/kept/+", 1);
            keeper.subscribe(FENCE, 1);
        }
        let mut watcher = tls().connected(&Connect::new("watcher"), false);
        watcher.subscribe(FENCE, 1);
        watcher.subscribe("plant/#", 1);
        let held: Vec<_> =
            self.senders.iter().map(|sender| (held_before(sender), sender.taken.clone())).collect();
        let Self { is_sync, senders, keeper: of_keeper, watcher: of_watcher } = self;
        let (enough, has_enough) = mpsc::channel();
        let mut last_taken = vec![BTreeSet::new(); senders.len()];
        let setup = std::thread::scope(|scope| {
            let readers =
                [scope.spawn(|| of_keeper.run(keeper, last)), scope.spawn(|| of_watcher.run(watcher, last))];
            let key = &key;
            let sending: Vec<_> = senders
                .iter_mut()
                .map(|sender| (sender, enough.clone()))
                .map(|(sender, enough)| scope.spawn(move || sender.run(addr, key, last, &enough)))
                .collect();
            assert_refused(&broker, held.iter().flat_map(|(envelopes, _)| envelopes));
            for _ in 0..sending.len() {
                let (n, taken): (usize, _) =
                    has_enough.recv_timeout(PATIENCE * 3).expect("the senders go on");
                last_taken[n] = taken;
            }
            if last {
                for sending in sending {
                    sending.join().unwrap();
                }
                Wire::client(&broker, "fence").publish(&Publish::new(FENCE, "").qos(1, 1));
                for reader in readers {
                    reader.join().unwrap();
                }
            } else if !*is_sync {
                await_interval(&broker);
            }
            broker.kill()
        });
        for (sender, ((_, before), taken)) in self.senders.iter_mut().zip(held.into_iter().zip(last_taken)) {
            let newly = sender.taken.difference(&before).copied();
            match (self.is_sync, last) {
                (true, _) | (false, true) => sender.held.extend(newly),
                (false, false) => sender.held.extend(taken),
            }
            sender.unanswered.extend(&sender.open);
        }
        setup
    }

    /// Of each sender, the numbers that were refused and never taken. Of what is kept there are none at the end.
    fn lost(&self) -> Vec<usize> {
        let is_lost = |sender: &Sender, number: u64| {
            !sender.is_kept && !self.watcher.seen.contains_key(&sender.text(number))
        };
        let of = |sender: &Sender| sender.refused.iter().filter(|number| is_lost(sender, **number)).count();
        self.senders.iter().map(of).collect()
    }

    /// Load on a broker that was started after a kill, or for the first time: it costs no more numbers than was
    /// said, and the first time none.
    fn bounded_round(&mut self, setup: Setup, last: bool) -> Setup {
        let (before, is_first) = (self.lost(), self.keeper.round == 0);
        let setup = self.round(setup.start(), last);
        for (sender, (now, before)) in self.senders.iter().zip(self.lost().into_iter().zip(before)) {
            let most = if is_first { 0 } else { LOST_MAX };
            assert!(now - before <= most, "{} has lost {} numbers", sender.name(), now - before);
        }
        setup
    }

    /// Whether a message must not have been forgotten.
    fn is_held(&self, text: &str) -> bool {
        self.is_sync
            || self
                .senders
                .iter()
                .any(|sender| sender.number_in(text).is_some_and(|n| sender.held.contains(&n)))
    }

    /// What came to whom, when all is over.
    fn assert_delivered(&self) {
        for sender in self.senders.iter().filter(|sender| sender.is_kept) {
            // What was refused was its own repetition of what had been taken.
            let all = if self.is_sync {
                (1..=sender.envelopes.len() as u64).collect()
            } else {
                sender.held.clone()
            };
            for number in all.union(&sender.refused) {
                let text = sender.text(*number);
                assert!(self.keeper.seen.contains_key(&text), "{text} did not come");
            }
        }
        // What was sent in the last moment before a kill may not be written down as sent: it comes as if it had
        // not been. Never so later, nor from one and the same broker.
        let wrong = |again: &&Again| !again.dup && again.kills != 1 && self.is_held(&again.text);
        let wrong: Vec<_> = self.keeper.again.iter().filter(wrong).collect();
        assert!(wrong.is_empty(), "delivered again without DUP: {wrong:?}");
        // Who is connected gets a message of QoS 1 before it is on disk, so that the store may not know of it where
        // its sender was not answered either.
        let may_be =
            |again: &Again| self.senders.iter().any(|sender| sender.is_kept && sender.repeats(&again.text));
        let twice = |again: &&Again| self.is_held(&again.text) && !may_be(again);
        let twice: Vec<_> = self.watcher.again.iter().filter(twice).collect();
        assert!(twice.is_empty(), "taken twice: {twice:?}");
    }
}

/// Envelopes that were acknowledged before the broker went: the last ones and some of those before.
fn held_before(sender: &Sender) -> Vec<Publish5> {
    let newest = sender.held.iter().rev().take(8);
    let older = sender.held.iter().rev().skip(8).step_by(40);
    newest.chain(older).map(|number| sender.packet(*number)).collect()
}

/// Whoever sends them again is told that they are not taken.
fn assert_refused<'a>(broker: &Broker, held: impl Iterator<Item = &'a Publish5>) {
    let mut replayer = Wire::client5(broker, "replayer");
    for publish in held {
        assert_eq!(replayer.try_publish5(publish), REFUSED, "{publish:?}");
    }
    let by_replayer = |line: &crate::harness::log::LogLine| line.field("client") == Some("replayer");
    for line in broker.log().lines(|line| line.message() == "message refused" && by_replayer(line)) {
        assert_eq!(line.field("reason"), Some("replayed"), "{}", line.text);
    }
}

fn load(is_sync: bool, kills: usize) {
    let (mut load, mut setup) = Load::new(is_sync);
    for _ in 0..kills {
        setup = load.bounded_round(setup, false);
    }
    load.bounded_round(setup, true);
    load.assert_delivered();
}

#[test]
fn sealed_load_holds_over_kills() {
    load(true, 3);
}

/// What was acknowledged longer ago than its interval holds as well.
#[test]
fn sealed_load_behind_acknowledgements_holds_over_a_kill() {
    load(false, 1);
}
