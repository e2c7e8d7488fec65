//! A device on which little is free, as far as the disk can tell.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A disk, and what it is told of its device.
fn disk(path: &Path, free: u64) -> (Disk, Arc<AtomicU64>) {
    let free = Arc::new(AtomicU64::new(free));
    let mut disk = Disk::open(options(path)).unwrap();
    let told = free.clone();
    disk.room = Room::on(path, 0, move |_| told.load(Ordering::Relaxed));
    (disk, free)
}

fn batch(position: u64, value: Option<Vec<u8>>) -> Batch {
    Batch::new(Position(position), 0, &Ops::from([(queue_key(1), value)]))
}

#[test]
fn what_fails_is_no_want_of_room() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, free) = disk(folder.path(), 10 * MIB);
    let failed = || fjall::Error::Io(io::Error::from_raw_os_error(5));
    let full = || fjall::Error::Io(io::ErrorKind::StorageFull.into());
    assert!(matches!(disk.judge(failed()), EngineError::Failed(_)));
    assert_eq!(disk.judge(full()), EngineError::NoSpace);
    // Of what failed before nobody tells why.
    assert_eq!(disk.judge(fjall::Error::Poisoned), EngineError::NoSpace);
    free.store(100 * MIB, Ordering::Relaxed);
    assert!(matches!(disk.judge(fjall::Error::Poisoned), EngineError::Failed(_)));
}

#[test]
fn there_is_room_again_when_the_batch_that_waits_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, free) = disk(folder.path(), 36 * MIB);
    let large = batch(1, Some(vec![7; 4 << 20]));
    for mib in [20, 33, 40] {
        free.store(mib * MIB, Ordering::Relaxed);
        assert_eq!(disk.commit(&large, true), Err(EngineError::NoSpace), "{mib}");
        assert!(!disk.make_room(Some(&large)), "{mib}");
    }
    free.store(41 * MIB, Ordering::Relaxed);
    assert!(disk.make_room(Some(&large)));
    disk.reopen().unwrap();
    disk.commit(&large, true).unwrap();
    // What leads to less needs less.
    free.store(9 * MIB, Ordering::Relaxed);
    let removal = batch(2, None);
    assert!(disk.make_room(Some(&removal)) && !disk.make_room(None));
    disk.commit(&removal, true).unwrap();
}

#[test]
fn a_disk_that_has_not_failed_stays_open() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, _) = disk(folder.path(), 20 * MIB);
    assert_eq!(disk.commit(&batch(1, Some(vec![7])), true), Err(EngineError::NoSpace));
    std::thread::scope(|scope| {
        let _reading = disk.handles().unwrap();
        let (done, waits) = mpsc::channel();
        let disk = &disk;
        scope.spawn(move || done.send(disk.reopen()));
        // It would wait for whoever reads.
        assert_eq!(waits.recv_timeout(Duration::from_secs(10)), Ok(Ok(())));
    });
}
