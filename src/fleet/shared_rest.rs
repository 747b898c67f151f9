//! How long a failure is everybody's.

use std::time::Duration;

use crate::model::Error;
use crate::sources::is_of_the_machine;

/// How long a failure is everybody's. `had_time`: the call that failed had time for a whole try.
///
/// What the fleet's identity service says is so for all. A machine's own endpoint speaks for that machine, which may be
/// the one without the identity; only that it wants to be left alone is respected by all.
pub(super) fn shared_rest(error: &Error, had_time: bool) -> Option<Duration> {
    let rest = error.rest()?;
    let answered = error.failures().iter().any(|failure| failure.status.is_some());
    let of_the_machine = error.failures().iter().any(|failure| is_of_the_machine(&failure.source));
    match error {
        // Others have a rate limit of their own.
        Error::Throttled(_) => answered.then_some(rest),
        _ if answered && !of_the_machine => Some(rest),
        _ if answered || had_time => Some(rest.min(OF_ONE_MACHINE)),
        _ => None,
    }
}

/// A failure that may be one machine's alone.
const OF_ONE_MACHINE: Duration = Duration::from_secs(1);
