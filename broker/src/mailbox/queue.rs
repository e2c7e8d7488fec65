//! The deliveries of one mailbox, in order, with what they take in memory. Comes in: one delivery at a time.
//! Goes out: the oldest, or all. Always holds: the bytes are those of the messages that wait.

use crate::delivery::Delivery;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between two looks through a queue for what has expired.
const EXPIRY_LOOKS: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Queue {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    /// Nothing expires before this.
    soonest_expiry: Option<Instant>,
    /// The queue is not looked through for what has expired before this.
    look_again: Option<Instant>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Of topics, payloads and properties.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<&Delivery> {
        self.deliveries.front()
    }

    #[inline]
    pub(super) fn put(&mut self, delivery: Delivery) {
        self.bytes += delivery.message.size();
        if let Some(expires) = delivery.message.expires() {
            self.soonest_expiry = Some(self.soonest_expiry.map_or(expires, |soonest| soonest.min(expires)));
        }
        self.deliveries.push_back(delivery);
    }

    pub(super) fn pull(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        self.bytes -= delivery.message.size();
        Some(delivery)
    }

    /// Everything, into `empty`, which must be empty.
    pub(super) fn swap(&mut self, empty: &mut VecDeque<Delivery>) {
        std::mem::swap(empty, &mut self.deliveries);
        (self.bytes, self.soonest_expiry) = (0, None);
    }

    /// Everything.
    pub(super) fn take(&mut self) -> VecDeque<Delivery> {
        std::mem::take(self).deliveries
    }

    /// Drops what nobody is to have any more. Looks only when something may have expired, and not too
    /// often, so that a full queue costs no walk each time. How many messages and bytes went.
    pub(super) fn drop_expired(&mut self, now: Instant) -> (usize, usize) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if !due(self.soonest_expiry) || !due(self.look_again.or(Some(now))) {
            return (0, 0);
        }
        let before = (self.deliveries.len(), self.bytes);
        let (mut bytes, mut soonest) = (0, None::<Instant>);
        self.deliveries.retain(|delivery| {
            let message = &delivery.message;
            let stays = !message.is_expired(now);
            if stays {
                bytes += message.size();
                soonest = soonest.into_iter().chain(message.expires()).min();
            }
            stays
        });
        (self.bytes, self.soonest_expiry) = (bytes, soonest);
        self.look_again = now.checked_add(EXPIRY_LOOKS);
        (before.0 - self.deliveries.len(), before.1 - bytes)
    }
}
