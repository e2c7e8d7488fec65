//! The audit while its files are turned over: refusals come in from several connections and reloads change many
//! keys, and no line is missing, neither from the chain nor of what happened, also where the broker is killed.

use super::{RULES, setup};
use crate::harness::broker::run;
use crate::harness::{Broker, Connect, PATIENCE, Publish, Setup, Wire};
use serde_json::Value;
use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Connections that publish what is refused.
const CULPRITS: usize = 3;
/// Senders that a reload enrols, and another one takes off; what is told of them all fills a file.
const SPARE: usize = 200;

/// Files are as small as they can be, and none goes.
fn config() -> String {
    let audit = "[audit]\nusers = [\"ann\"]\nfile_bytes_max = \"64 KiB\"\nfiles_max = 1000\n";
    format!("{RULES}[auth]\npassword_file = \"passwd\"\n{audit}")
}

/// With so many senders more.
fn with_spare(config: &str) -> String {
    (0..SPARE).fold(config.to_owned(), |mut config, n| {
        let id = format!("spare-{n}-{}", "s".repeat(150));
        writeln!(config, "[[sender]]\nid = \"{id}\"\nkey = \"keys/dev-8.pub.jwk\"\ntopics = [\"spare/#\"]")
            .unwrap();
        config
    })
}

/// The path of a file by its age.
fn file(dir: &Path, age: usize) -> PathBuf {
    let name = if age == 0 { "audit.jsonl".to_owned() } else { format!("audit.jsonl.{age}") };
    dir.join("data/audit").join(name)
}

/// All lines, from the oldest.
fn lines(setup: &Setup) -> Vec<Value> {
    let files: Vec<_> = (0..1_000).map(|age| file(setup.dir(), age)).filter(|file| file.exists()).collect();
    let text: String = files.iter().rev().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `sealmq audit verify` finds that the chain holds. What it said.
#[track_caller]
fn verify(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, &[&["audit", "verify", "--config", "sealmq.toml"], args].concat(), "");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.contains("the chain holds"), "{said}");
    said
}

/// Publishes what is refused until it is told to stop, or the broker is gone. How many were answered.
fn offend(addr: SocketAddr, n: usize, stop: &AtomicBool) -> u64 {
    let mut wire = Wire::open_at(addr).connected(&Connect::new(format!("culprit-{n}")), false);
    let topic = format!("plant/7/{}", "t".repeat(900));
    let burst: Vec<u8> =
        (1..=10).flat_map(|id| Publish::new(&topic, "no envelope").qos(1, id).bytes()).collect();
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        if wire.try_send(&burst).is_err() {
            break;
        }
        for _ in 0..10 {
            if wire.try_receive().is_err() {
                return answered;
            }
            answered += 1;
        }
    }
    answered
}

/// Load on a broker, while this is done, which ends it. What that gave, and how many messages were refused.
fn under_load(broker: Broker, work: impl FnOnce(Broker, &dyn Fn()) -> Setup) -> (Setup, u64) {
    let (addr, stop) = (broker.addr(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let offending: Vec<_> = (0..CULPRITS).map(|n| (n, &stop)).collect();
        let offending: Vec<_> =
            offending.into_iter().map(|(n, stop)| scope.spawn(move || offend(addr, n, stop))).collect();
        let setup = work(broker, &|| stop.store(true, Ordering::Relaxed));
        (setup, offending.into_iter().map(|offending| offending.join().unwrap()).sum())
    })
}

/// The file that is written now, if there is one this moment.
fn newest(broker: &Broker) -> Option<u64> {
    Some(std::fs::metadata(broker.dir().join("data/audit/audit.jsonl")).ok()?.ino())
}

/// Somebody who hears of each line.
fn auditor(broker: &Broker) -> Wire {
    let login = Connect::new("auditor").user("ann").password("secret");
    let mut wire = Wire::open_tls(broker).connected(&login, false);
    wire.subscribe("$SYS/broker/audit/head", 0);
    wire
}

/// The `n`th reload, of this configuration.
fn reload(broker: &Broker, config: &str, n: usize) {
    broker.rewrite_config(config);
    broker.reload();
    broker.log().nth_line(n, |line| line.message().starts_with("reloaded"));
}

/// Waits until another file is written than this one.
fn await_turnover(broker: &Broker, head: &mut Wire, before: Option<u64>) {
    let begin = Instant::now();
    while newest(broker) == before {
        head.expect_publish();
        assert!(begin.elapsed() < PATIENCE, "no file is turned over");
    }
}

#[test]
fn files_are_turned_over_under_load_and_no_line_is_missing() {
    const RELOADS: usize = 6;
    let config = config();
    let broker = setup().password("ann", "secret").config(&config).start();
    let (setup, refused) = under_load(broker, |broker, stop| {
        let mut head = auditor(&broker);
        for n in 0..RELOADS {
            let before = newest(&broker);
            reload(&broker, &if n % 2 == 0 { with_spare(&config) } else { config.clone() }, n);
            // Files are turned over while they are read.
            verify(broker.dir(), &[]);
            await_turnover(&broker, &mut head, before);
        }
        stop();
        broker.end()
    });
    let lines = lines(&setup);
    let numbers: Vec<_> = lines.iter().map(|line| line["n"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=lines.len() as u64), "{numbers:?}");
    let of = |event: &'static str| lines.iter().filter(move |line| line["event"] == event);
    let times = |line: &Value| line["repeated"].as_u64().unwrap_or(1);
    assert_eq!(of("refused").map(times).sum::<u64>(), refused);
    let changes = |change: &str| {
        of("key").filter(|line| line["kind"] != "identity" && line["change"] == change).count()
    };
    assert_eq!(["added", "removed"].map(changes), [SPARE * RELOADS / 2; 2]);
    assert_eq!(["begun", "reloaded", "ended", "lost"].map(|event| of(event).count()), [1, RELOADS, 1, 0]);
    let said = verify(setup.dir(), &[]);
    let whole = format!(": {} lines the chain holds", lines.len());
    assert!(said.replace(',', "").contains(&whole), "{said}");
    assert!(file(setup.dir(), RELOADS).exists(), "{said}");
}

/// What was written before each kill is there, and the next start goes on behind it.
#[test]
fn kills_while_files_are_turned_over_break_no_chain() {
    let config = config();
    let mut setup = setup().password("ann", "secret").config(&config);
    let mut hashes: Vec<String> = Vec::new();
    for n in 0..4 {
        let (killed, refused) = under_load(setup.start(), |broker, _| {
            let mut head = auditor(&broker);
            let before = newest(&broker);
            reload(&broker, &with_spare(&config), 0);
            // Half of them as soon as there is much to write.
            if n % 2 == 0 {
                await_turnover(&broker, &mut head, before);
            }
            broker.kill()
        });
        assert!(refused > 0);
        setup = killed;
        let said = verify(setup.dir(), &[]);
        assert!(said.contains("first 1 "), "{said}");
        for hash in &hashes {
            verify(setup.dir(), &["--expect", hash]);
        }
        let hash = said.lines().find_map(|line| line.strip_prefix("hash of the last: "));
        hashes.push(hash.unwrap().to_owned());
    }
    let setup = setup.start().end();
    for hash in &hashes {
        verify(setup.dir(), &["--expect", hash]);
    }
    let numbers = lines(&setup).iter().map(|line| line["n"].as_u64().unwrap()).collect::<Vec<_>>();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
}
