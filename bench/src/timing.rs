//! The median of many batches: one pause of the machine does not spoil it.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How long one of `per_batch` calls takes, in microseconds, when `batch` makes them all.
pub(crate) async fn microseconds(per_batch: u32, mut batch: impl AsyncFnMut() -> Result<()>) -> Result<f64> {
    batch().await?;
    let mut times = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let start = Instant::now();
        batch().await?;
        times.push(start.elapsed());
    }
    Ok(median(times).as_secs_f64() * 1e6 / f64::from(per_batch))
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Calls in a batch: long enough for the clock's resolution to vanish.
pub(crate) const BATCH: u32 = 2_000;
const BATCHES: usize = 51;
