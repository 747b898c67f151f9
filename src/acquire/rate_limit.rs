//! How often the broker asks an endpoint, whatever it is asked itself: a token bucket in front of each.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::sources::Source;

/// A limit for each endpoint, which are as many as the configuration names.
#[derive(Debug, Default)]
pub(crate) struct RateLimits {
    limits: RefCell<BTreeMap<String, Limit>>,
    is_alone: Cell<bool>,
}

/// So many requests at once, and one more each time that so much has passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    burst: u32,
    every: Duration,
}

impl Rate {
    /// An endpoint that speaks for one machine. IMDS answers five requests a second, and twenty at once.
    pub(crate) const OF_A_MACHINE: Self = Self { burst: 20, every: Duration::from_millis(200) };
    /// Entra and AD FS, whom each user of an app is a question of its own to. They document no number: it is what a busy
    /// app needs, and what a guest that makes up questions cannot harm them with.
    pub(crate) const OF_AN_AUTHORITY: Self = Self { burst: 100, every: Duration::from_millis(20) };
    /// Any endpoint while the store is lost that tells what the other instances do: five instances of a machine stay
    /// within what IMDS answers.
    pub(crate) const ALONE: Self = Self { burst: 10, every: Duration::from_secs(1) };

    /// How often a source is asked.
    pub(crate) fn of(source: &Source) -> Self {
        if matches!(source, Source::Entra(_)) { Self::OF_AN_AUTHORITY } else { Self::OF_A_MACHINE }
    }
}

/// What holds always, and what holds in addition while the store is lost
#[derive(Debug, Default)]
struct Limit {
    always: Bucket,
    alone: Bucket,
}

/// Times since the Unix epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    taken_at: Duration,
    full_at: Duration,
}

impl RateLimits {
    /// Whether the store is lost that tells what the other instances do.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone.get()
    }

    pub(crate) fn set_alone(&self, is_alone: bool) {
        self.is_alone.set(is_alone);
    }

    /// How long to wait before a request to an endpoint, which is counted now.
    ///
    /// # Errors
    /// The wait, if it leaves nothing of `longest`; nothing is counted.
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
        limit.alone.set_back(Rate::ALONE, now);
        let (always, mut wait) = limit.always.take(rate, now);
        let (mut alone, wait_alone) = limit.alone.take(Rate::ALONE, now);
        match self.is_alone() {
            true => wait = wait.max(wait_alone),
            // An instance that loses its store begins with an empty bucket, and owes nothing.
            false => alone.full_at = alone.full_at.saturating_sub(wait_alone),
        }
        if !wait.is_zero() && wait >= longest {
            return Err(wait);
        }
        *limit = Limit { always, alone };
        Ok(wait)
    }
}

impl Bucket {
    /// A clock that was set back empties the bucket, and no more than that.
    fn set_back(&mut self, rate: Rate, now: Duration) {
        if now < self.taken_at {
            let most = rate.every.saturating_mul(rate.burst);
            *self = Self { taken_at: now, full_at: now.saturating_add(most) };
        }
    }

    /// The bucket after one more request, and how long that has to wait.
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
        limits.set_alone(true);
        limits.take(endpoint, Rate::ALONE, at(now), at(longest))
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
        let take = |alone| {
            limits.set_alone(alone);
            limits.take("imds", Rate::OF_A_MACHINE, at(1000), at(3))
        };
        assert!((0..20).all(|_| take(false) == Ok(at(0))));
        assert_eq!(take(false), Ok(Duration::from_millis(200)));
        assert_eq!([take(true), take(true), take(true)], [Ok(at(1)), Ok(at(2)), Err(at(3))]);
        assert_eq!(take(false), Ok(Duration::from_millis(800)), "what was sent alone counts, too");
    }

    #[test]
    fn a_store_that_comes_and_goes_gains_nobody_a_second_burst() {
        let limits = RateLimits::default();
        let take = |alone| {
            limits.set_alone(alone);
            limits.take("imds", Rate::OF_A_MACHINE, at(1000), at(1))
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
