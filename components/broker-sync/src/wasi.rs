//! The functions of WASI 0.2 that the host of the core is made of.

use std::time::Duration;

use wasip2::clocks::{monotonic_clock, wall_clock};

use crate::exchange::nanoseconds;
use crate::poll::ready;

pub(crate) use wasip2::random::random::get_random_u64 as random;

/// The time since the Unix epoch.
pub(crate) fn now() -> Duration {
    let now = wall_clock::now();
    Duration::new(now.seconds, now.nanoseconds)
}

/// Waits for a duration.
pub(crate) async fn sleep(duration: Duration) {
    ready(monotonic_clock::subscribe_duration(nanoseconds(duration))).await;
}
