//! What looks after the store: opens it at the start, counts what waits in it, and gives back what is not
//! needed any more. Runs on a thread of its own, since the disk takes its time.

use crate::broker::Broker;
use crate::delivery::SessionId;
use crate::error::StartError;
use crate::files;
use crate::mailbox::Mailbox;
use crate::store::{Change, DiskOptions, Durability, EngineError, Position, Recovered, Store};
use bytes::Bytes;
use sealmq_config::Config;
use sealmq_config::storage;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

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
    if files::others_may_enter(&path) {
        tracing::warn!(path = %path.display(), "others than its owner may enter the store's folder; chmod 700 it");
    }
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
            broker.settle_windows(Some(Instant::now()));
            forget(broker, &mut told);
            broker.keep_keys_used();
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
        // The rest at the next look, once what this removes is written.
        while mailbox.owes() && broker.store.has_room() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Subscription;
    use crate::ingress::message::Message;
    use crate::registry::{Claim, Claimed};
    use crate::router::Turn;
    use crate::rulebook::Rulebook;
    use crate::store::Committer;
    use crate::store::layout::Keyspace;
    use crate::store::simulated::SimulatedDisk;
    use sealmq_config::limits::QueueFull;
    use sealmq_protocol::Qos;
    use sealmq_protocol::packet::SubscriptionOptions;
    use std::time::Instant;

    /// A broker with one session, that is away and may keep 100 messages, the newest.
    async fn broker(pending: usize) -> (Broker, Arc<SimulatedDisk>, Committer, SessionId) {
        let mut config = Config::default();
        config.limits.queue_messages_max = 100;
        config.limits.queue_full = QueueFull::DropOldest;
        let disk = Arc::new(SimulatedDisk::default());
        let (store, recovered, committer) = Store::over(disk.clone(), Durability::Sync, pending).unwrap();
        let rulebook = Rulebook::for_tests(&config);
        let broker = Broker::new(&config, &rulebook, Arc::new(store), recovered);
        let claim = Claim { client_id: &"dev".into(), user: None, clean_start: true, persistent: true };
        let Claimed { mut session, mailbox, .. } = broker.registry.claim(claim).await.unwrap();
        session.resume_expiry(None);
        let (filter, options) = ("t".parse().unwrap(), SubscriptionOptions::of(Qos::AtLeastOnce));
        broker.router.subscribe(&mailbox, &[Subscription { filter, options, id: None, is_new: true }]);
        let id = session.id();
        broker.registry.release(session, &mailbox, None, Instant::now());
        (broker, disk, committer, id)
    }

    /// Publishes, and has it written. How many were dropped for it.
    fn publish(broker: &Broker, committer: &mut Committer, messages: usize) -> u64 {
        let before = broker.metrics.publish_dropped.value();
        for _ in 0..messages {
            let mut turn = Turn::default();
            let message = Message::expiring_for_tests("t", "x", 1_000, Instant::now());
            broker.router.route(&Arc::new(message), &mut turn);
            broker.router.end_turn(&mut turn);
        }
        committer.step().unwrap();
        broker.metrics.publish_dropped.value() - before
    }

    #[tokio::test]
    async fn the_oldest_go_of_one_that_is_away_and_has_too_many() {
        let (broker, disk, mut committer, session) = broker(1 << 20).await;
        assert_eq!(publish(&broker, &mut committer, 300), 200);
        assert_eq!(disk.count(Keyspace::Queue), 300);
        let newest = broker.store.written();
        trim(&broker).unwrap();
        committer.step().unwrap();
        assert_eq!(disk.count(Keyspace::Queue), 100);
        let first = broker.store.page(session, Position(1)).unwrap().waiting[0].place.position();
        assert_eq!(first, Position(newest.0 - 99), "the newest stay");
        // What went counts no longer: as many as before may come.
        assert_eq!(publish(&broker, &mut committer, 1), 1);
        trim(&broker).unwrap();
        committer.step().unwrap();
        assert_eq!(disk.count(Keyspace::Queue), 100);
    }

    #[tokio::test]
    async fn no_more_is_removed_at_once_than_may_be_pending() {
        let (broker, disk, mut committer, _) = broker(10_000).await;
        publish(&broker, &mut committer, 1_000);
        assert_eq!(disk.count(Keyspace::Queue), 1_000);
        trim(&broker).unwrap();
        let pending = broker.store.pending_bytes();
        assert!((10_000..20_000).contains(&pending), "a page more than may be: {pending}");
        let mut looks = 1;
        while disk.count(Keyspace::Queue) > 100 {
            committer.step().unwrap();
            trim(&broker).unwrap();
            looks += 1;
        }
        assert!(looks > 5 && disk.count(Keyspace::Queue) == 100);
    }
}
