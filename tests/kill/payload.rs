//! What a message carries: who has sent it, which of his it is, and filler.
//!
//! Size and filler follow from seed, publisher and number. So a message can be written again without
//! having been kept, and every byte of it be checked where it arrives.

use crate::rng::mix;

/// Publisher and number.
const HEAD_BYTES: usize = 8;
const USUAL_BYTES: usize = 256;

/// One message: the number of its publisher, and which of his it is, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Who has sent it.
    pub(crate) publisher: u32,
    /// Which of his it is.
    pub(crate) number: u32,
}

/// Writes and reads the payloads of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payloads {
    seed: u64,
}

impl Payloads {
    /// Those of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The payload of a message.
    pub(crate) fn write(self, stamp: Stamp) -> Vec<u8> {
        let noise = self.noise(stamp);
        let mut payload = Vec::with_capacity(size(noise));
        payload.extend(stamp.publisher.to_be_bytes());
        payload.extend(stamp.number.to_be_bytes());
        payload.extend(noise.to_be_bytes().iter().cycle().take(size(noise) - HEAD_BYTES));
        payload
    }

    /// Which message that is; none if a byte is wrong, missing or too much.
    pub(crate) fn read(self, payload: &[u8]) -> Option<Stamp> {
        let (publisher, rest) = payload.split_first_chunk()?;
        let (number, filler) = rest.split_first_chunk()?;
        let stamp = Stamp { publisher: u32::from_be_bytes(*publisher), number: u32::from_be_bytes(*number) };
        let noise = self.noise(stamp);
        let word = noise.to_be_bytes();
        let right = filler.chunks(word.len()).all(|part| word.starts_with(part));
        (right && payload.len() == size(noise)).then_some(stamp)
    }

    fn noise(self, stamp: Stamp) -> u64 {
        mix(self.seed ^ mix(u64::from(stamp.publisher) << 32 | u64::from(stamp.number)))
    }
}

/// Small ones, mostly usual ones, and some that fill a page of whatever keeps them.
fn size(noise: u64) -> usize {
    let [kind, low, high, ..] = noise.to_le_bytes();
    match kind {
        0..26 => HEAD_BYTES + usize::from(low) % (64 - HEAD_BYTES),
        26..250 => USUAL_BYTES,
        _ => 4_097 + usize::from(u16::from_le_bytes([low, high])) % 4_096,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_every_wrong_byte_is_seen() {
        let payloads = Payloads::new(5);
        let mut sizes = [0; 3];
        for number in 0..500 {
            let stamp = Stamp { publisher: 3, number };
            let mut payload = payloads.write(stamp);
            sizes[if payload.len() < 64 { 0 } else { usize::from(payload.len() > 4_096) + 1 }] += 1;
            assert_eq!(payloads.read(&payload), Some(stamp));
            assert_eq!(payloads.read(&payload[..payload.len() - 1]), None);
            let at = number as usize % payload.len();
            payload[at] ^= 1;
            assert_eq!(payloads.read(&payload), None);
        }
        assert!(sizes.iter().all(|count| *count > 0), "{sizes:?}");
    }
}
