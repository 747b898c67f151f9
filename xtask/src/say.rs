//! The lines that a command prints as it proceeds.

use std::time::Instant;

pub(crate) fn step(what: &str) {
    println!("==> {what}");
}

pub(crate) fn detail(what: &str) {
    println!("    {what}");
}

pub(crate) fn done(what: &str, since: Instant) {
    detail(&format!("{what} ({:.1} s)", since.elapsed().as_secs_f64()));
}

/// A size in kB, as the limits are written
pub(crate) fn size(bytes: usize) -> String {
    format!("{} kB", bytes.div_ceil(1000))
}
