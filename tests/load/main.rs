//! Loads a broker from outside and prints what it delivered, how late, and what that cost the broker.
//!
//! It owns the command line and the tables; `run` keeps publishers and subscribers busy, `client` is one
//! connection by its `socket`, `packets` are the bytes of MQTT 3.1.1 and 5, `message` is what is sent in
//! them, and `broker` starts a broker and reads its processor time. All of it runs on one thread, so that
//! on two cores the broker has one to itself; but for the `flood`, a measurement of another kind. With `--compare` both versions take turns in one run:
//! machines are noisy, and a ratio of neighbours says more than two rates.

#![allow(clippy::indexing_slicing, reason = "no input of others: a broken packet may end the program")]

mod broker;
mod client;
mod flood;
mod message;
mod packets;
mod run;
mod socket;

use anyhow::{Context, Result, bail};
use broker::Broker;
use clap::{Parser, Subcommand, ValueEnum};
use flood::Flood;
use packets::Version;
use run::Figures;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Loads an MQTT broker in a closed loop.
#[derive(Debug, Clone, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Load {
    #[command(subcommand)]
    other: Option<Other>,
    /// Starts this sealmq for each measurement, with nothing but one plaintext listener.
    #[arg(long, value_name = "PATH", required_unless_present = "addr")]
    broker: Option<PathBuf>,
    /// Loads a broker that runs already.
    #[arg(long, conflicts_with = "broker")]
    addr: Option<SocketAddr>,
    /// The process of that broker, for its processor time.
    #[arg(long, requires = "addr")]
    pid: Option<u32>,
    /// Of MQTT: 4 is 3.1.1.
    #[arg(long, value_enum, default_value = "5", conflicts_with = "compare")]
    version: Version,
    /// Measures both versions, in turns, so many times.
    #[arg(long, value_name = "ROUNDS")]
    compare: Option<usize>,
    /// Seconds that are measured, after half a second that is not.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[command(flatten)]
    shape: Shape,
}

/// Another measurement.
#[derive(Debug, Clone, Subcommand)]
enum Other {
    Flood(Flood),
}

/// What the load looks like.
#[derive(Debug, Clone, clap::Args)]
struct Shape {
    /// Publishers, each with a topic of its own.
    #[arg(long, default_value_t = 10)]
    pubs: usize,
    /// Subscribers.
    #[arg(long, default_value_t = 10)]
    subs: usize,
    /// What each subscriber subscribes to.
    #[arg(long, value_enum, default_value = "per-topic")]
    filter: Filter,
    /// QoS of messages and of subscriptions.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Bytes of a payload, 16 or more.
    #[arg(long, default_value_t = 256)]
    payload: usize,
    /// Messages that a publisher may be ahead of the slowest of its subscribers.
    #[arg(long, default_value_t = 1_000)]
    window: u32,
    /// User properties in each message of MQTT 5.
    #[arg(long, default_value_t = 0)]
    user_properties: usize,
    /// Lets publishers and the broker use topic aliases with MQTT 5.
    #[arg(long)]
    topic_alias: bool,
    /// Gives the subscribers sessions that outlive their connections.
    #[arg(long)]
    persistent: bool,
}

/// Which topics a subscriber gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Filter {
    /// Subscriber n has the topic of publisher n, counted round.
    PerTopic,
    /// Every subscriber has every topic.
    Wildcard,
}

fn main() -> Result<()> {
    let load = Load::parse();
    if let Some(Other::Flood(flood)) = &load.other {
        return flood::run(flood);
    }
    let shape = &load.shape;
    if shape.payload < message::STAMP_BYTES || shape.pubs == 0 || shape.subs == 0 || shape.window == 0 {
        bail!("a payload has at least {} bytes; nothing else may be 0", message::STAMP_BYTES);
    }
    match load.compare {
        None => single(&load),
        Some(0) => bail!("compare at least one round"),
        Some(rounds) => compare(&load, rounds),
    }
}

fn single(load: &Load) -> Result<()> {
    println!("| MQTT | delivered/s | p50 | lost | CPU s per million |\n|---|---|---|---|---|");
    let name = load.version.name();
    let Figures { per_second, p50_us, lost, cpu_s_per_million } = load.measure(load.version)?;
    println!("| {name} | {per_second:.0} | {p50_us:.0} µs | {lost} | {} |", seconds(cpu_s_per_million));
    Ok(())
}

fn compare(load: &Load, rounds: usize) -> Result<()> {
    let cells = "delivered/s | p50 | CPU s per million";
    println!("| round | 3.1.1: {cells} | 5: {cells} | ratio |\n|---|---|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    for round in 1..=rounds {
        // Whoever goes second finds the machine warmer.
        let (old, new) = if round % 2 == 1 {
            let old = load.measure(Version::V4)?;
            (old, load.measure(Version::V5)?)
        } else {
            let new = load.measure(Version::V5)?;
            (load.measure(Version::V4)?, new)
        };
        let row = row(&old, &new).context("processor time is compared: say --broker, or --pid")?;
        print_row(&round.to_string(), &row);
        rows.push(row);
    }
    let median = std::array::from_fn(|column| median(rows.iter().map(|row| row[column]).collect()));
    print_row("median", &median);
    Ok(())
}

/// Rate, p50 and processor time of 3.1.1 and of 5, and the ratio of the times.
type Row = [f64; 7];

fn row(old: &Figures, new: &Figures) -> Option<Row> {
    let (old_cpu, new_cpu) = (old.cpu_s_per_million?, new.cpu_s_per_million?);
    let (rate, p50) = (old.per_second, old.p50_us);
    Some([rate, p50, old_cpu, new.per_second, new.p50_us, new_cpu, new_cpu / old_cpu])
}

fn print_row(name: &str, [old, old_p50, old_cpu, new, new_p50, new_cpu, ratio]: &Row) {
    print!("| {name} | {old:.0} | {old_p50:.0} µs | {old_cpu:.3} ");
    println!("| {new:.0} | {new_p50:.0} µs | {new_cpu:.3} | {ratio:.3} |");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

fn seconds(cpu: Option<f64>) -> String {
    cpu.map_or_else(|| "not known".to_owned(), |cpu| format!("{cpu:.3}"))
}

impl Load {
    fn measure(&self, version: Version) -> Result<Figures> {
        let broker = match (&self.broker, self.addr) {
            (Some(path), _) => Broker::start(path)?,
            (None, Some(addr)) => Broker::running(addr, self.pid),
            (None, None) => bail!("say --broker or --addr"),
        };
        run::measure(&self.shape, version, self.seconds, &broker)
    }
}
