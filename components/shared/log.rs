//! The log of a component: lines on stderr.

use std::io::Write as _;

pub(crate) fn write(line: &str) {
    // A failure to log must not end the component.
    let _ = writeln!(std::io::stderr(), "{line}");
}
