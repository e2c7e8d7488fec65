//! What is read back while the broker runs: the queue of a session in pages, and what was in flight to it.

use super::engine::{Engine, EngineError};
use super::layout::{self, Keyspace};
use super::record::{Body, Entry, Flight, decode_message};
use super::{Kept, Position, Store};
use crate::delivery::{Place, SessionId};
use crate::ingress::message::Message;
use crate::now::Clock;
use bytes::Bytes;
use sealmq_protocol::packet::SubscriptionId;
use sealmq_protocol::{Qos, SubscriptionFilter};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Messages in one page, and their bytes.
pub(crate) const PAGE_MESSAGES_MAX: usize = 64;
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Reads at once for which a thread takes a worker's place; more are done by the workers themselves.
const READERS_MAX: usize = 16;

/// A message that waits for a session.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    /// Where it stands.
    pub(crate) place: Place,
    /// With which it is delivered.
    pub(crate) qos: Qos,
    /// RETAIN as the subscriber sees it.
    pub(crate) retain: bool,
    /// Of the subscriptions by which it comes.
    pub(crate) subscription_ids: Vec<SubscriptionId>,
    /// The subscription of the group that shares it.
    pub(crate) group: Option<SubscriptionFilter>,
    /// The message.
    pub(crate) message: Arc<Message>,
}

/// A part of a session's queue.
#[derive(Debug)]
pub(crate) struct Page {
    /// In the order in which they came.
    pub(crate) waiting: Vec<Waiting>,
    /// Everything up to here was read.
    pub(crate) through: Position,
    /// Whether there was nothing behind.
    pub(crate) is_last: bool,
}

/// A message that a session's client was sent, and has not acknowledged.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// How far it is.
    pub(crate) flight: Flight,
    /// The message, while it is needed.
    pub(crate) waiting: Option<Waiting>,
}

impl Store {
    /// The part of a session's queue that begins at `from`.
    pub(crate) fn page(&self, session: SessionId, from: Position) -> Result<Page, EngineError> {
        match &self.kept {
            Some(kept) => kept.off_the_workers(|| kept.page(session, from)),
            None => Ok(Page { waiting: Vec::new(), through: Position::START, is_last: true }),
        }
    }

    /// What a session's client was sent and has not acknowledged, in the order in which it was sent.
    pub(crate) fn in_flight(&self, session: SessionId) -> Result<Vec<InFlight>, EngineError> {
        match &self.kept {
            Some(kept) => kept.off_the_workers(|| kept.in_flight(session)),
            None => Ok(Vec::new()),
        }
    }

    /// Walks in slices over what waited in all queues when the store was opened: from `from` on, whose message
    /// is how large. Where to go on. What has come since is counted by whoever brought it.
    pub(crate) fn walk_queues(
        &self,
        from: (SessionId, Position),
        found: &mut dyn FnMut(SessionId, Position, usize),
    ) -> Result<Option<(SessionId, Position)>, EngineError> {
        const SLICE: usize = 8_192;
        let Some(kept) = &self.kept else { return Ok(None) };
        let (mut seen, mut next) = (0, None);
        let begin = layout::queue_key(from.0, from.1.0);
        kept.engine.scan(Keyspace::Queue, &[], &begin, &mut |key, value| {
            let Some((session, position)) = layout::parse_queue_key(key) else {
                return ControlFlow::Continue(());
            };
            if seen == SLICE {
                next = Some((session, Position(position)));
                return ControlFlow::Break(());
            }
            seen += 1;
            if position <= kept.opened.0 {
                found(session, Position(position), Entry::size_of(value));
            }
            ControlFlow::Continue(())
        })?;
        Ok(next)
    }
}

impl Kept {
    /// Reads the disk, which takes its time: a worker of the runtime gives its other tasks away for so long. One
    /// that has a runtime of one thread to itself, or none, just reads.
    fn off_the_workers<T>(&self, read: impl FnOnce() -> T) -> T {
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        if !matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
            return read();
        }
        let is_one_of_few = self.readers.fetch_add(1, Ordering::Relaxed) < READERS_MAX;
        let read = if is_one_of_few { tokio::task::block_in_place(read) } else { read() };
        self.readers.fetch_sub(1, Ordering::Relaxed);
        read
    }

    fn page(&self, session: SessionId, from: Position) -> Result<Page, EngineError> {
        // Read before the queue is looked at. What stands behind it may belong to a batch that is being applied,
        // of which some is seen and some is not: nothing of it counts.
        let applied = self.log.applied();
        let (mut found, mut bytes, mut is_last) = (Vec::new(), 0, true);
        let prefix = layout::session_key(session);
        let begin = layout::queue_key(session, from.0);
        self.engine.scan(Keyspace::Queue, &prefix, &begin, &mut |key, value| {
            if found.len() == PAGE_MESSAGES_MAX || bytes >= PAGE_BYTES_MAX {
                is_last = false;
                return ControlFlow::Break(());
            }
            if let Some((_, position)) = layout::parse_queue_key(key) {
                if position > applied.0 {
                    return ControlFlow::Break(());
                }
                bytes += value.len();
                found.push((position, Bytes::copy_from_slice(value)));
            }
            ControlFlow::Continue(())
        })?;
        let newest = found.last().map_or(0, |(position, _)| *position);
        let through = if is_last { applied } else { Position(newest) };
        let waiting =
            found.into_iter().filter_map(|(position, record)| self.waiting(position, record).transpose());
        Ok(Page { waiting: waiting.collect::<Result<_, _>>()?, through, is_last })
    }

    fn in_flight(&self, session: SessionId) -> Result<Vec<InFlight>, EngineError> {
        let mut flights = Vec::new();
        let prefix = layout::session_key(session);
        self.engine.scan(Keyspace::Inflight, &prefix, &prefix, &mut |_, value| {
            flights.push(Flight::decode(Bytes::copy_from_slice(value)));
            ControlFlow::Continue(())
        })?;
        let flights: Result<Vec<Flight>, _> = flights.into_iter().collect();
        let mut flights = flights.map_err(|_| corrupt("an entry in flight"))?;
        flights.sort_unstable_by_key(|flight| flight.sequence);
        let read = |flight: Flight| {
            let position = flight.place.position().0;
            let record = self.engine.get(Keyspace::Queue, &layout::queue_key(session, position))?;
            let waiting = record.map(|record| self.waiting(position, record)).transpose()?.flatten();
            Ok(InFlight { flight, waiting })
        };
        flights.into_iter().map(read).collect()
    }

    /// The message of an entry. None where its body is gone: then the entry is about to go as well.
    fn waiting(&self, position: u64, record: Bytes) -> Result<Option<Waiting>, EngineError> {
        read_waiting(&*self.engine, self.clock, position, record)
    }
}

fn read_waiting(
    engine: &dyn Engine,
    clock: Clock,
    position: u64,
    record: Bytes,
) -> Result<Option<Waiting>, EngineError> {
    let Entry { qos, retain, subscription_ids, group, size: _, body } =
        Entry::decode(record).map_err(|_| corrupt("an entry of a queue"))?;
    let is_shared = body == Body::Shared;
    let body = match body {
        Body::Inline(body) => Some(body),
        Body::Shared => engine.get(Keyspace::Message, &layout::position_key(position))?,
    };
    let Some(body) = body else {
        tracing::warn!(position, "a message that waits for a session is not there");
        return Ok(None);
    };
    let message = decode_message(body, clock).map_err(|_| corrupt("a message"))?;
    let place = Place::new(Position(position), is_shared).ok_or_else(|| corrupt("a position"))?;
    Ok(Some(Waiting { place, qos, retain, subscription_ids, group, message: Arc::new(message) }))
}

pub(super) fn corrupt(what: &str) -> EngineError {
    EngineError::Corrupt(format!("{what} is not of a form that is known"))
}
