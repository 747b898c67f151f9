//! The cooldown of a failure that instances share.

use std::time::Duration;

use crate::model::Error;
use crate::sources::is_machine_local;

/// The cooldown of a failure for the whole fleet; none if it is not shared. `had_time`: the failed call had most of
/// the time of a request.
///
/// An answer of Entra holds for all instances. An answer of a machine's own endpoint holds for that machine, which may
/// lack the identity: it is shared for [`ONE_MACHINE`] at most, except for throttling.
pub(super) fn shared_cooldown(error: &Error, had_time: bool) -> Option<Duration> {
    let cooldown = error.cooldown()?;
    let answered = error.failures().iter().any(|failure| failure.status.is_some());
    let is_local = error.failures().iter().any(|failure| is_machine_local(&failure.source));
    match error {
        // Without an answer, it is the rate limit of this instance.
        Error::Throttled(_) => answered.then_some(cooldown),
        _ if answered && !is_local => Some(cooldown),
        _ if answered || had_time => Some(cooldown.min(ONE_MACHINE)),
        _ => None,
    }
}

/// The longest shared cooldown of a failure that may concern one machine only.
const ONE_MACHINE: Duration = Duration::from_secs(1);
