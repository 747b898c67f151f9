//! The retry policy.

use std::time::Duration;

use crate::model::{Error, Failure, milliseconds, share};
use crate::sources::RetryClass;

/// The decision after a failed try.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Retry after this time.
    Wait(Duration),
    /// Stop with this error.
    Stop(Error),
}

/// The tries of one fetch.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    busy: usize,
    upgrading: usize,
    stale: usize,
}

impl Retries {
    /// Decides after a failed try, with `left` of the fetch's time. `random` is the jitter; zero means none.
    pub(crate) fn next(&mut self, class: &RetryClass, failure: Failure, left: Duration, random: u64) -> Next {
        let left = left.saturating_sub(ROOM);
        // A wait that exceeds the remaining time is left to the caller.
        if failure.retry_after.is_some_and(|wait| wait > left) {
            return Next::Stop(Error::Throttled(failure));
        }
        let Some(delay) = self.delay(class) else { return Next::Stop(exhausted(class, failure)) };
        let wait = match failure.retry_after {
            Some(requested) => requested.max(SHORTEST_WAIT),
            None => delay.saturating_add(spread(delay, random)),
        };
        if wait > left { Next::Stop(exhausted(class, failure)) } else { Next::Wait(wait) }
    }

    fn delay(&mut self, class: &RetryClass) -> Option<Duration> {
        let (delays, used) = match class {
            RetryClass::Busy => (BUSY_DELAYS, &mut self.busy),
            RetryClass::Upgrading => (UPGRADE_DELAYS, &mut self.upgrading),
            RetryClass::Stale => (STALE_DELAYS, &mut self.stale),
            RetryClass::KeyFile(_) => return None,
        };
        let delay = delays.get(*used).copied().map(Duration::from_secs);
        *used = used.saturating_add(1);
        delay
    }
}

fn exhausted(class: &RetryClass, failure: Failure) -> Error {
    match class {
        RetryClass::KeyFile(_) => Error::Protocol(failure),
        RetryClass::Stale => Error::Rejected(failure),
        RetryClass::Busy | RetryClass::Upgrading if failure.status == Some(429) => {
            let retry_after = failure.retry_after.or(Some(THROTTLED_WAIT));
            Error::Throttled(Failure { retry_after, ..failure })
        }
        RetryClass::Busy | RetryClass::Upgrading => Error::Transient(failure),
    }
}

/// The jitter of a delay: up to a fifth of it, added because the delays are minima.
fn spread(delay: Duration, random: u64) -> Duration {
    let fifth = milliseconds(delay) / 5;
    Duration::from_millis(share(fifth, random))
}

/// The least time for another try. A shorter one would only hide the failure of the previous try.
pub(crate) const ROOM: Duration = Duration::from_secs(1);

/// The delays of three retries, in seconds: exponential, less than half a minute in all.
const BUSY_DELAYS: &[u64] = &[1, 2, 4];

/// One retry without delay, with a renewed credential.
const STALE_DELAYS: &[u64] = &[0];

/// The delays while IMDS is upgraded, in seconds: 70 s in all, as documented.
const UPGRADE_DELAYS: &[u64] = &[5, 10, 15, 20, 20];

/// The minimum for a `Retry-After`, so that zero does not cause a busy loop.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// The wait after a 429 without `Retry-After`, as IMDS sends it: the default of MSAL for Python.
const THROTTLED_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16, retry_after: Option<u64>) -> Failure {
        let retry_after = retry_after.map(Duration::from_secs);
        Failure { status: Some(status), retry_after, ..Failure::default() }
    }

    /// The waits until the retries stop, and the error they stop with.
    fn run(class: &RetryClass, failure: &Failure, budget: u64, random: u64) -> (Vec<u64>, Error) {
        let (mut left, mut retries) = (Duration::from_secs(budget), Retries::default());
        let mut waits = Vec::new();
        loop {
            match retries.next(class, failure.clone(), left, random) {
                Next::Wait(wait) => {
                    left -= wait;
                    waits.push(wait.as_millis() as u64);
                }
                Next::Stop(error) => return (waits, error),
            }
        }
    }

    #[test]
    fn a_busy_service_is_tried_four_times() {
        let (waits, error) = run(&RetryClass::Busy, &failed(500, None), 90, 0);
        assert_eq!((waits, error.kind()), (vec![1000, 2000, 4000], "transient"));
    }

    #[test]
    fn an_upgrade_is_waited_out_for_seventy_seconds() {
        let (waits, error) = run(&RetryClass::Upgrading, &failed(410, None), 90, 0);
        assert_eq!((waits.iter().sum(), error.kind()), (70_000, "transient"));
    }

    #[test]
    fn a_stale_credential_is_renewed_once_and_at_once() {
        let (waits, error) = run(&RetryClass::Stale, &failed(401, None), 90, u64::MAX);
        assert_eq!((waits, error.kind()), (vec![0], "rejected"));
    }

    #[test]
    fn throttling_without_a_retry_after_has_a_default_one() {
        let (_, error) = run(&RetryClass::Busy, &failed(429, None), 90, 0);
        assert_eq!((error.kind(), error.retry_after()), ("throttled", Some(THROTTLED_WAIT)));
    }

    #[test]
    fn retry_after_is_kept_to_if_it_fits_the_budget() {
        let (waits, error) = run(&RetryClass::Busy, &failed(429, Some(20)), 90, u64::MAX);
        assert_eq!((waits, error.kind()), (vec![20_000, 20_000, 20_000], "throttled"));
        let (waits, error) = run(&RetryClass::Busy, &failed(503, Some(91)), 90, 0);
        assert_eq!((waits, error.kind()), (vec![], "throttled"));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(91)));
    }

    #[test]
    fn a_retry_after_of_zero_does_not_cause_a_busy_loop() {
        assert_eq!(run(&RetryClass::Busy, &failed(503, Some(0)), 90, 0).0, vec![1000, 1000, 1000]);
    }

    #[test]
    fn nothing_is_begun_after_the_budget() {
        let (waits, error) = run(&RetryClass::Busy, &failed(500, None), 4, 0);
        assert_eq!((waits, error.kind()), (vec![1000, 2000], "transient"));
        assert_eq!(run(&RetryClass::Upgrading, &failed(410, None), 21, 0).0, vec![5000, 10_000]);
    }

    #[test]
    fn the_spread_adds_up_to_a_fifth_and_takes_nothing() {
        assert_eq!(run(&RetryClass::Busy, &failed(500, None), 90, u64::MAX).0, vec![1199, 2399, 4799]);
    }
}
