//! How often an instance asks the identity service when no store tells it what the others do: a token bucket.

use std::cell::Cell;
use std::time::Duration;

/// [`BURST`] at once, and one more for each [`EVERY`] that passes.
#[derive(Debug, Default)]
pub(super) struct Budget {
    taken_at: Cell<Duration>,
    /// When the bucket is full again.
    full_at: Cell<Duration>,
}

impl Budget {
    /// How long to wait before asking; the asking is counted now (times since the Unix epoch).
    ///
    /// # Errors
    /// The wait, if it is longer than `longest`; nothing is counted.
    pub(super) fn take(&self, now: Duration, longest: Duration) -> Result<Duration, Duration> {
        let most = EVERY.saturating_mul(BURST);
        // A clock that was set back empties the bucket, and no more than that.
        let full_at = if now < self.taken_at.get() { now.saturating_add(most) } else { self.full_at.get() };
        let full_at = full_at.max(now).saturating_add(EVERY);
        let wait = full_at.saturating_sub(now).saturating_sub(most);
        if wait > longest {
            return Err(wait);
        }
        self.taken_at.set(now);
        self.full_at.set(full_at);
        Ok(wait)
    }
}

/// As many tokens as a consumer is likely to need at its start.
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
        let take = |now| budget.take(at(now), at(2));
        assert!((0..10).all(|_| take(1000) == Ok(at(0))));
        assert_eq!(
            [take(1000), take(1000), take(1000), take(1000)],
            [Ok(at(1)), Ok(at(2)), Err(at(3)), Err(at(3))]
        );
        assert_eq!(take(1001), Ok(at(2)), "a second later one more fits");
        assert!((0..10).all(|_| take(1020) == Ok(at(0))), "full again");
        assert_eq!(take(1020), Ok(at(1)));
    }

    #[test]
    fn a_clock_set_back_costs_no_more_than_an_empty_bucket() {
        let budget = Budget::default();
        assert_eq!(budget.take(at(1_000_000), at(2)), Ok(at(0)));
        assert_eq!(budget.take(at(1000), at(2)), Ok(at(1)));
        assert_eq!(budget.take(at(1002), at(2)), Ok(at(0)));
    }
}
