//! The command line, and how much is measured by it.

use crate::{fleet, primitives};
use clap::Parser;
use std::path::PathBuf;
use std::time::Duration;

/// Compares ciphers, stamps and ways to publish on this machine. `tests/study/run` builds all it needs.
#[derive(Debug, Clone, Parser)]
#[command(name = "study", version)]
pub(crate) struct Options {
    /// The sealmq that the fleets talk to.
    #[arg(long, value_name = "PATH")]
    pub(crate) broker: Option<PathBuf>,
    /// This program, built without special instructions; without it that half is left out.
    #[arg(long, value_name = "PATH")]
    pub(crate) software: Option<PathBuf>,
    /// Folder for the CSV files and the charts; made if it is missing, files in it are overwritten.
    #[arg(long, value_name = "DIR", default_value = "target/study-results")]
    pub(crate) out: PathBuf,
    /// Puts the tables between the marks of this Markdown file, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) document: Option<PathBuf>,
    /// Measures less and rougher, in a minute.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measures nothing: draws what the CSV files in the folder say.
    #[arg(long)]
    pub(crate) draw: bool,
    /// Bytes of the messages that ciphers and stamps are measured with.
    #[arg(long, value_name = "BYTES,...", value_delimiter = ',',
        default_value = "16,64,256,1024,4096,16384,65536",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_048_576))]
    sizes: Vec<usize>,
    /// Devices of the fleets.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "10,100,1000",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=20_000))]
    devices: Vec<usize>,
    /// Bytes of a device's reading.
    #[arg(long, default_value_t = primitives::READING_BYTES,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(16..=65_536))]
    reading_bytes: usize,
    /// Messages each second of a whole fleet, where latency is measured.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pace: u32,
    /// Seconds of each of a fleet's two phases [default: 3, quick: 0.5]
    #[arg(long)]
    seconds: Option<f64>,
    /// Readings of each cipher and stamp [default: 15, quick: 5]
    #[arg(long)]
    readings: Option<u32>,
    /// Milliseconds of each of these readings [default: 10, quick: 4]
    #[arg(long)]
    milliseconds: Option<u32>,
    /// How often each fleet is measured [default: 3, quick: 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Measures ciphers, stamps and envelopes alone, into this file.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) primitives_to: Option<PathBuf>,
}

impl Options {
    fn or<T>(&self, said: Option<T>, full: T, quick: T) -> T {
        said.unwrap_or(if self.quick { quick } else { full })
    }

    /// Of ciphers, stamps and envelopes.
    pub(crate) fn primitives(&self) -> primitives::Effort {
        primitives::Effort {
            sizes: self.sizes.clone(),
            readings: self.or(self.readings, 15, 5).max(1),
            reading: Duration::from_millis(u64::from(self.or(self.milliseconds, 10, 4))),
        }
    }

    /// The same, for another process.
    pub(crate) fn arguments_of_primitives(&self) -> Vec<String> {
        let primitives::Effort { sizes, readings, reading } = self.primitives();
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        vec![
            format!("--sizes={}", sizes.join(",")),
            format!("--readings={readings}"),
            format!("--milliseconds={}", reading.as_millis()),
        ]
    }

    /// Of fleets.
    pub(crate) fn fleets(&self) -> fleet::Effort {
        let seconds = self.or(self.seconds, 3.0, 0.5);
        fleet::Effort {
            devices: self.devices.clone(),
            rounds: self.or(self.rounds, 3, 1),
            phase: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1)),
            pace_per_s: f64::from(self.pace),
            plaintext_bytes: self.reading_bytes,
            with_disk: !self.quick,
        }
    }

    /// What was asked for, in a line.
    pub(crate) fn describe(&self) -> String {
        let (primitives, fleets) = (self.primitives(), self.fleets());
        format!(
            "{} readings of {} ms of each cipher and stamp; fleets {} times, {} s each phase{}",
            primitives.readings,
            primitives.reading.as_millis(),
            fleets.rounds,
            fleets.phase.as_secs_f64(),
            if self.quick { ", quick" } else { "" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_measures_less_and_what_is_said_goes_first() {
        let options = |arguments: &[&str]| Options::parse_from([&["study"], arguments].concat());
        let (full, quick) = (options(&[]), options(&["--quick", "--readings", "7"]));
        assert_eq!((full.primitives().readings, quick.primitives().readings), (15, 7));
        assert!(quick.fleets().phase < full.fleets().phase && !quick.fleets().with_disk);
        assert_eq!(full.fleets().devices, [10, 100, 1_000]);
        assert_eq!(full.primitives().sizes.last(), Some(&65_536));
    }

    #[test]
    fn another_process_measures_the_same() {
        let options = Options::parse_from(["study", "--quick", "--sizes", "16,64"]);
        let there = options.arguments_of_primitives();
        let there = Options::parse_from([vec!["study".to_owned()], there].concat());
        let (here, there) = (options.primitives(), there.primitives());
        assert_eq!(here.sizes, there.sizes);
        assert_eq!((here.readings, here.reading), (there.readings, there.reading));
    }
}
