//! Who takes part: publishers by topic, QoS and version, and their subscribers.
//!
//! Topics have one, two or ten recipients. A message reaches each of them by one subscription only.

use crate::client::{Client, Habit};
use crate::extra::Extra;
use crate::ledger::Ledger;
use crate::packets::Version;
use crate::payload::Payloads;
use crate::publisher::Publisher;
use crate::subscriber::Subscriber;
use std::rc::Rc;

/// What the publishers of load send to: recipients in words, and the QoS.
const LOAD: [(&str, u8); 6] = [("one", 1), ("two", 1), ("ten", 1), ("one", 2), ("two", 2), ("ten", 2)];
/// Subscribers that come and go; the last of all is away nearly all the time.
const PRESENT: usize = 9;
/// Those of them that have a subscription that changes: QoS 1 and 2, with either version.
const CHANGING: [usize; 4] = [0, 3, 5, 6];
const PUBLISHES: Habit = Habit { stays_ms: 1_500, away_ms: 50 };
const SUBSCRIBES: Habit = Habit { stays_ms: 500, away_ms: 150 };

/// Everybody.
pub(crate) struct Cast {
    /// By their numbers; first those of load.
    pub(crate) publishers: Vec<Publisher>,
    /// By their numbers.
    pub(crate) subscribers: Vec<Subscriber>,
    /// The index of the publisher whose messages are retained.
    pub(crate) retainer: usize,
}

/// What a publisher may send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// In a round at once, at most.
    pub(crate) burst: u64,
    /// And then each second.
    pub(crate) per_second: u64,
}

impl Cast {
    /// Brings everybody together, and tells the ledger who is owed what.
    pub(crate) fn new(payloads: Payloads, ledger: &mut Ledger) -> Self {
        let topics = topics();
        let mut publishers = Vec::new();
        for (at, topic) in topics.iter().enumerate() {
            let qos = match at.checked_sub(LOAD.len() + 1) {
                // The one who sends to a subscription that changes does it with its QoS.
                Some(extra) => subscription_qos(CHANGING[extra]),
                None => LOAD.get(at).map_or(1, |(_, qos)| *qos),
            };
            let version = if at % 2 == 0 { Version::V4 } else { Version::V5 };
            let name = format!("publisher-{at}-mqtt{}-qos{qos}", version.name());
            let number = ledger.open(&name, qos);
            let client = Client::new(name, version, at, PUBLISHES);
            let publisher = Publisher::new(client, index(number), topic, qos, payloads);
            publishers.push(if at == LOAD.len() { publisher.retaining() } else { publisher });
        }
        let subscribers =
            (0..=PRESENT).map(|at| subscriber(at, &topics, publishers.len(), payloads, ledger)).collect();
        Self { publishers, subscribers, retainer: LOAD.len() }
    }

    /// What the publisher of this index may send; nothing if others decide that.
    pub(crate) fn pace(at: usize) -> Option<Pace> {
        match LOAD.get(at) {
            Some(("ten", _)) => Some(Pace { burst: 800, per_second: 500 }),
            Some(_) => Some(Pace { burst: 3_000, per_second: 2_000 }),
            None if at == LOAD.len() => Some(Pace { burst: 50, per_second: 500 }),
            None => None,
        }
    }
}

/// The topic of each publisher.
fn topics() -> Rc<[String]> {
    let load = LOAD.iter().enumerate().map(|(at, (recipients, _))| format!("load/{recipients}/{at}"));
    let extra = CHANGING.iter().map(|subscriber| format!("extra/{subscriber}"));
    load.chain(["retained".to_owned()]).chain(extra).collect()
}

fn subscription_qos(subscriber: usize) -> u8 {
    if subscriber.is_multiple_of(2) { 1 } else { 2 }
}

fn subscriber(
    at: usize,
    topics: &Rc<[String]>,
    publishers: usize,
    payloads: Payloads,
    ledger: &mut Ledger,
) -> Subscriber {
    let qos = subscription_qos(at);
    let version = if at % 4 < 2 { Version::V4 } else { Version::V5 };
    let name = if at == PRESENT {
        format!("absent-mqtt{}-qos{qos}", version.name())
    } else {
        format!("subscriber-{at}-mqtt{}-qos{qos}", version.name())
    };
    let mut filters = vec!["load/ten/+".to_owned()];
    let mut owes = |publisher: usize| ledger.owe(index(at), &name, qos, index(publisher));
    for (publisher, (recipients, _)) in LOAD.iter().enumerate() {
        match *recipients {
            "ten" => owes(publisher),
            // One who is there, and the one who is not.
            "two" if at == 1 || at == PRESENT => {
                owes(publisher);
                filters.push(topics[publisher].clone());
            }
            "one" if at == publisher + 2 => {
                owes(publisher);
                filters.push(topics[publisher].clone());
            }
            _ => {}
        }
    }
    let extra = CHANGING.iter().position(|changing| *changing == at).map(|place| {
        let publisher = LOAD.len() + 1 + place;
        owes(publisher);
        Extra::new(publisher, topics[publisher].clone())
    });
    let client = Client::new(name, version, publishers + at, SUBSCRIBES);
    let mut subscriber = Subscriber::new(client, index(at), qos, filters, topics.clone(), payloads);
    subscriber.extra = extra;
    subscriber
}

fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
