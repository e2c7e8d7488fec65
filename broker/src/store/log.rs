//! The changes that are not written yet, in their order, and who waits for them to be. Anybody appends;
//! one [`super::committer::Committer`] takes.
//!
//! Owns the positions: each change has one, and they rise by one for ever. Always holds: what was appended
//! together is taken together; nobody who appends waits; whoever waits for a position is woken once
//! everything up to it is applied.

use super::Position;
use super::change::Change;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Changes that are taken at once, about.
const TAKEN_MAX: usize = 4_096;
/// And their bytes.
const TAKEN_BYTES_MAX: usize = 4 << 20;
/// How long changes that nobody waits for may wait for others to ride with.
const LAZY: Duration = Duration::from_millis(100);

/// Whether somebody waits for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Somebody does: it is written as soon as [`Log::kick`] is called.
    Awaited,
    /// Nobody does: it rides with others.
    Lazy,
}

/// See the module's description.
pub(crate) struct Log {
    pending: Mutex<Pending>,
    /// Notified when there is something for the committer.
    work: Condvar,
    /// Whether something awaited is pending and the committer was not told.
    awaited: AtomicBool,
    applied: AtomicU64,
    waiting: Mutex<Vec<(u64, Waker)>>,
    bytes_max: usize,
    /// Whether more is pending than may be.
    full: AtomicBool,
}

struct Pending {
    /// Each with whether it is the last of those that were appended together.
    changes: VecDeque<(Change, bool)>,
    /// The position of the first.
    first: u64,
    bytes: usize,
    awaited: bool,
    sleep: Sleep,
    closing: bool,
    /// Connections that wait for room.
    pressed: Vec<Waker>,
}

/// How the committer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sleep {
    Awake,
    /// For something lazy to have waited long enough.
    Nap,
    /// For anything at all.
    Deep,
}

/// What the committer is given.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The position of the first change.
    pub(super) first: u64,
    /// How many positions it has.
    pub(super) positions: u64,
    pub(super) changes: Vec<Change>,
}

/// Why the committer was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// There may be something to take, or the time is over.
    Go,
    /// There is nothing more to take, and never will be.
    Closed,
}

impl Log {
    /// Goes on behind `last`; this many bytes may be pending.
    pub(super) fn new(last: Position, bytes_max: usize) -> Self {
        let pending = Pending {
            changes: VecDeque::new(),
            first: last.0 + 1,
            bytes: 0,
            awaited: false,
            sleep: Sleep::Awake,
            closing: false,
            pressed: Vec::new(),
        };
        Self {
            pending: Mutex::new(pending),
            work: Condvar::new(),
            awaited: AtomicBool::new(false),
            applied: AtomicU64::new(last.0),
            waiting: Mutex::default(),
            bytes_max,
            full: AtomicBool::new(false),
        }
    }

    /// Takes changes that belong together, and drains `changes`. The positions of the first and the last.
    pub(super) fn append(&self, changes: &mut Vec<Change>, urgency: Urgency) -> (Position, Position) {
        let bytes: usize = changes.iter().map(Change::bytes).sum();
        let mut pending = self.pending.lock();
        let first = pending.first + pending.changes.len() as u64;
        let count = changes.len();
        pending.changes.extend(changes.drain(..).enumerate().map(|(n, change)| (change, n + 1 == count)));
        pending.bytes += bytes;
        if pending.bytes > self.bytes_max {
            self.full.store(true, Ordering::Release);
        }
        match urgency {
            Urgency::Awaited if !pending.awaited => {
                pending.awaited = true;
                self.awaited.store(true, Ordering::Release);
            }
            Urgency::Lazy if pending.sleep == Sleep::Deep => {
                pending.sleep = Sleep::Awake;
                self.work.notify_one();
            }
            Urgency::Awaited | Urgency::Lazy => {}
        }
        (Position(first), Position(first + (count as u64).saturating_sub(1)))
    }

    /// Has what is awaited written now; called at the end of a turn, so that all of it goes at once.
    pub(super) fn kick(&self) {
        if self.awaited.load(Ordering::Acquire) && self.awaited.swap(false, Ordering::AcqRel) {
            self.wake_committer();
        }
    }

    fn wake_committer(&self) {
        let mut pending = self.pending.lock();
        if pending.sleep != Sleep::Awake {
            pending.sleep = Sleep::Awake;
            self.work.notify_one();
        }
    }

    /// The newest position of which everything is applied.
    pub(super) fn applied(&self) -> Position {
        Position(self.applied.load(Ordering::Acquire))
    }

    /// The position of the newest change.
    pub(super) fn newest(&self) -> Position {
        let pending = self.pending.lock();
        Position(pending.first + pending.changes.len() as u64 - 1)
    }

    /// Ready once everything up to `position` is applied; else the waker is kept.
    pub(super) fn poll_applied(&self, position: Position, cx: &mut Context<'_>) -> Poll<()> {
        if position <= self.applied() {
            return Poll::Ready(());
        }
        {
            let mut waiting = self.waiting.lock();
            // It may have been applied since; whoever applies looks here after it has said so.
            if position <= self.applied() {
                return Poll::Ready(());
            }
            waiting.push((position.0, cx.waker().clone()));
        }
        Poll::Pending
    }

    /// The same for something that was appended for nobody to wait for.
    pub(super) fn hurry(&self) {
        let mut pending = self.pending.lock();
        pending.awaited |= !pending.changes.is_empty();
        if pending.sleep != Sleep::Awake {
            pending.sleep = Sleep::Awake;
            self.work.notify_one();
        }
    }

    /// Everything up to `position` is applied.
    pub(super) fn advance(&self, position: Position) {
        self.applied.store(position.0, Ordering::Release);
        let mut woken = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            waiting.retain(|(wanted, waker)| {
                let waits = *wanted > position.0;
                if !waits {
                    woken.push(waker.clone());
                }
                waits
            });
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Whether more is pending than may be: who brings more is to be read no further.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// The bytes that are pending.
    #[cfg(test)]
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.lock().bytes
    }

    /// Ready when there is room.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        let mut pending = self.pending.lock();
        if pending.bytes <= self.bytes_max {
            return Poll::Ready(());
        }
        if !pending.pressed.iter().any(|waker| waker.will_wake(cx.waker())) {
            pending.pressed.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Nothing more will come: what is pending is written, and then the committer ends.
    pub(super) fn close(&self) {
        self.pending.lock().closing = true;
        self.wake_committer();
    }

    /// Whether nothing more will come.
    pub(super) fn is_closing(&self) -> bool {
        self.pending.lock().closing
    }

    /// Waits for something to take; at most until `until`.
    pub(super) fn await_work(&self, until: Option<Instant>) -> Work {
        let mut pending = self.pending.lock();
        loop {
            if pending.awaited || (pending.closing && !pending.changes.is_empty()) {
                return Work::Go;
            }
            if pending.closing {
                return Work::Closed;
            }
            let nap = (!pending.changes.is_empty()).then(|| Instant::now() + LAZY);
            pending.sleep = if nap.is_some() { Sleep::Nap } else { Sleep::Deep };
            let Some(deadline) = [nap, until].into_iter().flatten().min() else {
                self.work.wait(&mut pending);
                continue;
            };
            let timed_out = self.work.wait_until(&mut pending, deadline).timed_out();
            pending.sleep = Sleep::Awake;
            if timed_out {
                // All that waited long enough goes, not only as much as makes one batch.
                pending.awaited |= nap.is_some_and(|nap| nap <= deadline);
                return Work::Go;
            }
        }
    }

    /// Takes what is pending, as far as it makes one batch. Where nothing is and `anyhow` a batch will be
    /// made, it has a position too, so that no two batches have the same.
    pub(super) fn take(&self, anyhow: bool) -> Taken {
        let mut pending = self.pending.lock();
        let pending = &mut *pending;
        pending.sleep = Sleep::Awake;
        let mut taken = Taken {
            first: pending.first,
            positions: 0,
            changes: Vec::with_capacity(pending.changes.len().min(TAKEN_MAX)),
        };
        let (mut bytes, mut is_whole) = (0, true);
        while !is_whole || (taken.changes.len() < TAKEN_MAX && bytes < TAKEN_BYTES_MAX) {
            let Some((change, is_last)) = pending.changes.pop_front() else { break };
            bytes += change.bytes();
            is_whole = is_last;
            taken.changes.push(change);
        }
        taken.positions = (taken.changes.len() as u64).max(anyhow.into());
        pending.first += taken.positions;
        pending.bytes = pending.bytes.saturating_sub(bytes);
        pending.awaited &= !pending.changes.is_empty();
        if pending.changes.is_empty() && pending.changes.capacity() > 2 * TAKEN_MAX {
            pending.changes = VecDeque::new();
        }
        if pending.bytes <= self.bytes_max && self.full.swap(false, Ordering::AcqRel) {
            std::mem::take(&mut pending.pressed).into_iter().for_each(Waker::wake);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::SessionId;
    use sealmq_protocol::packet::PacketId;
    use std::sync::Arc;
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_brings_more_than_may_be_pending_waits_until_it_is_less() {
        let change = || Change::Completed { session: SessionId(1), packet_id: PacketId::MIN };
        let bytes = change().bytes();
        let log = Log::new(Position::START, 4 * bytes);
        let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let wakers = woken.clone().map(Waker::from);
        let has_room = |at: usize| log.poll_room(&mut Context::from_waker(&wakers[at])) == Poll::Ready(());
        log.append(&mut (0..4).map(|_| change()).collect(), Urgency::Lazy);
        assert!(has_room(0) && !log.is_full(), "as much as may be");
        log.append(&mut vec![change()], Urgency::Lazy);
        assert!(log.is_full());
        assert_eq!([has_room(0), has_room(0), has_room(1)], [false; 3]);
        let times = || woken.each_ref().map(|woken| woken.0.load(Ordering::SeqCst));
        assert_eq!(times(), [0, 0]);
        assert_eq!(log.take(false).changes.len(), 5);
        assert_eq!(times(), [1, 1], "each once");
        assert!(has_room(0) && has_room(1) && log.pending_bytes() == 0);
    }

    #[test]
    fn all_that_waited_long_enough_goes_at_once() {
        let log = Log::new(Position::START, 1 << 30);
        let change = || Change::Completed { session: SessionId(1), packet_id: PacketId::MIN };
        for _ in 0..3 * TAKEN_MAX {
            log.append(&mut vec![change()], Urgency::Lazy);
        }
        assert_eq!(log.await_work(None), Work::Go);
        let since = Instant::now();
        for _ in 0..2 {
            assert_eq!(log.take(false).changes.len(), TAKEN_MAX);
            assert_eq!(log.await_work(None), Work::Go);
        }
        assert!(since.elapsed() < LAZY, "{:?}", since.elapsed());
    }
}
