//! Which cipher and which stamp for sealed payloads? Measured on the reader's machine, and drawn.
//!
//! It owns the command line and the order of things: `primitives` measures ciphers, stamps and envelopes in
//! this process, and once more in one that was built without special instructions; `fleet` lets simulated
//! devices publish through a broker; `machine` says what all this ran on. The `rows` go into three CSV files;
//! `figures` and `plot` make pictures of them, `tables` and `document` tables. `packets`, `message` and
//! `broker` are the load generator's.

#[allow(dead_code, reason = "a broker that runs already is the load generator's alone")]
#[path = "../../load/broker.rs"]
mod broker;
mod document;
mod figures;
mod fleet;
mod machine;
#[allow(
    dead_code,
    clippy::indexing_slicing,
    reason = "the load generator needs more of it, and stops where it is wrong"
)]
#[path = "../../load/message.rs"]
mod message;
mod options;
#[allow(
    dead_code,
    clippy::indexing_slicing,
    reason = "the load generator needs more of it, and stops where it is wrong"
)]
#[path = "../../load/packets.rs"]
mod packets;
mod plot;
mod primitives;
mod rows;
mod statistics;
mod tables;
mod view;

use anyhow::{Context, Result, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use options::Options;
use rows::{Backend, Fact, Fleet, Primitive};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What is written into the folder.
const PRIMITIVES: &str = "primitives.csv";
const FLEETS: &str = "fleets.csv";
const MACHINE: &str = "machine.csv";

/// All that was found out.
#[derive(Debug, Clone)]
struct Study {
    primitives: Vec<Primitive>,
    fleets: Vec<Fleet>,
    machine: Vec<Fact>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(file) = &options.primitives_to {
        let rows = measure_primitives(&options)?;
        return rows::write(file, &rows);
    }
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot make the folder {}", options.out.display()))?;
    let study = if options.draw { read(&options.out)? } else { measure(&options)? };
    if !options.draw {
        rows::write(&options.out.join(PRIMITIVES), &study.primitives)?;
        rows::write(&options.out.join(FLEETS), &study.fleets)?;
        rows::write(&options.out.join(MACHINE), &study.machine)?;
    }
    let charts = figures::charts(&study);
    for chart in &charts {
        chart.draw(&options.out)?;
    }
    let tables = tables::all(&study);
    if let Some(file) = &options.document {
        document::fill(file, &tables)?;
    }
    print!("{}", tables::summary(&study));
    println!("{} charts and 3 CSV files in {}", charts.len(), options.out.display());
    Ok(())
}

fn read(folder: &Path) -> Result<Study> {
    Ok(Study {
        primitives: rows::read(&folder.join(PRIMITIVES))?,
        fleets: rows::read(&folder.join(FLEETS))?,
        machine: rows::read(&folder.join(MACHINE))?,
    })
}

fn measure(options: &Options) -> Result<Study> {
    // First, so that it fails before anything is waited for.
    let broker = options.broker.as_deref().context("say --broker: the sealmq that the fleets talk to")?;
    if !broker.is_file() {
        bail!("no sealmq at {}; `cargo build --release` makes one", broker.display());
    }
    let mut machine = machine::facts(broker)?;
    machine.push(machine::load("load average before"));
    let mut primitives = measure_primitives(options)?;
    if let Some(program) = &options.software {
        primitives.extend(software(options, program)?);
    }
    let effort = options.fleets();
    let bar = bar("fleets", fleet::steps(&effort))?;
    let fleets = fleet::measure(&effort, broker, &bar)?;
    bar.finish_and_clear();
    machine.push(machine::load("load average after"));
    machine.push(machine::counter(&primitives));
    machine.push(Fact { name: "study".to_owned(), value: options.describe() });
    Ok(Study { primitives, fleets, machine })
}

fn measure_primitives(options: &Options) -> Result<Vec<Primitive>> {
    let effort = options.primitives();
    let bar = bar(Backend::own().name(), primitives::steps(&effort)?)?;
    let rows = primitives::measure(&effort, &bar)?;
    bar.finish_and_clear();
    Ok(rows)
}

/// Lets the other build measure the same; it draws its own progress.
fn software(options: &Options, program: &Path) -> Result<Vec<Primitive>> {
    let folder = tempfile::tempdir()?;
    let file: PathBuf = folder.path().join(PRIMITIVES);
    let mut command = Command::new(program);
    command.arg("--primitives-to").arg(&file).args(options.arguments_of_primitives());
    let status = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!("{} has failed: {status}", program.display());
    }
    let rows: Vec<Primitive> = rows::read(&file)?;
    if rows.iter().any(|row| row.backend != Backend::Software) {
        bail!("{} is built with special instructions; tests/study/run builds one without", program.display());
    }
    Ok(rows)
}

/// On a terminal; nothing elsewhere.
fn bar(what: &'static str, steps: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{prefix:26} [{bar:30}] {pos}/{len}, {eta} left {wide_msg}")?;
    let bar = ProgressBar::new(steps).with_style(style.progress_chars("=> ")).with_prefix(what);
    bar.enable_steady_tick(Duration::from_millis(250));
    Ok(bar)
}
