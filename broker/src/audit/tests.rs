//! What is recorded, what is left out and counted, and what is found again after a crash.

use super::chain::{Hash, Head, Link};
use super::event::Extent;
use super::files::{Files, path};
use super::queue::{Entry, OF_ALL_SOURCES_MAX, OF_ONE_SOURCE_MAX, Queue, Taken, WHILE};
use super::verify::{Broken, Verified, Why, of_folder, verify};
use super::writer::Writer;
use super::*;
use sealmq_crypto::OpenError;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

fn at() -> Timestamp {
    "2026-03-01T12:00:00.25Z".parse().unwrap()
}

fn key(id: &str) -> Event {
    Event::key(KeyChange::Added, KeyKind::Sender, id, Some("reload"), None)
}

fn entry(event: Event) -> Entry {
    Entry { at: at(), event, repeated: 0 }
}

fn entries(ids: &[&str]) -> Taken {
    Taken { entries: ids.iter().map(|id| entry(key(id))).collect(), ..Taken::default() }
}

fn files(folder: &Path) -> Files {
    Files::new(folder.join("audit"), 1 << 20, 3)
}

fn writer(folder: &Path) -> Writer {
    Writer::new(files(folder))
}

/// The lines of a file, by its age.
fn lines(folder: &Path, age: usize) -> Vec<String> {
    let text = fs::read_to_string(path(&folder.join("audit"), age)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// What the lines tell of, without number, time and chain.
fn told(lines: &[String]) -> Vec<String> {
    let told = |line: &String| {
        let (_, told) = line.split_once("\"event\":").unwrap();
        told.trim_end_matches('}').to_owned()
    };
    lines.iter().map(told).collect()
}

/// Whether each line has the number and the hash that follow from the one before it.
fn assert_chained<'l>(lines: impl IntoIterator<Item = &'l String>, from: Head) {
    let mut head = from;
    for line in lines {
        let link = Link::read(line.as_bytes()).unwrap();
        assert_eq!((link.n, link.prev), (head.n + 1, head.hash.to_string()), "{line}");
        head = Head { n: link.n, hash: Hash::of(line.as_bytes()) };
    }
}

fn refused(client: &str) -> Event {
    let refused = Refused::for_tests(Refusal::Envelope(
        OpenError::BadStamp,
        sealmq_config::encryption::OnRefusal::Drop,
    ));
    let whose = Whose { client, addr: Some(addr(1)), user: None };
    Event::refused(&refused, whose, Extent::Whole)
}

fn addr(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[test]
fn an_entry_is_one_line_of_json_with_the_hash_of_the_one_before() {
    let first = Head::BEGINNING.next(entry(key("dev-7"))).unwrap();
    let zeros = "0".repeat(64);
    let expected = format!(
        "{{\"n\":1,\"at\":\"2026-03-01T12:00:00.250Z\",\"prev\":\"{zeros}\",\"event\":\"key\",\
         \"change\":\"added\",\"kind\":\"sender\",\"id\":\"dev-7\",\"by\":\"reload\"}}\n"
    );
    assert_eq!(String::from_utf8(first.bytes.clone()).unwrap(), expected);
    let second = first.head.next(Entry { repeated: 3, ..entry(refused("a\n\"}\u{1}")) }).unwrap();
    let text = String::from_utf8(second.bytes).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["prev"], Hash::of(expected.trim_end().as_bytes()).to_string());
    assert_eq!((&value["n"], &value["repeated"]), (&2.into(), &3.into()));
    assert_eq!(value["client"], "a\n\"}\u{1}");
    assert_eq!((&value["reason"], &value["addr"]), (&"bad-stamp".into(), &"127.0.0.1:1".into()));
}

#[test]
fn what_clients_chose_is_cut() {
    let Event::Refused(message) = refused(&"ä".repeat(1_000)) else { panic!() };
    let text = serde_json::to_string(&message).unwrap();
    assert!(text.contains(&format!("\"{}…\"", "ä".repeat(128))), "{text}");
}

#[test]
fn names_in_entries_are_those_of_topics() {
    for change in [KeyChange::Added, KeyChange::EndingSoon, KeyChange::UsedUpSoon] {
        assert_eq!(serde_json::to_value(change).unwrap(), change.name());
    }
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let queue = Queue::new(16);
    for n in 0..20 {
        queue.push(key(&n.to_string()), at());
    }
    let taken = queue.take(None);
    assert_eq!((taken.entries.len(), taken.lost), (16, 4));
    queue.push(key("next"), at());
    let taken = queue.take(None);
    assert_eq!((taken.entries, taken.lost), (vec![entry(key("next"))], 0));
}

#[test]
fn a_flood_of_one_source_becomes_one_entry() {
    let (queue, start) = (Queue::new(1_000), Instant::now());
    let source = (Some(addr(1)), "bad-stamp");
    let common = |extent| if extent == Extent::Whole { refused("whole") } else { refused("common") };
    for _ in 0..OF_ONE_SOURCE_MAX + 5 {
        queue.push_refused(source, common, start, at());
    }
    // Another source is told in full.
    queue.push_refused((Some(addr(2)), "bad-stamp"), common, start, at());
    let taken = queue.take(None).entries;
    assert_eq!(taken.len(), OF_ONE_SOURCE_MAX as usize + 1);
    assert!(taken.iter().all(|entry| *entry == self::entry(refused("whole"))));
    queue.push_refused(source, common, start + WHILE, at());
    let summary = Entry { repeated: 5, ..entry(refused("common")) };
    assert_eq!(queue.take(None).entries, [summary, entry(refused("whole"))]);
}

#[test]
fn a_flood_of_many_sources_is_counted_by_reason() {
    let (queue, start) = (Queue::new(100_000), Instant::now());
    let name = |extent| match extent {
        Extent::Whole => refused("whole"),
        Extent::Connection => refused("connection"),
        Extent::Reason => refused("reason"),
    };
    for port in 0..10_000 {
        queue.push_refused((Some(addr(port)), "bad-stamp"), name, start, at());
    }
    queue.push_refused((Some(addr(0)), "bad-stamp"), name, start, at());
    assert_eq!(queue.take(None).entries.len(), OF_ALL_SOURCES_MAX as usize);
    queue.close();
    let summaries = queue.take(None).entries;
    let left_out = 10_000 - u64::from(OF_ALL_SOURCES_MAX);
    let of = |name, repeated| Entry { repeated, ..entry(refused(name)) };
    let found: Vec<_> = summaries.into_iter().map(|entry| Entry { at: at(), ..entry }).collect();
    assert_eq!(found, [of("reason", left_out), of("connection", 1)]);
}

/// What was left out is told when the while is over, although nothing else comes.
#[test]
fn a_flood_is_summed_up_in_time() {
    let queue = Queue::new(100);
    for _ in 0..=OF_ONE_SOURCE_MAX {
        queue.push_refused((Some(addr(1)), "bad-stamp"), |_| refused("c"), Instant::now(), at());
    }
    assert_eq!(queue.take(None).entries.len(), OF_ONE_SOURCE_MAX as usize);
    assert_eq!(queue.take(None).entries.first().map(|entry| entry.repeated), Some(1));
}

#[test]
fn the_chain_goes_on_over_files_and_starts() {
    let folder = tempfile::tempdir().unwrap();
    let rotating = || Writer::new(Files::new(folder.path().join("audit"), 600, 3));
    let mut writer = rotating();
    writer.write(entries(&["1", "2", "3", "4", "5", "6"]), Instant::now());
    drop(writer);
    rotating().write(entries(&["7"]), Instant::now());
    let all: Vec<_> = [2, 1, 0].into_iter().flat_map(|age| lines(folder.path(), age)).collect();
    assert_eq!(all.len(), 7);
    assert_chained(&all, Head::BEGINNING);

    // The oldest goes.
    rotating().write(entries(&["8", "9", "10", "11"]), Instant::now());
    let left: Vec<_> = [2, 1, 0].into_iter().flat_map(|age| lines(folder.path(), age)).collect();
    let first = Link::read(left[0].as_bytes()).unwrap();
    assert!(first.n > 1 && left.len() < 11, "{left:?}");
    let before = Head { n: first.n, hash: Hash::of(left[0].as_bytes()) };
    assert_chained(&left[1..], before);
    assert!(!path(&folder.path().join("audit"), 3).exists());
}

#[test]
fn a_line_that_a_crash_has_torn_is_cut_off_and_told() {
    let folder = tempfile::tempdir().unwrap();
    writer(folder.path()).write(entries(&["1", "2"]), Instant::now());
    let file = path(&folder.path().join("audit"), 0);
    let whole = fs::read(&file).unwrap();
    // Half a line, as of a process that was killed; and zeros, as of a machine that lost its power.
    for torn in [b"{\"n\":3,\"at\"".to_vec(), vec![0; 10_000]] {
        fs::write(&file, [whole.as_slice(), &torn].concat()).unwrap();
        writer(folder.path()).write(entries(&["3"]), Instant::now());
        let lines = lines(folder.path(), 0);
        assert_chained(&lines, Head::BEGINNING);
        let expected = format!("\"torn\",\"bytes\":{}", torn.len());
        assert_eq!(told(&lines)[2..], [expected, told(&lines)[3].clone()]);
        assert!(told(&lines)[3].contains("\"id\":\"3\""));
    }
}

#[test]
fn a_last_line_that_is_no_entry_is_left_and_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("audit")).unwrap();
    fs::write(path(&folder.path().join("audit"), 0), "somebody was here\n").unwrap();
    writer(folder.path()).write(entries(&["1"]), Instant::now());
    let lines = lines(folder.path(), 0);
    assert_eq!(
        (lines[0].as_str(), told(&lines[1..2])),
        ("somebody was here", vec!["\"damaged\"".to_owned()])
    );
    assert_chained(&lines[1..], Head { n: 0, hash: Hash::of(b"somebody was here") });
}

#[test]
fn while_it_cannot_be_written_events_are_counted() {
    let (folder, start) = (tempfile::tempdir().unwrap(), Instant::now());
    let obstacle = folder.path().join("audit");
    fs::write(&obstacle, "no folder").unwrap();
    let mut writer = writer(folder.path());
    writer.write(entries(&["1", "2"]), start);
    writer.write(Taken { lost: 5, ..entries(&["3"]) }, start);
    fs::remove_file(&obstacle).unwrap();
    // Not tried again at once.
    writer.write(entries(&["4"]), start);
    assert!(!obstacle.exists());
    writer.write(entries(&["5"]), start + Duration::from_secs(1));
    let lines = lines(folder.path(), 0);
    assert_chained(&lines, Head::BEGINNING);
    assert_eq!(told(&lines)[0], "\"lost\",\"entries\":9");
    assert!(told(&lines)[1].contains("\"id\":\"5\""));
}

#[test]
fn a_second_writer_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (files(folder.path()), files(folder.path()));
    first.open().unwrap();
    let error = second.open().err().unwrap().to_string();
    assert_eq!(error, "another broker writes here");
    drop(first);
    second.open().unwrap();
}

#[test]
fn files_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    writer(folder.path()).write(entries(&["1"]), Instant::now());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let audit = folder.path().join("audit");
    assert_eq!((mode(&audit), mode(&path(&audit, 0))), (0o700, 0o600));
}

fn verified(folder: &Path, wanted: Option<&str>) -> Result<Verified, Broken> {
    verify(of_folder(&folder.join("audit")).unwrap(), wanted).unwrap()
}

/// Seven lines in three files.
fn seven(folder: &Path) -> Vec<String> {
    let mut writer = Writer::new(Files::new(folder.join("audit"), 600, 3));
    writer.write(entries(&["1", "2", "3", "4", "5", "6", "7"]), Instant::now());
    [2, 1, 0].into_iter().flat_map(|age| lines(folder, age)).collect()
}

#[test]
fn a_chain_as_it_was_written_holds() {
    let folder = tempfile::tempdir().unwrap();
    let all = seven(folder.path());
    let hash = |line: &String| Hash::of(line.as_bytes());
    let when = "2026-03-01T12:00:00.250Z";
    let expected = Verified {
        lines: 7,
        first: Some((1, when.to_owned())),
        last_at: when.to_owned(),
        head: Some(Head { n: 7, hash: hash(&all[6]) }),
        ..Verified::default()
    };
    assert_eq!(verified(folder.path(), None).unwrap(), expected);
    for line in &all {
        verified(folder.path(), Some(&hash(line).to_string())).unwrap();
    }
    // One place is empty where a crash has cut a turnover short.
    fs::rename(path(&folder.path().join("audit"), 2), path(&folder.path().join("audit"), 3)).unwrap();
    assert_eq!(verified(folder.path(), None).unwrap().lines, 7);
    fs::rename(path(&folder.path().join("audit"), 3), path(&folder.path().join("audit"), 2)).unwrap();
    // The oldest file may be gone, and the last line may not be whole yet.
    fs::remove_file(path(&folder.path().join("audit"), 2)).unwrap();
    let newest = path(&folder.path().join("audit"), 0);
    fs::write(&newest, [fs::read(&newest).unwrap().as_slice(), b"{\"n\":8"].concat()).unwrap();
    let found = verified(folder.path(), None).unwrap();
    assert_eq!((found.lines, found.first.unwrap().0, found.torn_bytes), (4, 4, 6));
}

/// A crash while files were turned over leaves one place empty; the next turnover fills it, and a second crash does
/// not leave two.
#[test]
fn a_place_that_a_crash_left_empty_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit");
    seven(folder.path());
    fs::rename(path(&audit, 2), path(&audit, 3)).unwrap();
    fs::rename(path(&audit, 1), path(&audit, 2)).unwrap();
    let keeping = |count| Writer::new(Files::new(audit.clone(), 600, count));
    keeping(5).write(entries(&["8", "9", "10"]), Instant::now());
    let there: Vec<_> = (0..6).filter(|age| path(&audit, *age).exists()).collect();
    assert_eq!(there, [0, 1, 2, 3]);
    let found = verified(folder.path(), None).unwrap();
    assert_eq!((found.lines, found.first.unwrap().0), (10, 1));

    // Where fewer are to be kept, those behind an empty place go as well.
    fs::rename(path(&audit, 3), path(&audit, 4)).unwrap();
    keeping(2).write(entries(&["11", "12", "13"]), Instant::now());
    let there: Vec<_> = (0..6).filter(|age| path(&audit, *age).exists()).collect();
    assert_eq!(there, [0, 1]);
    verified(folder.path(), None).unwrap();
}

/// The first line of the newest file may be the one that is not whole.
#[test]
fn a_file_that_begins_with_half_a_line_is_the_last() {
    let folder = tempfile::tempdir().unwrap();
    seven(folder.path());
    let audit = folder.path().join("audit");
    for age in [2, 1, 0] {
        fs::rename(path(&audit, age), path(&audit, age + 1)).unwrap();
    }
    fs::write(path(&audit, 0), b"{\"n\":8").unwrap();
    let found = verified(folder.path(), None).unwrap();
    assert_eq!((found.lines, found.torn_bytes), (7, 6));
}

/// Whatever is done to a line, the chain breaks at it or at the next.
#[test]
fn a_change_breaks_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let all = seven(folder.path());
    let audit = folder.path().join("audit");
    let text = |lines: &[String]| lines.join("\n") + "\n";
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut middle = all[3..6].to_vec();
        change(&mut middle);
        fs::write(path(&audit, 1), text(&middle)).unwrap();
        let Broken { file, line, why } = verified(folder.path(), None).unwrap_err();
        (file.file_name().unwrap().to_str().unwrap().to_owned(), line, why)
    };
    let (name, line, why) = with(&|lines| lines[1] = lines[1].replace("\"id\":\"5\"", "\"id\":\"9\""));
    assert_eq!((name.as_str(), line), ("audit.jsonl.1", 3));
    assert!(matches!(why, Why::Hash { .. }), "{why}");
    let number = |found, expected| Why::Number { found, expected };
    assert_eq!(with(&|lines| drop(lines.remove(1))), ("audit.jsonl.1".to_owned(), 2, number(6, 5)));
    assert_eq!(with(&|lines| lines.swap(0, 1)), ("audit.jsonl.1".to_owned(), 1, number(5, 4)));
    assert_eq!(with(&|lines| drop(lines.pop())), ("audit.jsonl".to_owned(), 1, number(7, 6)));
    assert_eq!(
        with(&|lines| lines.insert(1, lines[0].clone())),
        ("audit.jsonl.1".to_owned(), 2, number(4, 5))
    );
    assert_eq!(with(&|lines| lines[2].truncate(9)), ("audit.jsonl.1".to_owned(), 3, Why::NoEntry));
    // The last line of the file before, so that the next file breaks.
    let (name, line, why) = with(&|lines| lines[2] = lines[2].replace("2026", "2025"));
    assert_eq!((name.as_str(), line), ("audit.jsonl", 1));
    assert!(matches!(why, Why::Hash { .. }), "{why}");
}

#[test]
fn lines_that_are_gone_from_the_end_are_missed_by_their_hash() {
    let folder = tempfile::tempdir().unwrap();
    let all = seven(folder.path());
    fs::remove_file(path(&folder.path().join("audit"), 0)).unwrap();
    fs::rename(path(&folder.path().join("audit"), 1), path(&folder.path().join("audit"), 0)).unwrap();
    fs::rename(path(&folder.path().join("audit"), 2), path(&folder.path().join("audit"), 1)).unwrap();
    assert_eq!(verified(folder.path(), None).unwrap().lines, 6);
    let gone = Hash::of(all[6].as_bytes()).to_string();
    let broken = verified(folder.path(), Some(&gone)).unwrap_err();
    assert_eq!((broken.line, broken.why), (3, Why::Missing(gone)));
}
