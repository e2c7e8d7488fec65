//! Out and in again; every way to break an export; every kind of damage that a check has to find.

use super::super::batch::{Batch, Ops};
use super::super::engine::Engine;
use super::super::layout::{self, Keyspace};
use super::super::record::{
    Body, Entry, Flight, FlightState, Held, MessageRecord, SessionRecord, encode_enrolled,
    encode_subscription,
};
use super::super::simulated::SimulatedDisk;
use super::super::{Durability, OpenError, Position, Store, packet_id};
use super::check::check;
use super::export::{ExportError, export};
use super::filling::{FillError, Filling};
use super::import::{Import, ImportError};
use super::stats::Statistics;
use super::{look, open_empty};
use crate::delivery::{Place, SessionId, Subscription};
use crate::enrolment::{self, Kind, Name};
use bytes::Bytes;
use sealmq_crypto::{SenderKey, Validity};
use sealmq_protocol::Qos;
use sealmq_protocol::packet::{PacketId, SubscriptionOptions};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

type Record = (Keyspace, Vec<u8>, Vec<u8>);

const ANN: SessionId = SessionId(1);
const BOB: SessionId = SessionId(2);

fn session(session: SessionId, client_id: &str) -> Record {
    let record = SessionRecord {
        session,
        client_id: client_id.into(),
        user: None,
        expiry: Some(Duration::from_mins(1)),
        held: Held::Connected,
        will: None,
    };
    (Keyspace::Session, client_id.into(), record.encode())
}

fn subscription(session: SessionId, filter: &str) -> Record {
    let filter = filter.parse().unwrap();
    let key = layout::subscription_key(session, &filter);
    let options = SubscriptionOptions::of(Qos::AtLeastOnce);
    let value = encode_subscription(&Subscription { filter, options, id: None, is_new: false });
    (Keyspace::Subscription, key, value)
}

fn message(topic: &str) -> MessageRecord {
    MessageRecord {
        topic: topic.parse().unwrap(),
        payload: Bytes::from_static(b"very secret"),
        qos: Qos::ExactlyOnce,
        retain: false,
        egress: crate::egress::Egress::Secure,
        expires_ms: None,
        properties: None,
        publisher: None,
    }
}

fn entry(session: SessionId, position: u64, is_shared: bool) -> Record {
    let body = if is_shared { Body::Shared } else { Body::Inline(message("a").encode().into()) };
    let (qos, retain, group) = (Qos::ExactlyOnce, false, None);
    let entry = Entry { qos, retain, subscription_ids: Vec::new(), group, size: 12, body };
    (Keyspace::Queue, layout::queue_key(session, position).into(), entry.to_bytes())
}

fn flight(session: SessionId, sequence: u64, place: (u64, bool), state: FlightState) -> Record {
    let place = Place::new(Position(place.0), place.1).unwrap();
    let key = layout::packet_key(session, packet_id(sequence));
    (Keyspace::Inflight, key, Flight { sequence, place, state }.encode())
}

fn refs(position: u64, count: u32) -> Record {
    (Keyspace::Refs, layout::position_key(position).into(), count.to_be_bytes().into())
}

fn body(position: u64) -> Record {
    (Keyspace::Message, layout::position_key(position).into(), message("a").encode())
}

fn retained(topic: &str) -> Record {
    (Keyspace::Retained, topic.into(), message(topic).encode())
}

fn inbound(session: SessionId, id: u16) -> Record {
    (Keyspace::Inbound, layout::packet_key(session, PacketId::new(id).unwrap()), Vec::new())
}

fn enrolled(id: &str) -> Record {
    let name = Name::new(Kind::Sender, id).unwrap();
    let key = SenderKey::from_secret(id, &[7; 32]).public().to_cose_key();
    let topics = ["a/#".parse().unwrap()].into();
    let (entry, _) = enrolment::Entry::new(&name, &key, None, (topics, Validity::default())).unwrap();
    let record = enrolment::Record { entry: Some(entry), ..enrolment::Record::new(name) };
    (Keyspace::Enrolled, layout::enrolled_key(&record.name), encode_enrolled(&record))
}

fn meta(key: &[u8], value: &[u8]) -> Record {
    (Keyspace::Meta, key.to_vec(), value.to_vec())
}

/// A store with something of everything in it, sound; at position 100.
fn sound() -> Vec<Record> {
    vec![
        meta(b"schema", &1_u32.to_be_bytes()),
        meta(b"next_session", &10_u64.to_be_bytes()),
        meta(&layout::dying_key(SessionId(7)), b""),
        meta(&layout::key_used_key("plant-1/\u{e9}".as_bytes()), &7_u64.to_be_bytes()),
        session(ANN, "ann"),
        session(BOB, "bob\u{e9}\""),
        subscription(ANN, "a/#"),
        subscription(BOB, "$share/g/a/+"),
        entry(ANN, 20, false),
        entry(ANN, 21, true),
        entry(BOB, 21, true),
        entry(SessionId(7), 21, true),
        body(21),
        refs(21, 3),
        flight(ANN, 0, (20, false), FlightState::Published),
        flight(ANN, 1, (21, true), FlightState::Published),
        flight(BOB, 65_535, (19, false), FlightState::Released),
        inbound(BOB, 9),
        retained("a/b"),
        (Keyspace::Replay, layout::stamp_key(b"dev", 5, &[3; 32]), Vec::new()),
        enrolled("dev-7"),
    ]
}

fn disk(records: impl IntoIterator<Item = Record>) -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let ops: Ops = records.into_iter().map(|(of, key, value)| ((of, key), Some(value))).collect();
    disk.commit(&Batch::new(Position(100), 0, &ops), true).unwrap();
    disk
}

/// All that is in a store, but for its newest batch.
fn contents(engine: &dyn Engine) -> Vec<Record> {
    let mut all = Vec::new();
    for keyspace in Keyspace::ALL {
        let take = &mut |key: &[u8], value: &[u8]| {
            all.push((keyspace, key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        engine.scan(keyspace, &[], &[], take).unwrap();
    }
    all.retain(|(keyspace, key, _)| (*keyspace, &**key) != (Keyspace::Meta, layout::META_LAST));
    all
}

fn exported(engine: &dyn Engine) -> String {
    let mut text = Vec::new();
    export(engine, &mut text, &mut |_| {}).unwrap();
    String::from_utf8(text).unwrap()
}

fn import(text: &str, into: &dyn Engine) -> Result<u64, ImportError> {
    Ok(Import::new(text.as_bytes())?.run(into, &mut |_| {})?.all())
}

/// So many records that there are three batches.
fn many() -> SimulatedDisk {
    disk(sound().into_iter().chain((0..2_500).map(|n| retained(&format!("many/{n:04}")))))
}

#[test]
fn what_goes_out_comes_in() {
    for from in [disk(sound()), many(), SimulatedDisk::default()] {
        let (text, into) = (exported(&from), SimulatedDisk::default());
        let count = contents(&from).len();
        assert_eq!(import(&text, &into).unwrap(), count as u64);
        if count > 0 {
            assert_eq!(contents(&into), contents(&from));
        }
        assert!(into.last().unwrap().position > from.last().unwrap().position);
        assert_eq!(into.unsynced(), 0);
        assert!(check(&into, None, &mut |_| {}).unwrap().is_sound());
        // And once more: the same, but for where it is said to be.
        let records = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.starts_with("{\"keyspace\"")).map(str::to_owned).collect()
        };
        assert!(count == 0 || records(&exported(&into)) == records(&text));
    }
}

#[test]
fn no_line_can_be_changed_dropped_doubled_or_moved() {
    let text = exported(&many());
    let lines: Vec<&str> = text.lines().collect();
    // All of the ends of batches, and of the records those around them and some.
    let is_special = |line: &str| !line.starts_with("{\"keyspace\"");
    let near =
        |at: usize| (at.saturating_sub(1)..=at + 1).any(|at| lines.get(at).is_some_and(|l| is_special(l)));
    for at in (0..lines.len()).filter(|at| near(*at) || at % 97 == 0 || *at < 25) {
        let mut dropped = lines.clone();
        dropped.remove(at);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        let mut moved = lines.clone();
        if at + 1 < lines.len() {
            moved.swap(at, at + 1);
        } else {
            moved.rotate_right(1);
        }
        let mut changed = lines.clone();
        // The last digit or letter of the line is another.
        let last = lines[at].rfind(|c: char| c.is_ascii_alphanumeric()).unwrap();
        let other = if &lines[at][last..=last] == "0" { "1" } else { "0" };
        let line = format!("{}{other}{}", &lines[at][..last], &lines[at][last + 1..]);
        changed[at] = &line;
        for (what, lines) in
            [("dropped", dropped), ("doubled", doubled), ("moved", moved), ("changed", changed)]
        {
            let into = SimulatedDisk::default();
            let text = lines.join("\n") + "\n";
            let error = import(&text, &into).expect_err(&format!("line {} was {what}", at + 1));
            assert!(matches!(error, ImportError::Line { .. } | ImportError::Lines { .. }), "{error}");
            assert!(error.to_string().starts_with("line"), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
            // Nothing came of it, or it says that it is not whole.
            if into.last().unwrap().position > Position(0) {
                assert!(matches!(exported_error(&into), ExportError::Incomplete(OpenError::Incomplete)));
            }
        }
    }
}

fn exported_error(engine: &dyn Engine) -> ExportError {
    export(engine, &mut Vec::new(), &mut |_| {}).unwrap_err()
}

#[test]
fn an_export_that_was_cut_off_is_none() {
    let text = exported(&disk(sound()));
    for cut in 0..text.len() {
        if text.is_char_boundary(cut) {
            assert!(import(&text[..cut], &SimulatedDisk::default()).is_err(), "{cut}");
        }
    }
    for other in ["", "\n", "{}\n", "some text\n", "{\"sealmq\":\"other\"}\n"] {
        let error = import(other, &SimulatedDisk::default()).unwrap_err().to_string();
        assert_eq!(error, "line 1: this is no export of a store");
    }
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    let error = import(&newer, &SimulatedDisk::default()).unwrap_err().to_string();
    assert_eq!(error, "line 1: the export has version 2, and 1 is what is read here");
    let error = import(&(text + "\n"), &SimulatedDisk::default()).unwrap_err().to_string();
    assert!(error.ends_with("there is something behind the end"), "{error}");
}

#[test]
fn a_line_that_is_wrong_is_named_by_its_number() {
    let text = exported(&disk(sound()));
    let wrong = text.replacen("\"count\":3", "\"count\":4", 1);
    let error = import(&wrong, &SimulatedDisk::default()).unwrap_err().to_string();
    let last = text.lines().count() - 1;
    assert_eq!(
        error,
        format!("lines 2 to {last}: the checksum of the batch does not hold: one of these lines was changed")
    );
    let at = text.lines().position(|line| line.contains("\"count\"")).unwrap() + 1;
    let wrong = text.replacen("\"count\":3", "\"count\":-3", 1);
    let error = import(&wrong, &SimulatedDisk::default()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("line {at}: ")), "{error}");
}

#[test]
fn a_key_that_no_store_has_is_refused() {
    for bytes in [0, 65_536] {
        let text = exported(&disk([(Keyspace::Retained, vec![b'x'; bytes], b"?".to_vec())]));
        let error = import(&text, &SimulatedDisk::default()).unwrap_err().to_string();
        assert!(error.ends_with(&format!("a key of {bytes} bytes is none: they have 1 to 65535")), "{error}");
    }
}

#[test]
fn only_an_empty_store_is_filled() {
    let text = exported(&disk(sound()));
    // A broker has been started with it, and nothing has happened.
    let fresh = disk([meta(b"schema", &1_u32.to_be_bytes())]);
    import(&text, &fresh).unwrap();
    let error = import(&text, &fresh).unwrap_err();
    assert!(matches!(error, ImportError::Fill(FillError::NotEmpty(_))), "{error}");
    let used = disk([meta(b"schema", &1_u32.to_be_bytes()), retained("x")]);
    let error = import(&text, &used).unwrap_err();
    assert!(error.to_string().contains("in 'retained'"), "{error}");
    assert_eq!(contents(&used).len(), 2);
}

#[test]
fn a_broker_does_not_start_with_half_a_store() {
    let disk = Arc::new(SimulatedDisk::default());
    let filling = Filling::begin(&*disk).unwrap();
    let opened = |disk: &Arc<SimulatedDisk>| Store::over(disk.clone(), Durability::Sync, 1 << 20).map(|_| ());
    assert_eq!(opened(&disk).unwrap_err(), OpenError::Incomplete);
    assert_eq!(Filling::begin(&*disk).map(|_| ()).unwrap_err(), FillError::BrokenOff);
    assert!(!check(&*disk, None, &mut |_| {}).unwrap().is_sound());
    filling.finish().unwrap();
    opened(&disk).unwrap();
}

#[test]
fn what_is_in_it_is_counted() {
    let statistics = Statistics::read(&disk(sound()), &mut |_| {}).unwrap();
    assert_eq!(statistics.count(Keyspace::Queue).keys, 4);
    assert_eq!((statistics.queued, statistics.newest), ((4, 48), Position(100)));
    let largest: Vec<_> =
        statistics.largest.iter().map(|queue| (queue.client_id.as_deref(), queue.messages)).collect();
    assert_eq!(largest, [(Some("ann"), 2), (Some("bobé\""), 1), (None, 1)]);
}

#[test]
fn a_sound_store_is_found_sound() {
    let checked = check(&disk(sound()), None, &mut |_| {}).unwrap();
    assert!(checked.is_sound(), "{:?}", checked.findings);
    // And the position of its newest batch.
    assert_eq!(checked.records, sound().len() as u64 + 1);
}

/// Checks a sound store with these records more, or in place of its own; what is told of one keyspace.
#[track_caller]
fn finds(records: impl IntoIterator<Item = Record>, keyspace: Keyspace, what: &str) {
    finds_without(None, records, keyspace, what);
}

#[track_caller]
fn finds_without(
    without: Option<&Record>,
    records: impl IntoIterator<Item = Record>,
    keyspace: Keyspace,
    what: &str,
) {
    let sound = sound().into_iter().filter(|record| Some(record) != without);
    let checked = check(&disk(sound.chain(records)), None, &mut |_| {}).unwrap();
    let findings = checked.findings.get(&keyspace).unwrap_or_else(|| panic!("{:?}", checked.findings));
    assert!(findings.first.iter().any(|first| first.contains(what)), "{findings:?}");
    assert!(!findings.first.iter().any(|first| first.contains("secret")), "{findings:?}");
}

#[test]
fn what_is_malformed_is_found_in_every_keyspace() {
    let id = |id: u16| layout::packet_key(ANN, PacketId::new(id).unwrap());
    let keys: [(Keyspace, Vec<u8>); 9] = [
        (Keyspace::Meta, b"unknown".into()),
        (Keyspace::Session, b"ann".into()),
        (Keyspace::Subscription, subscription(ANN, "a/#").1),
        (Keyspace::Queue, layout::queue_key(ANN, 20).into()),
        (Keyspace::Message, layout::position_key(21).into()),
        (Keyspace::Refs, layout::position_key(21).into()),
        (Keyspace::Inflight, id(1)),
        (Keyspace::Inbound, id(3)),
        (Keyspace::Retained, b"a/b".into()),
    ];
    for (keyspace, key) in keys {
        finds([(keyspace, key, b"very secret".into())], keyspace, "");
    }
    finds([(Keyspace::Replay, layout::window_key(b"dev"), b"secret".into())], Keyspace::Replay, "the value");
    for keyspace in [Keyspace::Queue, Keyspace::Message, Keyspace::Refs, Keyspace::Inflight, Keyspace::Replay]
    {
        finds([(keyspace, b"\xff\n".into(), Vec::new())], keyspace, "\\xff\\n: the key is not");
    }
}

#[test]
fn what_has_no_session_is_found() {
    let nobody = SessionId(5);
    finds([subscription(nobody, "x")], Keyspace::Subscription, "session 5, x: there is no such session");
    finds([entry(nobody, 30, false)], Keyspace::Queue, "session 5, position 30: there is no such session");
    let lost = flight(nobody, 4, (30, false), FlightState::Released);
    finds([lost], Keyspace::Inflight, "session 5, packet id 5: there is no such session");
    finds([inbound(nobody, 6)], Keyspace::Inbound, "session 5, packet id 6: there is no such session");
    finds([session(SessionId(11), "new")], Keyspace::Session, "the next is 10");
    finds([session(ANN, "twin")], Keyspace::Session, "session 1 is another client's too");
}

#[test]
fn what_does_not_belong_together_is_found() {
    finds([refs(21, 4)], Keyspace::Refs, "position 21: it says that 4 queues share it, and 3 do");
    finds_without(Some(&refs(21, 3)), [], Keyspace::Refs, "position 21: it is missing, and 3 queues");
    finds_without(Some(&body(21)), [], Keyspace::Queue, "position 21: the message that entries of 3 queues");
    finds([body(50), refs(50, 0)], Keyspace::Message, "position 50: no queue has it");
    finds([refs(51, 1)], Keyspace::Refs, "position 51: it says that 1 queues share it, and 0 do");
    finds([flight(ANN, 5, (22, false), FlightState::Published)], Keyspace::Inflight, "not in the queue");
    finds([flight(ANN, 5, (21, false), FlightState::Published)], Keyspace::Inflight, "says otherwise");
    let (keyspace, _, value) = flight(ANN, 5, (20, false), FlightState::Published);
    let astray = layout::packet_key(ANN, PacketId::new(77).unwrap());
    finds([(keyspace, astray, value)], Keyspace::Inflight, "not that of its sending");
    finds([entry(ANN, 101, false)], Keyspace::Queue, "beyond the newest, 100");
    let (_, _, other) = retained("other");
    finds(
        [(Keyspace::Retained, b"topic".into(), other)],
        Keyspace::Retained,
        "topic: its message is another",
    );
    finds([meta(b"schema", &2_u32.to_be_bytes())], Keyspace::Meta, "schema: the layout is none");
}

#[test]
fn the_first_are_told_and_all_are_counted() {
    let disk = disk((0..9).map(|id| inbound(SessionId(77), id + 1)));
    let checked = check(&disk, Some(&OpenError::DamagedTip), &mut |_| {}).unwrap();
    let findings = &checked.findings[&Keyspace::Inbound];
    assert_eq!((findings.count, findings.first.len()), (9, 5));
    assert!(checked.findings[&Keyspace::Meta].first[0].contains("'tip' is missing or damaged"));
}

/// On a disk: what was lost is found, and looking leaves it to be found again.
#[test]
fn looking_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    assert!(look(&path, 1 << 20).unwrap().is_none());
    assert!(!path.exists());
    let text = exported(&many());
    import(&text, &open_empty(&path, 1 << 20).unwrap()).unwrap();
    {
        let store = look(&path, 1 << 20).unwrap().unwrap();
        assert_eq!(store.doubt, None);
        assert_eq!(contents(&store.engine), contents(&many()));
        assert_eq!(look(&path, 1 << 20).map(|_| ()).unwrap_err(), OpenError::InUse);
    }
    std::fs::write(path.join("tip"), [7; 24]).unwrap();
    for _ in 0..2 {
        let store = look(&path, 1 << 20).unwrap().unwrap();
        assert_eq!(store.doubt, Some(OpenError::DamagedTip));
    }
}
