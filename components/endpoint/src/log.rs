//! The log of this instance: lines on stderr.

use std::io::Write as _;
use std::time::Duration;

use token_broker::{Level, Record};
use wasip3::clocks::system_clock;

/// The time since the Unix epoch.
pub(crate) fn now() -> Duration {
    let now = system_clock::now();
    Duration::new(u64::try_from(now.seconds).unwrap_or(0), now.nanoseconds)
}

pub(crate) fn write(line: &str) {
    // A log that cannot be written must not end the endpoint.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// How often a host begins anew is how often tokens are fetched.
pub(crate) fn began() {
    write(&Record { level: Level::Debug, event: "an instance began", fields: &[] }.to_json(now()));
}
