//! The engine on a real disk.

use super::super::Position;
use super::super::batch::Ops;
use super::*;

fn options(path: &Path) -> DiskOptions {
    DiskOptions { path: path.to_owned(), cache_bytes: 1 << 20, ballast_bytes: 0, accept_loss: false }
}

fn queue_key(n: u64) -> (Keyspace, Vec<u8>) {
    (Keyspace::Queue, n.to_be_bytes().to_vec())
}

/// Writes batch after batch, each of them synced.
struct Writer<'a> {
    disk: &'a Disk,
    last: Last,
}

impl<'a> Writer<'a> {
    fn new(disk: &'a Disk) -> Self {
        Self { disk, last: disk.last().unwrap() }
    }

    fn write(&mut self, ops: &Ops) {
        let batch = Batch::new(Position(self.last.position.0 + 1), self.last.checksum, ops);
        self.disk.commit(&batch, true).unwrap();
        self.last = batch.last();
    }
}

#[test]
fn space_is_given_back_once_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(options(folder.path())).unwrap();
    let mut writer = Writer::new(&disk);
    // What comes after the keys are put shares no batch with them, as in the broker.
    for value in [Some(vec![7; 1_024]), None] {
        for slice in 0..40 {
            let ops = (0..1_000).map(|n| (queue_key(slice * 1_000 + n), value.clone()));
            writer.write(&ops.collect());
        }
    }
    disk.tidy().unwrap();
    let left = bytes_under(&folder.path().join("keyspaces"));
    assert!(left < 1 << 20, "{left} bytes of tables for nothing");
}

fn bytes_under(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = |entry: std::fs::DirEntry| match entry.metadata().unwrap() {
        file if file.is_dir() => bytes_under(&entry.path()),
        file => file.len(),
    };
    entries.map(bytes).sum()
}

#[test]
fn a_store_that_was_put_back_is_refused() {
    let (folder, before) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("store");
    let disk = Disk::open(options(&path)).unwrap();
    let mut writer = Writer::new(&disk);
    writer.write(&Ops::from([(queue_key(1), Some(vec![1]))]));
    drop(disk);
    let copy = |from: &Path, to: &Path| {
        assert!(std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
    };
    copy(&path, &before.path().join("store"));
    let disk = Disk::open(options(&path)).unwrap();
    let mut writer = Writer::new(&disk);
    writer.write(&Ops::from([(queue_key(2), Some(vec![1]))]));
    drop(disk);
    let old = before.path().join("store");
    std::fs::copy(path.join("tip"), old.join("tip")).unwrap();
    let refused = Disk::open(options(&old)).err();
    assert_eq!(refused, Some(OpenError::Missing { missing: 1, found: 1, known: 2 }));
    let accepted = DiskOptions { accept_loss: true, ..options(&old) };
    assert_eq!(Disk::open(accepted).unwrap().last().unwrap().position, Position(1));
    assert!(Disk::open(options(&old)).is_ok(), "what was accepted once is known from then on");
}

#[test]
fn one_process_has_a_store_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(options(folder.path())).unwrap();
    assert_eq!(Disk::open(options(folder.path())).err(), Some(OpenError::InUse));
    drop(disk);
    assert!(Disk::open(options(folder.path())).is_ok());
}
