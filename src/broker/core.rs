//! The inside of a broker, which its calls and its fetches share: host, store, configuration and memory.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::cache::{Cache, Look};
use crate::chain::Chain;
use crate::config::{Config, Settings};
use crate::error::Error;
use crate::fetch::Fetch;
use crate::flight::{Flights, Outcome};
use crate::host::{Host, Store, milliseconds};
use crate::log::{Level, log};
use crate::policy::{Demand, Key};
use crate::rate_limit::RateLimits;
use crate::request::{Identity, TokenRequest};
use crate::stats::{Statistics, count};
use crate::token::Token;

#[derive(Debug)]
pub(crate) struct Core<H, S> {
    pub(crate) host: H,
    pub(crate) store: S,
    pub(crate) config: Result<Config, Error>,
    pub(crate) chain: Chain,
    pub(crate) cache: RefCell<Cache>,
    pub(crate) flights: Flights,
    pub(crate) rate_limits: RateLimits,
    pub(crate) stats: RefCell<Statistics>,
    recent: RefCell<Vec<(String, Rc<Demand>)>>,
}

impl<H: Host, S: Store> Core<H, S> {
    pub(super) fn new(host: H, store: S, settings: &Settings) -> Self {
        Self {
            host,
            store,
            config: Config::parse(settings),
            chain: Chain::detect(settings),
            cache: RefCell::default(),
            flights: Flights::default(),
            rate_limits: RateLimits::default(),
            stats: RefCell::default(),
            recent: RefCell::default(),
        }
    }

    /// What a scope and the default identity demand. The last few are kept: consumers ask for the same ones again and
    /// again, and what is allowed does not change.
    pub(super) fn demand_for(&self, scope: &str) -> Result<Rc<Demand>, Error> {
        if let Some((_, demand)) = self.recent.borrow().iter().find(|(text, _)| text == scope) {
            return Ok(Rc::clone(demand));
        }
        let demand = Rc::new(self.admit(&TokenRequest::for_scope(scope)?)?);
        let mut recent = self.recent.borrow_mut();
        if recent.len() >= RECENT {
            recent.remove(0);
        }
        recent.push((scope.to_owned(), Rc::clone(&demand)));
        Ok(demand)
    }

    pub(super) fn admit(&self, request: &TokenRequest) -> Result<Demand, Error> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let tenant = |identity: &Identity| {
            config.tenants.resolve(request.tenant_id.as_deref(), self.chain.tenant_of(identity))
        };
        let demand = config.policy.admit(request, &config.default_identity, tenant)?;
        self.chain.check(&demand)?;
        Ok(demand)
    }

    /// Claims bypass memory, because nothing is ever held under a key with claims.
    pub(crate) fn look(&self, key: &Key) -> Look {
        self.cache.borrow().look(key, self.host.now())
    }

    /// The token that is held for a demand, whatever it asks for besides.
    pub(crate) fn held(&self, demand: &Demand) -> Option<Rc<Token>> {
        match self.look(&demand.key().without_claims()) {
            Look::Fresh(token) | Look::Stale(token) | Look::Resting(token) | Look::Expiring(token) => {
                Some(token)
            }
            Look::Failed(..) | Look::Nothing => None,
        }
    }

    /// Drop the token that is held for a demand.
    pub(crate) fn drop_held(&self, demand: &Demand) {
        self.cache.borrow_mut().drop_held(demand.key());
        self.flights.close_served(|key| key == demand.key());
    }

    /// Ask the identity sources.
    pub(crate) async fn acquire(self: &Rc<Self>, fetch: &Fetch<'_>) -> Outcome {
        fetch.asks();
        let key = fetch.demand.key();
        let refreshes = !matches!(self.look(key), Look::Failed(..) | Look::Nothing);
        if refreshes {
            self.count(|stats| &mut stats.refreshes);
        }
        self.count(|stats| &mut stats.fetches);
        let began = self.host.now();
        let outcome = self.chain.fetch(self, fetch).await.map(Rc::new);
        match &outcome {
            Ok(token) => {
                self.cache.borrow_mut().keep(key, Rc::clone(token), self.host.random());
                fetch.is_served();
            }
            Err(error) => {
                self.cache.borrow_mut().rest(key, error, self.host.now());
                self.stats.borrow_mut().count_failure(error.kind());
            }
        }
        self.log_fetch(fetch, refreshes, self.host.now().saturating_sub(began), &outcome);
        outcome
    }

    /// One line for each fetch, with what the operator of a fleet sums up and searches for.
    fn log_fetch(&self, fetch: &Fetch<'_>, refreshes: bool, took: Duration, outcome: &Outcome) {
        let event = match (outcome, refreshes) {
            (Ok(_), false) => "fetched a token",
            (Ok(_), true) => "refreshed a token",
            (Err(_), false) => "could not fetch a token",
            (Err(_), true) => "could not refresh a token",
        };
        let key = fetch.demand.key();
        let (identity, duration_ms) = (key.identity().to_string(), milliseconds(took).to_string());
        let (attempts, sent_as) = (fetch.requests().to_string(), fetch.correlation_id());
        let of_all = [
            ("audience", key.audience()),
            ("identity", &*identity),
            ("duration_ms", &*duration_ms),
            ("attempts", &*attempts),
        ];
        match outcome {
            Ok(token) => {
                let (token_hash, expires_on) = (token.fingerprint(), token.expires_on().to_string());
                let own = [
                    ("source", token.source()),
                    ("correlation_id", &*sent_as),
                    ("token_sha256", &token_hash),
                    ("expires_on", &expires_on),
                ];
                log(&self.host, fetch.config, Level::Info, event, &[of_all, own].concat());
            }
            Err(error) => {
                let last = error.failures().last();
                let source = last.map_or("", |failure| &failure.source);
                let told = last.and_then(|failure| failure.correlation_id.as_deref());
                let text = error.to_string();
                let own = [
                    ("kind", error.kind()),
                    ("source", source),
                    ("correlation_id", told.unwrap_or(&sent_as)),
                    ("error", &*text),
                ];
                log(&self.host, fetch.config, Level::Warn, event, &[of_all, own].concat());
            }
        }
    }

    /// Take what another instance fetched into memory.
    pub(crate) fn adopt(&self, demand: &Demand, token: Token) -> Rc<Token> {
        let token = Rc::new(token);
        self.cache.borrow_mut().keep(demand.key(), Rc::clone(&token), self.host.random());
        token
    }

    /// Take another instance's failure for an answer, for as long as it has left.
    pub(crate) fn rest_for(&self, demand: &Demand, error: &Error, left: Duration) {
        self.cache.borrow_mut().rest_for(demand.key(), error, self.host.now(), left);
    }

    /// Leave the refresh of a token that is held to another instance, for a while.
    pub(crate) fn pause_refresh(&self, demand: &Demand) {
        self.cache.borrow_mut().pause_refresh(demand.key(), self.host.now());
    }

    /// The fingerprint of the token for a demand that a service refused last.
    pub(crate) fn refused(&self, demand: &Demand) -> Option<String> {
        self.cache.borrow().refused(demand.key())
    }

    pub(crate) fn count(&self, counter: impl FnOnce(&mut Statistics) -> &mut u64) {
        count(counter(&mut self.stats.borrow_mut()));
    }
}

/// More scopes than a consumer asks for in turn.
const RECENT: usize = 16;
