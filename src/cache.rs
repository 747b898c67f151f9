//! What is held in memory: for each key a token, how it stands, and until when a failed fetch is not repeated.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::error::Error;
use crate::policy::Key;
use crate::request::Scope;
use crate::token::{Freshness, Token};

/// Tokens and failures by key, [`CAPACITY`] at most.
#[derive(Debug, Default)]
pub(crate) struct Cache(BTreeMap<Key, Entry>);

#[derive(Debug, Default)]
struct Entry {
    held: Option<Held>,
    failure: Option<Rest>,
}

#[derive(Debug)]
struct Held {
    token: Rc<Token>,
    refresh_at: u64,
}

/// A failure, and the time since the Unix epoch before which it is the answer.
#[derive(Debug)]
struct Rest {
    error: Error,
    until: Duration,
}

/// What memory has for a key.
#[derive(Debug)]
pub(crate) enum Look {
    /// Use it.
    Fresh(Rc<Token>),
    /// Use it, and have it refreshed.
    Stale(Rc<Token>),
    /// Fetch another, and use this one if that fails.
    Expiring(Rc<Token>),
    /// Fetch one.
    Nothing,
}

impl Cache {
    pub(crate) fn look(&self, key: &Key, now: Duration) -> Look {
        let Some(held) = self.0.get(key).and_then(|entry| entry.held.as_ref()) else { return Look::Nothing };
        match held.token.freshness(held.refresh_at, now) {
            Freshness::Fresh => Look::Fresh(Rc::clone(&held.token)),
            Freshness::Stale => Look::Stale(Rc::clone(&held.token)),
            Freshness::Expiring => Look::Expiring(Rc::clone(&held.token)),
            Freshness::Gone => Look::Nothing,
        }
    }

    /// The failure that is still the answer to fetching under a key.
    pub(crate) fn resting(&self, key: &Key, now: Duration) -> Option<Error> {
        let rest = self.0.get(key)?.failure.as_ref()?;
        let left = rest.until.checked_sub(now).filter(|left| !left.is_zero())?;
        // A clock that was set back must not make the rest longer than any failure asks for.
        (left <= LONGEST_REST).then(|| rest.error.clone().with_wait_left(left))
    }

    /// Keep a token. One that was fetched with claims takes the place of the one without.
    pub(crate) fn keep(&mut self, key: &Key, token: Rc<Token>, random: u64) {
        let refresh_at = token.jittered_refresh(random);
        let entry = self.entry(key.without_claims());
        *entry = Entry { held: Some(Held { token, refresh_at }), failure: None };
    }

    /// Remember that fetching failed, for as long as the failure deserves.
    pub(crate) fn rest(&mut self, key: &Key, error: &Error, now: Duration) {
        let entry = self.entry(key.clone());
        let usable = entry.held.as_ref().is_some_and(|held| held.token.is_usable(now));
        let Some(rest) = rest_after(error) else { return };
        let rest = if usable { rest.max(BETWEEN_REFRESHES) } else { rest };
        entry.failure = Some(Rest { error: error.clone(), until: now.saturating_add(rest) });
    }

    /// Drop every token for a scope, whosever it is.
    pub(crate) fn forget(&mut self, scope: &Scope) {
        for entry in self.0.iter_mut().filter(|(key, _)| key.scope() == scope).map(|(_, entry)| entry) {
            entry.held = None;
        }
    }

    fn entry(&mut self, key: Key) -> &mut Entry {
        if self.0.len() >= CAPACITY && !self.0.contains_key(&key) {
            self.evict();
        }
        self.0.entry(key).or_default()
    }

    /// Drop the entry that is worth least: one without a token, else the one whose token ends first.
    fn evict(&mut self) {
        let worth = |entry: &Entry| entry.held.as_ref().map(|held| held.token.expires_on());
        if let Some(key) = self.0.iter().min_by_key(|(_, entry)| worth(entry)).map(|(key, _)| key.clone()) {
            self.0.remove(&key);
        }
    }
}

/// How long a failure is the answer for whoever asks next, so that a herd behind a broken endpoint stays calm.
fn rest_after(error: &Error) -> Option<Duration> {
    let floor = match error {
        Error::Unavailable(_) | Error::Rejected(_) => Duration::from_secs(10),
        Error::Throttled(_) | Error::Transient(_) | Error::Protocol(_) => Duration::from_secs(1),
        Error::InvalidRequest(_) | Error::Misconfigured(_) | Error::Denied(_) | Error::Other(_) => {
            return None;
        }
    };
    Some(error.retry_after().map_or(floor, |told| told.max(floor)).min(LONGEST_REST))
}

/// After a refresh failed, a token that can be used is used this long before the next attempt.
const BETWEEN_REFRESHES: Duration = Duration::from_secs(30);

/// What no `Retry-After` exceeds.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// More keys than any consumer has audiences and identities; what it bounds is a consumer that makes them up.
const CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;
    use crate::policy::Policy;
    use crate::request::{Identity, TokenRequest};

    fn key(scope: &str) -> Key {
        Policy::default().admit(&TokenRequest::for_scope(scope).unwrap(), &Identity::Default).unwrap()
    }

    fn token(expires_on: u64) -> Rc<Token> {
        Rc::new(Token::new("imds", "t".into(), "Bearer".into(), (1000, expires_on), None))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_full_cache_gives_up_failures_first_and_then_what_ends_first() {
        let mut cache = Cache::default();
        let gone = Error::Unavailable(Vec::new());
        cache.rest(&key("failed"), &gone, at(1000));
        for n in 1..CAPACITY {
            cache.keep(&key(&format!("s{n}")), token(100_000 + n as u64), 0);
        }
        cache.keep(&key("one-more"), token(200_000), 0);
        assert!(cache.resting(&key("failed"), at(1000)).is_none());
        assert!(matches!(cache.look(&key("s1"), at(1000)), Look::Fresh(_)));
        cache.keep(&key("yet-one"), token(200_000), 0);
        assert!(matches!(cache.look(&key("s1"), at(1000)), Look::Nothing));
        assert!(matches!(cache.look(&key("s2"), at(1000)), Look::Fresh(_)));
        assert_eq!(cache.0.len(), CAPACITY);
    }

    #[test]
    fn each_failure_rests_as_long_as_it_deserves() {
        let failure = |wait: Option<u64>| Failure { retry_after: wait.map(at), ..Failure::default() };
        for (error, seconds) in [
            (Error::Throttled(failure(Some(42))), 42),
            (Error::Throttled(failure(Some(u64::MAX))), 3600),
            (Error::Rejected(failure(None)), 10),
            (Error::Rejected(failure(Some(60))), 60),
            (Error::Unavailable(vec![failure(None)]), 10),
            (Error::Transient(failure(None)), 1),
            (Error::Protocol(failure(None)), 1),
        ] {
            let mut cache = Cache::default();
            cache.rest(&key("s"), &error, at(1000));
            assert!(
                cache.resting(&key("s"), at(1000 + seconds) - Duration::from_millis(1)).is_some(),
                "{error}"
            );
            assert!(cache.resting(&key("s"), at(1000 + seconds)).is_none(), "{error}");
        }
    }

    #[test]
    fn mistakes_that_sent_nothing_are_not_remembered() {
        let mut cache = Cache::default();
        cache.rest(&key("s"), &Error::Misconfigured(String::new()), at(1000));
        assert!(cache.resting(&key("s"), at(1000)).is_none());
    }

    #[test]
    fn the_wait_that_a_throttled_caller_is_told_shrinks() {
        let mut cache = Cache::default();
        let failure = Failure { retry_after: Some(at(42)), ..Failure::default() };
        cache.rest(&key("s"), &Error::Throttled(failure), at(1000));
        assert_eq!(cache.resting(&key("s"), at(1040)).unwrap().retry_after(), Some(at(2)));
    }

    #[test]
    fn a_clock_set_back_ends_a_rest() {
        let mut cache = Cache::default();
        cache.rest(&key("s"), &Error::Unavailable(Vec::new()), at(1_000_000));
        assert!(cache.resting(&key("s"), at(1000)).is_none());
    }
}
