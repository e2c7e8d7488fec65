//! A subscription that is made and ended again and again, and what a broker has to remember of that.
//!
//! After each change, and each time that its subscriber comes back, a publisher of its own sends one
//! message to it. That one arrives or stays away as the last acknowledgement says; if a request was cut off
//! without one, either is right. The next change waits until that message has gone all its way, so that
//! what is expected of it never depends on chance.

use crate::ledger::{Expected, Ledger};
use crate::packets;
use crate::payload::Stamp;
use crate::publisher::Publisher;
use crate::rng::Rng;
use crate::subscriber::Subscriber;
use crate::wire;
use std::time::Instant;

const REQUEST_ID: u16 = 2;
/// Between a message and the next change, milliseconds at most.
const REST_MS: u64 = 40;

/// A subscription that changes.
pub(crate) struct Extra {
    /// The index of the publisher that sends to it, which is its number.
    pub(crate) publisher: usize,
    filter: String,
    standing: Expected,
    /// What was asked for and not answered.
    asked: Option<Expected>,
    /// Whether it has to be looked whether the broker remembers.
    is_due: bool,
    /// The message that looks.
    probe: Option<(Stamp, Expected)>,
    has_arrived: bool,
    changes_at: Instant,
}

impl Extra {
    /// One that is not made yet.
    pub(crate) fn new(publisher: usize, filter: String) -> Self {
        Self {
            publisher,
            filter,
            standing: Expected::Stays,
            asked: None,
            is_due: false,
            probe: None,
            has_arrived: false,
            changes_at: Instant::now(),
        }
    }

    /// Its subscriber has a new CONNACK.
    pub(crate) fn reconnected(&mut self) {
        if self.asked.take().is_some() {
            self.standing = Expected::Either;
        }
        self.is_due = true;
    }

    /// The request was answered.
    pub(crate) fn answered(&mut self, now: Instant) {
        if let Some(standing) = self.asked.take() {
            self.standing = standing;
        }
        self.is_due = true;
        self.changes_at = now;
    }

    /// Its subscriber was sent a message.
    pub(crate) fn arrived(&mut self, stamp: Stamp) {
        self.has_arrived |= self.probe.is_some_and(|(probe, _)| probe == stamp);
    }

    /// Whether nothing is under way.
    pub(crate) fn is_done(&self) -> bool {
        self.asked.is_none() && self.probe.is_none() && !self.is_due
    }
}

/// Goes on with what its subscriber's subscription needs next; without `changing`, it is left as it is.
pub(crate) fn go_on(
    subscriber: &mut Subscriber,
    publishers: &mut [Publisher],
    ledger: &mut Ledger,
    now: Instant,
    changing: bool,
    rng: &mut Rng,
) {
    let (number, qos) = (subscriber.number(), subscriber.qos());
    let Some(extra) = &mut subscriber.extra else { return };
    let publisher = &mut publishers[extra.publisher];
    if let Some((_, expected)) = extra.probe {
        if publisher.is_done() && (expected != Expected::Arrives || extra.has_arrived) {
            extra.probe = None;
            extra.changes_at = now + rng.up_to_ms(REST_MS);
        }
    } else if extra.asked.is_some() {
    } else if extra.is_due {
        let stamp = publisher.next_stamp();
        ledger.expect(number, stamp, extra.standing);
        (extra.is_due, extra.has_arrived) = (false, false);
        extra.probe = Some((stamp, extra.standing));
        publisher.credit = 1;
    } else if changing && now >= extra.changes_at && subscriber.client.is_accepted() {
        let wanted = match extra.standing {
            Expected::Arrives => Expected::Stays,
            Expected::Either if rng.one_in(2) => Expected::Stays,
            Expected::Stays | Expected::Either => Expected::Arrives,
        };
        let version = subscriber.client.version;
        let Some(socket) = &mut subscriber.client.socket else { return };
        socket.out.extend(match wanted {
            Expected::Arrives => packets::subscribe(version, REQUEST_ID, &[&extra.filter], qos),
            Expected::Stays | Expected::Either => wire::unsubscribe(version, REQUEST_ID, &extra.filter),
        });
        extra.asked = Some(wanted);
    }
}
