//! A set of message numbers from a base upward, a bit each.

/// The set; it grows at the upper end, and forgets at the lower.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    /// A multiple of 64.
    base: u32,
    words: Vec<u64>,
}

impl Bits {
    /// Adds a number that is not below what was forgotten; answers whether it is new.
    pub(crate) fn insert(&mut self, number: u32) -> bool {
        let Some((word, bit)) = self.place(number) else { return false };
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let old = self.words[word];
        self.words[word] |= bit;
        old & bit == 0
    }

    /// Whether the number is in it.
    #[cfg(test)]
    fn contains(&self, number: u32) -> bool {
        self.place(number)
            .is_some_and(|(word, bit)| self.words.get(word).is_some_and(|found| found & bit != 0))
    }

    /// What is in it and not in the other, which has forgotten as much.
    pub(crate) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        let words = self.words.iter().zip(others).zip((self.base..).step_by(64));
        words.filter(|((own, other), _)| *own & !*other != 0).flat_map(|((own, other), base)| {
            let left = own & !other;
            (0..64).filter(move |bit| left >> bit & 1 == 1).map(move |bit| base + bit)
        })
    }

    /// Forgets whole words below the number.
    pub(crate) fn forget_below(&mut self, number: u32) {
        let words = (number.saturating_sub(self.base) / 64) as usize;
        self.base += number.saturating_sub(self.base) / 64 * 64;
        self.words.drain(..words.min(self.words.len()));
    }

    fn place(&self, number: u32) -> Option<(usize, u64)> {
        let above = number.checked_sub(self.base)?;
        Some(((above / 64) as usize, 1 << (above % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_what_another_has_not() {
        let (mut own, mut other) = (Bits::default(), Bits::default());
        for number in 0..200 {
            assert!(own.insert(number));
            if number % 70 != 3 {
                other.insert(number);
            }
        }
        assert!(!own.insert(199));
        assert!(!own.contains(200));
        assert_eq!(own.without(&other).collect::<Vec<_>>(), [3, 73, 143]);
        own.forget_below(130);
        other.forget_below(130);
        assert_eq!(own.without(&other).collect::<Vec<_>>(), [143]);
        assert!(own.insert(1_000));
        assert_eq!(own.without(&other).collect::<Vec<_>>(), [143, 1_000]);
    }
}
