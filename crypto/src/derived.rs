//! Ciphers that took work to derive, kept for the next message: of a topic's own key from its master, and of
//! the key agreed on with a sender's ephemeral one while he keeps using it.
//!
//! What the cipher was derived from comes in as its name, and the cipher goes out, derived if it is not there.
//! Always holds: never more than the bound, whatever the senders do. Names lie in two generations; when the
//! young one is full the old one is forgotten, so what is used stays and there is no list to keep in order.
//! Belongs to one keyring: another one begins with nothing, and with the last user its secrets are wiped.
//!
//! The lock is held for a lookup, never across a derivation: two that need the same derive it twice.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::cipher::Cipher;

/// The ciphers of one keyring.
pub(crate) struct Derived {
    generation_max: usize,
    ciphers: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Name, Arc<Cipher>>,
    old: HashMap<Name, Arc<Cipher>>,
}

/// What a cipher was derived from: a digest, so that no sender decides how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Name([u8; 32]);

impl Name {
    /// Of these parts in this order.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut name = Sha256::new();
        for part in parts {
            name.update((part.len() as u64).to_be_bytes());
            name.update(part);
        }
        Self(name.finalize().into())
    }
}

impl Derived {
    /// Room for this many, and for one at least.
    pub(crate) fn new(ciphers_max: usize) -> Self {
        Self { generation_max: ciphers_max.div_ceil(2).max(1), ciphers: Mutex::default() }
    }

    /// For how many there is room.
    pub(crate) fn ciphers_max(&self) -> usize {
        self.generation_max.saturating_mul(2)
    }

    /// The cipher of this name, derived if it is not there. What cannot be derived is not remembered.
    pub(crate) fn cipher(&self, name: Name, derive: impl FnOnce() -> Option<Cipher>) -> Option<Arc<Cipher>> {
        if let Some(cipher) = self.find(name) {
            return Some(cipher);
        }
        let cipher = Arc::new(derive()?);
        let mut ciphers = self.ciphers.lock().unwrap_or_else(PoisonError::into_inner);
        ciphers.insert(name, Arc::clone(&cipher), self.generation_max);
        Some(cipher)
    }

    fn find(&self, name: Name) -> Option<Arc<Cipher>> {
        let mut ciphers = self.ciphers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cipher) = ciphers.young.get(&name) {
            return Some(Arc::clone(cipher));
        }
        let cipher = ciphers.old.remove(&name)?;
        ciphers.insert(name, Arc::clone(&cipher), self.generation_max);
        Some(cipher)
    }
}

impl Generations {
    fn insert(&mut self, name: Name, cipher: Arc<Cipher>, generation_max: usize) {
        if self.young.len() >= generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, cipher);
    }
}

impl fmt::Debug for Derived {
    /// The ciphers are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").field("generation_max", &self.generation_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::ContentAlgorithm;

    fn cipher() -> Option<Cipher> {
        Cipher::new(ContentAlgorithm::A128Gcm, &[0; 16])
    }

    fn name(number: usize) -> Name {
        Name::of(&[&number.to_be_bytes()])
    }

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let derived = Derived::new(8);
        for number in 0..1_000 {
            derived.cipher(name(0), || if number == 0 { cipher() } else { None }).unwrap();
            derived.cipher(name(1 + number), cipher).unwrap();
            let ciphers = derived.ciphers.lock().unwrap();
            assert!(ciphers.young.len() + ciphers.old.len() <= 8);
        }
        let mut derived_again = false;
        derived.cipher(name(1), || {
            derived_again = true;
            cipher()
        });
        assert!(derived_again, "it was forgotten long ago");
    }

    #[test]
    fn what_cannot_be_derived_is_not_remembered() {
        let derived = Derived::new(1);
        assert!(derived.cipher(name(1), || None).is_none());
        assert!(derived.cipher(name(1), cipher).is_some());
    }

    #[test]
    fn parts_that_are_cut_elsewhere_are_another_name() {
        assert_ne!(Name::of(&[b"ab", b"c"]), Name::of(&[b"a", b"bc"]));
    }
}
