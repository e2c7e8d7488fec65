//! Fleets of simulated devices through a real broker: plain, stamped, sealed and TLS publishers side by side.
//!
//! Every scenario has a broker of its own, started for it and gone after it. One subscriber, on TLS, gets
//! everything, so that nothing but the publishers' side differs. Two phases: at a pace that leaves the
//! machine idle most of the time, for latency; then in a closed loop, for the rate and what it costs. All of
//! it runs on one thread of this program, beside the broker's.

mod content;
mod device;
mod link;
mod run;
mod site;

use crate::broker::Broker;
use crate::rows::{Durability, Fleet, Form};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use run::Run;
use site::Site;
use std::path::Path;
use std::time::Duration;

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Effort {
    /// Sizes of fleets.
    pub(crate) devices: Vec<usize>,
    /// How often each scenario is measured.
    pub(crate) rounds: usize,
    /// How long each of its phases takes.
    pub(crate) phase: Duration,
    /// Messages each second where latency is measured, of the whole fleet.
    pub(crate) pace_per_s: f64,
    /// Bytes of a reading.
    pub(crate) plaintext_bytes: usize,
    /// Whether one fleet is measured with acknowledgements from the disk, too.
    pub(crate) with_disk: bool,
}

/// One thing to measure.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    form: Form,
    devices: usize,
    durability: Durability,
    round: usize,
}

/// Sockets that are open at once beside those of the devices.
const OTHER_FILES: u64 = 64;

/// How many steps `measure` makes.
pub(crate) fn steps(effort: &Effort) -> u64 {
    scenarios(effort).len() as u64
}

/// Rounds outside, forms inside: what is compared is measured one after the other.
fn scenarios(effort: &Effort) -> Vec<Scenario> {
    let middle = effort.devices.get(effort.devices.len() / 2);
    let on_disk = middle.filter(|_| effort.with_disk).map(|devices| (*devices, Durability::Sync));
    let mut scenarios = Vec::new();
    for round in 1..=effort.rounds {
        let fleets = effort.devices.iter().map(|devices| (*devices, Durability::Memory));
        for (devices, durability) in fleets.chain(on_disk) {
            scenarios.extend(Form::ALL.map(|form| Scenario { form, devices, durability, round }));
        }
    }
    scenarios
}

/// Measures every scenario with the broker that is at `program`; `bar` moves with each.
pub(crate) fn measure(effort: &Effort, program: &Path, bar: &ProgressBar) -> Result<Vec<Fleet>> {
    let largest = effort.devices.iter().max().copied().unwrap_or_default();
    rlimit::increase_nofile_limit(largest as u64 + OTHER_FILES)?;
    let mut rows = Vec::new();
    for scenario in scenarios(effort) {
        let Scenario { form, devices, durability, round } = scenario;
        bar.set_message(format!("{devices} devices, {}", form.name()));
        let row = fleet(effort, scenario, program);
        rows.push(
            row.with_context(|| format!("{devices} devices, {}, {durability}, round {round}", form.name()))?,
        );
        bar.inc(1);
    }
    Ok(rows)
}

fn fleet(effort: &Effort, scenario: Scenario, program: &Path) -> Result<Fleet> {
    let Scenario { form, devices, durability, round } = scenario;
    let site = Site::new(form, devices, durability)?;
    let (folder, clients) = site.prepare()?;
    let broker = Broker::start_in(folder, program)?;
    let mut run = Run::connect(&clients, effort.plaintext_bytes, &broker)?;
    let resident_kib = resident_kib(&broker)?;
    let paced = run.paced(effort.phase, effort.pace_per_s)?;
    let full = run.full(effort.phase, &broker)?;
    Ok(Fleet {
        form,
        devices,
        durability,
        round,
        plaintext_bytes: effort.plaintext_bytes,
        wire_bytes: paced.wire_bytes,
        connect_bytes: run.connecting.bytes,
        connect_cpu_ms: run.connecting.cpu_ms,
        resident_kib,
        pace_per_s: effort.pace_per_s,
        latency_p50_us: paced.latency.p50_us,
        latency_p99_us: paced.latency.p99_us,
        transit_p50_us: paced.transit.p50_us,
        transit_p99_us: paced.transit.p99_us,
        rate_per_s: full.per_s,
        cpu_s_per_million: full.cpu_s_per_million,
    })
}

/// Memory of the broker's process.
fn resident_kib(broker: &Broker) -> Result<u64> {
    let pid = broker.pid.context("a broker without a process")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.context("/proc has changed")?.trim().trim_end_matches(" kB").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_neighbours_and_one_fleet_is_measured_with_the_disk() {
        let effort = Effort {
            devices: vec![10, 100, 1_000],
            rounds: 2,
            phase: Duration::from_secs(1),
            pace_per_s: 1_000.0,
            plaintext_bytes: 64,
            with_disk: true,
        };
        let all = scenarios(&effort);
        assert_eq!(all.len(), 2 * (3 + 1) * 5);
        assert_eq!(all.iter().take(5).map(|one| one.form).collect::<Vec<_>>(), Form::ALL);
        let mut on_disk = all.iter().filter(|one| one.durability == Durability::Sync);
        assert!(on_disk.all(|one| one.devices == 100));
        assert_eq!(scenarios(&Effort { with_disk: false, ..effort }).len(), 2 * 3 * 5);
    }
}
