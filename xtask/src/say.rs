//! One line for each thing that is done.

use std::time::{Duration, Instant};

/// Say what begins
pub(crate) fn step(what: &str) {
    println!("==> {what}");
}

/// Say a detail of what was begun
pub(crate) fn detail(what: &str) {
    println!("    {what}");
}

/// Say what was done, and how long it took
pub(crate) fn done(what: &str, since: Instant) {
    detail(&format!("{what} ({})", duration(since.elapsed())));
}

/// A duration as people read it
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
