//! A real file, what was put into it, and every way to damage it.
//!
//! `fixtures/sessions.db` was written by mosquitto 2.0.11 (Debian 12, amd64) on SIGUSR1, after
//! `fixtures/make.py` had led it through every state that a file can show: it begins at `BEGUN_S`, says what
//! each client does, and can be run again; then the times below change, and the numbers of the packets do
//! not. No mosquitto 1.6 was at hand: version 5 is tested with the same records in the older struct.

use super::error::{FileError, Flaw, Place};
use super::record::{
    Cfg, Client, ClientMessage, Direction, MessageState, MessageStore, Record, Retained, StoreId,
    Subscription,
};
use super::{CHUNK_HEADER_BYTES, FILE_HEADER_BYTES, Kind, Reader, Version};
use proptest::prelude::*;
use sealmq_protocol::packet::{PacketId, PayloadFormat, RetainHandling, SubscriptionId, SubscriptionOptions};
use sealmq_protocol::{ProtocolError, Qos};

pub(super) const FILE: &[u8] = include_bytes!("fixtures/sessions.db");
/// What `make.py` printed.
pub(super) const BEGUN_S: i64 = 1_795_691_449;
const PORT: u16 = 18_830;

/// All records, or what went wrong first.
fn read(file: &[u8]) -> Result<Vec<Record>, FileError> {
    Reader::new(file)?.collect()
}

/// What went wrong.
fn error(file: &[u8]) -> String {
    read(file).unwrap_err().to_string()
}

/// The records of one kind.
fn all<T>(of: impl Fn(Record) -> Option<T>) -> Vec<T> {
    read(FILE).unwrap().into_iter().filter_map(of).collect()
}

fn messages() -> Vec<MessageStore> {
    all(|record| if let Record::MessageStore(it) = record { Some(it) } else { None })
}

fn message(topic: &str) -> MessageStore {
    messages().into_iter().find(|message| message.topic.as_str() == topic).unwrap()
}

/// A file of one chunk.
fn file_of(version: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut file = b"\x00\xB5\x00mosquitto db\0\0\0\0\0\0\0".to_vec();
    file.extend([version, 0, 0, 0, kind]);
    file.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    file.extend(body);
    file
}

/// Where each chunk begins, of what kind it is, and its body.
pub(super) fn chunks() -> Vec<(usize, u8, &'static [u8])> {
    let mut at = FILE_HEADER_BYTES;
    let mut chunks = Vec::new();
    while at < FILE.len() {
        let length = u32::from_be_bytes(FILE[at + 4..at + 8].try_into().unwrap()) as usize;
        chunks.push((at, FILE[at + 3], &FILE[at + 8..at + 8 + length]));
        at += CHUNK_HEADER_BYTES + length;
    }
    chunks
}

#[test]
fn the_file_says_how_it_was_written() {
    assert_eq!(Reader::new(FILE).unwrap().version(), Version::Six);
    let cfg = all(|record| if let Record::Cfg(it) = record { Some(it) } else { None });
    assert_eq!(cfg, [Cfg { last_store_id: StoreId(11), shutdown: false }]);
}

#[test]
fn every_message_comes_out() {
    let seen: Vec<_> = messages()
        .into_iter()
        .map(|it| {
            let from = it.source_client_id.unwrap().to_string();
            (it.topic.as_str().to_owned(), it.payload.to_vec(), it.qos.bits(), it.retain, from)
        })
        .collect();
    let by = |topic: &str, payload: &[u8], qos, retain| {
        (topic.to_owned(), payload.to_vec(), qos, retain, "publisher".to_owned())
    };
    let mut expected = vec![
        by("status/all", b"with everything", 1, true),
        by("status/plain", &[0, 1, 0xFF], 0, true),
        by("/lead/", b"r", 1, true),
        by("plant/1/temp", b"21.5", 1, false),
        by("plant/2/temp", b"", 1, false),
        by("alarm/fire", b"now", 2, true),
        by("cmd/one", b"1", 2, false),
        by("cmd/two", b"2", 1, false),
        by("jobs/a", b"work", 1, false),
        by("half", b"half way", 2, false),
        ("out/never".to_owned(), b"not released".to_vec(), 2, false, "sender".to_owned()),
    ];
    // Mosquitto does not keep the order of messages: that is in the queues.
    expected.sort();
    let mut sorted = seen;
    sorted.sort();
    assert_eq!(sorted, expected);
}

#[test]
fn a_message_keeps_its_properties() {
    let message = message("status/all");
    assert_eq!(message.expiry_time_s, Some(BEGUN_S + 86_400));
    assert_eq!(message.source_username.as_deref(), Some("carl"));
    assert_eq!(message.source_packet_id, PacketId::new(1));
    assert_eq!(message.source_port, PORT);
    let properties = message.properties.unwrap();
    assert_eq!(properties.payload_format, Some(PayloadFormat::Utf8));
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.response_topic.unwrap().as_str(), "reply/to");
    assert_eq!(properties.correlation_data.as_deref(), Some(b"corr\0".as_slice()));
    let pairs: Vec<_> = properties.user_properties.iter().collect();
    assert_eq!(pairs, [("a", "1"), ("a", "zwei €")]);
}

#[test]
fn a_message_without_properties_has_none() {
    let plain = message("status/plain");
    assert_eq!((plain.properties, plain.expiry_time_s, plain.source_packet_id), (None, None, None));
    // Of MQTT 3.1.1, from a client without a name.
    let sent = message("out/never");
    assert_eq!((sent.properties, sent.source_username), (None, None));
    assert_eq!(sent.source_packet_id, PacketId::new(77));
    // An expiry alone makes no properties: it is a time of its own.
    let expiring = message("plant/1/temp");
    assert_eq!((expiring.properties, expiring.expiry_time_s), (None, Some(BEGUN_S + 7_200)));
}

#[test]
fn every_retained_message_comes_out() {
    let ids = all(|record| if let Record::Retained(it) = record { Some(it) } else { None });
    let mut topics: Vec<_> = messages()
        .into_iter()
        .filter(|message| ids.contains(&Retained { store_id: message.store_id }))
        .map(|message| message.topic.as_str().to_owned())
        .collect();
    topics.sort();
    assert_eq!(ids.len(), 4);
    assert_eq!(topics, ["/lead/", "alarm/fire", "status/all", "status/plain"]);
}

#[test]
fn every_session_comes_out() {
    let client =
        |client_id: &str, username: Option<&str>, ends: Option<i64>, seconds, last_packet_id| Client {
            client_id: client_id.into(),
            username: username.map(Into::into),
            session_expiry_time_s: ends,
            session_expiry_s: seconds,
            last_packet_id,
            listener_port: PORT,
        };
    let clients = all(|record| if let Record::Client(it) = record { Some(it) } else { None });
    assert_eq!(
        clients,
        [
            client("keeper", Some("ana"), None, u32::MAX, 3),
            client("five", Some("bob"), Some(BEGUN_S + 3_600), 3_600, 3),
            // It had no name. Mosquitto wrote "bob" and 765 bytes of its memory.
            client("half", None, None, u32::MAX, 1),
            // It had none either, and nobody can see that.
            client("sender", Some("bob"), None, u32::MAX, 0),
        ]
    );
}

#[test]
fn every_queue_comes_out_in_order() {
    let row = |it: ClientMessage| {
        let topic = messages().into_iter().find(|message| message.store_id == it.store_id).unwrap().topic;
        let ids: Vec<_> = it.subscription_ids.as_slice().iter().map(|id| id.get()).collect();
        let packet_id = it.packet_id.map_or(0, PacketId::get);
        let flags = (it.retain, it.dup);
        (
            it.client_id.to_string(),
            topic.as_str().to_owned(),
            packet_id,
            it.qos,
            flags,
            it.direction,
            it.state,
            ids,
        )
    };
    let out = |client: &str, topic: &str, packet_id, qos, dup, state, ids: &[u32]| {
        (
            client.to_owned(),
            topic.to_owned(),
            packet_id,
            qos,
            (false, dup),
            Direction::Out,
            state,
            ids.to_vec(),
        )
    };
    let queued = MessageState::Queued;
    let (once, exactly) = (Qos::AtLeastOnce, Qos::ExactlyOnce);
    let mut received = out("sender", "out/never", 77, exactly, false, MessageState::WaitForPubRel, &[]);
    received.5 = Direction::In;
    assert_eq!(
        all(|record| if let Record::ClientMessage(it) = record { Some(row(it)) } else { None }),
        [
            out("keeper", "plant/1/temp", 1, once, false, queued, &[]),
            out("keeper", "plant/2/temp", 2, once, false, queued, &[]),
            out("keeper", "alarm/fire", 3, exactly, false, queued, &[]),
            out("five", "cmd/one", 1, exactly, true, MessageState::WaitForPubRec, &[7]),
            out("five", "cmd/two", 2, once, false, queued, &[7]),
            out("five", "jobs/a", 3, once, false, queued, &[300]),
            out("half", "half", 1, exactly, true, MessageState::WaitForPubComp, &[]),
            received,
        ]
    );
}

/// But for `$share/pool/jobs/+` of "five", which mosquitto did not write.
#[test]
fn every_subscription_comes_out() {
    let subscription = |client_id: &str, filter: &str, options, id| Subscription {
        client_id: client_id.into(),
        filter: filter.parse().unwrap(),
        options,
        id: SubscriptionId::new(id),
    };
    let of = SubscriptionOptions::of;
    let options = SubscriptionOptions { no_local: true, retain_as_published: true, ..of(Qos::ExactlyOnce) };
    let mut seen = all(|record| if let Record::Subscription(it) = record { Some(it) } else { None });
    seen.sort_by(|a, b| (&a.client_id, &a.filter).cmp(&(&b.client_id, &b.filter)));
    assert_eq!(
        seen,
        [
            subscription("five", "cmd/#", options, 7),
            subscription("half", "$SYS/broker/#", of(Qos::AtLeastOnce), 0),
            subscription("half", "/lead/+", of(Qos::AtMostOnce), 0),
            subscription("half", "half", of(Qos::ExactlyOnce), 0),
            subscription("keeper", "alarm/#", of(Qos::ExactlyOnce), 0),
            subscription("keeper", "plant/+/temp", of(Qos::AtLeastOnce), 0),
        ]
    );
}

#[test]
fn version_5_has_clients_without_a_name() {
    let (_, kind, body) = *chunks().iter().find(|(_, kind, _)| *kind == 6).unwrap();
    let older = [&body[..16], b"keeper"].concat();
    let records = read(&file_of(5, kind, &older)).unwrap();
    let [Record::Client(client)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((client.client_id.as_ref(), client.username.as_ref()), ("keeper", None));
    assert_eq!((client.session_expiry_s, client.last_packet_id), (u32::MAX, 3));
    for (_, kind, body) in chunks().into_iter().filter(|(_, kind, _)| *kind != 6) {
        assert_eq!(read(&file_of(5, kind, body)).unwrap(), read(&file_of(6, kind, body)).unwrap());
    }
}

#[test]
fn other_versions_are_refused_by_number() {
    for version in [0, 1, 2, 3, 4, 7, 255] {
        let text = error(&file_of(version, 1, &[]));
        assert!(text.contains(&format!("has version {version} of")), "{text}");
        assert!(text.contains("read are versions 5 (mosquitto 1.6) and 6 (mosquitto 2)"), "{text}");
    }
}

#[test]
fn another_file_is_refused() {
    let mut other = FILE.to_vec();
    other[3] = b'M';
    let other = [&b""[..], b"text", b"SQLite format 3\0 and what follows it", &FILE[1..], &other];
    for file in other {
        assert!(matches!(read(file), Err(FileError::NotMosquitto)));
    }
}

#[test]
fn a_cut_file_ends_where_it_was_cut() {
    let chunks = chunks();
    for cut in 15..FILE.len() {
        let begin = chunks.iter().rfind(|(at, ..)| *at <= cut);
        let within = match begin {
            None => Place::FileHeader,
            // A cut between two chunks cannot be seen.
            Some((at, ..)) if *at == cut => {
                assert!(read(&FILE[..cut]).is_ok());
                continue;
            }
            Some((at, ..)) if cut < at + CHUNK_HEADER_BYTES => Place::ChunkHeader,
            Some((_, kind, _)) => Place::Chunk(Kind::from_number((*kind).into()).unwrap()),
        };
        match read(&FILE[..cut]) {
            Err(FileError::Truncated { offset, within: place }) => {
                assert_eq!((offset, place), (cut as u64, within));
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

/// Neither a length that no chunk has, nor one that the file does not have, makes room for so much.
#[test]
fn an_impossible_length_is_refused_with_its_place() {
    for (at, kind, _) in chunks() {
        let mut file = FILE.to_vec();
        file[at + 4..at + 8].copy_from_slice(&u32::MAX.to_be_bytes());
        let kind = Kind::from_number(kind.into()).unwrap();
        let expected =
            format!("byte {at}: this {kind} chunk cannot be 4294967295 bytes long; the file is damaged");
        assert_eq!(error(&file), expected);
    }
    let mut long = file_of(6, 2, &[0; 40]);
    long[27..31].copy_from_slice(&500_000_000_u32.to_be_bytes());
    assert_eq!(error(&long), "the file is cut off: it ends at byte 71, within a message chunk");
}

#[test]
fn parts_that_do_not_add_up_are_refused() {
    for (_, kind, body) in chunks() {
        let longer = [body, b"\0"].concat();
        let shorter = &body[..body.len() - 1];
        for body in [&longer, shorter] {
            // Properties have no length but what is left, and a check of their own.
            match read(&file_of(6, kind, body)) {
                Err(FileError::Length { offset: 23, .. } | FileError::Record { offset: 23, .. }) => {}
                Ok(_) if kind == 2 || kind == 3 => {}
                other => panic!("{kind}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_unknown_kind_is_refused() {
    assert_eq!(error(&file_of(6, 7, b"")), "byte 23: there is no kind 7 of chunk; the file is damaged");
}

#[test]
fn ids_of_another_size_are_refused() {
    let mut body = [0; 16];
    body[9] = 4;
    assert_eq!(
        error(&file_of(6, 1, &body)),
        "byte 23: store ids take 4 bytes in this file; only those of 8 bytes are read"
    );
}

/// One message that no broker could route does not keep the others from being read.
#[test]
fn a_flawed_record_is_told_and_passed_over() {
    let topic = b"status/plain";
    let at = FILE.windows(topic.len()).position(|part| part == topic).unwrap();
    let mut file = FILE.to_vec();
    file[at] = b'#';
    let (records, errors): (Vec<_>, Vec<_>) = Reader::new(file.as_slice()).unwrap().partition(Result::is_ok);
    assert_eq!(records.len(), chunks().len() - 1);
    let [Err(FileError::Record { kind: Kind::MessageStore, flaw: Flaw::Topic(_), .. })] = errors.as_slice()
    else {
        panic!("{errors:?}")
    };
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let flaw = |kind: u8, at: usize, value: u8| {
        let (_, _, body) = chunks().into_iter().rfind(|(_, other, _)| *other == kind).unwrap();
        let mut body = body.to_vec();
        body[at] = value;
        match read(&file_of(6, kind, &body)) {
            Err(FileError::Record { flaw, .. }) => flaw,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(flaw(2, 30, 3), Flaw::Qos(3));
    assert_eq!(flaw(3, 12, 9), Flaw::Qos(9));
    assert_eq!(flaw(3, 13, 12), Flaw::State(12));
    assert_eq!(flaw(3, 15, 2), Flaw::Direction(2));
    assert_eq!(flaw(3, 16, 0xFF), Flaw::ClientId);
    assert_eq!(flaw(5, 9, 0x30), Flaw::Options(0x30));
    assert_eq!(flaw(5, 0, 0xFF), Flaw::SubscriptionId(0xFF00_0000));
    let client_message = [&[0; 11], &b"\x01\x01\x0b\0\x01c\x02\x0b\0"[..]].concat();
    let Err(FileError::Record { flaw, .. }) = read(&file_of(6, 3, &client_message)) else { panic!() };
    assert_eq!(flaw, Flaw::Properties(ProtocolError::PropertyValue));
}

/// Mosquitto 2.0 leaves it out, and 2.1 puts it where a SUBSCRIBE has it.
#[test]
fn retain_handling_is_read() {
    let body = b"\0\0\0\0\0\x01\0\x01\x01\x24\0\0ct";
    let records = read(&file_of(6, 5, body)).unwrap();
    let [Record::Subscription(subscription)] = records.as_slice() else { panic!("{records:?}") };
    let options = subscription.options;
    assert_eq!(options.retain_handling, RetainHandling::DoNotSend);
    assert!(options.no_local && !options.retain_as_published && options.qos == Qos::AtLeastOnce);
}

#[test]
fn after_damage_nothing_more_is_said() {
    let mut reader = Reader::new(&FILE[..60]).unwrap();
    assert!(reader.next().unwrap().is_ok());
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

/// Every byte, each bit: an error or records, and never more records than chunks could stand there.
#[test]
fn a_flipped_bit_is_no_panic() {
    for at in 0..FILE.len() {
        for bit in 0..8 {
            let mut file = FILE.to_vec();
            file[at] ^= 1 << bit;
            let records = Reader::new(file.as_slice()).map_or(0, Iterator::count);
            assert!(records <= FILE.len() / CHUNK_HEADER_BYTES);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_chunks_are_no_panic(
        version in 5..=6_u8,
        bodies in prop::collection::vec((1..=6_u8, prop::collection::vec(0..48_u8, 0..120)), 0..5),
    ) {
        let mut file = file_of(version, 1, &[0; 16]);
        for (kind, body) in bodies {
            file.extend_from_slice(&file_of(version, kind, &body)[FILE_HEADER_BYTES..]);
        }
        let _ = Reader::new(file.as_slice()).map(Iterator::count);
    }

    #[test]
    fn many_changed_bytes_are_no_panic(changes in prop::collection::vec((0..FILE.len(), any::<u8>()), 1..30)) {
        let mut file = FILE.to_vec();
        for (at, byte) in changes {
            file[at] = byte;
        }
        let _ = Reader::new(file.as_slice()).map(Iterator::count);
    }
}
