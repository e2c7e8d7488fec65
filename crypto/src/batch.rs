//! Many stamps verified at once, which costs half of what it does one by one.
//!
//! Identified envelopes come in, of whichever senders, and out come the same in their order, each verified or
//! refused as if it had been alone. A batch that does not hold is halved until the bad ones are found; where
//! one half holds, the other is known not to, so that the search is paid for once at each level. Always holds:
//! nobody but the holder of a sender's secret can make a stamp that passes here. What differs from a single
//! check: a sender can make one of his own that only passes in some batches (its point has a part of small
//! order), which gains him nothing over an ordinary one.

use crate::error::OpenError;
use crate::key::SenderPublicKey;
use crate::open::{Identified, Verified};

/// How many stamps are verified at once at most: beyond it each costs hardly less, and all wait longer.
pub const BATCH_STAMPS_MAX: usize = 256;

/// So few are cheaper to verify singly than to look for the bad one among them.
const SINGLY: usize = 3;

/// One stamp to verify.
struct Check<'a> {
    /// Which of the envelopes it belongs to.
    at: usize,
    key: &'a SenderPublicKey,
    signed: Vec<u8>,
    stamp: &'a [u8; 64],
}

/// Verifies the stamps of all of them.
pub fn verify_all<'a>(
    identified: impl IntoIterator<Item = Identified<'a>>,
) -> Vec<Result<Verified<'a>, OpenError>> {
    let identified: Vec<Identified<'a>> = identified.into_iter().collect();
    let mut holds = vec![false; identified.len()];
    let checks: Vec<Check<'_>> = identified
        .iter()
        .enumerate()
        .filter_map(|(at, one)| {
            // A stamp of another length cannot hold.
            let stamp = one.stamp()?;
            Some(Check { at, key: one.sender_key(), signed: one.signed(), stamp })
        })
        .collect();
    for batch in checks.chunks(BATCH_STAMPS_MAX) {
        settle(batch, false, &mut holds);
    }
    let holds = holds.into_iter();
    let verdicts = identified.into_iter().zip(holds);
    verdicts.map(|(one, holds)| if holds { Ok(one.verified()) } else { Err(OpenError::BadStamp) }).collect()
}

/// Notes which of these hold; whether all do. `known_bad` says that at least one does not.
fn settle(checks: &[Check<'_>], known_bad: bool, holds: &mut [bool]) -> bool {
    if checks.len() <= SINGLY {
        let bad = checks.iter().filter(|check| !note(holds, check, check.verify())).count();
        return bad == 0;
    }
    if !known_bad && SenderPublicKey::verify_all(checks.iter().map(Check::parts)) {
        for check in checks {
            note(holds, check, true);
        }
        return true;
    }
    let (left, right) = checks.split_at(checks.len() / 2);
    let left = settle(left, false, holds);
    settle(right, left, holds) && left
}

fn note(holds: &mut [bool], check: &Check<'_>, verdict: bool) -> bool {
    if let Some(holds) = holds.get_mut(check.at) {
        *holds = verdict;
    }
    verdict
}

impl<'a> Check<'a> {
    fn verify(&self) -> bool {
        self.key.verify(&self.signed, self.stamp)
    }

    fn parts(&self) -> (&SenderPublicKey, &[u8], &'a [u8; 64]) {
        (self.key, &self.signed, self.stamp)
    }
}
