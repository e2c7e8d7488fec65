//! Space: what was queued and is acknowledged takes none any more, however often; and a start does not take
//! longer for what waits.

use super::{SYS, await_report, settle};
use crate::harness::packets::puback;
use crate::harness::{Broker, Connect, Publish, Setup, Wire};
use std::path::Path;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// What the store may take on disk at any time.
const MOST: u64 = 300 * MIB;
/// And what it may take with nothing in it: two journals of the engine, made long from the beginning.
const EMPTY: u64 = 2 * 64 * MIB + 8 * MIB;
/// Payload of each message.
const BODY: usize = 256;
/// Messages on their way at a time.
const WINDOW: usize = 1_000;
/// It is given back within this time.
const GIVEN_BACK: Duration = Duration::from_mins(1);

fn reader() -> Connect {
    Connect::new("reader").persistent()
}

/// A broker, and a session that is away and may have as much as it likes.
fn with_reader() -> Broker {
    let limits = "[limits]\nqueue_messages_max = 2000000\nqueue_bytes_max = \"1 GiB\"\n";
    let broker = Setup::new().config(limits).config(SYS).start();
    let mut wire = Wire::connect(&broker, &reader());
    wire.subscribe("a", 1);
    wire.disconnect();
    broker
}

fn id(n: usize) -> u16 {
    u16::try_from(n % 60_000 + 1).unwrap()
}

/// What does not compress, behind its number.
fn body(n: usize) -> Vec<u8> {
    let mut body = format!("{n} ").into_bytes();
    let mut state = n as u64 ^ 0x9E37_79B9_7F4A_7C15;
    while body.len() < BODY {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend(state.to_be_bytes());
    }
    body
}

fn publish(broker: &Broker, messages: usize) {
    let mut wire = Wire::client(broker, "publisher");
    let mut sent = 0;
    for acknowledged in 0..messages {
        if sent < messages && sent - acknowledged < WINDOW / 2 {
            let until = messages.min(acknowledged + WINDOW);
            let packets = (sent..until).map(|n| Publish::new("a", body(n)).qos(1, id(n)).bytes());
            wire.send(packets.collect::<Vec<_>>().concat());
            sent = until;
        }
        wire.expect(puback(id(acknowledged)));
    }
}

fn drain(broker: &Broker, messages: usize) {
    let mut wire = Wire::resume(broker, &reader());
    let mut answers = Vec::new();
    for n in 0..messages {
        let publish = wire.expect_publish();
        assert!(publish.payload.starts_with(format!("{n} ").as_bytes()), "{publish:?} instead of {n}");
        answers.extend(puback(publish.id));
        if n % 16 == 15 || n + 1 == messages {
            wire.send(&answers);
            answers.clear();
        }
    }
    wire.expect_nothing_but_pong();
    wire.disconnect();
}

/// What a folder really takes on the device.
fn taken(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // Files come and go meanwhile.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(file) if file.is_dir() => taken(&entry.path()),
        Ok(file) => file.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

/// Queued and drained so often, so many at a time.
fn rounds(rounds: usize, messages: usize) {
    let broker = with_reader();
    let store = broker.dir().join("data/store");
    for round in 0..rounds {
        publish(&broker, messages);
        let full = taken(&store);
        drain(&broker, messages);
        let since = Instant::now();
        let said = await_report(&broker, "store/disk bytes", |bytes| bytes.parse::<u64>().unwrap() < EMPTY);
        let waited = since.elapsed();
        assert!(waited < GIVEN_BACK, "{waited:?}");
        let left = taken(&store);
        println!(
            "round {round}: {} MiB queued, {} MiB drained, after {waited:?} the broker says {said}",
            full / MIB,
            left / MIB
        );
        assert!(full < MOST && left < EMPTY, "{full} bytes, then {left}");
    }
    // And nothing of it comes back, once that is written what nobody waits for.
    settle(&broker);
    let broker = broker.kill().start();
    Wire::resume(&broker, &reader()).expect_nothing_but_pong();
}

#[test]
fn space_is_given_back_and_does_not_grow() {
    rounds(2, 20_000);
}

#[test]
#[ignore = "takes minutes"]
fn space_is_given_back_ten_times() {
    rounds(10, 100_000);
}

/// How soon it listens, with so much waiting.
fn start_with(messages: usize) -> Duration {
    let broker = with_reader();
    publish(&broker, messages);
    let taken = taken(&broker.dir().join("data/store"));
    let setup = broker.kill();
    let since = Instant::now();
    let broker = setup.start();
    let took = since.elapsed();
    println!("{messages} messages wait, {} MiB; started in {took:?}", taken / MIB);
    assert!(broker.resident_bytes() < 200 * MIB, "{} bytes of memory", broker.resident_bytes());
    let mut wire = Wire::resume(&broker, &reader());
    assert!(wire.expect_publish().payload.starts_with(b"0 "));
    took
}

#[test]
#[ignore = "takes minutes"]
fn start_with_a_million_messages_takes_less_than_three_seconds() {
    let took = start_with(1_000_000);
    assert!(took < Duration::from_secs(3), "{took:?}");
}
