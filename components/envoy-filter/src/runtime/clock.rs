//! The clocks of the proxy.

use std::time::Duration;

use crate::abi::{self, Clock};

/// The time since the Unix epoch. Every token has expired where the proxy does not tell the time.
pub(crate) fn now() -> Duration {
    abi::time(Clock::Real).unwrap_or(Duration::MAX)
}

/// The time of a clock that is never set, the same for all VMs of the proxy. It stands still where the proxy does not
/// tell the time.
pub(crate) fn monotonic_now() -> Duration {
    abi::time(Clock::Monotonic).unwrap_or_default()
}
