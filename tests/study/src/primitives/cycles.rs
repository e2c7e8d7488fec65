//! The cycle counter, where the system lets us read one.
//!
//! First choice is the processor's count of cycles. Virtual machines often have none; then the time stamp
//! counter, which counts at one speed whatever the processor's is, so that "cycles" are those of its nominal
//! frequency. Where neither can be opened there is no counter, and the columns stay empty.

use anyhow::Result;
use perf_event::events::{Dynamic, Hardware};
use perf_event::{Builder, Counter};

/// A counter of this thread's cycles.
pub(super) struct Cycles {
    counter: Counter,
    name: &'static str,
}

impl Cycles {
    /// The best one that there is.
    pub(super) fn open() -> Option<Self> {
        let cycles = Builder::new(Hardware::CPU_CYCLES).build();
        let (counter, name) = match cycles {
            Ok(counter) => (counter, "cpu-cycles"),
            Err(_) => (time_stamps()?, "time-stamp-counter"),
        };
        let mut cycles = Self { counter, name };
        cycles.works().then_some(cycles)
    }

    /// What counts.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Begins at 0.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.counter.reset()?;
        Ok(self.counter.enable()?)
    }

    /// Stops; the count since the start.
    pub(super) fn read(&mut self) -> Result<f64> {
        self.counter.disable()?;
        #[allow(clippy::cast_precision_loss, reason = "a reading takes far less than 2^53 cycles")]
        Ok(self.counter.read()? as f64)
    }

    /// Some machines let a counter be opened that never counts.
    fn works(&mut self) -> bool {
        let counted = self.restart().and_then(|()| {
            std::hint::black_box((0..10_000_u32).map(std::hint::black_box).sum::<u32>());
            self.read()
        });
        counted.is_ok_and(|count| count > 0.0)
    }
}

fn time_stamps() -> Option<Counter> {
    let event = Dynamic::builder("msr").ok()?.event("tsc").ok()?.build().ok()?;
    // This counter counts in all modes or not at all.
    Builder::new(event).include_kernel().include_hv().build().ok()
}
