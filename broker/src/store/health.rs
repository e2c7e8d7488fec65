//! Whether the store does what it is there for: said in `$SYS`, in the log, and to publishers.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A step of the writer that takes longer is a fault.
const STEP_MAX: Duration = Duration::from_secs(10);

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Good,
    /// There is no room on the device: nothing is acknowledged.
    NoSpace,
    /// The writer has been at one step for very long.
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
    step_began: Mutex<Option<Instant>>,
    /// Said once for each step that takes too long.
    said: AtomicBool,
}

impl Health {
    /// How it is.
    pub(crate) fn state(&self) -> State {
        if self.no_space.load(Ordering::Acquire) {
            return State::NoSpace;
        }
        if self.is_stalled() { State::Stalled } else { State::Good }
    }

    fn is_stalled(&self) -> bool {
        self.step_began.lock().is_some_and(|began| began.elapsed() > STEP_MAX)
    }

    /// Whether nothing can be kept for now.
    pub(crate) fn has_no_space(&self) -> bool {
        self.no_space.load(Ordering::Acquire)
    }

    /// Says in the log what is wrong; called now and then.
    pub(crate) fn watch(&self) {
        if self.is_stalled() && !self.said.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "the store has been at one write for over 10 s: nothing is acknowledged meanwhile"
            );
        }
    }

    pub(super) fn step_begins(&self) {
        *self.step_began.lock() = Some(Instant::now());
    }

    pub(super) fn step_ends(&self) {
        let began = self.step_began.lock().take();
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

#[cfg(test)]
impl Health {
    /// Whether the writer is at a step.
    pub(super) fn is_at_work(&self) -> bool {
        self.step_began.lock().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_takes_long_is_said_once() {
        let health = Health::default();
        health.step_begins();
        health.watch();
        assert_eq!(health.state(), State::Good);
        assert!(!health.said.load(Ordering::Acquire));
        *health.step_began.lock() = Instant::now().checked_sub(STEP_MAX + Duration::from_secs(1));
        assert_eq!(health.state(), State::Stalled);
        health.watch();
        assert!(health.said.load(Ordering::Acquire));
        health.step_ends();
        assert_eq!(health.state(), State::Good);
        assert!(!health.said.load(Ordering::Acquire));
    }
}
