//! The lines that a command prints as it proceeds.

use std::time::{Duration, Instant};

/// Print the beginning of a step
pub(crate) fn step(what: &str) {
    println!("==> {what}");
}

/// Print a detail of the step
pub(crate) fn detail(what: &str) {
    println!("    {what}");
}

/// Print the end of a step, and its duration
pub(crate) fn done(what: &str, since: Instant) {
    detail(&format!("{what} ({})", duration(since.elapsed())));
}

/// A duration in milliseconds or seconds
pub(crate) fn duration(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

/// A size in kB, as the limits are written
pub(crate) fn size(bytes: usize) -> String {
    format!("{} kB", bytes.div_ceil(1000))
}
