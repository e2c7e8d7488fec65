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

/// `sealmq store check` finds it, too.
fn check_refuses(setup: &Setup) -> String {
    setup.write_config();
    let output = setup.run(&["store", "check", "--config", "sealmq.toml"], "");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    error
}

/// Wherever the journal is damaged the store is refused as it is, and goes on with what is left when told to.
#[test]
fn damaged_journal_is_refused_until_the_loss_is_accepted() {
    let mut setup = filled();
    let journal = setup.dir().join("data/store/0.jnl");
    let sound = std::fs::read(&journal).unwrap();
    let middle = sound.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    for at in (middle..).step_by(37).take(8) {
        flip(&journal, at);
        let damaged = std::fs::read(&journal).unwrap();
        let (line, again) = refused(setup);
        setup = again;
        for part in
            ["changes that were acknowledged are missing", "'0.jnl' is damaged from byte", "--accept-loss"]
        {
            assert!(line.contains(part), "{part} in {line}");
        }
        let error = check_refuses(&setup);
        assert!(error.contains("'0.jnl' is damaged from byte"), "{error}");
        assert!(std::fs::read(&journal).unwrap() == damaged, "what is refused is left as it is");
        flip(&journal, at);
    }
    flip(&journal, middle);
    let broker = setup.arg("--accept-loss").start();
    broker.log_line(|line| line.level() == "WARN" && line.contains("0.jnl.cut-at-"));
    broker.log_line(|line| line.level() == "WARN" && line.contains("--accept-loss"));
    let came = delivered(&broker);
    assert!((1..MESSAGES).contains(&came), "{came} of {MESSAGES}");
    // It was accepted once, and is no loss from then on.
    broker.kill().start();
}

/// What is missing from a journal that is not the newest was acknowledged long ago.
#[test]
fn damaged_journal_in_front_of_another_is_refused_until_the_loss_is_accepted() {
    const LARGE: u16 = 270;
    let broker = Setup::new().config("[storage]\nballast_bytes = 0\n").start();
    let mut publisher = Wire::client(&broker, "publisher");
    for n in 1..=MESSAGES {
        publisher.publish(&Publish::new(format!("small/{n}"), "x").qos(1, n).retain());
    }
    let large = "x".repeat(256 * 1024);
    for n in 1..=LARGE {
        publisher.publish(&Publish::new(format!("large/{n}"), &large).qos(1, n).retain());
    }
    let setup = broker.kill();
    let store = setup.dir().join("data/store");
    assert!(store.join("1.jnl").exists());
    let journal = store.join("0.jnl");
    let sound = std::fs::read(&journal).unwrap();
    flip(&journal, 6_025);
    let (line, setup) = refused(setup);
    for part in ["'0.jnl' is damaged from byte", "there is a newer one", "--accept-loss"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let error = check_refuses(&setup);
    assert!(error.contains("'0.jnl' is damaged from byte"), "{error}");
    flip(&journal, 6_025);
    assert!(std::fs::read(&journal).unwrap() == sound, "what is refused is left as it is");
    flip(&journal, 6_025);
    let broker = setup.arg("--accept-loss").start();
    broker.log_line(|line| line.level() == "WARN" && line.contains("0.jnl.cut-at-"));
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
