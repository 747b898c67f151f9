//! The state of this instance: cached tokens and failures, and fetches in progress.

mod cache;
mod flight;
mod freshness;
mod term;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use self::cache::Cache;
pub(crate) use self::cache::{BETWEEN_FORGETS, Lookup};
pub(crate) use self::flight::{FetchResult, Flights, Wait, Work};
pub use self::freshness::earliest_refresh;
#[cfg(test)]
pub(crate) use self::freshness::jittered_refresh;
pub(crate) use self::freshness::{Freshness, is_expiring};
pub(crate) use self::term::Term;
use crate::model::{Error, Scope, Token};
use crate::policy::{AdmittedRequest, CacheKey};

/// The cache and the fetches of an instance. Times are since the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    cache: RefCell<Cache>,
    pub(crate) flights: Flights,
}

impl Memory {
    /// Looks a key up. A key with claims is never found, because no token is stored under one.
    pub(crate) fn look(&self, key: &CacheKey, now: Duration) -> Lookup {
        self.cache.borrow().look(key, now)
    }

    /// The valid token for a request without regard to its claims.
    pub(crate) fn held(&self, request: &AdmittedRequest, now: Duration) -> Option<Rc<Token>> {
        match self.look(&request.key().without_claims(), now) {
            Lookup::Fresh(token) | Lookup::Stale(token) | Lookup::Paused(token) | Lookup::Expiring(token) => {
                Some(token)
            }
            Lookup::Failed(..) | Lookup::Nothing => None,
        }
    }

    /// Stores a token. `random` is the jitter of its refresh.
    pub(crate) fn keep(&self, request: &AdmittedRequest, token: Token, random: u64) -> Rc<Token> {
        let token = Rc::new(token);
        self.cache.borrow_mut().keep(request.key(), Rc::clone(&token), random);
        token
    }

    /// Stores a failure for its own cooldown.
    pub(crate) fn keep_failure(&self, request: &AdmittedRequest, error: &Error, now: Duration) {
        self.cache.borrow_mut().keep_failure(request.key(), error, now);
    }

    /// Stores a failure for `left`.
    pub(crate) fn keep_failure_for(
        &self,
        request: &AdmittedRequest,
        error: &Error,
        now: Duration,
        left: Duration,
    ) {
        self.cache.borrow_mut().keep_failure_for(request.key(), error, now, left);
    }

    /// Whether it is time to look into the store for a token despite a cached failure. The time of the look-up is
    /// recorded.
    pub(crate) fn should_check_store(&self, request: &AdmittedRequest, now: Duration) -> bool {
        self.cache.borrow().should_check_store(request.key(), now)
    }

    /// Pauses the refresh of a token, because another instance refreshes it.
    pub(crate) fn pause_refresh(&self, request: &AdmittedRequest, now: Duration) {
        self.cache.borrow_mut().pause_refresh(request.key(), now);
    }

    /// Drops the token of a request, because a service refused it.
    pub(crate) fn drop_token(&self, request: &AdmittedRequest) {
        self.cache.borrow_mut().drop_token(request.key());
        self.flights.close_served(|key| key == request.key());
    }

    /// Drops all tokens and failures for a scope. False if nothing was dropped.
    pub(crate) fn forget(&self, scope: &Scope, now: Duration) -> bool {
        let has_dropped = self.cache.borrow_mut().forget(scope, now);
        if has_dropped {
            self.flights.close_served(|key| key.scope() == scope);
        }
        has_dropped
    }

    /// True in the half minute after a token of a request was forgotten, in which the next one is kept.
    pub(crate) fn is_forget_paused(&self, request: &AdmittedRequest, now: Duration) -> bool {
        self.cache.borrow().is_forget_paused(&request.key().without_claims(), now)
    }

    /// Keeps a token that replaces a refused one for some time, whatever a service says.
    pub(crate) fn pause_forget(&self, request: &AdmittedRequest, token: &Token, now: Duration) {
        self.cache.borrow_mut().pause_forget(&request.key().without_claims(), token, now);
    }

    /// The fingerprint of the last refused token for a request.
    pub(crate) fn refused(&self, request: &AdmittedRequest) -> Option<String> {
        self.cache.borrow().refused(request.key())
    }

    /// The keys of a scope with a refused token, each with the token's fingerprint.
    pub(crate) fn refused_for(&self, scope: &Scope) -> Vec<(CacheKey, String)> {
        self.cache.borrow().refused_for(scope)
    }
}
