//! The clock of WASI 0.3.

use std::time::Duration;

use wasip3::clocks::system_clock;

/// The time since the Unix epoch; zero before it.
pub(crate) fn now() -> Duration {
    let now = system_clock::now();
    Duration::new(u64::try_from(now.seconds).unwrap_or(0), now.nanoseconds)
}
