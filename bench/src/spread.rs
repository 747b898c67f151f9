//! The median of a sample with its quartiles: one pause of the machine does not spoil it, and a reader sees the noise.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Written `2.36 (2.31..2.44)`: the median, and the range of the middle half
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    low: f64,
    pub(crate) median: f64,
    high: f64,
}

impl Spread {
    pub(crate) fn of(sample: impl IntoIterator<Item = f64>) -> Self {
        let mut sample: Vec<f64> = sample.into_iter().collect();
        sample.sort_by(f64::total_cmp);
        let last = sample.len().saturating_sub(1);
        let at = |quarters: usize| sample.get((last * quarters + 2) / 4).copied().unwrap_or(f64::NAN);
        Self { low: at(1), median: at(2), high: at(3) }
    }

    pub(crate) fn divided_by(self, divisor: f64) -> Self {
        let Self { low, median, high } = self;
        Self { low: low / divisor, median: median / divisor, high: high / divisor }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, median, high } = self;
        let digits = match median.abs() {
            ..0.1 => 3,
            0.1..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        write!(f, "{median:.digits$} ({low:.digits$}..{high:.digits$})")
    }
}

/// The microseconds of one of `per_batch` calls, all of which `batch` makes.
pub(crate) async fn per_call(per_batch: u32, mut batch: impl AsyncFnMut() -> Result<()>) -> Result<Spread> {
    batch().await?;
    let mut times = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let start = Instant::now();
        batch().await?;
        times.push(microseconds(start.elapsed()) / f64::from(per_batch));
    }
    Ok(Spread::of(times))
}

pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Calls in a batch: long enough for the clock's resolution to vanish.
pub(crate) const BATCH: u32 = 2_000;
const BATCHES: usize = 51;
