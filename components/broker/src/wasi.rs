//! The functions of WASI 0.3 that the host of the core is made of.

use std::time::Duration;

use wasip3::clocks::monotonic_clock;

use crate::exchange::nanoseconds;

pub(crate) use crate::clock::now;
pub(crate) use wasip3::random::random::get_random_u64 as random;

/// Waits for a duration.
pub(crate) async fn sleep(duration: Duration) {
    monotonic_clock::wait_for(nanoseconds(duration)).await;
}
