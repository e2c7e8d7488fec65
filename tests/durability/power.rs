//! A power cut: of what was synced all is there, of what was written since then some pages are, and the last
//! of a file may be torn. A library notes what was synced (`preload/power.c`); the broker is killed, and
//! folders are made that a cut at that moment might have left. A broker on each of them has everything that
//! was acknowledged.

use super::preload::{Library, preloaded};
use crate::harness::packets::puback;
use crate::harness::{Broker, Connect, Publish, Setup, Wire};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PAGE: usize = 4096;
/// What a disk writes whole or not at all: 'tip', overwritten in place, relies on it.
const SECTOR: usize = 512;
/// Sessions that are away; the second of them shares each third message.
const READERS: [&str; 2] = ["one", "two"];

/// xorshift: the same images for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// What a cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing.
    Gone,
    /// Some of its pages, the last one torn.
    Pages,
    /// Its length, filled with zeros.
    Zeros,
}

/// Each file under a folder, by its path from there.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let content = std::fs::read(&entry).unwrap();
                found.insert(entry.strip_prefix(folder).unwrap().to_owned(), content);
            }
        }
    }
    found
}

/// Without the zeros at the end, by which a journal is longer than what is written in it.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// What is left of a file: of its synced bytes all, of the others what `tail` says.
fn left_of(synced: &[u8], live: &[u8], tail: Tail, random: &mut Random) -> Vec<u8> {
    let mut image = synced.to_vec();
    match tail {
        Tail::Gone => {}
        Tail::Zeros => {
            image.resize(image.len().max(live.len()), 0);
        }
        Tail::Pages => {
            image.resize(live.len(), 0);
            let torn = written(live).saturating_sub(1) / PAGE;
            for (n, page) in live.chunks(PAGE).enumerate() {
                let from = n * PAGE;
                let there = &mut image[from..from + page.len()];
                if there == page || random.below(2) == 0 {
                    continue;
                }
                let keep =
                    if n == torn { random.below(page.len() / SECTOR + 1) * SECTOR } else { page.len() };
                there[..keep].copy_from_slice(&page[..keep]);
            }
        }
    }
    image
}

/// A folder such as a cut might have left.
fn image(
    synced: &BTreeMap<PathBuf, Vec<u8>>,
    live: &BTreeMap<PathBuf, Vec<u8>>,
    to: &Path,
    tail: Tail,
    random: &mut Random,
) {
    for (path, now) in live {
        let before = synced.get(path);
        // A file of which nothing was synced may not even have its name yet.
        if before.is_none() && (tail == Tail::Gone || random.below(2) == 0) {
            continue;
        }
        let content = left_of(before.map_or(&[], Vec::as_slice), now, tail, random);
        let file = to.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &content[..written(&content)]).unwrap();
        std::fs::File::options().write(true).open(file).unwrap().set_len(content.len() as u64).unwrap();
    }
    // Folders have their names before there is a file in them.
    for path in live.keys().filter_map(|path| path.parent()) {
        std::fs::create_dir_all(to.join(path)).unwrap();
    }
}

/// Publishes until so many were acknowledged and more are on their way.
fn publish(broker: &Broker, messages: usize, body: usize) {
    let mut wire = Wire::client(broker, "publisher");
    let id = |n: usize| u16::try_from(n % 60_000 + 1).unwrap();
    let topic = |n: usize| if n.is_multiple_of(3) { "both" } else { "one" };
    let packet = |n: usize| Publish::new(topic(n), format!("{n} {}", "x".repeat(body))).qos(1, id(n)).bytes();
    let mut sent = 0;
    for acknowledged in 0..messages {
        while sent < acknowledged + 16 {
            wire.send(packet(sent));
            sent += 1;
        }
        wire.expect(puback(id(acknowledged)));
    }
}

/// All that was acknowledged comes; what was on its way may come behind it.
fn assert_delivered(broker: &Broker, messages: usize) {
    for name in READERS {
        let mut wire = Wire::resume(broker, &Connect::new(name).persistent());
        for n in (0..messages).filter(|n| name == "one" || n.is_multiple_of(3)) {
            let publish = wire.expect_publish();
            assert_eq!(publish.text().split(' ').next(), Some(n.to_string().as_str()), "{name}");
            wire.acknowledge(&publish);
        }
    }
    let mut wire = Wire::client(broker, "late");
    wire.subscribe("kept", 1);
    assert!(wire.take("value").retain);
}

/// A cut after so many messages of so many bytes; `images` of what it might have left.
fn cut(seed: u64, messages: usize, body: usize, images: usize) {
    // Beside the store, so that the shadow is on the same device.
    let setup = Setup::new().config("[storage]\ncache_bytes = \"1 MiB\"\nballast_bytes = 0\n");
    let (store, shadow) = (setup.dir().join("data/store/"), setup.dir().join("shadow/"));
    let broker = preloaded(setup, Library::Power, "TEST_STORE", store.to_str().unwrap())
        .env("TEST_SHADOW", shadow.to_str().unwrap())
        .start();
    for (name, filters) in READERS.into_iter().zip([&["one", "both"][..], &["both"]]) {
        let mut wire = Wire::connect(&broker, &Connect::new(name).persistent());
        for filter in filters {
            wire.subscribe(filter, 1);
        }
        wire.disconnect();
    }
    Wire::client(&broker, "keeper").publish(&Publish::new("kept", "value").qos(1, 1).retain());
    publish(&broker, messages, body);
    let setup = broker.kill();
    let (synced, live) = (files(&shadow), files(&store));
    assert!(synced.len() > 10, "{:?}", synced.keys());
    let config = std::fs::read_to_string(setup.dir().join("sealmq.toml")).unwrap();
    let config = config.replacen("data_dir = \"data\"\n", "", 1);
    let mut random = Random(seed);
    for n in 0..images {
        let tail = [Tail::Pages, Tail::Zeros, Tail::Gone][n.min(images - n - 1).min(2)];
        let place = TempDir::new().unwrap();
        image(&synced, &live, &place.path().join("store"), tail, &mut random);
        println!("seed {seed}, image {n}: {tail:?}");
        let path = format!("path = \"{}\"\n", place.path().join("store").display());
        let config = config.replacen("[storage]\n", &format!("[storage]\n{path}"), 1);
        let broker = Setup::new().config(&config).start();
        assert_delivered(&broker, messages);
        broker.kill();
    }
}

#[test]
fn power_cut_loses_nothing_acknowledged() {
    cut(1, 300, 300, 5);
}

/// With messages enough that memtables are written out.
#[test]
#[ignore = "takes minutes"]
fn many_power_cuts_lose_nothing_acknowledged() {
    for seed in 1..=10 {
        cut(seed, 400 * usize::try_from(seed).unwrap(), 5_000, 10);
    }
}
