//! A damaged store: the broker does not start on it in silence. It says which store, what is wrong and what to
//! do, and starts when told to go on. Where bits may flip is tried at length below the broker
//! (`broker/src/store/disk/tests.rs`), since a copy of the store is opened there in a fraction of the time.

use crate::harness::packets::puback;
use crate::harness::{Broker, Connect, Publish, Setup, Wire};
use std::os::unix::fs::FileExt;
use std::path::Path;

const MESSAGES: u16 = 500;

fn reader() -> Connect {
    Connect::new("reader").persistent()
}

/// A store in which messages wait that were acknowledged.
fn filled() -> Setup {
    let broker = Setup::new().config("[storage]\nballast_bytes = 0\n").start();
    let mut wire = Wire::connect(&broker, &reader());
    wire.subscribe("a", 1);
    wire.disconnect();
    let mut publisher = Wire::client(&broker, "publisher");
    for n in 1..=MESSAGES {
        publisher.send(Publish::new("a", format!("{n} {}", "x".repeat(100))).qos(1, n).bytes());
        publisher.expect(puback(n));
    }
    broker.kill()
}

/// Flips a bit of a file.
fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 4;
    // As long as it was: the rest of a journal is a hole.
    std::fs::File::options()
        .write(true)
        .open(file)
        .unwrap()
        .write_all_at(&bytes[at..=at], at as u64)
        .unwrap();
}

/// It refuses to start: one line that names the store and says why. That line, its folder and configuration.
fn refused(setup: Setup) -> (String, Setup) {
    let store = setup.dir().join("data/store");
    let mut broker = setup.spawn();
    let line =
        broker.log_line(|line| line.contains("the store cannot be opened") || line.contains("listening"));
    assert!(line.contains(store.to_str().unwrap()), "{}", line.text);
    assert!(!broker.wait().success());
    (line.text, broker.again())
}

/// How many of the messages come, in order from the first.
fn delivered(broker: &Broker) -> u16 {
    let mut wire = Wire::resume(broker, &reader());
    wire.send(crate::harness::packets::PINGREQ);
    let mut n = 0;
    while let Some(publish) = Publish::parse(&wire.receive()) {
        n += 1;
        assert_eq!(publish.text().split(' ').next(), Some(n.to_string().as_str()));
    }
    n
}

/// Wherever the journal is damaged it is refused. Where the engine would go on without what is behind, it can
/// be told to.
#[test]
fn damaged_journal_is_refused_until_the_loss_is_accepted() {
    let mut setup = filled();
    let journal = setup.dir().join("data/store/0.jnl");
    let sound = std::fs::read(&journal).unwrap();
    let middle = sound.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    for at in middle.. {
        std::fs::write(&journal, &sound).unwrap();
        flip(&journal, at);
        let (line, again) = refused(setup);
        setup = again;
        if line.contains("changes that were acknowledged are missing") {
            assert!(line.contains("--accept-loss"), "{line}");
            break;
        }
        assert!(line.contains("damaged") && at < middle + 1_000, "{line}");
    }
    let (line, setup) = refused(setup);
    assert!(line.contains("changes that were acknowledged are missing"), "{line}");
    let broker = setup.arg("--accept-loss").start();
    broker.log_line(|line| line.level() == "WARN" && line.contains("--accept-loss"));
    let came = delivered(&broker);
    assert!((1..MESSAGES).contains(&came), "{came} of {MESSAGES}");
    // It was accepted once, and is no loss from then on.
    broker.kill().start();
}

#[test]
fn damaged_tip_is_refused_until_the_loss_is_accepted() {
    let setup = filled();
    flip(&setup.dir().join("data/store/tip"), 12);
    let (line, setup) = refused(setup);
    assert!(line.contains("'tip'") && line.contains("--accept-loss"), "{line}");
    let broker = setup.arg("--accept-loss").start();
    assert!(delivered(&broker) > 0);
    broker.kill().start();
}
