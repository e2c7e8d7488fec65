//! Opens a store: holds its layout against ours, reads what the broker keeps in memory, and starts the writer.
//!
//! Queues are not read: what waits for a session is read when its client comes. A store of an older layout is
//! migrated in steps, each in slices with a mark of how far it is; one of a newer layout is refused.

use super::batch::{Batch, Last, Ops};
use super::committer::Committer;
use super::disk::{Disk, DiskOptions};
use super::engine::{Engine, EngineError};
use super::fold::Fold;
use super::health::Health;
use super::layout::{self, Keyspace, ReplayKey, SCHEMA};
use super::log::Log;
use super::read::corrupt;
use super::record::{SessionRecord, decode_enrolled, decode_message, decode_subscription};
use super::{Durability, Kept, OpenError, Store};
use crate::delivery::{SessionId, Subscription};
use crate::enrolment::Record;
use crate::ingress::message::Message;
use crate::now::Clock;
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_crypto::{Mark, SenderWindow};
use sealmq_protocol::packet::PacketId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// A step from one layout to the next: does a slice, given where the last one ended, and says where it ended;
/// `None` when it is over.
pub(super) type Step = fn(&dyn Engine, Option<&[u8]>, &mut Ops) -> Result<Option<Vec<u8>>, EngineError>;

/// From layout 1 on, one step for each; there is one layout so far.
const STEPS: &[Step] = &[];

/// What a store held, but for the queues.
#[derive(Default)]
pub(crate) struct Recovered {
    /// In the order of client ids.
    pub(crate) sessions: Vec<RecoveredSession>,
    /// In the order of topics.
    pub(crate) retained: Vec<Arc<Message>>,
    /// Each sender's window of counters.
    pub(crate) windows: Vec<(Bytes, SenderWindow)>,
    /// And the timed stamps that were taken.
    pub(crate) stamps: Vec<(Bytes, Mark)>,
    /// How many contents each topic key has opened.
    pub(crate) keys_used: Vec<(Bytes, u64)>,
    /// Who was enrolled, disabled or removed at run time.
    pub(crate) enrolled: Vec<Record>,
    /// Sessions that have something and no record: their client had begun another, and their end was not
    /// written yet.
    pub(crate) half_ended: Vec<SessionId>,
    /// The number of the next session.
    pub(crate) next_session: u64,
}

/// A persistent session, but for its queue.
#[derive(Debug)]
pub(crate) struct RecoveredSession {
    pub(crate) record: SessionRecord,
    pub(crate) subscriptions: Vec<Subscription>,
    /// QoS 2 received and not released.
    pub(crate) received: Vec<PacketId>,
}

impl Store {
    /// Opens the store on disk, and starts its writer. When that one fails, `failed` is called on its thread.
    pub(crate) fn open(
        options: DiskOptions,
        durability: Durability,
        pending_bytes_max: usize,
        failed: impl FnOnce(EngineError) + Send + 'static,
    ) -> Result<(Self, Recovered), OpenError> {
        let engine: Arc<dyn Engine> = Arc::new(Disk::open(options)?);
        let (store, recovered, committer) = Self::over(engine, durability, pending_bytes_max)?;
        let run = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| committer.run()));
            let panicked = || Err(EngineError::Failed("its writer has panicked".into()));
            if let Err(error) = ended.unwrap_or_else(|_| panicked()) {
                failed(error);
            }
        };
        let thread = std::thread::Builder::new().name("store".into()).spawn(run);
        let thread = thread.map_err(|why| OpenError::Engine(EngineError::Failed(why.to_string())))?;
        if let Some(kept) = &store.kept {
            *kept.thread.lock() = Some(thread);
        }
        Ok((store, recovered))
    }

    /// A store over an engine, with a writer that does not run yet.
    pub(crate) fn over(
        engine: Arc<dyn Engine>,
        durability: Durability,
        pending_bytes_max: usize,
    ) -> Result<(Self, Recovered, Committer), OpenError> {
        let clock = Clock::read();
        if engine.get(Keyspace::Meta, layout::META_IMPORT)?.is_some() {
            return Err(OpenError::Incomplete);
        }
        let last = migrate(&*engine, STEPS)?;
        let (recovered, dying) = recover(&*engine, clock)?;
        let log = Arc::new(Log::new(last.position, pending_bytes_max));
        let health = Arc::new(Health::default());
        let fold = Fold::new(clock, recovered.next_session, dying);
        let committer = Committer::new(log.clone(), engine.clone(), health.clone(), fold, last, durability);
        let (opened, readers, thread) = (last.position, AtomicUsize::new(0), parking_lot::Mutex::default());
        let kept = Kept { log, engine, health, clock, durability, opened, readers, thread };
        Ok((Self { kept: Some(kept) }, recovered, committer))
    }
}

/// Brings the store to this program's layout. Where its newest batch is then.
pub(super) fn migrate(engine: &dyn Engine, steps: &[Step]) -> Result<Last, OpenError> {
    let ours = u32::try_from(steps.len()).unwrap_or(u32::MAX).saturating_add(1);
    let mut last = engine.last()?;
    let mut commit = |ops: &Ops| -> Result<Last, EngineError> {
        let batch = Batch::new(super::Position(last.position.0 + 1), last.checksum, ops);
        engine.commit(&batch, true)?;
        last = batch.last();
        Ok(last)
    };
    let found = if let Some(value) = engine.get(Keyspace::Meta, layout::META_SCHEMA)? {
        number(&value)?
    } else {
        let schema = (Keyspace::Meta, layout::META_SCHEMA.to_vec());
        commit(&Ops::from([(schema, Some(ours.to_be_bytes().to_vec()))]))?;
        ours
    };
    if found > ours {
        return Err(OpenError::Newer { found, ours });
    }
    for schema in found..ours {
        let Some(step) = usize::try_from(schema - 1).ok().and_then(|at| steps.get(at)) else {
            return Err(OpenError::Engine(corrupt("the number of the layout")));
        };
        tracing::info!(from = schema, to = schema + 1, "the store is brought to a newer layout");
        let mark = (Keyspace::Meta, layout::META_MIGRATION.to_vec());
        let mut at = engine.get(mark.0, &mark.1)?.map(|at| at.to_vec());
        loop {
            let mut ops = Ops::new();
            at = step(engine, at.as_deref(), &mut ops)?;
            ops.insert(mark.clone(), at.clone());
            if at.is_none() {
                let schema = (schema + 1).to_be_bytes().to_vec();
                ops.insert((Keyspace::Meta, layout::META_SCHEMA.to_vec()), Some(schema));
            }
            commit(&ops)?;
            if at.is_none() {
                break;
            }
        }
    }
    Ok(last)
}

fn number(value: &Bytes) -> Result<u32, EngineError> {
    let bytes = value.as_ref().try_into().map_err(|_| corrupt("the number of the layout"))?;
    Ok(u32::from_be_bytes(bytes))
}

/// Reads what the broker keeps in memory; and the sessions whose removal is not over.
fn recover(engine: &dyn Engine, clock: Clock) -> Result<(Recovered, Vec<SessionId>), EngineError> {
    let mut recovered = Recovered::default();
    let mut dying = Vec::new();
    each(engine, Keyspace::Meta, layout::META_DYING, |key, _| {
        dying.extend(layout::parse_dying_key(&key));
        Some(())
    })?;
    each(engine, Keyspace::Meta, layout::META_KEY_USED, |key, value| {
        let opened = u64::from_be_bytes(value.as_ref().try_into().ok()?);
        recovered.keys_used.push((Bytes::copy_from_slice(layout::parse_key_used_key(&key)?), opened));
        Some(())
    })?;
    let next = engine.get(Keyspace::Meta, layout::META_NEXT_SESSION)?;
    let next =
        next.map(|next| next.as_ref().try_into().map_err(|_| corrupt("the next session"))).transpose()?;
    recovered.next_session = next.map_or(1, u64::from_be_bytes);
    let mut subscriptions: BTreeMap<SessionId, Vec<Subscription>> = BTreeMap::new();
    each(engine, Keyspace::Subscription, &[], |key, value| {
        let (session, filter) = layout::parse_subscription_key(&key)?;
        subscriptions.entry(session).or_default().push(decode_subscription(filter, value).ok()?);
        Some(())
    })?;
    let mut received: BTreeMap<SessionId, Vec<PacketId>> = BTreeMap::new();
    each(engine, Keyspace::Inbound, &[], |key, _| {
        let (session, packet_id) = layout::parse_packet_key(&key)?;
        received.entry(session).or_default().push(packet_id);
        Some(())
    })?;
    each(engine, Keyspace::Session, &[], |key, value| {
        let record = SessionRecord::decode(ByteString::try_from(key).ok()?, value).ok()?;
        let session = record.session;
        recovered.sessions.push(RecoveredSession {
            record,
            subscriptions: subscriptions.remove(&session).unwrap_or_default(),
            received: received.remove(&session).unwrap_or_default(),
        });
        Some(())
    })?;
    let left = subscriptions.into_keys().chain(received.into_keys()).collect::<BTreeSet<_>>();
    recovered.half_ended = left.into_iter().filter(|session| !dying.contains(session)).collect();
    each(engine, Keyspace::Retained, &[], |_, value| {
        recovered.retained.push(Arc::new(decode_message(value, clock).ok()?));
        Some(())
    })?;
    recover_senders(engine, &mut recovered)?;
    Ok((recovered, dying))
}

/// Reads who was enrolled, and what was taken of whom.
fn recover_senders(engine: &dyn Engine, recovered: &mut Recovered) -> Result<(), EngineError> {
    each(engine, Keyspace::Replay, &[], |key, value| {
        match layout::parse_replay_key(&key)? {
            ReplayKey::Window(sender) => {
                let window = SenderWindow::from_bytes(&value)?;
                recovered.windows.push((Bytes::copy_from_slice(sender), window));
            }
            ReplayKey::Stamp(sender, issued_at, stamp_hash) => {
                let mark = Mark::Timed { issued_at, stamp_hash };
                recovered.stamps.push((Bytes::copy_from_slice(sender), mark));
            }
        }
        Some(())
    })?;
    each(engine, Keyspace::Enrolled, &[], |key, value| {
        recovered.enrolled.push(decode_enrolled(layout::parse_enrolled_key(&key)?, value).ok()?);
        Some(())
    })
}

/// Hands over each key and value in memory of its own; `None` from `take` says that they make no sense.
fn each(
    engine: &dyn Engine,
    keyspace: Keyspace,
    prefix: &[u8],
    mut take: impl FnMut(Bytes, Bytes) -> Option<()>,
) -> Result<(), EngineError> {
    let mut sound = true;
    engine.scan(keyspace, prefix, prefix, &mut |key, value| {
        sound = take(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)).is_some();
        if sound { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if sound { Ok(()) } else { Err(corrupt(&format!("something in '{}'", keyspace.name()))) }
}

const _: () = assert!(STEPS.len() + 1 == SCHEMA as usize, "one step for each layout");
