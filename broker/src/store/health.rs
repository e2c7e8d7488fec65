//! Whether the store does what it is there for: said in `$SYS`, in the log, and to publishers.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A commit that takes longer is a fault.
const COMMIT_MAX: Duration = Duration::from_secs(10);

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Good,
    /// There is no room on the device: nothing is acknowledged.
    NoSpace,
    /// A commit takes very long.
    Stalled,
}

impl State {
    /// For `$SYS`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::NoSpace => "no space",
            Self::Stalled => "stalled",
        }
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Health {
    no_space: AtomicBool,
    commit_began: Mutex<Option<Instant>>,
    /// Said once for each commit that takes too long.
    said: AtomicBool,
}

impl Health {
    /// How it is.
    pub(crate) fn state(&self) -> State {
        if self.no_space.load(Ordering::Acquire) {
            return State::NoSpace;
        }
        let stalled = self.commit_began.lock().is_some_and(|began| began.elapsed() > COMMIT_MAX);
        if stalled { State::Stalled } else { State::Good }
    }

    /// Whether nothing can be kept for now.
    pub(crate) fn has_no_space(&self) -> bool {
        self.no_space.load(Ordering::Acquire)
    }

    /// Says in the log what is wrong; called now and then.
    pub(crate) fn watch(&self) {
        if self.state() == State::Stalled && !self.said.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "the store has been writing one batch for over 10 s: nothing is acknowledged meanwhile"
            );
        }
    }

    pub(super) fn commit_begins(&self) {
        *self.commit_began.lock() = Some(Instant::now());
    }

    pub(super) fn commit_ends(&self) {
        let began = self.commit_began.lock().take();
        if self.said.swap(false, Ordering::AcqRel) {
            let took_s = began.map_or(0, |began| began.elapsed().as_secs());
            tracing::warn!(took_s, "the store goes on");
        }
    }

    pub(super) fn no_space(&self) {
        if !self.no_space.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "no space is left for the store: nothing is acknowledged until there is (MQTT 5 publishers are told 0x97)"
            );
        }
    }

    pub(super) fn space_again(&self) {
        self.no_space.store(false, Ordering::Release);
        tracing::warn!("there is space for the store again; nothing that was acknowledged is lost");
    }
}
