//! What is remembered of one sender: a sliding window of counters, and the timed stamps that would still pass.
//!
//! Marks come in with the time and the allowed skew; out comes whether they are new. Always holds: constant
//! memory, and what cannot be remembered is refused, so no mark passes twice. The window is that of ESP
//! (RFC 4303 §3.4.3) and OSCORE: a number is new if it is above the highest taken, or inside the window and
//! its bit is clear.

use std::collections::BTreeSet;

use crate::cbor::{Malformed, Reader, Writer};
use crate::error::OpenError;
use crate::replay::Mark;

/// How many numbers a window spans, the highest taken included.
pub const WINDOW_NUMBERS: u64 = 1_024;

const WORDS: usize = 16;

/// The version of [`SenderWindow::to_bytes`]. The first had nothing set aside.
const FORM: u64 = 2;
const FORM_WITHOUT_AHEAD: u64 = 1;

/// What is remembered of one sender.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SenderWindow {
    /// The highest number taken; nothing before the first.
    highest: Option<u64>,
    /// One bit for each number of the window, at the number modulo the window's span.
    taken: [u64; WORDS],
    /// The timed stamps that would still pass, oldest first.
    stamps: BTreeSet<(u64, [u8; 32])>,
    /// Stamps of this second and before may have been forgotten, so none of them is taken any more.
    forgotten_through: Option<u64>,
    /// What may be taken beyond what is remembered here, as far as anybody knows who reads this later.
    ahead: Ahead,
}

/// Marks set aside: each of them may have been taken, and which of them were is not written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ahead {
    /// Numbers up to this one.
    pub seq: Option<u64>,
    /// Timed stamps of this second and before.
    pub issued_at: Option<u64>,
}

impl SenderWindow {
    /// The window as bytes, to be kept over a restart.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(180 + 45 * self.stamps.len());
        writer.array(7).uint(FORM);
        write_optional(&mut writer, self.highest);
        let words: Vec<u8> = self.taken.iter().flat_map(|word| word.to_be_bytes()).collect();
        writer.bytes(&words);
        write_optional(&mut writer, self.forgotten_through);
        writer.array(self.stamps.len() as u64);
        for (issued_at, stamp_hash) in &self.stamps {
            writer.array(2).uint(*issued_at).bytes(stamp_hash);
        }
        write_optional(&mut writer, self.ahead.seq);
        write_optional(&mut writer, self.ahead.issued_at);
        writer.finish()
    }

    /// The window that these bytes were made of; nothing if they are not [`Self::to_bytes`]'s.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes).ok()
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let form = match (reader.any_array()?, reader.uint()?) {
            (5, FORM_WITHOUT_AHEAD) => FORM_WITHOUT_AHEAD,
            (7, FORM) => FORM,
            _ => return Err(Malformed),
        };
        let highest = read_optional(&mut reader)?;
        let mut window = Self { highest, ..Self::default() };
        let words: &[u8; WORDS * 8] = reader.bytes_exact()?;
        let (words, _) = words.as_chunks::<8>();
        for (word, bytes) in window.taken.iter_mut().zip(words) {
            *word = u64::from_be_bytes(*bytes);
        }
        window.forgotten_through = read_optional(&mut reader)?;
        for _ in 0..reader.any_array()? {
            reader.array(2)?;
            window.stamps.insert((reader.uint()?, *reader.bytes_exact()?));
        }
        if form == FORM {
            window.ahead.seq = read_optional(&mut reader)?;
            window.ahead.issued_at = read_optional(&mut reader)?;
        }
        reader.end()?;
        Ok(window)
    }

    /// Stamps of this second and before are not taken any more, remembered or not.
    pub(crate) fn forgotten_through(&self) -> Option<u64> {
        self.forgotten_through
    }

    /// Takes no stamp of this second or before any more, and forgets those that it took.
    pub(crate) fn forget_through(&mut self, through: u64) {
        while self.stamps.first().is_some_and(|(issued_at, _)| *issued_at <= through) {
            self.stamps.pop_first();
        }
        self.forgotten_through = self.forgotten_through.max(Some(through));
    }

    /// Sets marks aside, besides those that are.
    pub(crate) fn set_aside(&mut self, ahead: Ahead) {
        self.ahead.seq = self.ahead.seq.max(ahead.seq);
        self.ahead.issued_at = self.ahead.issued_at.max(ahead.issued_at);
    }

    /// The numbers of another window in the place of these, which are a part of them; none are set aside.
    pub(crate) fn replace_numbers(&mut self, other: &Self) {
        (self.highest, self.taken, self.ahead.seq) = (other.highest, other.taken, None);
    }

    /// What was set aside counts as taken: nobody knows any more which of it was.
    #[must_use]
    pub fn settled(mut self) -> Self {
        let Ahead { seq, issued_at } = std::mem::take(&mut self.ahead);
        if let Some(through) = seq {
            let highest = self.highest.map_or(through, |highest| highest.max(through));
            self.insert_seq(highest);
            let lowest = highest.saturating_sub(WINDOW_NUMBERS - 1);
            (lowest..=through).for_each(|number| self.set_bit(number, true));
        }
        if let Some(through) = issued_at {
            self.forget_through(through);
        }
        self
    }

    /// Whether the mark could be taken now. Forgets what cannot pass any more, and takes nothing.
    pub(crate) fn check(
        &mut self,
        mark: Mark,
        now: u64,
        skew_s: u64,
        stamps_max: usize,
    ) -> Result<(), OpenError> {
        match mark {
            Mark::Seq(number) => self.check_seq(number),
            Mark::Timed { issued_at, stamp_hash } => {
                self.forget_stale(now.saturating_sub(skew_s));
                if self.stamps.contains(&(issued_at, stamp_hash)) {
                    return Err(OpenError::Replayed);
                }
                let forgotten = self.forgotten_through.is_some_and(|last| issued_at <= last);
                if forgotten || self.stamps.len() >= stamps_max {
                    return Err(OpenError::NotFresh);
                }
                Ok(())
            }
        }
    }

    /// Takes the mark, whatever a check would say.
    pub(crate) fn insert(&mut self, mark: Mark) {
        match mark {
            Mark::Seq(number) => self.insert_seq(number),
            Mark::Timed { issued_at, stamp_hash } => {
                self.stamps.insert((issued_at, stamp_hash));
            }
        }
    }

    /// Gives back a mark that was taken, so that it can be taken once more. One that the window has left behind
    /// stays taken: its place may be another's by now.
    pub(crate) fn give_back(&mut self, mark: Mark) {
        match mark {
            Mark::Seq(number) => {
                let behind = self.highest.and_then(|highest| highest.checked_sub(number));
                if behind.is_some_and(|behind| behind < WINDOW_NUMBERS) {
                    self.set_bit(number, false);
                }
            }
            Mark::Timed { issued_at, stamp_hash } => {
                self.stamps.remove(&(issued_at, stamp_hash));
            }
        }
    }

    fn check_seq(&self, number: u64) -> Result<(), OpenError> {
        let Some(highest) = self.highest else { return Ok(()) };
        if number > highest {
            return Ok(());
        }
        let below = highest - number >= WINDOW_NUMBERS;
        if below || self.bit(number) { Err(OpenError::Replayed) } else { Ok(()) }
    }

    fn insert_seq(&mut self, number: u64) {
        match self.highest {
            Some(highest) if number > highest => {
                // The numbers skipped were those of a whole span before.
                let skipped = (number - highest).min(WINDOW_NUMBERS);
                for offset in 0..skipped {
                    self.set_bit(number - offset, false);
                }
                self.highest = Some(number);
            }
            // A number below the window must not be written over one inside it.
            Some(highest) if highest - number >= WINDOW_NUMBERS => return,
            Some(_) => {}
            None => self.highest = Some(number),
        }
        self.set_bit(number, true);
    }

    /// Makes room by forgetting the stamps that cannot pass any more, and remembers how far it went.
    fn forget_stale(&mut self, oldest_allowed: u64) {
        let stale = self.stamps.iter().take_while(|(issued_at, _)| *issued_at < oldest_allowed);
        if let Some((newest, _)) = stale.last().copied() {
            self.forget_through(newest);
        }
    }

    fn bit(&self, number: u64) -> bool {
        let (word, bit) = position(number);
        self.taken.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set_bit(&mut self, number: u64, to: bool) {
        let (word, bit) = position(number);
        if let Some(word) = self.taken.get_mut(word) {
            *word = if to { *word | bit } else { *word & !bit };
        }
    }
}

/// The word and the bit in it that stand for a number.
const fn position(number: u64) -> (usize, u64) {
    let place = number % WINDOW_NUMBERS;
    ((place / 64) as usize, 1 << (place % 64))
}

/// A number that may be missing is an array of none or one.
fn write_optional(writer: &mut Writer, number: Option<u64>) {
    match number {
        None => writer.array(0),
        Some(number) => writer.array(1).uint(number),
    };
}

fn read_optional(reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    match reader.any_array()? {
        0 => Ok(None),
        1 => reader.uint().map(Some),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    /// The same promises kept by remembering everything.
    #[derive(Default)]
    struct Model(BTreeSet<u64>);

    impl Model {
        fn take(&mut self, number: u64) -> bool {
            let below = self.0.last().is_some_and(|highest| highest.saturating_sub(number) >= WINDOW_NUMBERS);
            !below && self.0.insert(number)
        }
    }

    fn take(window: &mut SenderWindow, mark: Mark, now: u64, skew_s: u64) -> Result<(), OpenError> {
        window.check(mark, now, skew_s, 3)?;
        window.insert(mark);
        Ok(())
    }

    fn timed(issued_at: u64, n: u8) -> Mark {
        Mark::Timed { issued_at, stamp_hash: [n; 32] }
    }

    /// Numbers near each other, near the window's ends, and far away.
    fn numbers() -> impl Strategy<Value = Vec<u64>> {
        let steps = prop_oneof![
            4 => -3_i64..=3,
            3 => -1_100_i64..=1_100,
            2 => prop_oneof![Just(-1_024_i64), Just(-1_023), Just(1_023), Just(1_024), Just(1_025)],
            1 => -100_000_i64..=100_000,
        ];
        let starts = prop_oneof![Just(0_u64), Just(u64::MAX), any::<u64>()];
        (starts, prop::collection::vec(steps, 1..300)).prop_map(|(start, steps)| {
            let mut number = start;
            let mut all = vec![start];
            for step in steps {
                number = number.saturating_add_signed(step);
                all.push(number);
            }
            all
        })
    }

    proptest! {
        #[test]
        fn the_window_takes_what_a_set_would(numbers in numbers()) {
            let (mut window, mut model) = (SenderWindow::default(), Model::default());
            for number in numbers {
                let taken = take(&mut window, Mark::Seq(number), NOW, 300).is_ok();
                prop_assert_eq!(taken, model.take(number), "number {}", number);
            }
            prop_assert_eq!(SenderWindow::from_bytes(&window.to_bytes()), Some(window));
        }

        #[test]
        fn what_is_given_back_is_taken_once_more_and_nothing_else(numbers in numbers()) {
            let (mut window, mut taken) = (SenderWindow::default(), BTreeSet::new());
            let mut highest = 0_u64;
            for (place, number) in numbers.iter().enumerate() {
                let may = !taken.contains(number) && highest.saturating_sub(*number) < WINDOW_NUMBERS;
                let took = take(&mut window, Mark::Seq(*number), NOW, 300).is_ok();
                prop_assert_eq!(took, may, "number {}", number);
                if took {
                    taken.insert(*number);
                    highest = highest.max(*number);
                }
                let back = numbers[place / 2];
                if taken.contains(&back) {
                    window.give_back(Mark::Seq(back));
                    taken.remove(&back);
                }
            }
            prop_assert_eq!(SenderWindow::from_bytes(&window.to_bytes()), Some(window));
        }

        #[test]
        fn any_bytes_make_a_window_or_none(bytes: Vec<u8>) {
            let _ = SenderWindow::from_bytes(&bytes);
        }

        #[test]
        fn what_is_retaken_changes_nothing_that_was_taken(numbers in numbers(), again: usize) {
            let mut window = SenderWindow::default();
            for number in &numbers {
                window.insert(Mark::Seq(*number));
            }
            let before = window.clone();
            window.insert(Mark::Seq(numbers[again % numbers.len()]));
            prop_assert_eq!(before, window);
        }
    }

    #[test]
    fn timed_stamps_are_bounded_and_make_room_in_time() {
        let mut window = SenderWindow::default();
        for n in 0..3 {
            assert_eq!(take(&mut window, timed(NOW, n), NOW, 300), Ok(()));
        }
        assert_eq!(take(&mut window, timed(NOW, 3), NOW, 300), Err(OpenError::NotFresh));
        assert_eq!(take(&mut window, timed(NOW, 2), NOW + 300, 300), Err(OpenError::Replayed));
        assert_eq!(take(&mut window, timed(NOW + 301, 4), NOW + 301, 300), Ok(()));
        assert_eq!(SenderWindow::from_bytes(&window.to_bytes()), Some(window));
    }

    #[test]
    fn a_timed_stamp_that_is_given_back_is_taken_once_more() {
        let mut window = SenderWindow::default();
        for n in [1, 2] {
            assert_eq!(take(&mut window, timed(NOW, n), NOW, 300), Ok(()));
        }
        window.give_back(timed(NOW, 1));
        assert_eq!(take(&mut window, timed(NOW, 2), NOW, 300), Err(OpenError::Replayed));
        assert_eq!(take(&mut window, timed(NOW, 1), NOW, 300), Ok(()));
        assert_eq!(take(&mut window, timed(NOW, 1), NOW, 300), Err(OpenError::Replayed));
        // Given back after it was forgotten, it stays forgotten.
        window.forget_through(NOW);
        window.give_back(timed(NOW, 1));
        assert_eq!(take(&mut window, timed(NOW, 1), NOW, 300), Err(OpenError::NotFresh));
    }

    #[test]
    fn what_was_set_aside_is_taken_once_nobody_knows_better() {
        for (taken, through) in
            [(None, 70), (Some(5), 70), (Some(69), 70), (Some(2_000), 1_500), (Some(9), 9_000)]
        {
            let mut window = SenderWindow::default();
            if let Some(taken) = taken {
                take(&mut window, Mark::Seq(taken), NOW, 300).unwrap();
            }
            window.set_aside(Ahead { seq: Some(through), issued_at: None });
            assert_eq!(
                take(&mut window.clone(), Mark::Seq(through), NOW, 300),
                Ok(()),
                "it is not taken yet"
            );
            let mut window = SenderWindow::from_bytes(&window.to_bytes()).unwrap().settled();
            for number in through.saturating_sub(1_100)..=through {
                assert_eq!(
                    take(&mut window, Mark::Seq(number), NOW, 300),
                    Err(OpenError::Replayed),
                    "{number}"
                );
            }
            let next = through.max(taken.unwrap_or(0)) + 1;
            assert_eq!(take(&mut window, Mark::Seq(next), NOW, 300), Ok(()));
            if taken == Some(2_000) {
                assert_eq!(take(&mut window, Mark::Seq(1_501), NOW, 300), Ok(()), "nobody set it aside");
            }
        }
        let mut window = SenderWindow::default();
        window.set_aside(Ahead { seq: None, issued_at: Some(NOW + 2) });
        let mut window = window.settled();
        assert_eq!(take(&mut window, timed(NOW + 2, 1), NOW, 300), Err(OpenError::NotFresh));
        assert_eq!(take(&mut window, timed(NOW + 3, 1), NOW, 300), Ok(()));
    }

    #[test]
    fn a_window_of_the_first_form_is_read() {
        let mut window = SenderWindow::default();
        take(&mut window, Mark::Seq(7), NOW, 300).unwrap();
        let mut first = window.to_bytes();
        (first[0], first[1]) = (0x85, 1);
        // Both that were added were absent.
        first.truncate(first.len() - 2);
        assert_eq!(SenderWindow::from_bytes(&first), Some(window));
    }

    #[test]
    fn what_is_forgotten_elsewhere_is_refused_here() {
        let mut window = SenderWindow::default();
        assert_eq!(take(&mut window, timed(NOW, 1), NOW, 300), Ok(()));
        window.forget_through(NOW + 1);
        assert_eq!((window.stamps.len(), window.forgotten_through()), (0, Some(NOW + 1)));
        window.forget_through(NOW);
        assert_eq!(take(&mut window, timed(NOW + 1, 2), NOW + 1, 300), Err(OpenError::NotFresh));
        assert_eq!(take(&mut window, timed(NOW + 2, 2), NOW + 2, 300), Ok(()));
        assert_eq!(SenderWindow::from_bytes(&window.to_bytes()), Some(window));
    }

    #[test]
    fn a_stamp_forgotten_is_refused_when_the_skew_grows_or_the_clock_goes_back() {
        let mut window = SenderWindow::default();
        assert_eq!(take(&mut window, timed(NOW, 1), NOW, 300), Ok(()));
        assert_eq!(take(&mut window, timed(NOW + 400, 2), NOW + 400, 300), Ok(()));
        assert_eq!(take(&mut window, timed(NOW, 1), NOW + 400, 3_600), Err(OpenError::NotFresh));
        assert_eq!(take(&mut window, timed(NOW, 1), NOW, 300), Err(OpenError::NotFresh));
    }
}
