//! What is held in memory: for each key a token, how it stands, and until when a failed fetch is not repeated.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::freshness::{Freshness, jittered_refresh};
use crate::model::{Error, Scope, Token};
use crate::policy::CacheKey;

/// Tokens and failures by key, [`CAPACITY`] at most.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<CacheKey, Entry>,
    ticks: Cell<u64>,
}

#[derive(Debug, Default)]
struct Entry {
    held: Option<CachedToken>,
    failure: Option<(Error, Cooldown)>,
    /// When the store was last looked into for what other instances fetched since the failure.
    looked_at: Cell<Duration>,
    /// The fingerprint of a token that a service refused.
    refused: Option<String>,
    /// After a token was forgotten, and after a failure was.
    pauses: [Pause; 2],
    /// When it was last of use, in ticks of the cache.
    used: Cell<u64>,
}

#[derive(Debug)]
struct CachedToken {
    token: Rc<Token>,
    refresh_at: u64,
    /// After a refresh that failed.
    rest: Option<Cooldown>,
}

/// A time during which something is not tried again, since the Unix epoch.
#[derive(Clone, Copy, Debug)]
struct Cooldown {
    from: Duration,
    until: Duration,
}

/// What memory has for a key.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Use it.
    Fresh(Rc<Token>),
    /// Use it, and have it refreshed.
    Stale(Rc<Token>),
    /// Use it: a refresh is due, and failed a moment ago.
    Resting(Rc<Token>),
    /// Fetch another, and use this one if that fails.
    Expiring(Rc<Token>),
    /// This failure is still the answer, for so long.
    Failed(Error, Duration),
    /// Fetch one.
    Nothing,
}

impl Cache {
    pub(crate) fn look(&self, key: &CacheKey, now: Duration) -> Lookup {
        let Some(entry) = self.entries.get(key) else { return Lookup::Nothing };
        entry.used.set(self.tick());
        let Some(held) = entry.held.as_ref().filter(|held| held.token.is_usable(now)) else {
            return entry.failed(now).map_or(Lookup::Nothing, |(error, left)| Lookup::Failed(error, left));
        };
        let (token, rests) = (Rc::clone(&held.token), held.rest.is_some_and(|rest| rest.left(now).is_some()));
        match Freshness::of(&token, held.refresh_at, now) {
            Freshness::Fresh => Lookup::Fresh(token),
            Freshness::Stale | Freshness::Expiring if rests => Lookup::Resting(token),
            Freshness::Stale => Lookup::Stale(token),
            Freshness::Expiring => Lookup::Expiring(token),
            Freshness::Gone => Lookup::Nothing,
        }
    }

    /// Keep a token. One that was fetched with claims takes the place of the one without.
    pub(crate) fn keep(&mut self, key: &CacheKey, token: Rc<Token>, random: u64) {
        let refresh_at = jittered_refresh(&token, random);
        let entry = self.entry(key.without_claims());
        entry.held = Some(CachedToken { token, refresh_at, rest: None });
        entry.failure = None;
    }

    /// Remember that fetching failed, for as long as the failure deserves.
    pub(crate) fn rest(&mut self, key: &CacheKey, error: &Error, now: Duration) {
        self.rest_for(key, error, now, error.rest().unwrap_or_default());
    }

    /// Remember that fetching failed, for so long.
    pub(crate) fn rest_for(&mut self, key: &CacheKey, error: &Error, now: Duration, rest: Duration) {
        let until = |rest| Cooldown { from: now, until: now.saturating_add(rest) };
        if let Some(held) = self.entries.get_mut(key).and_then(|entry| entry.held.as_mut()) {
            held.rest = Some(until(rest.max(BETWEEN_REFRESHES)));
        }
        if !rest.is_zero() {
            let entry = self.entry(key.clone());
            entry.failure = Some((error.clone(), until(rest)));
            entry.looked_at.set(now);
        }
    }

    /// Whether it is time to look into the store for a token again, which is counted as done.
    pub(crate) fn looks_again(&self, key: &CacheKey, now: Duration) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            let is_time = now.saturating_sub(entry.looked_at.get()) >= BETWEEN_LOOKS;
            if is_time {
                entry.looked_at.set(now);
            }
            is_time
        })
    }

    /// Drop every token for a scope, whosever it is, and let the next call fetch unless the service asked for a rest.
    /// What was forgotten less than [`BETWEEN_FORGETS`] ago stays. False if all of it does.
    pub(crate) fn forget(&mut self, scope: &Scope, now: Duration) -> bool {
        let of_scope = self.entries.iter_mut().filter(|(key, _)| key.scope() == scope);
        of_scope.fold(false, |any, (_, entry)| entry.forget(now) | any)
    }

    /// The fingerprint of the token under a key that was forgotten last.
    pub(crate) fn refused(&self, key: &CacheKey) -> Option<String> {
        self.entries.get(key).and_then(|entry| entry.refused.clone())
    }

    /// The keys for a scope of which a token was refused, each with its fingerprint.
    pub(crate) fn refused_for(&self, scope: &Scope) -> Vec<(CacheKey, String)> {
        let refused = self.entries.iter().filter(|(key, _)| key.scope() == scope);
        refused.filter_map(|(key, entry)| Some((key.clone(), entry.refused.clone()?))).collect()
    }

    /// Do not refresh for a moment: another instance does.
    pub(crate) fn pause_refresh(&mut self, key: &CacheKey, now: Duration) {
        if let Some(held) = self.entries.get_mut(key).and_then(|entry| entry.held.as_mut()) {
            held.rest = Some(Cooldown { from: now, until: now.saturating_add(BETWEEN_REFRESHES) });
        }
    }

    /// Drop the token under a key, because it did not do what it was for.
    pub(crate) fn drop_held(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.refuse();
        }
    }

    fn entry(&mut self, key: CacheKey) -> &mut Entry {
        if self.entries.len() >= CAPACITY && !self.entries.contains_key(&key) {
            self.evict();
        }
        let now = self.tick();
        let entry = self.entries.entry(key).or_default();
        entry.used.set(now);
        entry
    }

    fn tick(&self) -> u64 {
        self.ticks.set(self.ticks.get().saturating_add(1));
        self.ticks.get()
    }

    /// Drop the entry that is worth least: one without a token, else the one that was of no use for longest.
    fn evict(&mut self) {
        let worth = |entry: &Entry| (entry.held.is_some(), entry.used.get());
        if let Some(key) =
            self.entries.iter().min_by_key(|(_, entry)| worth(entry)).map(|(key, _)| key.clone())
        {
            self.entries.remove(&key);
        }
    }
}

impl Entry {
    fn forget(&mut self, now: Duration) -> bool {
        let [of_token, of_failure] = &mut self.pauses;
        let can_end = self.failure.as_ref().is_some_and(|(error, _)| !matches!(error, Error::Throttled(_)));
        let (token, failure) = (self.held.is_some() && of_token.begin(now), can_end && of_failure.begin(now));
        if token {
            self.refuse();
        }
        if failure {
            self.failure = None;
        }
        token || failure
    }

    fn refuse(&mut self) {
        if let Some(held) = self.held.take() {
            self.refused = Some(held.token.fingerprint());
        }
    }

    fn failed(&self, now: Duration) -> Option<(Error, Duration)> {
        let (error, rest) = self.failure.as_ref()?;
        let left = rest.left(now)?;
        Some((error.clone().with_wait_left(left), left))
    }
}

/// The time between two things of a kind.
#[derive(Debug, Default)]
struct Pause(Option<Cooldown>);

impl Pause {
    /// False if it has not ended.
    fn begin(&mut self, now: Duration) -> bool {
        let has_ended = self.0.is_none_or(|rest| rest.left(now).is_none());
        if has_ended {
            self.0 = Some(Cooldown { from: now, until: now.saturating_add(BETWEEN_FORGETS) });
        }
        has_ended
    }
}

impl Cooldown {
    /// What is left of it. A clock that was set back ends a rest: it would otherwise last longer than it was meant to.
    fn left(&self, now: Duration) -> Option<Duration> {
        (self.from <= now).then(|| self.until.saturating_sub(now)).filter(|left| !left.is_zero())
    }
}

/// After a refresh failed, a token that can be used is used this long before the next attempt.
const BETWEEN_REFRESHES: Duration = Duration::from_secs(30);

/// While a failure rests, its instance looks this often for a token of another one, which may not have been told of it.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// A refusal is worth one new token at once, and another one no sooner than this: a consumer that forgets whatever it gets
/// would else have a fetch for each call.
const BETWEEN_FORGETS: Duration = Duration::from_secs(30);

/// More keys than any consumer has audiences and identities; what it bounds is a consumer that makes them up.
const CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, Identity, TokenRequest};
    use crate::policy::Policy;

    fn key(scope: &str) -> CacheKey {
        let request = TokenRequest::for_scope(scope).unwrap();
        let request = Policy::default().admit(&request, &Identity::Default, |_| Ok(None));
        request.unwrap().key().clone()
    }

    fn token(expires_on: u64) -> Rc<Token> {
        Rc::new(Token::new("imds", "t".into(), "Bearer".into(), (1000, expires_on), None))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_full_cache_gives_up_failures_first_and_then_what_is_not_used() {
        let mut cache = Cache::default();
        let gone = Error::Unavailable(Vec::new());
        cache.rest(&key("failed"), &gone, at(1000));
        for n in 1..CAPACITY {
            cache.keep(&key(&format!("s{n}")), token(100_000 + n as u64), 0);
        }
        cache.keep(&key("one-more"), token(200_000), 0);
        assert!(matches!(cache.look(&key("failed"), at(1000)), Lookup::Nothing));
        assert!(matches!(cache.look(&key("s1"), at(1000)), Lookup::Fresh(_)));
        cache.keep(&key("yet-one"), token(1400), 0);
        assert!(matches!(cache.look(&key("s1"), at(1000)), Lookup::Fresh(_)), "it has just been used");
        assert!(matches!(cache.look(&key("s2"), at(1000)), Lookup::Nothing));
        assert_eq!(cache.entries.len(), CAPACITY);
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
            let failed = |now| matches!(cache.look(&key("s"), now), Lookup::Failed(..));
            assert!(failed(at(1000 + seconds) - Duration::from_millis(1)), "{error}");
            assert!(!failed(at(1000 + seconds)), "{error}");
        }
    }

    #[test]
    fn mistakes_that_sent_nothing_are_not_remembered() {
        let mut cache = Cache::default();
        cache.rest(&key("s"), &Error::Misconfigured(String::new()), at(1000));
        assert!(matches!(cache.look(&key("s"), at(1000)), Lookup::Nothing));
    }

    #[test]
    fn the_wait_that_a_caller_is_told_shrinks() {
        for kind in [Error::Throttled, Error::Transient, Error::Rejected] {
            let mut cache = Cache::default();
            let failure = Failure { retry_after: Some(at(42)), ..Failure::default() };
            cache.rest(&key("s"), &kind(failure), at(1000));
            let Lookup::Failed(error, _) = cache.look(&key("s"), at(1040)) else {
                panic!("the failure is forgotten")
            };
            assert_eq!(error.retry_after(), Some(at(2)));
        }
    }

    #[test]
    fn a_token_is_forgotten_once_in_half_a_minute_and_so_is_a_failure() {
        let (mut cache, scope) = (Cache::default(), Scope::parse("s").unwrap());
        assert!(!cache.forget(&scope, at(1000)), "there is nothing");
        cache.rest(&key("s"), &Error::Unavailable(Vec::new()), at(1000));
        assert!(cache.forget(&scope, at(1000)));
        cache.rest(&key("s"), &Error::Unavailable(Vec::new()), at(1001));
        assert!(!cache.forget(&scope, at(1002)));
        cache.keep(&key("s"), token(100_000), 0);
        assert!(cache.forget(&scope, at(1003)), "the first token is refused");
        for (now, forgets) in [(1003, false), (1032, false), (1033, true), (1034, false), (900, true)] {
            cache.keep(&key("s"), token(100_000 + now), 0);
            assert_eq!(cache.forget(&scope, at(now)), forgets, "at {now}");
            assert_eq!(matches!(cache.look(&key("s"), at(1040)), Lookup::Nothing), forgets, "at {now}");
        }
    }

    #[test]
    fn a_clock_set_back_ends_a_rest() {
        let mut cache = Cache::default();
        cache.rest(&key("s"), &Error::Unavailable(Vec::new()), at(1_000_000));
        assert!(matches!(cache.look(&key("s"), at(999_999)), Lookup::Nothing));
    }
}
