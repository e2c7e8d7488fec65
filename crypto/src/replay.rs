//! What was taken already: for every sender a sliding window of counters and a set of timed stamps.
//!
//! An envelope's [`Mark`] is looked up before the content is opened and taken after; of two connections that
//! race with the same envelope, the second to take it loses. Whoever took one can give it back. Time comes in as an argument. Always holds: a
//! mark that was taken and kept is not taken again, also after the allowed skew grew, the clock went back or memory
//! ran full; when in doubt, refused. The windows outlive a keyring, so that a reload lets nothing through.
//!
//! Lock order: `senders`, then one sender's; both are held for a few lines, never across cryptography.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;

use crate::error::OpenError;
use crate::key::SenderPublicKey;
use crate::window::{Ahead, SenderWindow};

/// What makes an envelope of a sender different from all others of his.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The sender's counter.
    Seq(u64),
    /// A stamp with a time and without a counter.
    Timed {
        /// The time under the stamp, in seconds since 1970.
        issued_at: u64,
        /// SHA-256 of the stamp.
        stamp_hash: [u8; 32],
    },
}

/// The windows of all senders.
#[derive(Debug)]
pub struct ReplayWindows {
    timed_stamps_max: usize,
    senders: RwLock<HashMap<Bytes, Arc<Mutex<Window>>>>,
}

/// The window of one sender.
#[derive(Debug, Default)]
struct Window {
    taken: SenderWindow,
    /// The key that the sender had before this window was begun: what it stamped may still be on its way.
    barred: Option<[u8; 32]>,
}

impl Window {
    fn check(&mut self, claim: &Claim, timed_stamps_max: usize) -> Result<(), OpenError> {
        if self.barred == Some(claim.key) {
            return Err(OpenError::BadStamp);
        }
        self.taken.check(claim.mark, claim.now, claim.skew_s, timed_stamps_max)
    }
}

/// What an envelope would take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) mark: Mark,
    /// The public key that its stamp holds by.
    pub(crate) key: [u8; 32],
    /// Seconds since 1970.
    pub(crate) now: u64,
    pub(crate) skew_s: u64,
}

/// A mark that was taken, while nobody has seen what it came with. Dropped, it stays taken.
#[derive(Debug)]
pub struct Reservation {
    /// The very window: of a sender that was forgotten meanwhile, the new one is left alone.
    window: Arc<Mutex<Window>>,
    mark: Mark,
}

impl Reservation {
    /// Gives the mark back, so that the same envelope is taken once more: for one of which nothing was handed to
    /// anybody, and whose sender is told so.
    pub fn give_back(self) {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).taken.give_back(self.mark);
    }
}

impl ReplayWindows {
    /// No windows yet; each sender will have room for this many timed stamps at once.
    pub fn new(timed_stamps_max: usize) -> Self {
        Self { timed_stamps_max, senders: RwLock::default() }
    }

    /// Takes again what was taken before a restart, as read from a journal of [`crate::Opened::mark`].
    pub fn retake(&self, sender: &[u8], mark: Mark) {
        self.locked(&Bytes::copy_from_slice(sender), |window| window.taken.insert(mark));
    }

    /// What is remembered of this sender, to be kept over a restart.
    pub fn snapshot(&self, sender: &[u8]) -> Option<SenderWindow> {
        let senders = self.senders.read().unwrap_or_else(PoisonError::into_inner);
        let window = Arc::clone(senders.get(sender)?);
        drop(senders);
        let window = window.lock().unwrap_or_else(PoisonError::into_inner);
        Some(window.taken.clone())
    }

    /// Up to which second no timed stamp of this sender is taken any more, remembered or not; nothing where
    /// all that were taken are remembered.
    pub fn forgotten_through(&self, sender: &[u8]) -> Option<u64> {
        let senders = self.senders.read().unwrap_or_else(PoisonError::into_inner);
        let window = Arc::clone(senders.get(sender)?);
        drop(senders);
        let window = window.lock().unwrap_or_else(PoisonError::into_inner);
        window.taken.forgotten_through()
    }

    /// Takes no timed stamp of this sender of this second or before any more.
    pub fn forget_through(&self, sender: &[u8], through: u64) {
        self.locked(&Bytes::copy_from_slice(sender), |window| window.taken.forget_through(through));
    }

    /// Sets marks of this sender aside, for whoever reads what [`Self::snapshot`] gave: they may be taken and
    /// not be written down. Changes nothing here.
    pub fn set_aside(&self, sender: &[u8], ahead: Ahead) {
        self.locked(&Bytes::copy_from_slice(sender), |window| window.taken.set_aside(ahead));
    }

    /// The numbers of a window that knows more in the place of those that are here; none are set aside.
    pub fn replace_numbers(&self, sender: &[u8], window: &SenderWindow) {
        self.locked(&Bytes::copy_from_slice(sender), |present| present.taken.replace_numbers(window));
    }

    /// The ids of all senders that have a window, in order.
    pub fn sender_ids(&self) -> Vec<Bytes> {
        let senders = self.senders.read().unwrap_or_else(PoisonError::into_inner);
        let mut ids: Vec<Bytes> = senders.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// Puts back what [`Self::snapshot`] gave, instead of what is there.
    pub fn restore(&self, sender: &[u8], window: SenderWindow) {
        self.locked(&Bytes::copy_from_slice(sender), |present| present.taken = window);
    }

    /// Forgets everything of a sender: for a device that was enrolled anew and counts from the start. What it
    /// stamped with the same key before can be repeated after this, so the key has to be another; of the one
    /// before nothing is taken any more, and be it verified already.
    pub fn forget(&self, sender: &[u8], before: Option<&SenderPublicKey>) {
        let mut senders = self.senders.write().unwrap_or_else(PoisonError::into_inner);
        senders.remove(sender);
        if let Some(key) = before {
            let window = Window { taken: SenderWindow::default(), barred: Some(key.to_bytes()) };
            senders.insert(Bytes::copy_from_slice(sender), Arc::new(Mutex::new(window)));
        }
    }

    /// Whether the mark could be taken now; takes nothing.
    pub(crate) fn check(&self, sender: &Bytes, claim: &Claim) -> Result<(), OpenError> {
        self.locked(sender, |window| window.check(claim, self.timed_stamps_max))
    }

    /// Takes the mark, unless somebody did since it was checked.
    pub(crate) fn take(&self, sender: &Bytes, claim: &Claim) -> Result<Reservation, OpenError> {
        let window = self.window(sender);
        {
            let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
            window.check(claim, self.timed_stamps_max)?;
            window.taken.insert(claim.mark);
        }
        Ok(Reservation { window, mark: claim.mark })
    }

    /// The sender's window, made if there is none.
    fn window(&self, sender: &Bytes) -> Arc<Mutex<Window>> {
        let known = self.senders.read().unwrap_or_else(PoisonError::into_inner).get(sender).cloned();
        known.unwrap_or_else(|| {
            let mut senders = self.senders.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(senders.entry(sender.clone()).or_default())
        })
    }

    /// Runs on the sender's window. A panic elsewhere leaves no window half changed in a way that lets a mark
    /// through twice, so a poisoned lock is used on.
    fn locked<T>(&self, sender: &Bytes, run: impl FnOnce(&mut Window) -> T) -> T {
        let window = self.window(sender);
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        run(&mut window)
    }
}
