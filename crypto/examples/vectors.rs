//! Runs files of envelope vectors: `vectors FILE...`, one line for each vector and a sum at the end.
//!
//! Exits with 1 if a vector failed or a file could not be read.

#[path = "../tests/vectors/runner.rs"]
mod runner;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: vectors FILE...");
        return ExitCode::FAILURE;
    }
    for file in &files {
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
        match text.and_then(|text| runner::run(&text)) {
            Ok(outcomes) => {
                for outcome in outcomes {
                    println!("{outcome}");
                    *(if outcome.passed() { &mut passed } else { &mut failed }) += 1;
                }
            }
            Err(error) => {
                println!("FAIL {file}: {error}");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
