//! The audit: a record of each refused message and subscription and of what happens to keys, that shows if it
//! was changed.
//!
//! Events come in by [`Audit::record`], from whoever has one; out go lines of JSON in a file, each with the
//! hash of the one before it. Always holds: recording waits for nothing, neither for the disk nor for room;
//! what there is no room for is counted, and the count is recorded. No entry holds a payload or a secret.
//!
//! The road of an event: `event.rs` says what it is, `queue.rs` keeps it until the one thread of `writer.rs`
//! takes it, `chain.rs` makes a line of it, and `files.rs` keeps the line.

mod chain;
mod event;
mod files;
mod keys;
mod queue;
pub(crate) mod verify;
mod writer;

pub(crate) use event::{Event, KeyChange, KeyKind, Whose};
pub(crate) use keys::{Declared, changes, identity_change, identity_made, subscriber_key_changes};
pub(crate) use writer::start;

use crate::ingress::message::AUDIT_TOPICS;
use crate::ingress::{Refusal, Refused};
use jiff::Timestamp;
use queue::{Queue, Taken};
use sealmq_protocol::{SubscriptionFilter, TopicFilter};
use std::time::Instant;

/// Takes what is to be recorded.
pub(crate) struct Audit {
    /// None: there is no audit.
    queue: Option<Queue>,
}

impl Audit {
    /// As configured; what is recorded waits until [`start`] was called.
    pub(crate) fn new(config: &sealmq_config::audit::Audit) -> Self {
        Self { queue: config.enabled.then(|| Queue::new(config.queue_max)) }
    }

    /// Records an event.
    pub(crate) fn record(&self, event: Event) {
        if let Some(queue) = &self.queue {
            queue.push(event, Timestamp::now());
        }
    }

    /// Records what the operator has just done, however much it is: his files bound it.
    pub(crate) fn record_all(&self, events: Vec<Event>) {
        if let Some(queue) = &self.queue {
            queue.push_all(events, Timestamp::now());
        }
    }

    /// Records that a message was refused. Of very many at once, some are recorded and the others counted. A
    /// repetition of the protocol is no refusal.
    pub(crate) fn record_refused(&self, refused: &Refused, whose: Whose<'_>) {
        if refused.refusal == Refusal::Repeated {
            return;
        }
        if let Some(queue) = &self.queue {
            let source = (whose.addr, refused.refusal.name());
            let event = |extent| Event::refused(refused, whose, extent);
            queue.push_refused(source, event, Instant::now(), Timestamp::now());
        }
    }

    /// Records that a client was not let in; of very many as with messages.
    pub(crate) fn record_denied(&self, reason: &'static str, whose: Whose<'_>) {
        if let Some(queue) = &self.queue {
            let event = |extent| Event::denied(reason, whose, extent);
            queue.push_refused((whose.addr, reason), event, Instant::now(), Timestamp::now());
        }
    }

    /// Records that a client may not subscribe to a filter; of very many as with messages.
    pub(crate) fn record_barred(&self, reason: &'static str, filter: &SubscriptionFilter, whose: Whose<'_>) {
        if let Some(queue) = &self.queue {
            let event = |extent| Event::barred(reason, filter, whose, extent);
            queue.push_refused((whose.addr, reason), event, Instant::now(), Timestamp::now());
        }
    }

    /// Waits until there is something to write, or `deadline` has come; none if there is no audit.
    fn take(&self, deadline: Option<Instant>) -> Option<Taken> {
        Some(self.queue.as_ref()?.take(deadline))
    }

    /// Nothing more will be recorded: the writer ends once it has written what there is.
    pub(crate) fn close(&self) {
        if let Some(queue) = &self.queue {
            queue.close();
        }
    }
}

/// Whether all that a filter can match is of the audit, and so for auditors alone.
pub(crate) fn is_all_of(filter: &TopicFilter) -> bool {
    let topics = AUDIT_TOPICS.trim_end_matches('/');
    filter.as_str().strip_prefix(topics).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
