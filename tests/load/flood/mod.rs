//! `load flood`: what honest senders of sealed messages feel of one that floods with bad stamps.
//!
//! In turns, each time with a broker of its own, the honest senders go at their pace alone, and beside the
//! flood. `site` is who they are and what they send, made beforehand; `link` their connections, `run` one
//! measurement. The flooder, the subscriber and the pace have a thread each: all of it takes its share of the
//! machine, which is why only turns of one pair are compared.

mod link;
mod run;
mod site;

use crate::median;
use anyhow::{Result, bail};
use clap::Args;
use run::Turn;
use site::Site;
use std::path::PathBuf;

/// Envelopes made beforehand, at most.
const ENVELOPES_MAX: u64 = 1_000_000;

/// Measures the delay of honest senders, alone and beside one that floods with bad stamps.
#[derive(Debug, Clone, Args)]
pub(crate) struct Flood {
    /// Starts this sealmq for each measurement, on ports that are free.
    #[arg(long, value_name = "PATH")]
    broker: PathBuf,
    /// Honest senders, each with a key and a topic of its own.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    senders: u32,
    /// Messages that each of them sends in a second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pace: u32,
    /// Seconds that are measured, after half a second that is not.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Measures alone and beside the flood so many times.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// The broker's `limits.failed_stamps_per_connection`; 0: the flooder is never cut off for it.
    #[arg(long, default_value_t = 0, value_name = "STAMPS")]
    per_connection: u32,
    /// The broker's `limits.failed_stamps_per_address`, which all senders have in common here; 0: none.
    #[arg(long, default_value_t = 0, value_name = "STAMPS")]
    per_address: u32,
}

impl Flood {
    /// Messages of one sender in one measurement, those that are not measured too.
    fn messages(&self) -> u32 {
        self.pace * self.seconds + self.unmeasured()
    }

    /// The first of them, which are not measured.
    fn unmeasured(&self) -> u32 {
        self.pace.div_ceil(2)
    }
}

/// Measures, and prints a row for each pair.
pub(crate) fn run(flood: &Flood) -> Result<()> {
    if u64::from(flood.messages()) * u64::from(flood.senders) > ENVELOPES_MAX {
        bail!("senders, pace and seconds make more than {ENVELOPES_MAX} messages");
    }
    let site = Site::new(flood)?;
    println!(
        "| pair | alone: p50 | p99 | beside the flood: p50 | p99 | p50 ratio | p99 ratio | lost | bad stamps: sent | refused |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    for pair in 1..=flood.pairs {
        // Whoever goes second finds the machine warmer.
        let (alone, beside) = if pair % 2 == 1 {
            let alone = run::measure(flood, &site, Turn::Alone)?;
            (alone, run::measure(flood, &site, Turn::Beside)?)
        } else {
            let beside = run::measure(flood, &site, Turn::Beside)?;
            (run::measure(flood, &site, Turn::Alone)?, beside)
        };
        let row = [
            alone.p50_us,
            alone.p99_us,
            beside.p50_us,
            beside.p99_us,
            beside.p50_us / alone.p50_us,
            beside.p99_us / alone.p99_us,
        ];
        print_row(&pair.to_string(), &row);
        println!(" {} | {} | {} |", alone.lost + beside.lost, beside.flood_sent, beside.refused);
        rows.push(row);
    }
    let medians = std::array::from_fn(|column| median(rows.iter().map(|row| row[column]).collect()));
    print_row("median", &medians);
    println!(" | | |");
    Ok(())
}

fn print_row(name: &str, [p50, p99, beside_p50, beside_p99, p50_ratio, p99_ratio]: &[f64; 6]) {
    print!("| {name} | {p50:.0} µs | {p99:.0} µs | {beside_p50:.0} µs | {beside_p99:.0} µs ");
    print!("| {p50_ratio:.2} | {p99_ratio:.2} |");
}
