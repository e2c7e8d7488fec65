//! Which keys will soon be of no use: those that end, and those that have sealed much.
//!
//! Looks at the keys in force, at each start and reload and once a minute; warns of each that is found once a
//! day, and keeps the numbers for `$SYS`. Owns what the store was last told of how much each topic key has
//! opened. Always holds: as many entries as there are keys, and at most [`LINES_MAX`] lines for a look.

use crate::audit::{Event, KeyChange, KeyKind};
use crate::broker::Broker;
use crate::now::Now;
use crate::store::Change;
use bytes::Bytes;
use parking_lot::Mutex;
use sealmq_config::Config;
use sealmq_crypto::{Keyring, TopicKeyEntry, Validity};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const DAY_S: u64 = 86_400;
/// How long before its end a key is warned of.
const SOON_S: u64 = 14 * DAY_S;
/// IVs are random and have 12 bytes: up to 2^32 of them under one key are unlikely enough to meet (NIST SP
/// 800-38D, 8.3). Half of that leaves time to change the key.
const SEALED_MAX: u64 = 1 << 31;
/// Between two looks.
const LOOKS: Duration = Duration::from_mins(1);
/// Lines that one look may log.
const LINES_MAX: usize = 100;

/// A key that somebody should look after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The table of the configuration: `sender`, `topic_key`.
    pub(crate) table: &'static str,
    pub(crate) id: String,
    pub(crate) what: What,
}

/// What is to be said of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// It has ended, so many seconds ago.
    Ended { at: u64, ago_s: u64 },
    /// It ends, in so many seconds.
    Ends { at: u64, in_s: u64 },
    /// It has sealed so many messages as far as the broker has seen.
    Worn { opened: u64, is_master: bool },
}

impl Finding {
    /// The same for the audit.
    fn event(&self) -> Event {
        let change = match self.what {
            What::Ended { .. } => KeyChange::Ended,
            What::Ends { .. } => KeyChange::EndingSoon,
            What::Worn { .. } => KeyChange::UsedUpSoon,
        };
        let kind = if self.table == "sender" { KeyKind::Sender } else { KeyKind::TopicKey };
        Event::key(change, kind, &self.id, None, Some(&self.to_string()))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, id, what } = self;
        write!(f, "{table} {id:?} ")?;
        match *what {
            What::Ended { at, ago_s } => write!(f, "ended on {}, {} ago", Date(at), Span(ago_s)),
            What::Ends { at, in_s } => write!(f, "ends on {}, in {}", Date(at), Span(in_s)),
            What::Worn { opened, is_master } => {
                let over = if is_master { ", over all its topics" } else { "" };
                write!(f, "has sealed {opened} messages{over}; no key may seal more than {}", 1_u64 << 32)
            }
        }
    }
}

/// A second since 1970, for people.
struct Date(u64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|unix_s| jiff::Timestamp::from_second(unix_s).ok()) {
            Some(time) => time.fmt(f),
            None => write!(f, "second {}", self.0),
        }
    }
}

/// Seconds, for people.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            s if s < 60 => (s, "second"),
            s if s < 3_600 => (s / 60, "minute"),
            s if s < DAY_S => (s / 3_600, "hour"),
            s => (s / DAY_S, "day"),
        };
        write!(f, "{number} {unit}{}", if number == 1 { "" } else { "s" })
    }
}

/// What there is to say about when a key is valid.
fn end(validity: Validity, now: u64) -> Option<What> {
    let at = validity.not_after?;
    if at < now {
        return Some(What::Ended { at, ago_s: now - at });
    }
    (at - now <= SOON_S).then_some(What::Ends { at, in_s: at - now })
}

/// Keys of a configuration that end soon, or have ended.
pub(crate) fn endings(config: &Config, now: u64) -> Vec<Finding> {
    let senders = config.senders.iter().map(|entry| ("sender", &entry.id, entry.not_before, entry.not_after));
    let topic_keys =
        config.topic_keys.iter().map(|entry| ("topic_key", &entry.id, entry.not_before, entry.not_after));
    let found = senders.chain(topic_keys).filter_map(|(table, id, not_before, not_after)| {
        let what = end(Validity { not_before, not_after }, now)?;
        Some(Finding { table, id: id.clone(), what })
    });
    found.collect()
}

/// How much a key has sealed, if that is too much. Of a pair each message has a key of its own; of a master
/// each topic has, so that it is said too early rather than too late.
fn wear(entry: &TopicKeyEntry) -> Option<What> {
    let opened = entry.opened();
    let is_master = entry.key.derives().is_some();
    (opened > SEALED_MAX && !entry.key.is_asymmetric()).then_some(What::Worn { opened, is_master })
}

fn findings(keyring: &Keyring, now: u64) -> Vec<Finding> {
    let finding = |table, id: &[u8], what| Finding { table, id: text(id), what };
    let senders = keyring.senders();
    let senders = senders.filter_map(|entry| Some(finding("sender", &entry.id, end(entry.validity, now)?)));
    let mut found: Vec<_> = senders.collect();
    found.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    for entry in keyring.topic_keys() {
        let what = [end(entry.validity, now), wear(entry)];
        found.extend(what.into_iter().flatten().map(|what| finding("topic_key", &entry.id, what)));
    }
    found
}

fn text(id: &[u8]) -> String {
    String::from_utf8_lossy(id).into_owned()
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct KeyWatch {
    /// When each was warned of, seconds since 1970: table, id, and whether for its wear.
    warned: Mutex<BTreeMap<(&'static str, String, bool), u64>>,
    counts: Mutex<Counts>,
    /// How much each topic key has opened, as the store has it.
    kept: Mutex<BTreeMap<Bytes, u64>>,
}

/// For `$SYS`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    ending_soon: usize,
    ended: usize,
    worn: usize,
    next_end: Option<u64>,
}

impl KeyWatch {
    /// With what the store holds of how much each topic key has opened, which the keys go on from.
    pub(crate) fn new(kept: Vec<(Bytes, u64)>, topic_keys: &[Arc<TopicKeyEntry>]) -> Self {
        let opened: HashMap<&[u8], u64> = kept.iter().map(|(id, opened)| (&id[..], *opened)).collect();
        for entry in topic_keys {
            if let Some(opened) = opened.get(&entry.id[..]) {
                entry.go_on_from(*opened);
            }
        }
        Self { kept: Mutex::new(kept.into_iter().collect()), ..Self::default() }
    }

    /// Looks at the keys, and gives what is to be warned of now.
    pub(crate) fn look(&self, keyring: &Keyring, now: u64) -> Vec<Finding> {
        let found = findings(keyring, now);
        *self.counts.lock() = Counts::of(&found);
        let mut warned = self.warned.lock();
        let key = |finding: &Finding| {
            (finding.table, finding.id.clone(), matches!(finding.what, What::Worn { .. }))
        };
        // Of those that are gone, or in order again, nothing is remembered.
        let mut before = std::mem::take(&mut *warned);
        let mut due = Vec::new();
        for finding in found {
            let last = before.remove(&key(&finding)).filter(|last| now.saturating_sub(*last) < DAY_S);
            warned.insert(key(&finding), last.unwrap_or(now));
            if last.is_none() {
                due.push(finding);
            }
        }
        due
    }

    /// What the store is to be told: how much each key has opened, where that has changed.
    pub(crate) fn changes(&self, topic_keys: &[Arc<TopicKeyEntry>]) -> Vec<Change> {
        let mut kept = self.kept.lock();
        let now: BTreeMap<_, _> = topic_keys
            .iter()
            .map(|entry| (Bytes::copy_from_slice(&entry.id), entry.opened()))
            .filter(|(_, opened)| *opened > 0)
            .collect();
        let gone = kept.keys().filter(|id| !now.contains_key(*id)).map(|id| (id.clone(), 0));
        let moved = now.iter().filter(|(id, opened)| kept.get(*id) != Some(opened));
        let told = gone.chain(moved.map(|(id, opened)| (id.clone(), *opened)));
        let changes = told.map(|(key_id, opened)| Change::KeyUsed { key_id, opened }).collect();
        *kept = now;
        changes
    }

    /// Names and values for `$SYS`.
    pub(crate) fn report(&self, keyring: &Keyring) -> Vec<(String, String)> {
        let Counts { ending_soon, ended, worn, next_end } = *self.counts.lock();
        let counts = [("ending soon", ending_soon), ("ended", ended), ("worn", worn)];
        let counts = counts.map(|(name, count)| (format!("keys/{name}"), count.to_string()));
        let next_end = next_end.map(|at| ("keys/next end".to_owned(), at.to_string()));
        let opened = keyring
            .topic_keys()
            .into_iter()
            .map(|entry| (format!("keys/opened/{}", level(&text(&entry.id))), entry.opened().to_string()));
        counts.into_iter().chain(next_end).chain(opened).collect()
    }
}

impl Counts {
    fn of(found: &[Finding]) -> Self {
        let mut counts = Self::default();
        for finding in found {
            match finding.what {
                What::Ended { .. } => counts.ended += 1,
                What::Worn { .. } => counts.worn += 1,
                What::Ends { at, .. } => {
                    counts.ending_soon += 1;
                    counts.next_end = Some(counts.next_end.map_or(at, |next| next.min(at)));
                }
            }
        }
        counts
    }
}

/// An id as one level of a topic.
fn level(id: &str) -> String {
    let mut level = String::with_capacity(id.len());
    for c in id.chars() {
        match c {
            '/' => level.push_str("%2F"),
            '+' => level.push_str("%2B"),
            '#' => level.push_str("%23"),
            '%' => level.push_str("%25"),
            '\0' => level.push_str("%00"),
            other => level.push(other),
        }
    }
    level
}

/// Looks, and says what is to be said.
pub(crate) fn look(broker: &Broker) {
    let due = broker.key_watch.look(broker.rules().keyring(), Now::read().unix_s);
    broker.audit.record_all(due.iter().map(Finding::event).collect());
    for finding in due.iter().take(LINES_MAX) {
        tracing::warn!("{finding}");
    }
    if due.len() > LINES_MAX {
        tracing::warn!("and {} keys more that end or have ended", due.len() - LINES_MAX);
    }
}

/// Looks once a minute.
pub(crate) async fn run(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(LOOKS);
    loop {
        ticks.tick().await;
        look(&broker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmq_crypto::{ContentAlgorithm, Derived, OpenedCount, Sender, SenderKey, TopicKey, Topics};

    const NOW: u64 = 1_800_000_000;

    #[derive(Debug)]
    struct Everywhere;

    impl Topics for Everywhere {
        fn contains(&self, _topic: &str) -> bool {
            true
        }
    }

    fn until(not_after: u64) -> Validity {
        Validity { not_before: None, not_after: Some(not_after) }
    }

    fn topic_key(id: &str, key: TopicKey, validity: Validity) -> TopicKeyEntry {
        TopicKeyEntry {
            id: id.into(),
            key,
            topics: Arc::new(Everywhere),
            validity,
            opened: OpenedCount::default(),
        }
    }

    fn symmetric(id: &str, validity: Validity) -> TopicKeyEntry {
        topic_key(id, TopicKey::generate(id, ContentAlgorithm::A256Gcm).unwrap(), validity)
    }

    fn sender(id: &str, validity: Validity) -> Sender {
        let key = SenderKey::generate(id).unwrap().public();
        Sender { id: id.into(), key, topics: Arc::new(Everywhere), validity }
    }

    fn told(found: &[Finding]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ends_are_told_from_14_days_before() {
        let keys = [
            symmetric("far", until(NOW + 14 * DAY_S + 1)),
            symmetric("near", until(NOW + 14 * DAY_S)),
            symmetric("now", until(NOW)),
            symmetric("open", Validity { not_before: Some(NOW + 1), not_after: None }),
        ];
        let senders = [sender("past", until(NOW - 3 * DAY_S)), sender("past-1", until(NOW - 1))];
        let watch = KeyWatch::default();
        let keyring = Keyring::new(senders, keys).unwrap();
        let expected = [
            "sender \"past\" ended on 2027-01-12T08:00:00Z, 3 days ago",
            "sender \"past-1\" ended on 2027-01-15T07:59:59Z, 1 second ago",
            "topic_key \"near\" ends on 2027-01-29T08:00:00Z, in 14 days",
            "topic_key \"now\" ends on 2027-01-15T08:00:00Z, in 0 seconds",
        ];
        assert_eq!(told(&watch.look(&keyring, NOW)), expected);
        let report = watch.report(&keyring);
        for (name, value) in [("ending soon", "2"), ("ended", "2"), ("worn", "0"), ("next end", "1800000000")]
        {
            assert!(report.contains(&(format!("keys/{name}"), value.to_owned())), "{name} in {report:?}");
        }
    }

    #[test]
    fn each_key_is_told_once_a_day() {
        let watch = KeyWatch::default();
        let keyring = Keyring::new([], [symmetric("k", until(NOW + DAY_S))]).unwrap();
        assert_eq!(watch.look(&keyring, NOW).len(), 1);
        assert_eq!(watch.look(&keyring, NOW + DAY_S - 1).len(), 0);
        assert_eq!(watch.look(&keyring, NOW + DAY_S).len(), 1);
        // One that was taken out and comes back is new.
        assert_eq!(watch.look(&Keyring::default(), NOW + DAY_S).len(), 0);
        assert_eq!(watch.look(&keyring, NOW + DAY_S).len(), 1);
    }

    #[test]
    fn a_key_that_has_sealed_too_much_is_told_and_a_pair_never_has() {
        let always = Validity::default();
        let keys = [
            symmetric("fresh", always),
            symmetric("worn", always),
            topic_key("master", TopicKey::generate_master("m", Derived::ALL[0]).unwrap(), always),
            topic_key("pair", TopicKey::generate_x25519("p").unwrap(), always),
            topic_key("pairs", TopicKey::generate_master("p", Derived::X25519).unwrap(), always),
        ]
        .map(TopicKeyEntry::shared);
        let mut keyring = Keyring::default();
        for key in &keys {
            keyring.put_topic_key(key.clone());
        }
        let kept = ["worn", "master", "pair", "pairs"].map(|id| (Bytes::from(id), SEALED_MAX)).to_vec();
        let watch = KeyWatch::new(kept, &keys);
        assert_eq!(watch.look(&keyring, NOW), []);
        for id in ["fresh", "worn", "master", "pair", "pairs"] {
            keyring.topic_key(id.as_bytes()).unwrap().count_opened();
        }
        let expected = [
            "topic_key \"master\" has sealed 2147483649 messages, over all its topics; no key may seal more than \
             4294967296",
            "topic_key \"worn\" has sealed 2147483649 messages; no key may seal more than 4294967296",
        ];
        assert_eq!(told(&watch.look(&keyring, NOW)), expected);
        let report = watch.report(&keyring);
        assert!(report.contains(&("keys/worn".to_owned(), "2".to_owned())), "{report:?}");
        assert!(report.contains(&("keys/opened/fresh".to_owned(), "1".to_owned())), "{report:?}");
    }

    #[test]
    fn the_store_is_told_what_has_changed_and_of_keys_that_are_gone() {
        let keys = ["a", "b"].map(|id| symmetric(id, Validity::default()).shared());
        let watch = KeyWatch::new(vec![("a".into(), 5), ("gone".into(), 7)], &keys);
        let changes = || -> Vec<(Bytes, u64)> {
            let used = |change| {
                let Change::KeyUsed { key_id, opened } = change else { panic!("{change:?}") };
                (key_id, opened)
            };
            watch.changes(&keys).into_iter().map(used).collect()
        };
        assert_eq!(changes(), [("gone".into(), 0)]);
        keys[0].count_opened();
        assert_eq!(changes(), [("a".into(), 6)]);
        assert_eq!(changes(), []);
    }

    #[test]
    fn an_id_is_one_level_of_a_topic() {
        assert_eq!(level("a/b+c#d%\0é"), "a%2Fb%2Bc%23d%25%00é");
    }
}
