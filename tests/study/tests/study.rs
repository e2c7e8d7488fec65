//! The study from end to end, as short as it can be: a real broker, small fleets, and what comes out of it.
//!
//! No figure is held against another: that is the reader's business, on a machine of his.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, also in the functions that tests share"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The broker, built from the sources as they are now.
fn broker() -> PathBuf {
    // <target>/<profile>/study
    let profile = Path::new(env!("CARGO_BIN_EXE_study")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "sealmq", "--bin", "sealmq", "--target-dir"]);
    cargo.arg(profile.parent().unwrap());
    // What cargo says of this package would make it build others anew.
    for (name, _) in std::env::vars() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"].iter().any(|own| name.starts_with(own)) {
            cargo.env_remove(name);
        }
    }
    assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success(), "the broker compiles");
    profile.with_file_name("debug").join("sealmq")
}

fn study(out: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_study")).arg("--out").arg(out).args(arguments).output().unwrap()
}

/// The table of a CSV file: its names, and its rows.
fn table(path: &Path) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let fields = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<_>>();
    let names = fields(reader.headers().unwrap());
    (names, reader.records().map(|record| fields(&record.unwrap())).collect())
}

#[track_caller]
fn assert_positive(table: &(Vec<String>, Vec<Vec<String>>), column: &str) {
    let at = table.0.iter().position(|name| name == column).unwrap();
    for row in &table.1 {
        assert!(row[at].parse::<f64>().unwrap() > 0.0, "{column}: {row:?}");
    }
}

#[test]
fn a_tiny_study_writes_every_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (out, document) = (folder.path().join("out"), folder.path().join("study.md"));
    std::fs::write(&document, "Before\n<!-- study: fleets --><!-- /study -->\nAfter\n").unwrap();
    let broker = broker();
    let tiny = ["--quick", "--sizes=16,64", "--readings=2", "--milliseconds=1", "--devices=2,5"];
    let fleets = ["--seconds=0.3", "--pace=200", "--broker", broker.to_str().unwrap()];
    let marks = ["--document", document.to_str().unwrap()];
    let output = study(&out, &[&tiny[..], &fleets, &marks].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("9 charts"), "{said}");

    let primitives = table(&out.join("primitives.csv"));
    // Ciphers, stamps and envelopes, two operations and two sizes each; and nine batches.
    assert_eq!(primitives.1.len(), (6 + 3 + 3) * 2 * 2 + 9);
    for column in ["ns", "p10_ns", "p90_ns", "size_bytes", "added_bytes"] {
        assert_positive(&primitives, column);
    }
    let fleets = table(&out.join("fleets.csv"));
    assert_eq!(fleets.1.len(), 2 * 5);
    for column in ["rate_per_s", "latency_p50_us", "latency_p99_us", "transit_p50_us", "wire_bytes"] {
        assert_positive(&fleets, column);
    }
    let machine = table(&out.join("machine.csv"));
    for name in ["processor", "instructions", "cores", "compiler", "broker", "versions", "cycle counter"] {
        assert!(machine.1.iter().any(|row| row[0] == name), "{name} is not told");
    }
    let text = std::fs::read_to_string(&document).unwrap();
    assert!(text.starts_with("Before\n") && text.ends_with("\nAfter\n"), "{text}");
    assert_eq!(text.matches("| sealed, asymmetric |").count(), 2, "{text}");
    assert_charts(&out);
}

/// Nine pictures, each in two whole files.
fn assert_charts(out: &Path) {
    let files = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let (mut svg, mut png) = (0, 0);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        match file.extension().unwrap().to_str().unwrap() {
            "svg" => {
                let text = String::from_utf8(bytes).unwrap();
                assert!(
                    text.starts_with("<svg") && text.trim_end().ends_with("</svg>"),
                    "{}",
                    file.display()
                );
                assert!(!text.contains("NaN"), "{}", file.display());
                svg += 1;
            }
            "png" => {
                assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", file.display());
                assert!(bytes.ends_with(b"IEND\xAE\x42\x60\x82"), "{}", file.display());
                png += 1;
            }
            "csv" => {}
            other => panic!("nobody asked for a {other} file"),
        }
    }
    assert_eq!((svg, png), (9, 9));
}

#[test]
fn what_is_missing_is_said_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("none");
    let output = study(folder.path(), &["--broker", nowhere.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("no sealmq at"), "{said}");
    let output = study(folder.path(), &["--draw"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("primitives.csv"), "{said}");
}

#[test]
fn a_build_with_special_instructions_does_not_pass_for_one_without() {
    let folder = tempfile::tempdir().unwrap();
    let own = env!("CARGO_BIN_EXE_study");
    let tiny = ["--sizes=16", "--readings=1", "--milliseconds=1"];
    // Any file will do for a broker: it is not asked for more than its version before that.
    let output = study(folder.path(), &[&tiny[..], &["--software", own, "--broker", own]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is built with special instructions"), "{said}");
}
