//! Journals that are damaged, torn or cut short, one of them or several: what is refused is left as it was.

use super::super::journals::{Damage, Flaw, Survey};
use super::*;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// Small batches in front of what fills a journal, and behind it.
const EARLY: u64 = 300;
const LATE: u64 = 50;

fn retained_key(n: u64) -> (Keyspace, Vec<u8>) {
    (Keyspace::Retained, n.to_be_bytes().to_vec())
}

fn write_retained(writer: &mut Writer<'_>, of: std::ops::Range<u64>) {
    for n in of {
        writer.write(&Ops::from([(retained_key(n), Some(body(n)))]));
    }
}

/// Writes out what is in memory of a keyspace.
fn write_out(disk: &Disk, keyspace: Keyspace) {
    disk.handles().unwrap().keyspace(keyspace).unwrap().rotate_memtable_and_wait().unwrap();
}

/// Fills the journal at hand, so that there is another.
fn fill_journal(disk: &Disk, writer: &mut Writer<'_>) {
    let before = disk.handles().unwrap().db.journal_count();
    for n in 0..4 {
        writer.write(&Ops::from([(queue_key(n), Some(vec![7; 16 << 20]))]));
    }
    // One that is full is ended when something is written out next.
    write_out(disk, Keyspace::Queue);
    writer.write(&Ops::from([(queue_key(9), Some(vec![7]))]));
    write_out(disk, Keyspace::Queue);
    assert!(disk.handles().unwrap().db.journal_count() > before);
}

/// A store with two journals. What is retained is in these alone.
fn two_journals(path: &Path) {
    let disk = Disk::open(options(path)).unwrap();
    let mut writer = Writer::new(&disk);
    write_retained(&mut writer, 0..EARLY);
    fill_journal(&disk, &mut writer);
    write_retained(&mut writer, EARLY..EARLY + LATE);
    drop(disk);
    assert!(path.join("0.jnl").exists() && path.join("1.jnl").exists());
}

/// A store with so many batches in one journal.
fn one_journal(path: &Path, batches: u64) {
    let disk = Disk::open(options(path)).unwrap();
    write_retained(&mut Writer::new(&disk), 0..batches);
}

/// What is retained, by number.
fn retained(disk: &Disk) -> Vec<u64> {
    let mut found = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        let n = u64::from_be_bytes(key.try_into().unwrap());
        assert_eq!(value, body(n));
        found.push(n);
        std::ops::ControlFlow::Continue(())
    };
    disk.scan(Keyspace::Retained, &[], &[], visit).unwrap();
    found
}

fn all(batches: u64) -> Vec<u64> {
    (0..batches).collect()
}

/// Every file of a store: its length and a checksum.
fn snapshot(path: &Path) -> BTreeMap<PathBuf, (usize, u64)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(snapshot(&entry));
        } else {
            let bytes = std::fs::read(&entry).unwrap();
            found.insert(entry, (bytes.len(), xxh3_64(&bytes)));
        }
    }
    found
}

/// Every file is as it was; but the engine removes its lists of tables (`v1` and so on) that are out of date.
#[track_caller]
fn assert_unchanged(path: &Path, mut before: BTreeMap<PathBuf, (usize, u64)>) {
    let after = snapshot(path);
    let is_list = |file: &Path| file.file_name().unwrap().to_str().unwrap().starts_with('v');
    before.retain(|file, _| after.contains_key(file) || !is_list(file));
    assert_eq!(after, before);
}

fn file(path: &Path, name: &str) -> std::fs::File {
    std::fs::File::options().read(true).write(true).open(path.join(name)).unwrap()
}

fn flip(path: &Path, name: &str, at: u64, bit: u8) {
    let (file, mut byte) = (file(path, name), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
}

/// Where the batches of a journal begin, up to so many, and where the next one would.
fn batches(path: &Path, name: &str, most: usize) -> Vec<u64> {
    let mut bytes = Vec::new();
    file(path, name).take(1 << 20).read_to_end(&mut bytes).unwrap();
    let mut begin = vec![0];
    while begin.len() <= most {
        let from = usize::try_from(*begin.last().unwrap()).unwrap();
        let Some(end) = bytes[from..].windows(4).position(|bytes| bytes == b"FJL\x03") else { break };
        begin.push((from + end + 4) as u64);
    }
    begin
}

fn damage(path: &Path, name: &str, at: u64, flaw: Flaw) -> Damage {
    Damage { file: path.join(name), at, flaw }
}

/// The store is refused, by a start and by a look, and is as it was.
#[track_caller]
fn refused(path: &Path) -> OpenError {
    let before = snapshot(path);
    let why = Disk::open(options(path)).err().expect("it is opened in silence");
    assert_eq!(Disk::look(options(path)).err().as_ref(), Some(&why));
    assert_eq!(snapshot(path), before, "{why}");
    why
}

fn accepted(path: &Path) -> Disk {
    Disk::open(DiskOptions { accept_loss: true, ..options(path) }).unwrap()
}

#[test]
fn damage_in_an_older_journal_is_refused_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    two_journals(&path);
    let begins = batches(&path, "0.jnl", 101);
    let begin = begins[100];
    // A batch: tag, items, sequence; an item's tag, kind, compression, keyspace, lengths, key, value.
    for at in [0, 1, 5, 6, 13, 14, 15, 16, 24, 26, 30, 34, 40, 60, 300] {
        flip(&path, "0.jnl", begin + at, 2);
        let why = refused(&path);
        let OpenError::Damaged(damage) = &why else { panic!("{at}: {why}") };
        assert_eq!(damage.file, path.join("0.jnl"));
        // A sequence that is too high is seen at the next batch.
        let is_seen = damage.at == begin || ((5..13).contains(&at) && damage.at == begins[101]);
        assert!(is_seen, "{at}: {why}");
        flip(&path, "0.jnl", begin + at, 2);
    }
    assert_eq!(retained(&Disk::open(options(&path)).unwrap()), all(EARLY + LATE));
}

#[test]
fn what_is_lost_in_an_older_journal_is_kept_in_a_file_and_accepted_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    two_journals(&path);
    let begin = batches(&path, "0.jnl", 101)[100];
    flip(&path, "0.jnl", begin + 60, 2);
    let damaged = std::fs::read(path.join("0.jnl")).unwrap();
    assert_eq!(refused(&path), OpenError::Damaged(damage(&path, "0.jnl", begin, Flaw::Checksum)));
    let disk = accepted(&path);
    let left: Vec<u64> = (0..100).chain(EARLY..EARLY + LATE).collect();
    assert_eq!(retained(&disk), left);
    write_retained(&mut Writer::new(&disk), 1_000..1_001);
    drop(disk);
    let kept = std::fs::read(path.join(format!("0.jnl.cut-at-{begin}"))).unwrap();
    let begin = usize::try_from(begin).unwrap();
    let written = damaged.iter().rposition(|byte| *byte != 0).unwrap();
    assert!(kept[..] == damaged[begin..][..kept.len()] && begin + kept.len() > written);
    assert_eq!(retained(&Disk::open(options(&path)).unwrap()).len(), left.len() + 1);
}

#[test]
fn an_older_journal_that_was_cut_between_two_batches_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    two_journals(&path);
    let begin = batches(&path, "0.jnl", 101)[100];
    file(&path, "0.jnl").set_len(begin).unwrap();
    assert_eq!(refused(&path), OpenError::Damaged(damage(&path, "0.jnl", begin, Flaw::Short)));
    drop(accepted(&path));
    assert!(Disk::open(options(&path)).is_ok());
}

#[test]
fn damage_in_the_newest_journal_is_refused_and_accepted_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    one_journal(&path, 100);
    let begin = batches(&path, "0.jnl", 31)[30];
    // What would be read as a batch that was not written to its end, and what would not.
    for (at, flaw) in [(0, Flaw::Malformed), (60, Flaw::Checksum)] {
        flip(&path, "0.jnl", begin + at, 2);
        let damage = Some(damage(&path, "0.jnl", begin, flaw));
        let why = refused(&path);
        assert_eq!(why, OpenError::Missing { missing: 70, found: 30, known: 100, damage });
        assert!(why.to_string().contains(&format!("'0.jnl' is damaged from byte {begin} on")), "{why}");
        flip(&path, "0.jnl", begin + at, 2);
    }
    flip(&path, "0.jnl", begin + 60, 2);
    assert_eq!(retained(&accepted(&path)), all(30));
    assert!(path.join(format!("0.jnl.cut-at-{begin}")).exists());
    assert_eq!(retained(&Disk::open(options(&path)).unwrap()), all(30));
}

/// What is left of a batch.
type Tear = fn(&[u8]) -> Vec<u8>;

/// What a kill and a power cut leave: part of a batch, pages of it, what does not fit to its checksum.
#[test]
fn a_torn_end_is_taken_and_looking_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    one_journal(&path, 10);
    let tears: [Tear; 4] = [
        |batch| batch[..batch.len() / 2].to_vec(),
        |batch| [vec![0; 5_000], batch.to_vec()].concat(),
        |batch| [&batch[..100], &[0; 100][..], &batch[200..]].concat(),
        |batch| [&batch[..20], &[0xFF; 20][..], batch].concat(),
    ];
    for (sound, tear) in (10..).zip(tears) {
        let begin = batches(&path, "0.jnl", 100);
        let (from, end) = (begin[begin.len() - 2], begin[begin.len() - 1]);
        let journal = file(&path, "0.jnl");
        let mut batch = vec![0; usize::try_from(end - from).unwrap()];
        journal.read_exact_at(&mut batch, from).unwrap();
        journal.write_all_at(&tear(&batch), end).unwrap();
        drop(journal);
        let before = snapshot(&path);
        let (looked, doubt) = Disk::look(options(&path)).unwrap();
        assert_eq!((retained(&looked), doubt), (all(sound), None));
        drop(looked);
        assert_unchanged(&path, before);
        let disk = Disk::open(options(&path)).unwrap();
        assert_eq!(retained(&disk), all(sound));
        write_retained(&mut Writer::new(&disk), sound..sound + 1);
    }
}

#[test]
fn looking_changes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    two_journals(&path);
    for _ in 0..2 {
        let before = snapshot(&path);
        let (disk, doubt) = Disk::look(options(&path)).unwrap();
        assert_eq!((retained(&disk), doubt), (all(EARLY + LATE), None));
        assert_eq!(Disk::look(options(&path)).err(), Some(OpenError::InUse));
        drop(disk);
        assert_unchanged(&path, before);
        // The file is not made either.
        let _ = std::fs::remove_file(path.join("tip"));
        let (disk, doubt) = Disk::look(options(&path)).unwrap();
        assert_eq!(doubt, Some(OpenError::DamagedTip));
        drop(disk);
        assert!(!path.join("tip").exists());
        drop(accepted(&path));
    }
}

/// Where no journal says how far the store is, its tables do.
#[test]
fn the_tables_tell_where_the_journals_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    one_journal(&path, 100);
    let disk = Disk::open(options(&path)).unwrap();
    write_out(&disk, Keyspace::Retained);
    write_out(&disk, Keyspace::Meta);
    drop(disk);
    // Nothing that is there alone.
    flip(&path, "0.jnl", 60, 2);
    let disk = Disk::open(options(&path)).unwrap();
    assert_eq!(retained(&disk), all(100));
    write_retained(&mut Writer::new(&disk), 100..110);
    drop(disk);
    flip(&path, "0.jnl", 60, 2);
    let before = journals_of(&path);
    let why = Disk::open(options(&path)).err();
    let damage = Some(damage(&path, "0.jnl", 0, Flaw::Checksum));
    assert_eq!(why, Some(OpenError::Missing { missing: 10, found: 100, known: 110, damage }));
    assert_eq!(journals_of(&path), before);
    drop(accepted(&path));
    assert_eq!(retained(&Disk::open(options(&path)).unwrap()), all(100));
}

/// A store that is not whole: what a first start does in a folder must not take it.
#[test]
fn a_store_that_lost_its_marker_and_its_tip_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    one_journal(&path, 10);
    for name in ["version", "tip"] {
        std::fs::remove_file(path.join(name)).unwrap();
    }
    let before = journals_of(&path);
    assert!(Disk::open(options(&path)).is_err());
    assert_eq!(journals_of(&path), before);
}

#[test]
fn a_store_without_its_tip_is_refused_unless_nothing_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(Disk::open(options(&path)).unwrap());
    std::fs::remove_file(path.join("tip")).unwrap();
    one_journal(&path, 1);
    for damaged in [None, Some(&b""[..]), Some(&[7; 23]), Some(&[7; 40])] {
        std::fs::remove_file(path.join("tip")).unwrap();
        if let Some(bytes) = damaged {
            std::fs::File::create(path.join("tip")).unwrap().write_all(bytes).unwrap();
        }
        let before = snapshot(&path);
        assert_eq!(Disk::open(options(&path)).err(), Some(OpenError::DamagedTip));
        assert_eq!(snapshot(&path), before);
        drop(accepted(&path));
        assert!(Disk::open(options(&path)).is_ok());
    }
}

/// How long it takes to read as much as journals may have.
#[test]
#[ignore = "measures"]
fn reading_the_journals_takes_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let disk = Disk::open(options(&path)).unwrap();
    let mut writer = Writer::new(&disk);
    for slice in 0..800 {
        let ops = (0..500).map(|n| (retained_key(slice * 500 + n), Some(body(n)))).collect();
        writer.write(&ops);
    }
    drop(disk);
    let bytes: u64 = journals_of(&path).iter().map(|journal| journal.len() as u64).sum();
    let since = Instant::now();
    let survey = Survey::of(&path).unwrap();
    println!("{} MiB of journals: {:?}", bytes >> 20, since.elapsed());
    assert_eq!(survey.last.unwrap().position, Position(800));
}
