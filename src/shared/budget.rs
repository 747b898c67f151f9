//! How often an instance asks an endpoint when no store tells it what the others do: a token bucket for each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// By endpoint, which are as many as the configuration names.
#[derive(Debug, Default)]
pub(super) struct Budget(RefCell<BTreeMap<String, Bucket>>);

/// [`BURST`] at once, and one more for each [`EVERY`] that passes. Times since the Unix epoch.
#[derive(Debug, Default)]
struct Bucket {
    taken_at: Duration,
    full_at: Duration,
}

impl Budget {
    /// How long to wait before a request to an endpoint, which is counted now.
    ///
    /// # Errors
    /// The wait, if it leaves nothing of `longest`; nothing is counted.
    pub(super) fn take(
        &self,
        endpoint: &str,
        now: Duration,
        longest: Duration,
    ) -> Result<Duration, Duration> {
        self.0.borrow_mut().entry(endpoint.to_owned()).or_default().take(now, longest)
    }
}

impl Bucket {
    fn take(&mut self, now: Duration, longest: Duration) -> Result<Duration, Duration> {
        let most = EVERY.saturating_mul(BURST);
        // A clock that was set back empties the bucket, and no more than that.
        let full_at = if now < self.taken_at { now.saturating_add(most) } else { self.full_at };
        let full_at = full_at.max(now).saturating_add(EVERY);
        let wait = full_at.saturating_sub(now).saturating_sub(most);
        if !wait.is_zero() && wait >= longest {
            return Err(wait);
        }
        *self = Self { taken_at: now, full_at };
        Ok(wait)
    }
}

/// As many requests as a consumer is likely to need at its start.
const BURST: u32 = 10;
/// Five instances of a machine stay within what IMDS answers a second.
const EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ten_at_once_and_then_one_a_second() {
        let budget = Budget::default();
        let take = |now| budget.take("imds", at(now), at(3));
        assert!((0..10).all(|_| take(1000) == Ok(at(0))));
        assert_eq!(
            [take(1000), take(1000), take(1000), take(1000)],
            [Ok(at(1)), Ok(at(2)), Err(at(3)), Err(at(3))]
        );
        assert_eq!(budget.take("entra", at(1000), at(3)), Ok(at(0)), "each endpoint has its own");
        assert_eq!(take(1001), Ok(at(2)), "a second later one more fits");
        assert!((0..10).all(|_| take(1020) == Ok(at(0))), "full again");
        assert_eq!(take(1020), Ok(at(1)));
    }

    #[test]
    fn a_clock_set_back_costs_no_more_than_an_empty_bucket() {
        let budget = Budget::default();
        let take = |now| budget.take("imds", at(now), at(2));
        assert_eq!(take(1_000_000), Ok(at(0)));
        assert_eq!(take(1000), Ok(at(1)));
        assert_eq!(take(1002), Ok(at(0)));
    }
}
