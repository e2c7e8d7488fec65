//! The store over a disk that forgets, tears and fails: what was announced holds.

use super::batch::{Batch, Ops};
use super::layout::{self, Keyspace};
use super::simulated::{Fault, SimulatedDisk};
use super::*;
use crate::delivery::{Place, SessionId, Terms};
use crate::store::open::migrate;
use bytes::Bytes;
use parking_lot::Mutex;
use sealmq_crypto::Mark;
use sealmq_protocol::Qos;
use sealmq_protocol::packet::PacketId;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const MIB: usize = 1 << 20;

fn queued(sessions: &[u64], payload: &'static [u8]) -> Change {
    let message = Arc::new(Message::of_broker("a".parse().unwrap(), Bytes::from_static(payload)));
    let terms = Terms { qos: Qos::AtLeastOnce, ..Terms::default() };
    let to: Vec<_> = sessions.iter().map(|session| (SessionId(*session), terms.clone())).collect();
    let to = match &to[..] {
        [(session, terms)] => Receivers::One(*session, terms.clone()),
        _ => Receivers::Several(to.into()),
    };
    Change::Queued { message, to }
}

fn over(disk: &Arc<SimulatedDisk>, durability: Durability) -> (Store, Committer) {
    let (store, _, committer) = Store::over(disk.clone(), durability, MIB).unwrap();
    (store, committer)
}

#[test]
fn what_was_announced_holds_through_a_crash() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    let (_, kept) = store.append(&mut vec![queued(&[1], b"kept")]);
    committer.step().unwrap();
    assert!(store.has_reached(kept));
    let (_, lost) = store.append(&mut vec![queued(&[1], b"not written")]);
    assert!(!store.has_reached(lost));
    let disk = Arc::new(disk.crash(0, 0));
    let (store, _) = over(&disk, Durability::Sync);
    let page = store.page(SessionId(1), Position(1)).unwrap();
    let payloads: Vec<_> = page.waiting.iter().map(|waiting| waiting.message.payload().as_ref()).collect();
    assert_eq!(payloads, [b"kept"]);
}

#[test]
fn a_batch_that_was_not_synced_may_be_torn_and_is_none_then() {
    let disk = Arc::new(SimulatedDisk::default());
    let long = Durability::Async { interval: Duration::from_hours(1) };
    let (store, mut committer) = over(&disk, long);
    for _ in 0..3 {
        store.append(&mut vec![queued(&[1], b"x")]);
        committer.step().unwrap();
    }
    assert_eq!(disk.unsynced(), 3);
    for (kept, torn, found) in [(0, 10, 0), (1, 0, 1), (2, 30, 2), (3, 0, 3), (2, usize::MAX, 3)] {
        let disk = Arc::new(disk.crash(kept, torn));
        let (store, _) = over(&disk, long);
        let page = store.page(SessionId(1), Position(1)).unwrap();
        assert_eq!(page.waiting.len(), found, "{kept} batches and {torn} bytes");
    }
}

#[test]
fn nothing_is_announced_while_there_is_no_room_and_all_is_afterwards() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    disk.fault(Some(Fault::NoSpace));
    let (_, position) = store.append(&mut vec![queued(&[1], b"x")]);
    assert_eq!(committer.step(), Err(EngineError::NoSpace));
    assert!(!store.has_reached(position));
    disk.fault(None);
    committer.step().unwrap();
    assert!(store.has_reached(position));
    assert_eq!(disk.count(Keyspace::Queue), 1);
}

#[test]
fn nothing_is_announced_by_a_sync_that_fails() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    disk.fault(Some(Fault::FailedSync));
    let (_, position) = store.append(&mut vec![queued(&[1], b"x")]);
    assert!(matches!(committer.step(), Err(EngineError::Failed(_))));
    assert!(!store.has_reached(position));
}

#[test]
fn what_comes_and_goes_in_one_batch_is_not_written() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    let (_, position) = store.append(&mut vec![queued(&[1], b"x")]);
    let place = Place::new(position, false).unwrap();
    let session = SessionId(1);
    store.append_lazily(&mut vec![
        Change::Sent { session, sequence: 0, place },
        Change::Done { session, sequence: 0, place: Some(place) },
    ]);
    committer.step().unwrap();
    assert!(store.has_reached(position));
    assert_eq!((disk.count(Keyspace::Queue), disk.count(Keyspace::Inflight)), (0, 0));
}

#[test]
fn a_shared_message_goes_with_its_last_receiver_and_not_before() {
    const BODY: &[u8] = &[7; 100];
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    let (_, position) = store.append(&mut vec![queued(&[1, 2], BODY)]);
    committer.step().unwrap();
    let place = Place::new(position, true).unwrap();
    let removed = |session| Change::Removed { session: SessionId(session), place };
    // Twice by the same one counts once.
    store.append(&mut vec![removed(1), removed(1)]);
    committer.step().unwrap();
    store.append(&mut vec![removed(1)]);
    committer.step().unwrap();
    assert_eq!(store.page(SessionId(2), Position(1)).unwrap().waiting.len(), 1);
    store.append(&mut vec![removed(2)]);
    committer.step().unwrap();
    let of = |keyspace| disk.count(keyspace);
    assert_eq!([Keyspace::Queue, Keyspace::Message, Keyspace::Refs].map(of), [0, 0, 0]);
}

#[test]
fn a_session_that_ends_leaves_nothing_however_much_it_had() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    for _ in 0..2_500 {
        store.append(&mut vec![queued(&[1, 2], &[7; 100])]);
    }
    committer.step().unwrap();
    let client_id = "dev".into();
    store.append(&mut vec![Change::SessionEnded { session: SessionId(1), client_id }]);
    committer.step().unwrap();
    // Half way through it stops, and the next start goes on.
    let disk = Arc::new(disk.crash(0, 0));
    let (_store, mut committer) = over(&disk, Durability::Sync);
    for _ in 0..4 {
        committer.step().unwrap();
    }
    assert_eq!((disk.count(Keyspace::Queue), disk.count(Keyspace::Message)), (2_500, 2_500));
    assert!(disk.get(Keyspace::Meta, &layout::dying_key(SessionId(1))).unwrap().is_none());
}

#[test]
fn a_slice_of_what_is_left_begins_where_the_one_before_it_ended() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    store.append(&mut (0..2_500).map(|_| queued(&[1], b"x")).collect());
    store.append(&mut vec![Change::SessionEnded { session: SessionId(1), client_id: "dev".into() }]);
    committer.step().unwrap();
    let mut slice = || {
        committer.step().unwrap();
        (disk.count(Keyspace::Queue), disk.begun(Keyspace::Queue).unwrap())
    };
    // What is gone would be walked over again by each, as long as the disk remembers it.
    let slices = [slice(), slice(), slice()];
    assert_eq!(slices.each_ref().map(|(left, _)| *left), [1_500, 500, 0]);
    let [first, second, third] =
        slices.map(|(_, begun)| layout::parse_queue_key(&begun[..16.min(begun.len())]));
    assert_eq!(first, None, "at the session");
    // Positions begin behind that of the layout.
    assert_eq!([second, third].map(|key| key.unwrap().1), [1_001, 2_001]);
}

#[test]
fn what_somebody_waits_for_does_not_wait_for_a_long_slice() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    store.append(&mut (0..500).map(|_| queued(&[1], b"x")).collect());
    store.append(&mut vec![Change::SessionEnded { session: SessionId(1), client_id: "dev".into() }]);
    committer.step().unwrap();
    store.append(&mut vec![queued(&[2], b"x")]);
    committer.step().unwrap();
    assert_eq!(disk.count(Keyspace::Queue), 400 + 1);
    committer.step().unwrap();
    assert_eq!(disk.count(Keyspace::Queue), 1);
}

#[test]
fn what_cannot_be_read_of_a_session_that_has_ended_stays_and_all_else_goes_on() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    let (session, packet_id) = (SessionId(1), PacketId::MIN);
    store.append(&mut vec![queued(&[1, 2], &[7; 100]), Change::Received { session, packet_id }]);
    store.append(&mut vec![Change::SessionEnded { session, client_id: "dev".into() }]);
    committer.step().unwrap();
    disk.damage(Some(Keyspace::Queue));
    for _ in 0..3 {
        let (_, position) = store.append(&mut vec![queued(&[3], b"x")]);
        committer.step().unwrap();
        assert!(store.has_reached(position));
    }
    assert_eq!(disk.count(Keyspace::Inbound), 0);
    let mark = layout::dying_key(session);
    assert!(disk.get(Keyspace::Meta, &mark).unwrap().is_some());
    // The next start tries again, and may find it mended.
    let disk = Arc::new(disk.crash(0, 0));
    let (_store, mut committer) = over(&disk, Durability::Sync);
    committer.step().unwrap();
    assert_eq!((disk.count(Keyspace::Queue), disk.count(Keyspace::Message)), (1 + 3, 1));
    assert!(disk.get(Keyspace::Meta, &mark).unwrap().is_none());
}

#[test]
fn a_shared_message_stays_where_nobody_can_tell_who_has_it() {
    for damaged in [Keyspace::Queue, Keyspace::Refs] {
        let disk = Arc::new(SimulatedDisk::default());
        let (store, mut committer) = over(&disk, Durability::Sync);
        let (_, position) = store.append(&mut vec![queued(&[1, 2], &[7; 100])]);
        committer.step().unwrap();
        let disk = Arc::new(disk.crash(0, 0));
        let (store, mut committer) = over(&disk, Durability::Sync);
        let place = Place::new(position, true).unwrap();
        disk.damage(Some(damaged));
        store.append(&mut vec![Change::Removed { session: SessionId(1), place }]);
        committer.step().unwrap();
        disk.damage(None);
        assert_eq!(store.page(SessionId(1), Position(1)).unwrap().waiting.len(), 0);
        assert_eq!(store.page(SessionId(2), Position(1)).unwrap().waiting.len(), 1, "{damaged:?}");
    }
}

#[test]
fn what_came_after_the_start_is_not_found_as_what_was_there() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    store.append(&mut vec![queued(&[1], b"old"), queued(&[2], b"old")]);
    committer.step().unwrap();
    let disk = Arc::new(disk.crash(0, 0));
    let (store, mut committer) = over(&disk, Durability::Sync);
    store.append(&mut vec![queued(&[1], b"new"), queued(&[3], b"new")]);
    committer.step().unwrap();
    let mut found = Vec::new();
    let next = store.walk_queues((SessionId(0), Position::START), &mut |session, _, _| found.push(session.0));
    assert_eq!((next, found), (Ok(None), vec![1, 2]));
}

/// The only worker of the runtime reads, and what it reads takes until another task has run.
#[test]
fn a_page_that_takes_its_time_holds_up_no_other_task() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, _) = over(&disk, Durability::Sync);
    let (open, gate) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    disk.gate(gate);
    let read = async move {
        tokio::spawn(async move { open.send(()).unwrap() });
        store.page(SessionId(1), Position(1)).unwrap().waiting.len()
    };
    assert_eq!(runtime.block_on(async { tokio::spawn(read).await.unwrap() }), 0);
}

#[test]
fn a_will_goes_with_its_session_only() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    let record = |session| {
        let will = sealmq_protocol::packet::Will {
            topic: "w".parse().unwrap(),
            payload: Bytes::new(),
            qos: Qos::AtLeastOnce,
            retain: false,
            delay_s: 0,
            message_expiry_s: None,
            properties: None,
        };
        let identity = crate::auth::Identity::Claimed(None);
        let will = Some(KeptWill { due_ms: None, identity, will });
        let (client_id, held) = ("dev".into(), Held::Connected);
        SessionRecord { session: SessionId(session), client_id, user: None, expiry: None, held, will }
    };
    let gone = |session| Change::WillGone { session: SessionId(session), client_id: "dev".into() };
    // The client's next session has one of its own.
    store.append(&mut vec![Change::Session(Box::new(record(2))), gone(1)]);
    committer.step().unwrap();
    let will = |disk: &SimulatedDisk| {
        let kept = disk.get(Keyspace::Session, b"dev").unwrap().unwrap();
        SessionRecord::decode("dev".into(), kept).unwrap().will
    };
    assert!(will(&disk).is_some());
    store.append(&mut vec![gone(2)]);
    committer.step().unwrap();
    assert!(will(&disk).is_none());
}

#[test]
fn the_number_of_a_session_that_ended_before_it_was_kept_is_not_given_again() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    let client_id = "dev".into();
    store.append(&mut vec![Change::SessionEnded { session: SessionId(7), client_id }]);
    committer.step().unwrap();
    let disk = Arc::new(disk.crash(0, 0));
    let (_, recovered, _) = Store::over(disk, Durability::Sync, MIB).unwrap();
    assert_eq!(recovered.next_session, 8);
}

#[test]
fn an_older_layout_is_migrated_and_goes_on_where_it_stopped() {
    fn step(engine: &dyn Engine, at: Option<&[u8]>, ops: &mut Ops) -> Result<Option<Vec<u8>>, EngineError> {
        let slice = at.and_then(|at| at.first().copied()).unwrap_or(0);
        let key = (Keyspace::Retained, vec![slice]);
        assert!(engine.get(key.0, &key.1)?.is_none(), "a slice is done once");
        ops.insert(key, Some(vec![slice]));
        Ok((slice < 2).then(|| vec![slice + 1]))
    }
    let disk = SimulatedDisk::default();
    migrate(&disk, &[]).unwrap();
    migrate(&disk, &[step]).unwrap();
    assert_eq!(disk.count(Keyspace::Retained), 3);
    migrate(&disk, &[step]).unwrap();
    assert_eq!(migrate(&disk, &[]), Err(OpenError::Newer { found: 2, ours: 1 }));
}

#[test]
fn stamps_that_would_not_pass_any_more_are_forgotten_and_still_do_not() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    let sender = Bytes::from_static(b"dev");
    let taken = |mark| Change::Taken { sender: sender.clone(), mark: Box::new(mark) };
    for n in 0..4 {
        store.append(&mut vec![taken(Mark::Timed { issued_at: 100 + n, stamp_hash: [7; 32] })]);
    }
    store.append(&mut vec![taken(Mark::Seq(5))]);
    committer.step().unwrap();
    assert_eq!(disk.count(Keyspace::Replay), 5);
    store.append(&mut vec![Change::Forgotten { sender: sender.clone(), through: 102 }]);
    committer.step().unwrap();
    assert_eq!(disk.count(Keyspace::Replay), 2, "one stamp, and the window");
    let disk = Arc::new(disk.crash(0, 0));
    let (_, recovered, _) = Store::over(disk, Durability::Sync, MIB).unwrap();
    let windows = sealmq_crypto::ReplayWindows::new(10);
    recovered.windows.into_iter().for_each(|(sender, window)| windows.restore(&sender, window));
    assert_eq!(windows.forgotten_through(&sender), Some(102));
    assert_eq!(recovered.stamps, [(sender, Mark::Timed { issued_at: 103, stamp_hash: [7; 32] })]);
}

#[test]
fn how_much_a_key_has_opened_is_kept_and_forgotten() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    let used = |id: &'static str, opened| Change::KeyUsed { key_id: id.into(), opened };
    store.append_lazily(&mut vec![used("a", 1), used("b", u64::MAX), used("a", 2), used("c", 3)]);
    committer.step().unwrap();
    store.append_lazily(&mut vec![used("c", 0), used("d", 0)]);
    committer.step().unwrap();
    let (_, recovered, _) = Store::over(Arc::new(disk.crash(0, 0)), Durability::Sync, MIB).unwrap();
    assert_eq!(recovered.keys_used, [("a".into(), 2), ("b".into(), u64::MAX)]);
}

#[test]
fn a_retained_message_that_expired_goes_and_one_that_was_set_since_stays() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, mut committer) = over(&disk, Durability::Sync);
    let long_ago = std::time::Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
    let retained = |topic: &str, seconds| {
        let message = Arc::new(Message::expiring_for_tests(topic, "x", seconds, long_ago));
        Change::Retained { topic: topic.parse().unwrap(), message: Some(message) }
    };
    store.append(&mut vec![retained("a", 1), retained("b", 1_000)]);
    committer.step().unwrap();
    let expired = |topic: &str| Change::RetainedExpired { topic: topic.parse().unwrap() };
    store.append_lazily(&mut vec![expired("a"), expired("b"), expired("c")]);
    committer.step().unwrap();
    assert!(disk.get(Keyspace::Retained, b"a").unwrap().is_none());
    assert!(disk.get(Keyspace::Retained, b"b").unwrap().is_some());
}

/// A disk that notes whether its caller is watched.
#[derive(Default)]
struct Asking {
    disk: SimulatedDisk,
    health: OnceLock<Arc<Health>>,
    asked: Mutex<BTreeMap<&'static str, bool>>,
}

impl Asking {
    fn note(&self, call: &'static str) {
        // Before that the store is being opened.
        if let Some(health) = self.health.get() {
            *self.asked.lock().entry(call).or_insert(true) &= health.is_at_work();
        }
    }
}

impl Engine for Asking {
    fn commit(&self, batch: &Batch, sync: bool) -> Result<(), EngineError> {
        self.note("commit");
        self.disk.commit(batch, sync)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.note("sync");
        self.disk.sync()
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.note("get");
        self.disk.get(keyspace, key)
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        from: &[u8],
        visit: engine::Visit<'_>,
    ) -> Result<(), EngineError> {
        self.disk.scan(keyspace, prefix, from, visit)
    }

    fn make_room(&self, batch: Option<&Batch>) -> bool {
        self.disk.make_room(batch)
    }

    fn reopen(&self) -> Result<(), EngineError> {
        self.note("reopen");
        self.disk.reopen()
    }

    fn tidy(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn report(&self) -> Report {
        Report::default()
    }
}

/// Whatever the writer asks of its disk can take long, and is said then.
#[test]
fn all_that_the_writer_does_is_watched() {
    let disk = Arc::new(Asking::default());
    let at_once = Durability::Async { interval: Duration::ZERO };
    let (store, _, committer) = Store::over(disk.clone(), at_once, MIB).unwrap();
    disk.health.set(store.kept.as_ref().unwrap().health.clone()).unwrap();
    let writer = std::thread::spawn(move || committer.run());
    let applied = |position| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.applied(position));
    };
    let (_, position) = store.append(&mut vec![queued(&[1, 2], &[7; 100])]);
    store.kick();
    applied(position);
    disk.disk.fault(Some(Fault::NoSpace));
    let place = Place::new(position, true).unwrap();
    let (_, position) = store.append(&mut vec![Change::Removed { session: SessionId(1), place }]);
    store.kick();
    while !store.has_no_space() {
        std::thread::yield_now();
    }
    disk.disk.fault(None);
    applied(position);
    store.close();
    writer.join().unwrap().unwrap();
    let asked: Vec<_> = disk.asked.lock().clone().into_iter().collect();
    assert_eq!(asked, [("commit", true), ("get", true), ("reopen", true), ("sync", true)]);
}
