//! One timer for all deadlines of a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Instant;
use tokio::time::Sleep;

/// Deadlines mostly move on with every packet, so it is left to fire early and looked at again, and
/// set anew only for one that comes sooner.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Has the waker woken at `deadline` at the latest.
    pub(super) fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) {
        let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else { return };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            // Elapsed between the two readings of the clock: look again at once.
            cx.waker().wake_by_ref();
        }
    }
}
