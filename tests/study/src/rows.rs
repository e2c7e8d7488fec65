//! The rows of the three CSV files: what was measured of a primitive, of a fleet, and on which machine.
//!
//! A number that could not be had is an empty field. Units stand last in the names of the columns. Rows are
//! read again to draw without measuring, and from the build without special instructions.

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// Which code of the crates was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Backend {
    /// What the crates choose by themselves on this machine.
    Hardware,
    /// Their portable code: no instructions for AES, carry-less products, SHA or vectors.
    Software,
}

impl Backend {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Hardware, Self::Software];

    /// That of this very program.
    pub(crate) const fn own() -> Self {
        if cfg!(aes_backend = "soft") { Self::Software } else { Self::Hardware }
    }

    /// As people say it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hardware => "with special instructions",
            Self::Software => "portable code only",
        }
    }
}

/// What kind of thing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// An AEAD by itself.
    Cipher,
    /// A signature or a MAC by itself.
    Stamp,
    /// A whole envelope, as `sealmq-crypto` makes and opens it.
    Envelope,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    /// Sealed: the sender's side.
    Seal,
    /// Opened: the broker's side.
    Open,
    /// Signed: the sender's side.
    Sign,
    /// Verified: the broker's side.
    Verify,
}

/// One primitive at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Primitive {
    /// Which code.
    pub(crate) backend: Backend,
    /// Of which kind.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: String,
    /// What was done.
    pub(crate) operation: Operation,
    /// Bytes of the message.
    pub(crate) size_bytes: usize,
    /// Messages at once; 1 but for batches.
    pub(crate) batch: usize,
    /// What it adds to the message, all of it sent along.
    pub(crate) added_bytes: usize,
    /// Processor time for one message: the median of all readings.
    pub(crate) ns: f64,
    /// A tenth of the readings was no higher.
    pub(crate) p10_ns: f64,
    /// A tenth of the readings was no lower.
    pub(crate) p90_ns: f64,
    /// Cycles for one message, by the counter.
    pub(crate) cycles: Option<f64>,
    /// The same for each byte of the message.
    pub(crate) cycles_per_byte: Option<f64>,
    /// What counted the cycles.
    pub(crate) counter: Option<String>,
}

/// How a fleet sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// Neither stamped nor sealed, without TLS.
    Plain,
    /// An envelope round the plaintext.
    Stamped,
    /// An envelope round content under a shared key.
    SealedSymmetric,
    /// An envelope round content to the public key of the topic.
    SealedAsymmetric,
    /// Neither stamped nor sealed, over TLS 1.3.
    Tls,
}

impl Form {
    /// All, in the order in which they are shown.
    pub(crate) const ALL: [Self; 5] =
        [Self::Plain, Self::Stamped, Self::SealedSymmetric, Self::SealedAsymmetric, Self::Tls];

    /// As people say it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Stamped => "stamped",
            Self::SealedSymmetric => "sealed, symmetric",
            Self::SealedAsymmetric => "sealed, asymmetric",
            Self::Tls => "TLS 1.3",
        }
    }
}

/// When the broker acknowledges: `storage.durability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Durability {
    /// Once it is in memory: shows what the cryptography costs.
    Memory,
    /// Once it is on disk: the broker's default.
    Sync,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sync => "sync",
        })
    }
}

/// One fleet in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fleet {
    /// How it sends.
    pub(crate) form: Form,
    /// Publishers.
    pub(crate) devices: usize,
    /// What the broker promises.
    pub(crate) durability: Durability,
    /// Which time this was measured.
    pub(crate) round: usize,
    /// Bytes of a reading.
    pub(crate) plaintext_bytes: usize,
    /// Bytes that a device writes to its socket for one message, at its slow pace.
    pub(crate) wire_bytes: f64,
    /// Bytes both ways until a device is connected.
    pub(crate) connect_bytes: f64,
    /// Processor time of the broker for one connection.
    pub(crate) connect_cpu_ms: f64,
    /// Resident memory of the broker once all are connected, and nothing was sent.
    pub(crate) resident_kib: u64,
    /// Messages each second while latency was measured, of the whole fleet.
    pub(crate) pace_per_s: f64,
    /// From the reading to the subscriber, the work of the device with it: half took no longer.
    pub(crate) latency_p50_us: f64,
    /// 99 of 100 took no longer.
    pub(crate) latency_p99_us: f64,
    /// From the device's socket to the subscriber, without the work of the device.
    pub(crate) transit_p50_us: f64,
    /// 99 of 100 took no longer.
    pub(crate) transit_p99_us: f64,
    /// Messages delivered each second while every device sent what it may.
    pub(crate) rate_per_s: f64,
    /// Processor time of the broker for a million of these.
    pub(crate) cpu_s_per_million: f64,
}

/// Something about the machine, the program or the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// What.
    pub(crate) name: String,
    /// As it was found.
    pub(crate) value: String,
}

/// Writes a CSV file, with a line of names first.
pub(crate) fn write<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let mut writer =
        csv::Writer::from_path(path).with_context(|| format!("cannot write {}", path.display()))?;
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(writer.flush()?)
}

/// Reads such a file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rows: Result<Vec<T>, _> = reader.deserialize().collect();
    rows.with_context(|| format!("{} is no file of the study", path.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row, as tests of drawing need them.
    pub(crate) fn primitive(
        backend: Backend,
        kind: Kind,
        name: &str,
        operation: Operation,
        size: usize,
    ) -> Primitive {
        Primitive {
            backend,
            kind,
            name: name.to_owned(),
            operation,
            size_bytes: size,
            batch: 1,
            added_bytes: 28,
            ns: 1_500.5,
            p10_ns: 1_400.0,
            p90_ns: 1_700.25,
            cycles: None,
            cycles_per_byte: None,
            counter: None,
        }
    }

    #[test]
    fn rows_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let bare = primitive(Backend::Software, Kind::Cipher, "AES, with \"quotes\"", Operation::Seal, 16);
        let counted = Primitive {
            cycles: Some(4_000.0),
            cycles_per_byte: Some(250.0),
            counter: Some("cpu-cycles".to_owned()),
            ..bare.clone()
        };
        let rows = [bare, counted];
        write(&path, &rows).unwrap();
        assert_eq!(read::<Primitive>(&path).unwrap(), rows);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("backend,kind,name,operation,size_bytes,"), "{text}");
        assert!(
            text.contains("\nsoftware,cipher,\"AES, with \"\"quotes\"\"\",seal,16,1,28,1500.5,"),
            "{text}"
        );
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        write(&path, &[Fact { name: "cores".into(), value: "2".into() }]).unwrap();
        let error = read::<Primitive>(&path).unwrap_err();
        assert!(error.to_string().contains("rows.csv is no file of the study"), "{error}");
        assert!(read::<Fact>(&folder.path().join("none.csv")).is_err());
    }
}
