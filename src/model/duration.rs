//! Durations as numbers.

use std::time::Duration;

/// A duration in whole milliseconds, as logs, WIT and query strings represent it.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
