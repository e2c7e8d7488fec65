//! What is in a store, counted.

use super::super::Position;
use super::super::engine::{Engine, EngineError, Report};
use super::super::layout::{self, Keyspace};
use super::super::record::{Entry, SessionRecord};
use super::{Progress, each};
use crate::delivery::SessionId;
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::BTreeMap;

/// Queues that are named.
const LARGEST: usize = 5;

/// The keys of one keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    /// How many.
    pub(crate) keys: u64,
    /// Their bytes.
    pub(crate) key_bytes: u64,
    /// And those of their values.
    pub(crate) value_bytes: u64,
}

/// One session's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Whose; none if the session has ended and is being removed.
    pub(crate) client_id: Option<ByteString>,
    /// How many messages.
    pub(crate) messages: u64,
    /// Their bytes, as bounds are counted in.
    pub(crate) bytes: u64,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Statistics {
    /// By keyspace, in their order.
    pub(crate) counts: Vec<(Keyspace, Count)>,
    /// What it takes on disk.
    pub(crate) report: Report,
    /// All messages in queues, and their bytes.
    pub(crate) queued: (u64, u64),
    /// The queues with the most bytes.
    pub(crate) largest: Vec<Queue>,
    /// Where its newest batch is.
    pub(crate) newest: Position,
}

impl Statistics {
    /// Reads every key.
    pub(crate) fn read(engine: &dyn Engine, progress: Progress<'_>) -> Result<Self, EngineError> {
        let mut clients: BTreeMap<SessionId, ByteString> = BTreeMap::new();
        let mut queues: BTreeMap<SessionId, (u64, u64)> = BTreeMap::new();
        let mut counts = Vec::new();
        for keyspace in Keyspace::ALL {
            let mut count = Count::default();
            each(engine, keyspace, &mut |key, value| {
                progress(key.len() + value.len());
                count.keys += 1;
                count.key_bytes += key.len() as u64;
                count.value_bytes += value.len() as u64;
                match keyspace {
                    Keyspace::Session => clients.extend(owner(key, value)),
                    Keyspace::Queue => {
                        if let Some((session, _)) = layout::parse_queue_key(key) {
                            let (messages, bytes) = queues.entry(session).or_default();
                            *messages += 1;
                            *bytes += Entry::size_of(value) as u64;
                        }
                    }
                    Keyspace::Meta
                    | Keyspace::Subscription
                    | Keyspace::Message
                    | Keyspace::Refs
                    | Keyspace::Inflight
                    | Keyspace::Inbound
                    | Keyspace::Retained
                    | Keyspace::Replay
                    | Keyspace::Enrolled => {}
                }
            })?;
            counts.push((keyspace, count));
        }
        let all = queues.values().fold((0, 0), |(m, b), (messages, bytes)| (m + messages, b + bytes));
        let mut largest: Vec<(SessionId, (u64, u64))> = queues.into_iter().collect();
        largest
            .sort_by_key(|(session, (messages, bytes))| (std::cmp::Reverse((*bytes, *messages)), *session));
        largest.truncate(LARGEST);
        let named = |(session, (messages, bytes)): (SessionId, (u64, u64))| Queue {
            client_id: clients.get(&session).cloned(),
            messages,
            bytes,
        };
        let largest = largest.into_iter().map(named).collect();
        Ok(Self { counts, report: engine.report(), queued: all, largest, newest: engine.last()?.position })
    }

    /// What was counted of a keyspace.
    pub(crate) fn count(&self, keyspace: Keyspace) -> Count {
        self.counts.get(keyspace.index()).map_or_else(Count::default, |(_, count)| *count)
    }
}

fn owner(key: &[u8], value: &[u8]) -> Option<(SessionId, ByteString)> {
    let client_id = ByteString::try_from(key).ok()?;
    let record = SessionRecord::decode(client_id, Bytes::copy_from_slice(value)).ok()?;
    Some((record.session, record.client_id))
}
