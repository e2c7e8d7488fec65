//! What charts and tables ask of a study: one figure, by what it is of.

use crate::Study;
use crate::primitives::READING_BYTES;
use crate::rows::{Backend, Durability, Fleet, Form, Kind, Operation, Primitive};
use crate::statistics::median;
use std::collections::BTreeSet;

impl Study {
    /// Which builds were measured.
    pub(crate) fn backends(&self) -> Vec<Backend> {
        let measured = |backend: &Backend| self.primitives.iter().any(|row| row.backend == *backend);
        Backend::ALL.into_iter().filter(measured).collect()
    }

    /// Sizes of messages, in order.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let ciphers = self.primitives.iter().filter(|row| row.kind == Kind::Cipher);
        ciphers.map(|row| row.size_bytes).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The size that was measured and is nearest to this one.
    pub(crate) fn size_near(&self, size: usize) -> usize {
        self.sizes().into_iter().min_by_key(|other| other.abs_diff(size)).unwrap_or(size)
    }

    /// The size that stands for a reading.
    pub(crate) fn reading(&self) -> usize {
        self.size_near(READING_BYTES)
    }

    /// The row of a cipher or stamp by itself.
    pub(crate) fn row(
        &self,
        backend: Backend,
        name: &str,
        operation: Operation,
        size: usize,
    ) -> Option<&Primitive> {
        self.primitives.iter().find(|row| {
            (row.backend, row.operation, row.size_bytes, row.batch) == (backend, operation, size, 1)
                && row.name == name
        })
    }

    /// Its nanoseconds.
    pub(crate) fn ns(&self, backend: Backend, name: &str, operation: Operation, size: usize) -> Option<f64> {
        self.row(backend, name, operation, size).map(|row| row.ns)
    }

    /// Stamps of a batch with what one of them costs, smallest batch first.
    pub(crate) fn batches(&self, backend: Backend) -> Vec<(usize, f64)> {
        let rows =
            self.primitives.iter().filter(|row| row.backend == backend && row.name == "Ed25519 in batches");
        rows.map(|row| (row.batch, row.ns)).collect()
    }

    /// Sizes of fleets, in order.
    pub(crate) fn fleet_sizes(&self) -> Vec<usize> {
        self.fleets.iter().map(|row| row.devices).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The median of all rounds of one fleet without the disk.
    pub(crate) fn fleet(&self, form: Form, devices: usize, figure: impl Fn(&Fleet) -> f64) -> Option<f64> {
        self.fleet_on(Durability::Memory, form, devices, figure)
    }

    /// The same with the disk or without.
    pub(crate) fn fleet_on(
        &self,
        durability: Durability,
        form: Form,
        devices: usize,
        figure: impl Fn(&Fleet) -> f64,
    ) -> Option<f64> {
        let rounds = self
            .fleets
            .iter()
            .filter(|row| (row.durability, row.form, row.devices) == (durability, form, devices));
        let figures: Vec<f64> = rounds.map(figure).collect();
        (!figures.is_empty()).then(|| median(figures))
    }

    /// The fleet that was measured with the disk, too.
    pub(crate) fn fleet_on_disk(&self) -> Option<usize> {
        self.fleets.iter().find(|row| row.durability == Durability::Sync).map(|row| row.devices)
    }
}

/// Made up, for the tests of what is drawn and written of it.
#[cfg(test)]
pub(crate) fn made_up() -> Study {
    use crate::primitives::cipher::CANDIDATES;
    use crate::primitives::envelope::FORMS;
    use crate::rows::tests::primitive;
    let mut primitives = Vec::new();
    for (backend, slow) in [(Backend::Hardware, 1.0), (Backend::Software, 8.0)] {
        let mut add = |kind, name: &str, operation, size: usize, batch, ns| {
            let row = primitive(backend, kind, name, operation, size);
            primitives.push(Primitive { batch, ns, ..row });
        };
        for size in [64, 1_024] {
            let ns = slow * f64::from(u32::try_from(size).unwrap());
            for candidate in &CANDIDATES {
                add(Kind::Cipher, candidate.name, Operation::Seal, size, 1, ns);
                add(Kind::Cipher, candidate.name, Operation::Open, size, 1, ns);
            }
            for name in ["Ed25519", "ECDSA P-256", "HMAC-SHA-256"] {
                add(Kind::Stamp, name, Operation::Sign, size, 1, 9_000.0 * slow);
                add(Kind::Stamp, name, Operation::Verify, size, 1, 30_000.0 * slow);
            }
            for (form, ns) in FORMS.into_iter().zip([31_000.0, 32_000.0, 85_000.0]) {
                add(Kind::Envelope, form.name(), Operation::Seal, size, 1, ns * slow);
                add(Kind::Envelope, form.name(), Operation::Open, size, 1, ns * slow);
            }
        }
        for batch in [1, 16, 64] {
            let ns = 30_000.0 * slow / f64::from(u32::try_from(batch).unwrap()).sqrt();
            add(Kind::Stamp, "Ed25519 in batches", Operation::Verify, 64, batch, ns);
        }
    }
    let mut fleets = Vec::new();
    for (devices, durability) in
        [(10, Durability::Memory), (100, Durability::Memory), (100, Durability::Sync)]
    {
        for (form, costs) in Form::ALL.into_iter().zip([1.0, 30.0, 32.0, 90.0, 2.0]) {
            fleets.extend((1..=3_u32).map(|round| Fleet {
                form,
                devices,
                durability,
                round: round as usize,
                plaintext_bytes: 64,
                wire_bytes: 80.0 + costs,
                connect_bytes: 60.0 * costs,
                connect_cpu_ms: 0.1 * costs,
                resident_kib: 9_000,
                pace_per_s: 1_000.0,
                latency_p50_us: 100.0 + costs,
                latency_p99_us: 300.0 + costs,
                transit_p50_us: 90.0 + costs,
                transit_p99_us: 280.0 + costs,
                rate_per_s: 1e6 / costs + f64::from(round),
                cpu_s_per_million: costs,
            }));
        }
    }
    Study { primitives, fleets, machine: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_what_they_are_of() {
        let study = made_up();
        assert_eq!(study.sizes(), [64, 1_024]);
        assert_eq!((study.reading(), study.size_near(65_536)), (64, 1_024));
        let verify = |backend| study.ns(backend, "Ed25519", Operation::Verify, 64).unwrap();
        assert!(verify(Backend::Software) > verify(Backend::Hardware));
        assert!(study.ns(Backend::Hardware, "Ed25519", Operation::Open, 64).is_none());
        assert_eq!(
            study.batches(Backend::Hardware).iter().map(|(size, _)| *size).collect::<Vec<_>>(),
            [1, 16, 64]
        );
    }

    #[test]
    fn a_fleet_is_the_median_of_its_rounds() {
        let study = made_up();
        let rate = study.fleet(Form::Plain, 10, |row| row.rate_per_s).unwrap();
        assert!((rate - 1_000_002.0).abs() < 1e-6, "{rate}");
        assert!(study.fleet(Form::Plain, 1_000, |row| row.rate_per_s).is_none());
        assert_eq!(study.fleet_on_disk(), Some(100));
    }
}
