//! What this instance holds, and who is fetching.

mod cache;
mod flight;
mod freshness;
mod term;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use self::cache::Cache;
pub(crate) use self::cache::Lookup;
pub(crate) use self::flight::{FetchResult, Flights, Wait, Work};
#[cfg(test)]
pub(crate) use self::freshness::jittered_refresh;
pub(crate) use self::freshness::{Freshness, is_expiring};
pub(crate) use self::term::Term;
use crate::model::{Error, Scope, Token};
use crate::policy::{AdmittedRequest, CacheKey};

/// The tokens and failures of an instance, and its fetches. Times are since the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    cache: RefCell<Cache>,
    pub(crate) flights: Flights,
}

impl Memory {
    /// Claims bypass memory, because nothing is ever held under a key with claims.
    pub(crate) fn look(&self, key: &CacheKey, now: Duration) -> Lookup {
        self.cache.borrow().look(key, now)
    }

    /// The token that is held for a request, whatever it asks for besides.
    pub(crate) fn held(&self, request: &AdmittedRequest, now: Duration) -> Option<Rc<Token>> {
        match self.look(&request.key().without_claims(), now) {
            Lookup::Fresh(token)
            | Lookup::Stale(token)
            | Lookup::Resting(token)
            | Lookup::Expiring(token) => Some(token),
            Lookup::Failed(..) | Lookup::Nothing => None,
        }
    }

    /// Keep a token. `random` spreads its refresh.
    pub(crate) fn keep(&self, request: &AdmittedRequest, token: Token, random: u64) -> Rc<Token> {
        let token = Rc::new(token);
        self.cache.borrow_mut().keep(request.key(), Rc::clone(&token), random);
        token
    }

    /// Remember that fetching failed, for as long as the failure deserves.
    pub(crate) fn rest(&self, request: &AdmittedRequest, error: &Error, now: Duration) {
        self.cache.borrow_mut().rest(request.key(), error, now);
    }

    /// Remember that fetching failed, for so long.
    pub(crate) fn rest_for(&self, request: &AdmittedRequest, error: &Error, now: Duration, left: Duration) {
        self.cache.borrow_mut().rest_for(request.key(), error, now, left);
    }

    /// Whether it is time to look into the store for a token although a fetch failed, which is counted as done.
    pub(crate) fn looks_again(&self, request: &AdmittedRequest, now: Duration) -> bool {
        self.cache.borrow().looks_again(request.key(), now)
    }

    /// Leave the refresh of a token that is held to somebody else, for a while.
    pub(crate) fn pause_refresh(&self, request: &AdmittedRequest, now: Duration) {
        self.cache.borrow_mut().pause_refresh(request.key(), now);
    }

    /// Drop the token that is held for a request, because it did not do what it was for.
    pub(crate) fn drop_held(&self, request: &AdmittedRequest) {
        self.cache.borrow_mut().drop_held(request.key());
        self.flights.close_served(|key| key == request.key());
    }

    /// Drop every token for a scope, and every failure. False if nothing was dropped.
    pub(crate) fn forget(&self, scope: &Scope, now: Duration) -> bool {
        let has_dropped = self.cache.borrow_mut().forget(scope, now);
        if has_dropped {
            self.flights.close_served(|key| key.scope() == scope);
        }
        has_dropped
    }

    /// The fingerprint of the token for a request that a service refused last.
    pub(crate) fn refused(&self, request: &AdmittedRequest) -> Option<String> {
        self.cache.borrow().refused(request.key())
    }

    /// The keys for a scope of which a token was refused, each with its fingerprint.
    pub(crate) fn refused_for(&self, scope: &Scope) -> Vec<(CacheKey, String)> {
        self.cache.borrow().refused_for(scope)
    }
}
