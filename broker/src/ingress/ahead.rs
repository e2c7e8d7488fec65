//! Marks set aside in the store before they are taken, for messages that the store does not keep.
//!
//! What the store keeps is written together with its envelope's mark. What it does not keep would have to wait
//! for a write of its own; instead the marks of its sender are set aside a step ahead, and one write is good
//! for all of them. After a crash all of the step counts as taken, since nobody knows how much of it was. So
//! steps are as small as a sender is slow: they double while they last less than a second, up to
//! [`STEP_MAX`], and a sender that rests has its window written as it is ([`SetAside::settle`]).
//!
//! In come a mark and the time, out comes the position that the store has to reach before the mark may be
//! taken. Lock order: this, then a sender's window, then the store's log.

use crate::store::Position;
use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sealmq_crypto::{Ahead, Mark};
use std::time::{Duration, Instant};

/// Numbers in one step at most. With what is left of the step before, up to half as many, a crash costs a sender
/// no more than the 1,024 that a window spans.
const STEP_MAX: u64 = 682;
/// Seconds in one step of timed stamps.
const TIMED_STEP_S: u64 = 2;
/// A step that lasts less is too short.
const SHORT: Duration = Duration::from_secs(1);
/// One that lasts longer is too long.
const LONG: Duration = Duration::from_secs(4);
/// A sender that sent nothing for so long rests.
const REST: Duration = Duration::from_secs(5);

/// What is set aside, by sender. Bounded by the senders that are enrolled.
#[derive(Default)]
pub(crate) struct SetAside(Mutex<Senders>);

#[derive(Default)]
struct Senders {
    numbers: FxHashMap<Bytes, Step>,
    times: FxHashMap<Bytes, Step>,
}

/// What is set aside of one sender: up to `through`, once the store has reached `position`.
struct Step {
    through: u64,
    position: Position,
    /// The same of the step before, whose marks are still coming in.
    before: (u64, Position),
    length: u64,
    since: Instant,
    used: Instant,
}

impl SetAside {
    /// Sets marks aside for this one, if none are; `append` tells the store. The position that the store has
    /// to reach before the mark may be taken.
    pub(crate) fn cover(
        &self,
        sender: &Bytes,
        mark: Mark,
        now: Instant,
        mut append: impl FnMut(Ahead) -> Position,
    ) -> Position {
        let mut senders = self.0.lock();
        let (steps, value, first, most) = match mark {
            Mark::Seq(number) => (&mut senders.numbers, number, 1, STEP_MAX),
            Mark::Timed { issued_at, .. } => (&mut senders.times, issued_at, TIMED_STEP_S, TIMED_STEP_S),
        };
        let mut append = |through| {
            append(match mark {
                Mark::Seq(_) => Ahead { seq: Some(through), issued_at: None },
                Mark::Timed { .. } => Ahead { seq: None, issued_at: Some(through) },
            })
        };
        if let Some(step) = steps.get_mut(sender) {
            return step.cover(value, now, (first, most), &mut append);
        }
        let through = value.saturating_add(first - 1);
        let position = append(through);
        let before = (through, position);
        let step = Step { through, position, before, length: first, since: now, used: now };
        steps.insert(sender.clone(), step);
        position
    }

    /// Runs what makes the store forget these senders, and everybody else: nothing of theirs is set aside in
    /// between, or after.
    pub(crate) fn forget<T>(&self, forgotten: &[Bytes], run: impl FnOnce() -> T) -> T {
        let mut senders = self.0.lock();
        let done = run();
        for sender in forgotten {
            senders.numbers.remove(sender);
            senders.times.remove(sender);
        }
        done
    }

    /// A mark of this sender is written down with its message: the sender does not rest.
    pub(crate) fn touch(&self, sender: &Bytes, now: Instant) {
        if let Some(step) = self.0.lock().numbers.get_mut(sender) {
            step.used = now;
        }
    }

    /// Has the window of each sender that rests written as it is, and of all of them at the end. Nothing of
    /// theirs is set aside then.
    pub(crate) fn settle(&self, now: Option<Instant>, mut write: impl FnMut(&Bytes)) {
        let rests = |step: &Step| now.is_none_or(|now| now.saturating_duration_since(step.used) >= REST);
        let mut senders = self.0.lock();
        senders.numbers.retain(|sender, step| {
            let rests = rests(step);
            if rests {
                write(sender);
            }
            !rests
        });
        // Their time passes by itself.
        senders.times.retain(|_, step| !rests(step));
    }
}

impl Step {
    fn cover(
        &mut self,
        value: u64,
        now: Instant,
        (least, most): (u64, u64),
        append: &mut impl FnMut(u64) -> Position,
    ) -> Position {
        self.used = now;
        if value > self.through {
            self.go_on(value - 1, now, (least, most), append);
            return self.position;
        }
        let position = if value <= self.before.0 { self.before.1 } else { self.position };
        // In good time, so that nobody has to wait for it.
        if self.through - value < self.length / 2 {
            self.go_on(self.through, now, (least, most), append);
        }
        position
    }

    fn go_on(
        &mut self,
        from: u64,
        now: Instant,
        (least, most): (u64, u64),
        append: &mut impl FnMut(u64) -> Position,
    ) {
        let lasted = now.saturating_duration_since(self.since);
        if lasted < SHORT {
            self.length = (self.length * 2).min(most);
        } else if lasted > LONG {
            self.length = (self.length / 2).max(least);
        }
        self.since = now;
        self.before = (self.through, self.position);
        self.through = from.saturating_add(self.length);
        self.position = append(self.through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers numbers one after the other, so long apart; what was set aside, and for which numbers a new
    /// position had to be waited for.
    fn run(numbers: impl Iterator<Item = u64>, apart: Duration) -> (Vec<u64>, Vec<u64>) {
        let (set_aside, sender, mut now) = (SetAside::default(), Bytes::from("dev"), Instant::now());
        let (mut through, mut waited, mut highest) = (Vec::new(), Vec::new(), 0);
        for number in numbers {
            let before = through.len() as u64;
            let position = set_aside.cover(&sender, Mark::Seq(number), now, |ahead| {
                through.push(ahead.seq.unwrap());
                Position(through.len() as u64)
            });
            let covering = usize::try_from(position.0).unwrap() - 1;
            assert!(number <= through[covering], "{number} is not set aside at {position:?}");
            highest = highest.max(number);
            let lost = through.last().unwrap() - highest;
            assert!(lost < sealmq_crypto::WINDOW_NUMBERS, "a crash behind {number} costs {lost}");
            if position.0 > before {
                waited.push(number);
            }
            now += apart;
        }
        (through, waited)
    }

    #[test]
    fn a_fast_sender_waits_at_the_beginning_alone() {
        let (through, waited) = run(1..=100_000, Duration::from_micros(10));
        assert_eq!(waited, [1, 2]);
        assert!(through.len() < 230, "{}", through.len());
        assert!(*through.last().unwrap() <= 100_000 + 2 * STEP_MAX);
    }

    #[test]
    fn a_slow_sender_loses_hardly_a_number_to_a_crash() {
        let (through, _) = run(1..=100, Duration::from_mins(1));
        assert!(through.iter().zip(1..).all(|(through, number)| *through <= number), "{through:?}");
    }

    #[test]
    fn numbers_that_leap_or_come_late_are_covered() {
        run(
            [5, 3, 900, 901, 2, 1_000_000, 902, 1_000_001, u64::MAX, u64::MAX - 1].into_iter(),
            Duration::ZERO,
        );
    }

    #[test]
    fn a_sender_that_rests_is_settled_once() {
        let (set_aside, sender, now) = (SetAside::default(), Bytes::from("dev"), Instant::now());
        set_aside.cover(&sender, Mark::Seq(1), now, |_| Position(1));
        let settled = |at| {
            let mut settled = 0;
            set_aside.settle(at, |_| settled += 1);
            settled
        };
        assert_eq!(settled(Some(now + REST / 2)), 0);
        set_aside.touch(&sender, now + REST);
        assert_eq!(settled(Some(now + REST)), 0);
        assert_eq!((settled(Some(now + 2 * REST)), settled(None)), (1, 0));
    }

    #[test]
    fn times_are_set_aside_by_seconds() {
        let (set_aside, sender, now) = (SetAside::default(), Bytes::from("dev"), Instant::now());
        let timed = |issued_at| Mark::Timed { issued_at, stamp_hash: [0; 32] };
        let mut through = Vec::new();
        for second in [100, 100, 101, 102, 103, 200] {
            set_aside.cover(&sender, timed(second), now, |ahead| {
                through.push(ahead.issued_at.unwrap());
                Position(1)
            });
        }
        assert_eq!(through, [101, 103, 105, 201]);
    }
}
