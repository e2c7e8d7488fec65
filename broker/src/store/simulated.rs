//! A disk for tests, in memory: what was not synced is forgotten when it crashes, the last batch may be torn,
//! a sync can fail, and it can be full.

use super::batch::Batch;
use super::engine::{Engine, EngineError, Report, Visit};
use super::layout::{Keyspace, META_LAST};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::Duration;

type Values = BTreeMap<(Keyspace, Vec<u8>), Bytes>;

/// What goes wrong with the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no room for it.
    NoSpace,
    /// It is written; nobody knows whether it holds.
    FailedSync,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct SimulatedDisk {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What is seen.
    values: Values,
    /// What holds, and the batches behind it, as bytes.
    synced: Values,
    unsynced: Vec<Vec<u8>>,
    fault: Option<Fault>,
    /// Of which nothing can be read.
    damaged: Option<Keyspace>,
    /// Where the newest look into each keyspace began.
    begun: BTreeMap<Keyspace, Vec<u8>>,
    /// What the next look waits for.
    gate: Option<Receiver<()>>,
}

fn apply(values: &mut Values, batch: &Batch) {
    for op in batch.ops() {
        let key = (op.keyspace, op.key.to_vec());
        match op.value {
            Some(value) => values.insert(key, Bytes::copy_from_slice(value)),
            None => values.remove(&key),
        };
    }
    let last = Bytes::copy_from_slice(&batch.last().to_bytes());
    values.insert((Keyspace::Meta, META_LAST.to_vec()), last);
}

impl SimulatedDisk {
    /// The next batch meets this, until it is taken back.
    pub(crate) fn fault(&self, fault: Option<Fault>) {
        self.inner.lock().fault = fault;
    }

    /// The process and the machine end: of what was not synced, `kept` batches hold, and of the next one
    /// `torn` bytes. What is found afterwards.
    pub(crate) fn crash(&self, kept: usize, torn: usize) -> Self {
        let inner = self.inner.lock();
        let mut synced = inner.synced.clone();
        for bytes in inner.unsynced.iter().take(kept) {
            apply(&mut synced, &Batch::decode(bytes.clone()).expect("a whole batch is one"));
        }
        if let Some(bytes) = inner.unsynced.get(kept) {
            let part = bytes.get(..torn.min(bytes.len())).unwrap_or_default();
            // A torn batch is none, and nothing behind it is looked at.
            if let Ok(batch) = Batch::decode(part.to_vec()) {
                apply(&mut synced, &batch);
            }
        }
        let found = Inner { values: synced.clone(), synced, ..Inner::default() };
        Self { inner: Mutex::new(found) }
    }

    /// Nothing of a keyspace can be read, until this is taken back.
    pub(crate) fn damage(&self, keyspace: Option<Keyspace>) {
        self.inner.lock().damaged = keyspace;
    }

    /// The key at which the newest look into a keyspace began.
    pub(crate) fn begun(&self, keyspace: Keyspace) -> Option<Vec<u8>> {
        self.inner.lock().begun.get(&keyspace).cloned()
    }

    /// The next look takes until something comes here.
    pub(crate) fn gate(&self, gate: Receiver<()>) {
        self.inner.lock().gate = Some(gate);
    }

    fn readable(&self, keyspace: Keyspace) -> Result<(), EngineError> {
        let is_damaged = self.inner.lock().damaged == Some(keyspace);
        if is_damaged { Err(EngineError::Corrupt("injected".into())) } else { Ok(()) }
    }

    /// Syncs what is written. Whether that went well.
    pub(crate) fn sync_now(&self) -> bool {
        self.sync().is_ok()
    }

    /// Batches that were not synced.
    pub(crate) fn unsynced(&self) -> usize {
        self.inner.lock().unsynced.len()
    }

    /// How many keys a keyspace has.
    pub(crate) fn count(&self, keyspace: Keyspace) -> usize {
        self.inner.lock().values.keys().filter(|(of, _)| *of == keyspace).count()
    }
}

impl Engine for SimulatedDisk {
    fn commit(&self, batch: &Batch, sync: bool) -> Result<(), EngineError> {
        let fault = self.inner.lock().fault;
        if fault == Some(Fault::NoSpace) {
            return Err(EngineError::NoSpace);
        }
        assert_eq!(batch.previous(), self.last()?.checksum, "each batch names the one before it");
        {
            let mut inner = self.inner.lock();
            apply(&mut inner.values, batch);
            inner.unsynced.push(batch.as_bytes().to_vec());
        }
        if sync { self.sync() } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut inner = self.inner.lock();
        if inner.fault == Some(Fault::FailedSync) {
            return Err(EngineError::Failed("injected".into()));
        }
        let inner = &mut *inner;
        for bytes in inner.unsynced.drain(..) {
            apply(&mut inner.synced, &Batch::decode(bytes).expect("a whole batch is one"));
        }
        Ok(())
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.readable(keyspace)?;
        Ok(self.inner.lock().values.get(&(keyspace, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        from: &[u8],
        visit: Visit<'_>,
    ) -> Result<(), EngineError> {
        self.readable(keyspace)?;
        let gate = self.inner.lock().gate.take();
        if let Some(gate) = gate {
            gate.recv_timeout(Duration::from_secs(10)).expect("what a look waits for comes meanwhile");
        }
        let mut inner = self.inner.lock();
        inner.begun.insert(keyspace, from.to_vec());
        for ((of, key), value) in inner.values.range((keyspace, from.to_vec())..) {
            if *of != keyspace || !key.starts_with(prefix) || visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn make_room(&self, _batch: Option<&Batch>) -> bool {
        self.inner.lock().fault != Some(Fault::NoSpace)
    }

    fn reopen(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn tidy(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn report(&self) -> Report {
        Report::default()
    }
}
