//! Broken promises, put together: one for each kind and pair of clients, with the numbers of its messages.

use std::collections::BTreeMap;
use std::fmt;

/// More ranges than that help nobody; the count goes on.
const RANGES_MAX: usize = 20;
/// Nor do more lines of one kind.
const LINES_MAX: usize = 25;

/// What may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A connected broker closed a connection, or does not answer.
    Closed,
    /// A session, acknowledged by a CONNACK, is not there any more.
    SessionLost,
    /// A session is there before anybody has asked for one.
    SessionFromNowhere,
    /// An acknowledged message never arrived.
    Lost,
    /// A message of QoS 2 arrived twice.
    Doubled,
    /// A message arrived for the first time after one that was sent later.
    Disordered,
    /// A message arrived that was never sent, or that this client has not subscribed to.
    Ghost,
    /// What arrived is not what was sent: payload, topic or QoS.
    Altered,
    /// A packet id of QoS 2 was used for another message before it was released.
    PacketIdReused,
    /// Acknowledgements came in another order than the messages.
    AcknowledgedInDisorder,
    /// Something was acknowledged that was not sent, or a message never was.
    AcknowledgedWrongly,
    /// A request was refused.
    Refused,
    /// A message arrived after its subscription was ended.
    StillSubscribed,
    /// A retained message is older than one that was acknowledged.
    RetainedTooOld,
    /// There is no retained message where one was acknowledged, or one that was never sent.
    RetainedWrong,
}

/// Consecutive numbers, first and last.
type Range = (u32, u32);

/// One broken promise.
#[derive(Debug, Clone, Default)]
struct Breach {
    count: u64,
    ranges: Vec<Range>,
    rounds: Option<Range>,
}

/// All of them. Bounded by the pairs of clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breaches {
    found: BTreeMap<(Kind, String), Breach>,
}

impl Breaches {
    /// Adds one: who is concerned, which message if it is about one, and in which round it happened.
    pub(crate) fn add(&mut self, kind: Kind, whom: &str, number: Option<u32>, round: u32) {
        let breach = self.found.entry((kind, whom.to_owned())).or_default();
        breach.count += 1;
        if let Some(number) = number {
            let has_room = breach.ranges.len() < RANGES_MAX;
            match breach.ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ if has_room => breach.ranges.push((number, number)),
                _ => {}
            }
        }
        let (first, last) = breach.rounds.unwrap_or((round, round));
        breach.rounds = Some((first.min(round), last.max(round)));
    }

    /// Whether no promise was broken.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Of which kinds there are some.
    #[cfg(test)]
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.found.keys().map(|(kind, _)| *kind).collect()
    }
}

impl fmt::Display for Breaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: BTreeMap<Kind, usize> = BTreeMap::new();
        for ((kind, whom), breach) in &self.found {
            let line = lines.entry(*kind).or_default();
            *line += 1;
            if *line <= LINES_MAX {
                writeln!(f, "  {kind:?}: {whom}: {breach}")?;
            }
        }
        for (kind, count) in lines.iter().filter(|(_, count)| **count > LINES_MAX) {
            writeln!(f, "  {kind:?}: and {} lines more", count - LINES_MAX)?;
        }
        Ok(())
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} times", self.count)?;
        if let Some((first, last)) = self.rounds {
            write!(f, ", rounds {first} to {last}")?;
        }
        if !self.ranges.is_empty() {
            write!(f, ", numbers")?;
            for (first, last) in &self.ranges {
                if first == last { write!(f, " {first}")? } else { write!(f, " {first}..={last}")? }
            }
            if self.ranges.len() == RANGES_MAX {
                write!(f, " ...")?;
            }
        }
        Ok(())
    }
}
