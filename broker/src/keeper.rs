//! What looks after the store: opens it at the start, counts what waits in it, and gives back what is not
//! needed any more. Runs on a thread of its own, since the disk takes its time.

use crate::broker::Broker;
use crate::delivery::SessionId;
use crate::error::StartError;
use crate::mailbox::Mailbox;
use crate::store::{Change, DiskOptions, Durability, EngineError, Position, Recovered, Store};
use bytes::Bytes;
use sealmq_config::Config;
use sealmq_config::storage;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Between two looks at what can be given back.
const LOOKS: Duration = Duration::from_secs(5);
/// The exit status of a process whose store failed.
const FAILED: i32 = 74;

/// Opens the store that the configuration asks for.
pub(crate) fn open(config: &Config, accept_loss: bool) -> Result<(Store, Recovered), StartError> {
    let storage = &config.storage;
    let durability = match storage.durability {
        storage::Durability::Memory => return Ok((Store::memory(), Recovered::default())),
        storage::Durability::Async => {
            Durability::Async { interval: Duration::from_millis(storage.async_interval_ms) }
        }
        storage::Durability::Sync => Durability::Sync,
    };
    let path = storage.folder(&config.data_dir);
    let options = DiskOptions {
        path: path.clone(),
        cache_bytes: storage.cache_bytes,
        ballast_bytes: storage.ballast_bytes,
        accept_loss,
    };
    let opened = Store::open(options, durability, storage.pending_bytes_max, |error| fail(&error));
    let (store, recovered) =
        opened.map_err(|why| StartError::file(&path, format!("the store cannot be opened: {why}")))?;
    tracing::info!(
        path = %path.display(), sessions = recovered.sessions.len(), retained = recovered.retained.len(),
        "the store is open"
    );
    Ok((store, recovered))
}

/// The store has failed: what was not acknowledged is not promised, and what the system still has in memory
/// is not to be trusted. A new start reads what is on disk.
fn fail(error: &EngineError) {
    tracing::error!("the store has failed, and with it the broker ends: {error}");
    std::process::exit(FAILED);
}

/// Looks after the store until `ended` is closed.
pub(crate) fn run(broker: &Broker, ended: &Receiver<()>) {
    let mailboxes: HashMap<SessionId, Arc<Mailbox>> = broker.registry.mailboxes().into_iter().collect();
    let mut told = HashMap::new();
    let mut counting = Some(((SessionId(0), Position::START), mailboxes));
    loop {
        // Counted in slices, and before anything else: bounds hold by it.
        let wait = if counting.is_some() { Duration::ZERO } else { LOOKS };
        match ended.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let done = if let Some((from, mailboxes)) = counting.take() {
            count(broker, &mailboxes, from).map(|next| counting = next.map(|next| (next, mailboxes)))
        } else {
            forget(broker, &mut told);
            trim(broker).and_then(|()| broker.store.tidy())
        };
        if let Err(error) = done {
            tracing::warn!("the store could not be looked after: {error}");
        }
    }
}

/// Counts a slice of what waits in the store since before the start.
fn count(
    broker: &Broker,
    mailboxes: &HashMap<SessionId, Arc<Mailbox>>,
    from: (SessionId, Position),
) -> Result<Option<(SessionId, Position)>, EngineError> {
    let mut found: Vec<(SessionId, usize, usize)> = Vec::new();
    let next = broker.store.walk_queues(from, &mut |session, _, bytes| match found.last_mut() {
        Some((last, messages, all)) if *last == session => {
            *messages += 1;
            *all += bytes;
        }
        Some(_) | None => found.push((session, 1, bytes)),
    })?;
    for (session, messages, bytes) in found {
        if let Some(mailbox) = mailboxes.get(&session) {
            mailbox.found(messages, bytes);
        }
    }
    Ok(next)
}

/// Lets the store forget the timed stamps that are not taken any more, since their time is over.
fn forget(broker: &Broker, told: &mut HashMap<Bytes, u64>) {
    let senders = broker.replay.sender_ids();
    told.retain(|sender, _| senders.binary_search(sender).is_ok());
    for sender in senders {
        let Some(through) = broker.replay.forgotten_through(&sender) else { continue };
        if told.insert(sender.clone(), through) != Some(through) {
            broker.store.append_lazily(&mut vec![Change::Forgotten { sender, through }]);
        }
    }
}

/// Drops the oldest messages of those who are away and have too many.
fn trim(broker: &Broker) -> Result<(), EngineError> {
    for mailbox in broker.registry.overdue() {
        let session = mailbox.session();
        let mut from = mailbox.oldest();
        while mailbox.owes() {
            let page = broker.store.page(session, from)?;
            let mut changes = Vec::new();
            for waiting in page.waiting {
                let size = waiting.message.size();
                if !mailbox.pay(size) {
                    break;
                }
                mailbox.removed(1, size);
                changes.push(Change::Removed { session, place: waiting.place });
            }
            broker.store.append_lazily(&mut changes);
            if page.is_last {
                break;
            }
            from = Position(page.through.0 + 1);
        }
    }
    Ok(())
}
