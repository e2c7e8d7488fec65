//! Runs connections in one thread, in an order that the seed decides. Only who was woken is polled, so that a
//! wake-up that is missing shows as a connection that stands still.

use super::rng::Rng;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
}

/// See the module's description.
#[derive(Default)]
pub(super) struct Executor {
    tasks: Vec<Task>,
}

impl Executor {
    /// One more.
    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.tasks.push(Task { future: Box::pin(future), woken });
    }

    /// Polls one that was woken. Whether there was one.
    pub(super) fn poll_one(&mut self, rng: &mut Rng) -> bool {
        let is_woken = |task: &Task| task.woken.0.load(Ordering::Acquire);
        let woken: Vec<usize> = (0..self.tasks.len()).filter(|at| is_woken(&self.tasks[*at])).collect();
        if woken.is_empty() {
            return false;
        }
        let at = woken[rng.below(woken.len())];
        let task = &mut self.tasks[at];
        task.woken.0.store(false, Ordering::Release);
        let waker = Waker::from(task.woken.clone());
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(self.tasks.swap_remove(at));
        }
        true
    }

    /// All end where they are.
    pub(super) fn abort(&mut self) {
        self.tasks.clear();
    }
}
