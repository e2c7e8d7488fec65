//! The engine on a real disk.

mod journals;
mod room;

use super::super::Position;
use super::super::batch::Ops;
use super::*;
use std::path::Path;

fn options(path: &Path) -> DiskOptions {
    DiskOptions { path: path.to_owned(), cache_bytes: 1 << 20, ballast_bytes: 0, accept_loss: false }
}

fn queue_key(n: u64) -> (Keyspace, Vec<u8>) {
    (Keyspace::Queue, n.to_be_bytes().to_vec())
}

/// 256 bytes that tell which key they belong to.
fn body(n: u64) -> Vec<u8> {
    n.to_be_bytes().repeat(32)
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

/// Queues 40,000 messages of a session and removes them, in slices that share no batch, as in the broker.
fn fill_and_drain(writer: &mut Writer<'_>) {
    for value in [Some(vec![7; 1_024]), None] {
        for slice in 0..40 {
            let ops = (0..1_000).map(|n| (queue_key(slice * 1_000 + n), value.clone()));
            writer.write(&ops.collect());
        }
    }
}

#[test]
fn space_is_given_back_though_something_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(options(folder.path())).unwrap();
    let mut writer = Writer::new(&disk);
    for n in 50_000..50_010 {
        writer.write(&Ops::from([(queue_key(n), Some(body(n)))]));
    }
    fill_and_drain(&mut writer);
    let tables = || bytes_under(&folder.path().join("keyspaces"));
    assert!(tables() > 10 << 20);
    disk.tidy().unwrap();
    assert!(tables() < 1 << 20, "{} bytes of tables for ten messages", tables());
    // The same, where a kill came before it.
    fill_and_drain(&mut writer);
    drop(disk);
    let disk = Disk::open(options(folder.path())).unwrap();
    disk.tidy().unwrap();
    assert!(tables() < 1 << 20, "{} bytes of tables for ten messages", tables());
    for n in 50_000..50_010 {
        let (keyspace, key) = queue_key(n);
        assert_eq!(disk.get(keyspace, &key).unwrap().unwrap(), body(n));
    }
}

#[test]
fn what_mostly_stays_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(options(folder.path())).unwrap();
    let mut writer = Writer::new(&disk);
    for slice in 0..20 {
        let ops = (0..1_000).map(|n| (queue_key(slice * 1_000 + n), Some(vec![7; 1_024])));
        writer.write(&ops.collect());
    }
    let remove = |writer: &mut Writer<'_>, of: std::ops::Range<u64>| {
        writer.write(&of.map(|n| (queue_key(n), None)).collect());
    };
    let wasted = || -> Vec<Keyspace> {
        let waste = disk.removed.waste(&disk.handles().unwrap());
        waste.into_iter().map(|waste| waste.keyspace).collect()
    };
    remove(&mut writer, 0..9_000);
    assert_eq!(wasted(), []);
    remove(&mut writer, 9_000..11_000);
    assert_eq!(wasted(), [Keyspace::Queue]);
    disk.tidy().unwrap();
    assert_eq!(wasted(), []);
    // Of what is left, half again.
    remove(&mut writer, 11_000..15_000);
    assert_eq!(wasted(), []);
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
    assert_eq!(refused, Some(OpenError::Missing { missing: 1, found: 1, known: 2, damage: None }));
    let accepted = DiskOptions { accept_loss: true, ..options(&old) };
    assert_eq!(Disk::open(accepted).unwrap().last().unwrap().position, Position(1));
    assert!(Disk::open(options(&old)).is_ok(), "what was accepted once is known from then on");
}

#[test]
fn a_key_that_cannot_be_kept_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(options(folder.path())).unwrap();
    let ops = |bytes| Ops::from([((Keyspace::Subscription, vec![b'x'; bytes]), Some(vec![1]))]);
    for bytes in [0, 65_536] {
        let refused = disk.commit(&Batch::new(Position(1), 0, &ops(bytes)), true);
        assert!(matches!(refused, Err(EngineError::Failed(_))), "{bytes}: {refused:?}");
    }
    let mut writer = Writer::new(&disk);
    writer.write(&ops(1));
    writer.write(&ops(65_535));
}

#[test]
fn one_process_has_a_store_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(options(folder.path())).unwrap();
    assert_eq!(Disk::open(options(folder.path())).err(), Some(OpenError::InUse));
    drop(disk);
    assert!(Disk::open(options(folder.path())).is_ok());
}

/// Whatever a first start had made when it was cut short, the next one begins anew; but never where something
/// was in it.
#[test]
fn a_first_start_that_was_cut_short_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for made in [&["lock"][..], &["lock", "0.jnl"], &["lock", "0.jnl", "version"]] {
        std::fs::create_dir_all(path.join("keyspaces")).unwrap();
        for name in made {
            std::fs::write(path.join(name), []).unwrap();
        }
        let disk = Disk::open(options(path)).unwrap();
        drop(disk);
        assert!(Disk::open(options(path)).is_ok());
        std::fs::remove_dir_all(path).unwrap();
    }
    let disk = Disk::open(options(path)).unwrap();
    Writer::new(&disk).write(&Ops::from([(queue_key(1), Some(vec![1]))]));
    drop(disk);
    std::fs::remove_file(path.join("version")).unwrap();
    assert!(Disk::open(options(path)).is_err(), "a file of it was lost");
    assert!(path.join("0.jnl").exists());
}

/// Flips a bit here and there in journals and tables, each time in a copy: the store is refused, or a read
/// fails, or everything is there. Never silence with something missing.
fn flip(times: usize) {
    const KEYS: u64 = 4_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let disk = Disk::open(options(&path)).unwrap();
    let mut writer = Writer::new(&disk);
    for n in 0..KEYS {
        writer.write(&Ops::from([(queue_key(n), Some(body(n)))]));
        if n == KEYS / 2 {
            // So that there are tables as well.
            let handles = disk.handles().unwrap();
            handles.keyspace(Keyspace::Queue).unwrap().rotate_memtable_and_wait().unwrap();
        }
    }
    drop(disk);
    let files = files_under(&path);
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let (mut refused, mut failed, mut whole) = (0, 0, 0);
    for _ in 0..times {
        let copy = folder.path().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        let status = std::process::Command::new("cp").arg("-r").arg(&path).arg(&copy).status();
        assert!(status.unwrap().success());
        let file = &files[usize::try_from(next(files.len() as u64)).unwrap()];
        let file = copy.join(file.strip_prefix(&path).unwrap());
        let mut bytes = std::fs::read(&file).unwrap();
        // A journal is made longer than what is written in it.
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last as u64 + 1);
        let at = usize::try_from(next(written)).unwrap();
        bytes[at] ^= 1 << next(8);
        std::fs::write(&file, bytes).unwrap();
        let before = journals_of(&copy);
        let Ok(disk) = Disk::open(options(&copy)) else {
            assert_eq!(journals_of(&copy), before, "refused and changed: {} at {at}", file.display());
            refused += 1;
            continue;
        };
        let mut found = 0;
        let mut wrong = 0;
        // A panic of the engine is no silence.
        let scanned = catch_unwind(AssertUnwindSafe(|| {
            disk.scan(Keyspace::Queue, &[], &[], &mut |key, value| {
                let n = u64::from_be_bytes(key.try_into().unwrap());
                wrong += usize::from(value != body(n));
                found += 1;
                std::ops::ControlFlow::Continue(())
            })
        }));
        assert_eq!(wrong, 0, "{} at {at}", file.display());
        match scanned {
            Err(_) | Ok(Err(_)) => failed += 1,
            Ok(Ok(())) => {
                assert_eq!(found, KEYS, "silence: {} at {at}", file.display());
                whole += 1;
            }
        }
    }
    println!("{times} flips: {refused} refused, {failed} read errors, {whole} without effect");
}

/// The journals of a store, as they are.
fn journals_of(path: &Path) -> Vec<Vec<u8>> {
    let files = files_under(path).into_iter();
    let journals = files.filter(|file| file.extension().is_some_and(|extension| extension == "jnl"));
    journals.map(|file| std::fs::read(file).unwrap()).collect()
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| files_under(folder)));
    // Journals and tables: others are the engine's own lists, and the tip.
    files.retain(|file| {
        let is_journal = file.extension().is_some_and(|extension| extension == "jnl");
        let is_table = file.parent().is_some_and(|parent| parent.ends_with("tables"));
        (is_journal || is_table) && std::fs::metadata(file).unwrap().len() > 0
    });
    files.sort();
    files
}

#[test]
fn a_flipped_bit_is_never_silence() {
    flip(12);
}

#[test]
#[ignore = "takes a minute"]
fn two_hundred_flipped_bits_are_never_silence() {
    flip(200);
}
