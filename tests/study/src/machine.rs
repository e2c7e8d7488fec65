//! What the figures were made on: processor, its instructions, cores, system, compiler, versions.

use crate::rows::{Fact, Primitive};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Whose versions are told.
const PACKAGES: [&str; 15] = [
    "aes",
    "aes-gcm",
    "aes-gcm-siv",
    "ascon-aead",
    "ccm",
    "chacha20",
    "chacha20poly1305",
    "curve25519-dalek",
    "ed25519-dalek",
    "hmac",
    "p256",
    "poly1305",
    "polyval",
    "rustls",
    "sha2",
];
/// Of the processor's flags, on x86 and on ARM, those that the crates look for.
const INSTRUCTIONS: [&str; 16] = [
    "adx",
    "aes",
    "asimd",
    "avx2",
    "avx512_ifma",
    "avx512ifma",
    "avx512f",
    "avx512vl",
    "bmi2",
    "pclmulqdq",
    "pmull",
    "sha2",
    "sha_ni",
    "ssse3",
    "vaes",
    "vpclmulqdq",
];

/// All but what changes during the run.
pub(crate) fn facts(broker: &Path) -> Result<Vec<Fact>> {
    let cpu = read("/proc/cpuinfo")?;
    let cores = std::thread::available_parallelism()?.get();
    let said = Command::new(broker).arg("--version").output()?;
    let version = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let system = read("/etc/os-release").unwrap_or_default();
    let system = value(&system, "PRETTY_NAME", '=').unwrap_or_default().trim_matches('"').to_owned();
    let memory = value(&read("/proc/meminfo")?, "MemTotal", ':').unwrap_or_default();
    let flags = flags(&cpu);
    let told = INSTRUCTIONS.into_iter().filter(|name| flags.contains(*name)).collect::<Vec<_>>();
    let facts = [
        ("date", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
        ("processor", processor(&cpu)),
        ("instructions", told.join(" ")),
        ("architecture", std::env::consts::ARCH.to_owned()),
        ("cores", cores.to_string()),
        ("virtual machine", if flags.contains("hypervisor") { "yes" } else { "not seen" }.to_owned()),
        ("memory", memory),
        ("system", system),
        ("kernel", read("/proc/sys/kernel/osrelease")?.trim().to_owned()),
        ("compiler", env!("STUDY_COMPILER").to_owned()),
        ("broker", version),
        ("versions", versions()),
        ("all flags", flags.into_iter().collect::<Vec<_>>().join(" ")),
    ];
    Ok(facts.map(|(name, value)| Fact { name: name.to_owned(), value }).to_vec())
}

/// How busy the machine is.
pub(crate) fn load(name: &str) -> Fact {
    let text = read("/proc/loadavg").unwrap_or_default();
    let value = text.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    Fact { name: name.to_owned(), value }
}

/// What counted cycles.
pub(crate) fn counter(rows: &[Primitive]) -> Fact {
    let counter = rows.iter().find_map(|row| row.counter.clone());
    let value = counter.unwrap_or_else(|| "none: this machine shows no counter".to_owned());
    Fact { name: "cycle counter".to_owned(), value }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

/// The value behind a name, in the first line that begins with it.
fn value(text: &str, name: &str, between: char) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(between));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// Its name; on ARM, where there is none, the numbers of maker and part.
fn processor(cpu: &str) -> String {
    value(cpu, "model name", ':').unwrap_or_else(|| {
        let number = |name| value(cpu, name, ':').unwrap_or_default();
        format!("implementer {} part {}", number("CPU implementer"), number("CPU part"))
    })
}

fn flags(cpu: &str) -> BTreeSet<String> {
    let line = value(cpu, "flags", ':').or_else(|| value(cpu, "Features", ':'));
    line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// As `Cargo.lock` had them when this was built. Of several versions the last is the study's; the broker has older
/// ones for key files.
fn versions() -> String {
    let lock = include_str!("../../../Cargo.lock");
    let packages = lock.split("[[package]]").filter_map(|package| {
        let field = |name| Some(value(package, name, '=')?.trim_matches('"').to_owned());
        Some((field("name")?, field("version")?))
    });
    let told: BTreeMap<_, _> = packages.filter(|(name, _)| PACKAGES.contains(&name.as_str())).collect();
    told.into_iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_of_both_makes_are_told() {
        let intel = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu aes sha_ni\n";
        let arm = "processor\t: 0\nFeatures\t: asimd aes pmull\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(processor(intel), "Xeon");
        assert_eq!(processor(arm), "implementer 0x41 part 0xd0c");
        assert!(flags(intel).contains("sha_ni") && flags(arm).contains("pmull"));
    }

    #[test]
    fn every_package_has_a_version() {
        let told = versions();
        for package in PACKAGES {
            assert!(told.contains(&format!("{package} ")), "{package} is not in {told}");
        }
    }
}
