//! The cache: for each key a token with the state of its refresh, and a failure with its cooldown.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::freshness::{Freshness, jittered_refresh};
use crate::model::{Error, Scope, Token};
use crate::policy::CacheKey;

/// Tokens and failures by key, at most [`CAPACITY`]. [`Memory`](super::Memory) documents the methods.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<CacheKey, Entry>,
    ticks: Cell<u64>,
}

#[derive(Debug, Default)]
struct Entry {
    held: Option<CachedToken>,
    failure: Option<(Error, Cooldown)>,
    /// The time of the last look into the store for a token of another instance since the failure.
    checked_at: Cell<Duration>,
    /// The fingerprint of the last token that a service refused.
    refused: Option<String>,
    /// The limit of how often a token may be forgotten.
    token_pause: Pause,
    /// The same of a failure.
    failure_pause: Pause,
    /// The time of the last use, in ticks of the cache.
    used: Cell<u64>,
}

#[derive(Debug)]
struct CachedToken {
    token: Rc<Token>,
    refresh_at: u64,
    /// The pause after a refresh that failed or was left to another instance.
    refresh_pause: Option<Cooldown>,
}

/// A period without another attempt, in time since the Unix epoch.
#[derive(Clone, Copy, Debug)]
struct Cooldown {
    from: Duration,
    until: Duration,
}

/// The result of a look-up.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// A token to use.
    Fresh(Rc<Token>),
    /// A token to use and to refresh.
    Stale(Rc<Token>),
    /// A token to use. Its refresh is due and paused.
    Paused(Rc<Token>),
    /// A token to use if a fetch fails.
    Expiring(Rc<Token>),
    /// A cached failure, and the time for which it is the answer.
    Failed(Error, Duration),
    /// Neither a token nor a failure.
    Nothing,
}

impl Cache {
    pub(crate) fn look(&self, key: &CacheKey, now: Duration) -> Lookup {
        let Some(entry) = self.entries.get(key) else { return Lookup::Nothing };
        entry.used.set(self.tick());
        let Some(held) = entry.held.as_ref().filter(|held| held.token.is_usable(now)) else {
            return entry.failed(now).map_or(Lookup::Nothing, |(error, left)| Lookup::Failed(error, left));
        };
        let (token, is_paused) =
            (Rc::clone(&held.token), held.refresh_pause.is_some_and(|pause| pause.left(now).is_some()));
        match Freshness::of(&token, held.refresh_at, now) {
            Freshness::Fresh => Lookup::Fresh(token),
            Freshness::Stale | Freshness::Expiring if is_paused => Lookup::Paused(token),
            Freshness::Stale => Lookup::Stale(token),
            Freshness::Expiring => Lookup::Expiring(token),
            Freshness::Gone => Lookup::Nothing,
        }
    }

    /// Stores a token. A token that was fetched with claims replaces the one without.
    pub(crate) fn keep(&mut self, key: &CacheKey, token: Rc<Token>, random: u64) {
        let refresh_at = jittered_refresh(&token, random);
        let entry = self.entry(key.without_claims());
        entry.held = Some(CachedToken { token, refresh_at, refresh_pause: None });
        entry.failure = None;
    }

    pub(crate) fn keep_failure(&mut self, key: &CacheKey, error: &Error, now: Duration) {
        self.keep_failure_for(key, error, now, error.cooldown().unwrap_or_default());
    }

    pub(crate) fn keep_failure_for(&mut self, key: &CacheKey, error: &Error, now: Duration, left: Duration) {
        if let Some(held) = self.entries.get_mut(key).and_then(|entry| entry.held.as_mut()) {
            held.refresh_pause = Some(Cooldown::new(now, left.max(BETWEEN_REFRESHES)));
        }
        if !left.is_zero() {
            let entry = self.entry(key.clone());
            entry.failure = Some((error.clone(), Cooldown::new(now, left)));
            entry.checked_at.set(now);
        }
    }

    pub(crate) fn should_check_store(&self, key: &CacheKey, now: Duration) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            let is_time = now.saturating_sub(entry.checked_at.get()) >= BETWEEN_CHECKS;
            if is_time {
                entry.checked_at.set(now);
            }
            is_time
        })
    }

    /// Drops the tokens of all identities for a scope, and the failures other than throttling. An entry that was
    /// forgotten less than [`BETWEEN_FORGETS`] ago stays. False if nothing was dropped.
    pub(crate) fn forget(&mut self, scope: &Scope, now: Duration) -> bool {
        let of_scope = self.entries.iter_mut().filter(|(key, _)| key.scope() == scope);
        of_scope.fold(false, |any, (_, entry)| entry.forget(now) | any)
    }

    pub(crate) fn is_forget_paused(&self, key: &CacheKey, now: Duration) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.token_pause.is_on(now))
    }

    pub(crate) fn pause_forget(&mut self, key: &CacheKey, token: &Token, now: Duration) {
        if let Some(entry) = self.entries.get_mut(key) {
            // The clock of the instance that received it may be ahead.
            let _ = entry.token_pause.begin(Duration::from_secs(token.received_on()).min(now));
        }
    }

    pub(crate) fn refused(&self, key: &CacheKey) -> Option<String> {
        self.entries.get(key).and_then(|entry| entry.refused.clone())
    }

    pub(crate) fn refused_for(&self, scope: &Scope) -> Vec<(CacheKey, String)> {
        let refused = self.entries.iter().filter(|(key, _)| key.scope() == scope);
        refused.filter_map(|(key, entry)| Some((key.clone(), entry.refused.clone()?))).collect()
    }

    pub(crate) fn pause_refresh(&mut self, key: &CacheKey, now: Duration) {
        if let Some(held) = self.entries.get_mut(key).and_then(|entry| entry.held.as_mut()) {
            held.refresh_pause = Some(Cooldown::new(now, BETWEEN_REFRESHES));
        }
    }

    pub(crate) fn drop_token(&mut self, key: &CacheKey) {
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

    /// Evicts the least recently used entry, first among those without a token.
    fn evict(&mut self) {
        let rank = |entry: &Entry| (entry.held.is_some(), entry.used.get());
        if let Some(key) =
            self.entries.iter().min_by_key(|(_, entry)| rank(entry)).map(|(key, _)| key.clone())
        {
            self.entries.remove(&key);
        }
    }
}

impl Entry {
    fn forget(&mut self, now: Duration) -> bool {
        let can_end = self.failure.as_ref().is_some_and(|(error, _)| !matches!(error, Error::Throttled(_)));
        let (token, failure) =
            (self.held.is_some() && self.token_pause.begin(now), can_end && self.failure_pause.begin(now));
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
        let (error, cooldown) = self.failure.as_ref()?;
        let left = cooldown.left(now)?;
        Some((error.clone().with_wait_left(left), left))
    }
}

/// A limit of how often something may happen: once in [`BETWEEN_FORGETS`].
#[derive(Debug, Default)]
struct Pause(Option<Cooldown>);

impl Pause {
    /// Begins a new pause, unless the last one has not ended. False if it has not.
    fn begin(&mut self, now: Duration) -> bool {
        let has_ended = !self.is_on(now);
        if has_ended {
            self.0 = Some(Cooldown::new(now, BETWEEN_FORGETS));
        }
        has_ended
    }

    fn is_on(&self, now: Duration) -> bool {
        self.0.is_some_and(|pause| pause.left(now).is_some())
    }
}

impl Cooldown {
    fn new(from: Duration, duration: Duration) -> Self {
        Self { from, until: from.saturating_add(duration) }
    }

    /// The remaining time. A clock that was set back ends the cooldown, which would otherwise be prolonged.
    fn left(&self, now: Duration) -> Option<Duration> {
        (self.from <= now).then(|| self.until.saturating_sub(now)).filter(|left| !left.is_zero())
    }
}

/// The pause after a failed refresh.
const BETWEEN_REFRESHES: Duration = Duration::from_secs(30);

/// The interval of looks into the store during a cooldown: another instance may not know of the failure, and fetch a
/// token.
const BETWEEN_CHECKS: Duration = Duration::from_secs(5);

/// The time between two refusals of a token that lead to a new one. Without it, a consumer that forgets every token
/// would cause a fetch with each call.
pub(crate) const BETWEEN_FORGETS: Duration = Duration::from_secs(30);

/// More keys than a consumer has audiences and identities: the limit is for a consumer that makes them up.
const CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, Identity};
    use crate::tests::admitted;

    fn key(scope: &str) -> CacheKey {
        admitted(scope, &Identity::Default).key().clone()
    }

    fn token(expires_on: u64) -> Rc<Token> {
        Rc::new(Token::new("imds", "t".into(), "Bearer".into(), (1000, expires_on), None))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_full_cache_evicts_failures_first_and_then_the_least_recently_used_token() {
        let mut cache = Cache::default();
        let gone = Error::Unavailable(Vec::new());
        cache.keep_failure(&key("failed"), &gone, at(1000));
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
    fn each_kind_of_failure_has_its_cooldown() {
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
            cache.keep_failure(&key("s"), &error, at(1000));
            let failed = |now| matches!(cache.look(&key("s"), now), Lookup::Failed(..));
            assert!(failed(at(1000 + seconds) - Duration::from_millis(1)), "{error}");
            assert!(!failed(at(1000 + seconds)), "{error}");
        }
    }

    #[test]
    fn mistakes_that_sent_nothing_are_not_remembered() {
        let mut cache = Cache::default();
        cache.keep_failure(&key("s"), &Error::Misconfigured(String::new()), at(1000));
        assert!(matches!(cache.look(&key("s"), at(1000)), Lookup::Nothing));
    }

    #[test]
    fn the_retry_after_of_a_cached_failure_shrinks() {
        for kind in [Error::Throttled, Error::Transient, Error::Rejected] {
            let mut cache = Cache::default();
            let failure = Failure { retry_after: Some(at(42)), ..Failure::default() };
            cache.keep_failure(&key("s"), &kind(failure), at(1000));
            let Lookup::Failed(error, _) = cache.look(&key("s"), at(1040)) else { panic!("it is forgotten") };
            assert_eq!(error.retry_after(), Some(at(2)));
        }
    }

    #[test]
    fn a_token_is_forgotten_once_in_half_a_minute_and_so_is_a_failure() {
        let (mut cache, scope) = (Cache::default(), Scope::parse("s").unwrap());
        assert!(!cache.forget(&scope, at(1000)), "there is nothing");
        cache.keep_failure(&key("s"), &Error::Unavailable(Vec::new()), at(1000));
        assert!(cache.forget(&scope, at(1000)));
        cache.keep_failure(&key("s"), &Error::Unavailable(Vec::new()), at(1001));
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
        cache.keep_failure(&key("s"), &Error::Unavailable(Vec::new()), at(1_000_000));
        assert!(matches!(cache.look(&key("s"), at(999_999)), Lookup::Nothing));
    }
}
