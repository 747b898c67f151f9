//! The rate limit of requests: a token bucket for each endpoint.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::sources::Source;

/// The limits of all endpoints. The configuration bounds their number.
#[derive(Debug, Default)]
pub(crate) struct RateLimits {
    limits: RefCell<BTreeMap<String, Limit>>,
    is_store_lost: Cell<bool>,
}

/// A rate: `burst` requests at once, and one more in each interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    burst: u32,
    every: Duration,
}

impl Rate {
    /// The rate for an endpoint of one machine. IMDS answers five requests a second, and twenty at once.
    pub(crate) const MACHINE: Self = Self { burst: 20, every: Duration::from_millis(200) };
    /// The rate for Entra and AD FS, where each user of an app needs a token. They document no limit: this is enough
    /// for a busy app, and protects them from a guest that makes up requests.
    pub(crate) const AUTHORITY: Self = Self { burst: 100, every: Duration::from_millis(20) };
    /// The additional limit for every endpoint while the shared store is unavailable: five instances on a machine
    /// together stay within the limit of IMDS.
    pub(crate) const WITHOUT_STORE: Self = Self { burst: 10, every: Duration::from_secs(1) };

    /// The rate for a source.
    pub(crate) fn of(source: &Source) -> Self {
        if matches!(source, Source::Entra(_)) { Self::AUTHORITY } else { Self::MACHINE }
    }
}

/// The buckets of an endpoint: the second one counts while the store is unavailable.
#[derive(Debug, Default)]
struct Limit {
    always: Bucket,
    without_store: Bucket,
}

/// Times since the Unix epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    taken_at: Duration,
    full_at: Duration,
}

impl RateLimits {
    /// True while the shared store is unavailable.
    pub(crate) fn is_store_lost(&self) -> bool {
        self.is_store_lost.get()
    }

    pub(crate) fn set_store_lost(&self, is_store_lost: bool) {
        self.is_store_lost.set(is_store_lost);
    }

    /// Counts a request to an endpoint, and returns the time to wait before it.
    ///
    /// # Errors
    /// The wait, if it is not shorter than `longest`. The request is not counted.
    pub(crate) fn take(
        &self,
        endpoint: &str,
        rate: Rate,
        now: Duration,
        longest: Duration,
    ) -> Result<Duration, Duration> {
        let mut limits = self.limits.borrow_mut();
        let limit = limits.entry(endpoint.to_owned()).or_default();
        limit.always.set_back(rate, now);
        limit.without_store.set_back(Rate::WITHOUT_STORE, now);
        let (always, mut wait) = limit.always.take(rate, now);
        let (mut without_store, wait_without_store) = limit.without_store.take(Rate::WITHOUT_STORE, now);
        match self.is_store_lost() {
            true => wait = wait.max(wait_without_store),
            // An instance that loses its store begins with at most an empty bucket, without debt.
            false => without_store.full_at = without_store.full_at.saturating_sub(wait_without_store),
        }
        if !wait.is_zero() && wait >= longest {
            return Err(wait);
        }
        *limit = Limit { always, without_store };
        Ok(wait)
    }
}

impl Bucket {
    /// Empties the bucket if the clock was set back, without debt.
    fn set_back(&mut self, rate: Rate, now: Duration) {
        if now < self.taken_at {
            let most = rate.every.saturating_mul(rate.burst);
            *self = Self { taken_at: now, full_at: now.saturating_add(most) };
        }
    }

    /// The bucket after one more request, and the time for which the request waits.
    fn take(self, rate: Rate, now: Duration) -> (Self, Duration) {
        let most = rate.every.saturating_mul(rate.burst);
        let full_at = self.full_at.max(now).saturating_add(rate.every);
        (Self { taken_at: now, full_at }, full_at.saturating_sub(now).saturating_sub(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn take_alone(limits: &RateLimits, endpoint: &str, now: u64, longest: u64) -> Result<Duration, Duration> {
        limits.set_store_lost(true);
        limits.take(endpoint, Rate::WITHOUT_STORE, at(now), at(longest))
    }

    #[test]
    fn so_many_at_once_and_then_one_each_time() {
        let limits = RateLimits::default();
        let take = |now| take_alone(&limits, "imds", now, 3);
        assert!((0..10).all(|_| take(1000) == Ok(at(0))));
        assert_eq!(
            [take(1000), take(1000), take(1000), take(1000)],
            [Ok(at(1)), Ok(at(2)), Err(at(3)), Err(at(3))]
        );
        assert_eq!(take_alone(&limits, "entra", 1000, 3), Ok(at(0)), "each endpoint has its own");
        assert_eq!(take(1001), Ok(at(2)), "a second later one more fits");
        assert!((0..10).all(|_| take(1020) == Ok(at(0))), "full again");
        assert_eq!(take(1020), Ok(at(1)));
    }

    #[test]
    fn an_instance_that_loses_its_store_does_not_begin_with_a_full_bucket() {
        let limits = RateLimits::default();
        let take = |is_lost| {
            limits.set_store_lost(is_lost);
            limits.take("imds", Rate::MACHINE, at(1000), at(3))
        };
        assert!((0..20).all(|_| take(false) == Ok(at(0))));
        assert_eq!(take(false), Ok(Duration::from_millis(200)));
        assert_eq!([take(true), take(true), take(true)], [Ok(at(1)), Ok(at(2)), Err(at(3))]);
        assert_eq!(take(false), Ok(Duration::from_millis(800)), "what was sent alone counts, too");
    }

    #[test]
    fn an_intermittent_store_allows_no_second_burst() {
        let limits = RateLimits::default();
        let take = |is_lost| {
            limits.set_store_lost(is_lost);
            limits.take("imds", Rate::MACHINE, at(1000), at(1))
        };
        let sent = (0..60).filter(|turn| take(turn % 3 == 0) == Ok(at(0))).count();
        assert_eq!(sent, 20);
    }

    #[test]
    fn a_clock_set_back_costs_no_more_than_an_empty_bucket() {
        let limits = RateLimits::default();
        let take = |now| take_alone(&limits, "imds", now, 2);
        assert_eq!(take(1_000_000), Ok(at(0)));
        assert_eq!(take_alone(&limits, "imds", 999, 1), Err(at(1)), "and is counted though nothing is taken");
        assert_eq!(take(1000), Ok(at(0)));
        assert_eq!(take(1000), Ok(at(1)));
        assert_eq!(take(1002), Ok(at(0)));
    }
}
