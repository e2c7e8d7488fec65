//! Every cipher, stamp and envelope at every size, measured in this process.
//!
//! All tasks take turns, a reading each in every round, so that a machine that changes its speed is unfair
//! to all alike. The time is the processor time of this thread: what other programs do meanwhile costs
//! caches, but is not counted.

pub(crate) mod cipher;
mod cycles;
pub(crate) mod envelope;
mod stamp;

use crate::rows::{Backend, Kind, Operation, Primitive};
use crate::statistics::{median, percentile};
use anyhow::Result;
use cycles::Cycles;
use indicatif::ProgressBar;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

/// Of a message, where it is not the size that is looked at.
pub(crate) const READING_BYTES: usize = 64;

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Effort {
    /// Sizes of messages.
    pub(crate) sizes: Vec<usize>,
    /// Readings of each task.
    pub(crate) readings: u32,
    /// Time that one reading should take.
    pub(crate) reading: Duration,
}

/// Something that is measured.
pub(crate) struct Task {
    kind: Kind,
    name: String,
    operation: Operation,
    size_bytes: usize,
    batch: usize,
    added_bytes: usize,
    /// Answers whether it has worked; that is looked at once, before it is measured.
    work: Box<dyn FnMut() -> bool>,
}

/// What one task showed, for one message.
#[derive(Default)]
struct Readings {
    calls: u32,
    ns: Vec<f64>,
    cycles: Vec<f64>,
}

/// How many steps `measure` makes.
pub(crate) fn steps(effort: &Effort) -> Result<u64> {
    Ok(tasks(&effort.sizes)?.len() as u64 * u64::from(effort.readings))
}

/// Measures everything; `bar` moves with each reading.
pub(crate) fn measure(effort: &Effort, bar: &ProgressBar) -> Result<Vec<Primitive>> {
    let mut tasks = tasks(&effort.sizes)?;
    let mut cycles = Cycles::open();
    let mut readings = Vec::new();
    for task in &mut tasks {
        anyhow::ensure!((task.work)(), "{} does not work", task.name);
        readings.push(Readings { calls: calls_in(effort.reading, &mut task.work), ..Readings::default() });
    }
    for _ in 0..effort.readings {
        for (task, readings) in tasks.iter_mut().zip(&mut readings) {
            readings.read(&mut task.work, task.batch, cycles.as_mut())?;
            bar.inc(1);
        }
    }
    let counter = cycles.as_ref().map(Cycles::name);
    Ok(tasks.iter().zip(readings).map(|(task, readings)| readings.row(task, counter)).collect())
}

fn tasks(sizes: &[usize]) -> Result<Vec<Task>> {
    Ok([cipher::tasks(sizes)?, stamp::tasks(sizes)?, envelope::tasks(sizes)?].into_iter().flatten().collect())
}

/// Processor time of this thread.
fn used() -> Duration {
    // Neither is ever negative.
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// How many calls take that time, roughly; one at least.
fn calls_in(time: Duration, work: &mut dyn FnMut() -> bool) -> u32 {
    let mut calls = 1_u32;
    loop {
        let begin = used();
        (0..calls).for_each(|_| {
            black_box(work());
        });
        let took = used().saturating_sub(begin).max(Duration::from_nanos(1));
        if took * 4 >= time || calls >= 1 << 28 {
            let fit = f64::from(calls) * (time.as_secs_f64() / took.as_secs_f64());
            return floor(fit).max(1);
        }
        calls *= 2;
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is meant")]
fn floor(value: f64) -> u32 {
    value as u32
}

impl Readings {
    fn read(
        &mut self,
        work: &mut dyn FnMut() -> bool,
        batch: usize,
        mut cycles: Option<&mut Cycles>,
    ) -> Result<()> {
        let messages = f64::from(self.calls) * f64::from(u32::try_from(batch)?);
        if let Some(cycles) = cycles.as_mut() {
            cycles.restart()?;
        }
        let begin = used();
        for _ in 0..self.calls {
            black_box(work());
        }
        let took = used().saturating_sub(begin);
        if let Some(cycles) = cycles {
            self.cycles.push(cycles.read()? / messages);
        }
        self.ns.push(took.as_secs_f64() * 1e9 / messages);
        Ok(())
    }

    fn row(mut self, task: &Task, counter: Option<&str>) -> Primitive {
        let cycles = counter.map(|_| median(self.cycles));
        let size = u32::try_from(task.size_bytes).map_or(f64::NAN, f64::from);
        Primitive {
            backend: Backend::own(),
            kind: task.kind,
            name: task.name.clone(),
            operation: task.operation,
            size_bytes: task.size_bytes,
            batch: task.batch,
            added_bytes: task.added_bytes,
            ns: percentile(&mut self.ns, 50),
            p10_ns: percentile(&mut self.ns, 10),
            p90_ns: percentile(&mut self.ns, 90),
            cycles,
            cycles_per_byte: cycles.map(|cycles| cycles / size),
            counter: counter.map(str::to_owned),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// From the form in which answers are published.
    pub(super) fn bytes(hex: &str) -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2);
        pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn every_task_gives_a_row_with_time_and_size() {
        let effort = Effort { sizes: vec![16, 80], readings: 2, reading: Duration::from_micros(20) };
        let bar = ProgressBar::hidden();
        let rows = measure(&effort, &bar).unwrap();
        assert_eq!(bar.position(), steps(&effort).unwrap());
        assert!(rows.iter().all(|row| row.ns > 0.0 && row.p10_ns <= row.ns && row.ns <= row.p90_ns));
        assert!(rows.iter().all(|row| row.cycles.is_some() == row.counter.is_some()));
        for (kind, count) in [(Kind::Cipher, 6 * 2 * 2), (Kind::Envelope, 3 * 2 * 2)] {
            assert_eq!(rows.iter().filter(|row| row.kind == kind).count(), count, "{kind:?}");
        }
        let batches = rows.iter().filter(|row| row.kind == Kind::Stamp && row.batch > 1);
        assert_eq!(batches.map(|row| row.batch).max(), Some(256));
    }

    #[test]
    fn calls_are_as_many_as_the_time_allows() {
        let mut count = 0_u32;
        let calls = calls_in(Duration::from_millis(2), &mut || {
            count += 1;
            black_box((0..100_u32).map(black_box).sum::<u32>()) > 0
        });
        assert!(calls > 1 && count > 1, "{calls} {count}");
        assert_eq!(calls_in(Duration::ZERO, &mut || true), 1);
    }
}
