//! What was sent, what was acknowledged, what arrived; and what of it breaks a promise.
//!
//! Publishers and subscribers tell it what happens to them, as it happens. [`Ledger::settle`] compares, and
//! forgets what it has compared, so that a ledger takes a bit for each message and pair of clients since
//! then, and no more.

pub(crate) mod bits;
pub(crate) mod breach;

use crate::payload::Stamp;
use bits::Bits;
use breach::{Breaches, Kind};
use std::collections::BTreeMap;
use std::time::Duration;

/// What was counted, over all rounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Messages acknowledged by the broker, by QoS.
    pub(crate) acknowledged: [u64; 3],
    /// First arrivals.
    pub(crate) deliveries: u64,
    /// Arrivals after the first, of QoS 1.
    pub(crate) duplicates: u64,
    /// From start to listening.
    pub(crate) restart_longest: Duration,
    /// From PUBLISH to PUBACK, on one connection.
    pub(crate) puback_slowest: Duration,
}

/// Whether a message of a subscription that changes arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The subscription was acknowledged.
    Arrives,
    /// Its end was acknowledged.
    Stays,
    /// Nobody can know: a request was never answered.
    Either,
}

/// The books of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What was counted.
    pub(crate) figures: Figures,
    /// Promises that were broken.
    pub(crate) breaches: Breaches,
    /// Packets that came, to whomever: whether something still happens.
    pub(crate) packets: u64,
    round: u32,
    acknowledged_in_round: u64,
    accounts: Vec<Account>,
    /// By subscriber and publisher.
    pairs: BTreeMap<(u32, u32), Pair>,
}

/// One publisher.
#[derive(Debug, Default)]
struct Account {
    name: String,
    qos: u8,
    /// The number of the next message.
    sent: u32,
    acknowledged: Bits,
    /// The first number acknowledged in a round, and the round.
    rounds: Vec<(u32, u32)>,
    last_acknowledged: Option<u32>,
}

/// One publisher for one of his subscribers.
#[derive(Debug)]
struct Pair {
    name: String,
    qos: u8,
    seen: Bits,
    /// One more than the highest number seen.
    high: u32,
    /// What is below was compared.
    settled: u32,
    /// Where it is not simply to arrive.
    expected: BTreeMap<u32, Expected>,
}

impl Ledger {
    /// Opens the account of the next publisher; answers his number.
    pub(crate) fn open(&mut self, name: &str, qos: u8) -> usize {
        self.accounts.push(Account { name: name.to_owned(), qos, ..Account::default() });
        self.accounts.len() - 1
    }

    /// From now on, what the publisher sends is owed to the subscriber, whose subscription has this QoS.
    pub(crate) fn owe(&mut self, subscriber: u32, name: &str, qos: u8, publisher: u32) {
        let account = &self.accounts[publisher as usize];
        let qos = qos.min(account.qos);
        let pair = Pair {
            name: format!("{} to {name} with QoS {qos}", account.name),
            qos,
            seen: Bits::default(),
            high: 0,
            settled: 0,
            expected: BTreeMap::new(),
        };
        self.pairs.insert((subscriber, publisher), pair);
    }

    /// Begins the next round.
    pub(crate) fn begin_round(&mut self) {
        self.round += 1;
        self.acknowledged_in_round = 0;
    }

    /// Rounds begun.
    pub(crate) fn round(&self) -> u32 {
        self.round
    }

    /// Whether anything was acknowledged in this round.
    pub(crate) fn has_acknowledged(&self) -> bool {
        self.acknowledged_in_round > 0
    }

    /// A client saw a promise broken.
    pub(crate) fn breach(&mut self, kind: Kind, whom: &str, number: Option<u32>) {
        self.breaches.add(kind, whom, number, self.round);
    }

    /// Says what becomes of a message that is about to be sent.
    pub(crate) fn expect(&mut self, subscriber: u32, stamp: Stamp, expected: Expected) {
        if let Some(pair) = self.pairs.get_mut(&(subscriber, stamp.publisher)) {
            pair.expected.insert(stamp.number, expected);
        }
    }

    /// A message is sent for the first time. They go by in the order of their numbers.
    pub(crate) fn sent(&mut self, stamp: Stamp) {
        self.accounts[stamp.publisher as usize].sent = stamp.number + 1;
    }

    /// The broker has promised to hold a message.
    pub(crate) fn acknowledged(&mut self, stamp: Stamp) {
        let account = &mut self.accounts[stamp.publisher as usize];
        if !account.acknowledged.insert(stamp.number) {
            return;
        }
        self.acknowledged_in_round += 1;
        self.figures.acknowledged[usize::from(account.qos)] += 1;
        account.last_acknowledged = account.last_acknowledged.max(Some(stamp.number));
        if account.rounds.last().is_none_or(|(_, round)| *round != self.round) {
            account.rounds.push((stamp.number, self.round));
        }
    }

    /// A message arrived that is not, by its packet id, the one before once more.
    pub(crate) fn arrived(&mut self, subscriber: u32, name: &str, stamp: Stamp, qos: u8) {
        let (round, number) = (self.round, stamp.number);
        let Some(pair) = self.pairs.get_mut(&(subscriber, stamp.publisher)) else {
            let whom = format!("publisher {} to {name}", stamp.publisher);
            return self.breaches.add(Kind::Ghost, &whom, Some(number), round);
        };
        let mut breach = |kind| self.breaches.add(kind, &pair.name, Some(number), round);
        if number >= self.accounts[stamp.publisher as usize].sent {
            return breach(Kind::Ghost);
        }
        if qos != pair.qos {
            breach(Kind::Altered);
        }
        if pair.expected.get(&number) == Some(&Expected::Stays) {
            return breach(Kind::StillSubscribed);
        }
        if number < pair.settled || !pair.seen.insert(number) {
            match pair.qos {
                2 => breach(Kind::Doubled),
                _ => self.figures.duplicates += 1,
            }
            return;
        }
        if number < pair.high {
            breach(Kind::Disordered);
        }
        pair.high = pair.high.max(number + 1);
        self.figures.deliveries += 1;
    }

    /// The last message of this publisher that the broker has acknowledged.
    pub(crate) fn last_acknowledged(&self, publisher: u32) -> Option<u32> {
        self.accounts[publisher as usize].last_acknowledged
    }

    /// A new client was given this as the retained message of a publisher, when that one was acknowledged.
    pub(crate) fn retained(&mut self, publisher: u32, found: Option<u32>, acknowledged: Option<u32>) {
        let account = &self.accounts[publisher as usize];
        let kind = match found {
            None if acknowledged.is_some() => Kind::RetainedWrong,
            Some(number) if number >= account.sent => Kind::RetainedWrong,
            Some(number) if Some(number) < acknowledged => Kind::RetainedTooOld,
            _ => return,
        };
        // Where there is none, the number is the one that should have been there.
        self.breaches.add(kind, &account.name, found.or(acknowledged), self.round);
    }

    /// Whether everything that was acknowledged has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.pairs
            .iter()
            .all(|((_, publisher), pair)| pair.missing(&self.accounts[*publisher as usize]).next().is_none())
    }

    /// Compares what was acknowledged with what arrived. After it, only doubles can come.
    pub(crate) fn settle(&mut self) {
        for ((_, publisher), pair) in &mut self.pairs {
            let account = &self.accounts[*publisher as usize];
            for number in pair.missing(account) {
                self.breaches.add(Kind::Lost, &pair.name, Some(number), account.round_of(number));
            }
            pair.settled = account.sent;
            pair.seen.forget_below(account.sent);
            // Those that stay away stay away for ever.
            pair.expected.retain(|_, expected| *expected == Expected::Stays);
        }
        for account in &mut self.accounts {
            account.acknowledged.forget_below(account.sent);
            account.rounds.clear();
        }
    }
}

impl Account {
    /// When a message was acknowledged; exact unless acknowledgements came in disorder.
    fn round_of(&self, number: u32) -> u32 {
        let begun = self.rounds.iter().rev().find(|(first, _)| *first <= number);
        begun.map_or(0, |(_, round)| *round)
    }
}

impl Pair {
    /// What was acknowledged, should have arrived, and has not.
    fn missing<'a>(&'a self, account: &'a Account) -> impl Iterator<Item = u32> + 'a {
        let arrives = |number: &u32| {
            let expected = self.expected.get(number).unwrap_or(&Expected::Arrives);
            *number >= self.settled && *expected == Expected::Arrives
        };
        account.acknowledged.without(&self.seen).filter(arrives)
    }
}

#[cfg(test)]
mod tests;
