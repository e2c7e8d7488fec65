//! Kills a broker with SIGKILL at random moments under load, starts it again on the same folder, and
//! checks every promise that it has made by an acknowledgement.
//!
//! It owns the command line and the report. `run` makes the rounds and knows the broker from outside
//! (`broker`) and its clients: `cast` says who they are, `client` what `publisher` and `subscriber` share,
//! `extra` and `retained` what is asked besides. They tell everything to the `ledger`, which judges. What
//! they send follows from a seed (`rng`, `payload`); its bytes are made in `wire` and in the `packets` and
//! `socket` of the load generator.

#![allow(clippy::indexing_slicing, reason = "no input of others: a broken packet may end the program")]

mod broker;
mod cast;
mod client;
mod extra;
mod ledger;
#[path = "../load/packets.rs"]
mod packets;
mod payload;
mod publisher;
mod retained;
mod rng;
mod run;
#[path = "../load/socket.rs"]
mod socket;
mod subscriber;
mod wire;

use anyhow::Result;
use clap::Parser;
use ledger::Ledger;
use run::Run;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

/// Kills a sealmq under load, again and again, and checks that it keeps its promises.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// The sealmq that is killed.
    #[arg(long, value_name = "PATH")]
    broker: PathBuf,
    /// What its configuration says of `storage.durability`.
    #[arg(long, default_value = "sync")]
    durability: String,
    /// How often it is killed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Decides everything that looks like chance; another one each time if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Fails when it takes longer.
    #[arg(long)]
    seconds_max: Option<u64>,
    /// Cuts all connections instead of killing: what a broker without a store has to stand as well.
    #[arg(long)]
    no_kill: bool,
    /// Leaves the folder of the broker, with its data and log, where it is if a promise was broken.
    #[arg(long)]
    keep: bool,
    /// Says more of each round.
    #[arg(long)]
    verbose: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(any_seed);
    println!("seed {seed}");
    let begin = Instant::now();
    let mut run = Run::new(&options, seed)?;
    let ended = run.rounds(options.rounds, |ledger| progress(ledger, &options, begin));
    if std::io::stdout().is_terminal() {
        println!();
    }
    print!("{}", summary(&run.ledger, begin));
    if ended.is_ok() && run.ledger.breaches.is_empty() {
        println!("ok");
        return Ok(ExitCode::SUCCESS);
    }
    // What comes last of the log is of the time of the failure, or a little later.
    println!("--- the broker's log:\n{}\n---", run.broker.last_lines().join("\n"));
    if options.keep {
        println!("the broker's folder: {}", run.broker.keep_folder().display());
    }
    print!("{}", run.ledger.breaches);
    if let Err(error) = ended {
        println!("  {error:#}");
    }
    println!("FAILED in round {} with seed {seed}", run.ledger.round());
    Ok(ExitCode::FAILURE)
}

/// Rewritten in its place where somebody sees it; otherwise a line each ten rounds.
fn progress(ledger: &Ledger, options: &Options, begin: Instant) {
    let (round, rounds) = (ledger.round(), options.rounds);
    let sent: u64 = ledger.figures.acknowledged.iter().sum();
    let line = format!(
        "round {round} of {rounds}, {:.0} s: {sent} acknowledged, {} delivered",
        begin.elapsed().as_secs_f64(),
        ledger.figures.deliveries
    );
    if std::io::stdout().is_terminal() {
        print!("\r{line}\x1b[K");
        // Nobody reads it any more: no reason to stop.
        let _ = std::io::stdout().flush();
    } else if options.verbose || round % 10 == 0 {
        println!("{line}");
    }
}

fn summary(ledger: &Ledger, begin: Instant) -> String {
    let figures = &ledger.figures;
    let [_, one, two] = figures.acknowledged;
    format!(
        "{} rounds in {:.0} s
acknowledged: {one} of QoS 1, {two} of QoS 2
delivered: {}, and {} of QoS 1 once more
longest restart: {:.0?}
slowest PUBACK: {:.0?}
",
        ledger.round(),
        begin.elapsed().as_secs_f64(),
        figures.deliveries,
        figures.duplicates,
        figures.restart_longest,
        figures.puback_slowest
    )
}

fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Short enough to be typed.
    rng::mix(u64::try_from(now.as_nanos()).unwrap_or_default()) % 1_000_000_000
}
