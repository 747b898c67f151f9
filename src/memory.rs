//! What this instance holds, and who is fetching.

mod cache;
mod flight;
mod freshness;
mod term;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use self::cache::Cache;
pub(crate) use self::cache::Look;
pub(crate) use self::flight::{Flights, Outcome, Wait, Work};
#[cfg(test)]
pub(crate) use self::freshness::jittered_refresh;
pub(crate) use self::freshness::{Freshness, is_expiring};
pub(crate) use self::term::Term;
use crate::model::{Error, Scope, Token};
use crate::policy::{Demand, Key};

/// The tokens and failures of an instance, and its fetches. Times are since the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    cache: RefCell<Cache>,
    pub(crate) flights: Flights,
}

impl Memory {
    /// Claims bypass memory, because nothing is ever held under a key with claims.
    pub(crate) fn look(&self, key: &Key, now: Duration) -> Look {
        self.cache.borrow().look(key, now)
    }

    /// The token that is held for a demand, whatever it asks for besides.
    pub(crate) fn held(&self, demand: &Demand, now: Duration) -> Option<Rc<Token>> {
        match self.look(&demand.key().without_claims(), now) {
            Look::Fresh(token) | Look::Stale(token) | Look::Resting(token) | Look::Expiring(token) => {
                Some(token)
            }
            Look::Failed(..) | Look::Nothing => None,
        }
    }

    /// Keep a token. `random` spreads its refresh.
    pub(crate) fn keep(&self, demand: &Demand, token: Token, random: u64) -> Rc<Token> {
        let token = Rc::new(token);
        self.cache.borrow_mut().keep(demand.key(), Rc::clone(&token), random);
        token
    }

    /// Remember that fetching failed, for as long as the failure deserves.
    pub(crate) fn rest(&self, demand: &Demand, error: &Error, now: Duration) {
        self.cache.borrow_mut().rest(demand.key(), error, now);
    }

    /// Remember that fetching failed, for so long.
    pub(crate) fn rest_for(&self, demand: &Demand, error: &Error, now: Duration, left: Duration) {
        self.cache.borrow_mut().rest_for(demand.key(), error, now, left);
    }

    /// Whether it is time to look into the store for a token although a fetch failed, which is counted as done.
    pub(crate) fn looks_again(&self, demand: &Demand, now: Duration) -> bool {
        self.cache.borrow().looks_again(demand.key(), now)
    }

    /// Leave the refresh of a token that is held to somebody else, for a while.
    pub(crate) fn pause_refresh(&self, demand: &Demand, now: Duration) {
        self.cache.borrow_mut().pause_refresh(demand.key(), now);
    }

    /// Drop the token that is held for a demand, because it did not do what it was for.
    pub(crate) fn drop_held(&self, demand: &Demand) {
        self.cache.borrow_mut().drop_held(demand.key());
        self.flights.close_served(|key| key == demand.key());
    }

    /// Drop every token for a scope, and every failure. False if nothing was dropped.
    pub(crate) fn forget(&self, scope: &Scope, now: Duration) -> bool {
        let has_dropped = self.cache.borrow_mut().forget(scope, now);
        if has_dropped {
            self.flights.close_served(|key| key.scope() == scope);
        }
        has_dropped
    }

    /// The fingerprint of the token for a demand that a service refused last.
    pub(crate) fn refused(&self, demand: &Demand) -> Option<String> {
        self.cache.borrow().refused(demand.key())
    }

    /// The keys for a scope of which a token was refused, each with its fingerprint.
    pub(crate) fn refused_for(&self, scope: &Scope) -> Vec<(Key, String)> {
        self.cache.borrow().refused_for(scope)
    }
}
