//! Freshness: whether a token may be used, and when its refresh is due.

use std::time::Duration;

use crate::model::{Token, share};

/// The state of a cached token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Not due for a refresh: used as it is.
    Fresh,
    /// Due for a refresh, and not expiring soon: used while it is refreshed.
    Stale,
    /// Expiring soon ([`Token::expiring_from`]): used only if a fetch fails.
    Expiring,
    /// Expired, or received in the future: never used.
    Gone,
}

impl Freshness {
    /// The freshness of a token whose refresh is due at `refresh_at` (Unix seconds, with jitter).
    pub(crate) fn of(token: &Token, refresh_at: u64, now: Duration) -> Self {
        let seconds = now.as_secs();
        if !token.is_usable(now) {
            Self::Gone
        } else if seconds >= token.expiring_from() {
            Self::Expiring
        } else if seconds >= refresh_at {
            Self::Stale
        } else {
            Self::Fresh
        }
    }
}

/// Whether a token expires soon, or is not valid at all.
pub(crate) fn is_expiring(token: &Token, now: Duration) -> bool {
    matches!(Freshness::of(token, u64::MAX, now), Freshness::Expiring | Freshness::Gone)
}

/// The refresh time with jitter: earlier than `refresh_on` by up to a tenth of the time since the reception, so that
/// instances that started together do not refresh together.
pub(crate) fn jittered_refresh(token: &Token, random: u64) -> u64 {
    let Some(refresh_on) = token.refresh_on else { return token.received_on };
    refresh_on.saturating_sub(share(max_jitter(token.received_on, refresh_on), random))
}

/// The earliest time of a refresh, with the most jitter, for a token that was received by `received_on` (Unix seconds).
pub fn earliest_refresh(received_on: u64, refresh_on: u64) -> u64 {
    refresh_on.saturating_sub(max_jitter(received_on, refresh_on))
}

fn max_jitter(received_on: u64, refresh_on: u64) -> u64 {
    refresh_on.saturating_sub(received_on) / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(lifetime: u64, refresh_in: Option<u64>) -> Token {
        Token::new("imds", "secret".into(), "Bearer".into(), (1000, 1000 + lifetime), refresh_in)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_of_at_most_five_minutes_has_no_refresh_and_is_expiring_at_once() {
        for lifetime in [1, 299, 300] {
            let token = token(lifetime, None);
            assert_eq!(token.refresh_on(), None);
            assert_eq!(Freshness::of(&token, jittered_refresh(&token, 0), at(1000)), Freshness::Expiring);
        }
    }

    #[test]
    fn no_jitter_is_earlier_than_the_earliest_refresh() {
        let token = token(20_000, None);
        let refresh_on = token.refresh_on.unwrap();
        let earliest = earliest_refresh(token.received_on, refresh_on);
        assert_eq!(earliest, refresh_on - (refresh_on - token.received_on) / 10);
        assert!(
            (0..=64)
                .all(|shift| jittered_refresh(&token, u64::MAX.checked_shr(shift).unwrap_or(0)) >= earliest)
        );
    }

    #[test]
    fn a_token_goes_through_the_four_states_and_never_comes_back() {
        let token = token(10_000, None);
        let due = jittered_refresh(&token, 0);
        for (now, state) in [
            (1000, Freshness::Fresh),
            (5999, Freshness::Fresh),
            (6000, Freshness::Stale),
            (10_699, Freshness::Stale),
            (10_700, Freshness::Expiring),
            (10_999, Freshness::Expiring),
            (11_000, Freshness::Gone),
            (u64::MAX, Freshness::Gone),
        ] {
            assert_eq!(Freshness::of(&token, due, at(now)), state, "at {now}");
        }
    }

    #[test]
    fn a_token_from_the_future_is_not_used_after_the_clock_was_set_back() {
        let token = token(10_000, None);
        assert_eq!(Freshness::of(&token, 6000, at(939)), Freshness::Gone);
        assert_eq!(Freshness::of(&token, 6000, at(940)), Freshness::Fresh);
    }

    #[test]
    fn jitter_pulls_a_refresh_earlier_by_at_most_a_tenth_and_never_later() {
        let token = token(20_000, None);
        assert_eq!(jittered_refresh(&token, 0), 11_000);
        assert_eq!(jittered_refresh(&token, u64::MAX / 2), 11_000 - 499);
        assert_eq!(jittered_refresh(&token, u64::MAX), 11_000 - 999);
    }
}
