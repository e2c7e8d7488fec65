//! The load generator of this project, `tests/load/`: that it still runs, and what it watches over.
//!
//! It fails where a message is lost, doubled or out of order, so that a short run is a test too: of
//! many messages at once, with every window in use.

use crate::harness::Broker;
use std::process::Command;

#[track_caller]
fn load(broker: &Broker, args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["--addr", &broker.addr().to_string(), "--seconds", "0.2", "--window", "200"])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{args:?}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    // | version | delivered/s | p50 | lost | processor time |
    let figures = said.lines().last().unwrap().split('|').map(str::trim).collect::<Vec<_>>();
    assert!(figures[2].parse::<u64>().unwrap() > 0, "{said}");
    assert_eq!(figures[4], "0", "{said}");
}

#[test]
fn load_of_every_qos_and_version_arrives_whole_and_in_order() {
    let broker = Broker::start();
    for version in ["4", "5"] {
        for qos in ["0", "1", "2"] {
            load(&broker, &["--version", version, "--qos", qos]);
        }
    }
}

#[test]
fn load_of_all_to_all_with_aliases_and_properties_arrives_whole_and_in_order() {
    let broker = Broker::with_config("[mqtt]\nreceive_maximum = 50");
    let wildcard = ["--pubs", "5", "--subs", "5", "--filter", "wildcard"];
    load(&broker, &[&wildcard[..], &["--topic-alias", "--user-properties", "3"]].concat());
}

/// The honest lose nothing, and the broker has refused every bad stamp that it was sent whole.
#[test]
fn flood_of_bad_stamps_is_measured_and_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["flood", "--broker"])
        .arg(crate::harness::broker::binary())
        .args(["--pairs", "1", "--seconds", "1", "--senders", "3", "--pace", "20"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // | pair | p50 | p99 | p50 | p99 | ratio | ratio | lost | sent | refused |
    let row = said.lines().find(|line| line.starts_with("| 1 ")).unwrap();
    let cells = row.split('|').map(str::trim).collect::<Vec<_>>();
    assert_eq!(cells[8], "0", "{said}");
    let [sent, refused] = [9, 10].map(|n| cells[n].parse::<u64>().unwrap());
    assert!(sent > 0 && sent == refused, "{said}");
}
