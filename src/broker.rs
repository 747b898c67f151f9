//! The orchestration: parse, admit, look, join, fetch, verify, keep, answer.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::cache::{Cache, Look};
use crate::candidate::{SourceReport, Verdict};
use crate::chain::Chain;
use crate::config::{Config, Settings};
use crate::error::Error;
use crate::fetch::Fetch;
use crate::flight::{Flights, Lead, Outcome, Place};
use crate::host::{Host, Store, milliseconds};
use crate::log::{Level, log};
use crate::policy::{Demand, Key, Policy};
use crate::request::{Identity, Scope, TokenRequest};
use crate::shared::Sharing;
use crate::stats::{Statistics, count};
use crate::token::Token;

/// The broker of one deployment: its configuration, its memory, and the host that it lives on.
#[derive(Debug)]
pub struct Broker<H, S> {
    host: H,
    store: S,
    config: Result<Config, Error>,
    chain: Chain,
    cache: RefCell<Cache>,
    flights: Flights,
    stats: RefCell<Statistics>,
    recent: RefCell<Vec<(String, Rc<Demand>)>>,
}

/// A token, and perhaps the duty to refresh it.
#[derive(Debug)]
pub struct Grant {
    /// What was asked for.
    pub token: Rc<Token>,
    /// Given to exactly one of the callers that got a Stale token: pass it to [`Broker::refresh`], in a task of its
    /// own where the host has them. Dropping it leaves the refresh to the next caller; keeping it without doing either
    /// makes whoever needs another token wait.
    pub refresh: Option<Refresh>,
}

/// The duty to refresh a token.
#[derive(Debug)]
pub struct Refresh {
    lead: Lead,
    demand: Rc<Demand>,
}

impl<H: Host, S: Store> Broker<H, S> {
    /// A broker with the configuration that the settings give. What is wrong with them is told at each call.
    pub fn new(host: H, store: S, settings: &Settings) -> Self {
        Self {
            host,
            store,
            config: Config::parse(settings),
            chain: Chain::detect(settings),
            cache: RefCell::default(),
            flights: Flights::default(),
            stats: RefCell::default(),
            recent: RefCell::default(),
        }
    }

    /// A token for a scope and the default identity.
    ///
    /// # Errors
    /// As [`Broker::token`].
    pub async fn token_for_scope(&self, scope: &str) -> Result<Grant, Error> {
        self.count(|stats| &mut stats.requests);
        self.serve(self.demand_for(scope)?, None).await
    }

    /// A token, from memory or from the identity source that is configured here.
    ///
    /// # Errors
    /// Every [`Error`] of the contract. A failed refresh is none while the held token can be used.
    pub async fn token(&self, request: &TokenRequest) -> Result<Grant, Error> {
        self.count(|stats| &mut stats.requests);
        self.serve(Rc::new(self.admit(request)?), None).await
    }

    /// `deadline` (time since the Unix epoch): that of the call which this one is part of.
    async fn serve(&self, demand: Rc<Demand>, deadline: Option<Duration>) -> Result<Grant, Error> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let (key, is_part, mut deadline) = (demand.key(), deadline.is_some(), deadline);
        loop {
            match self.look(key) {
                Look::Fresh(token) => return Ok(self.hit(token)),
                Look::Resting(token) => return Ok(self.stale_hit(token, None)),
                // A part of another call hands no duty on: it refreshes at once.
                Look::Stale(token) if !is_part => {
                    return Ok(self.stale_hit(token, self.duty(&demand)));
                }
                Look::Failed(error) => return Err(error),
                Look::Stale(_) | Look::Expiring(_) | Look::Nothing => self.count(|stats| &mut stats.misses),
            }
            // Only now: a call that memory answers asks for the time once.
            let deadline = *deadline.get_or_insert_with(|| self.host.now().saturating_add(config.budget));
            match self.flights.join(key)? {
                Place::Leader(lead) => {
                    let outcome = self.fetch(lead, &Fetch::new(config, &demand, deadline)).await;
                    // The clock may have been set while others were told.
                    if self.is_of_use(&outcome) {
                        return self.grant(&demand, outcome);
                    }
                }
                Place::Waiter(wait) => {
                    self.count(|stats| &mut stats.waiters);
                    // The leader may have been dropped, or its token have ended before this waiter came to it.
                    if let Some(outcome) = wait.await.filter(|outcome| self.is_of_use(outcome)) {
                        return self.grant(&demand, outcome);
                    }
                }
            }
        }
    }

    fn duty(&self, demand: &Rc<Demand>) -> Option<Refresh> {
        self.flights.lead(demand.key()).map(|lead| Refresh { lead, demand: Rc::clone(demand) })
    }

    /// A managed identity's token for the broker's own use: held, shared and refreshed like any other.
    ///
    /// A box, because the future is part of a future of its own kind.
    pub(crate) fn assertion(
        &self,
        demand: Rc<Demand>,
        deadline: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Rc<Token>, Error>> + '_>> {
        Box::pin(async move {
            let grant = self.serve(demand, Some(deadline)).await?;
            Ok(grant.token)
        })
    }

    /// The token that is held for a demand, whatever it asks for besides.
    pub(crate) fn held(&self, demand: &Demand) -> Option<Rc<Token>> {
        match self.look(&demand.key().without_claims()) {
            Look::Fresh(token) | Look::Stale(token) | Look::Resting(token) | Look::Expiring(token) => {
                Some(token)
            }
            Look::Failed(_) | Look::Nothing => None,
        }
    }

    /// Drop the token that is held for a demand.
    pub(crate) fn drop_held(&self, demand: &Demand) {
        self.cache.borrow_mut().drop_held(demand.key());
    }

    /// What it lives on.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Refresh a token. What comes of it is kept, or remembered as a failure.
    pub async fn refresh(&self, duty: Refresh) {
        self.refresh_within(duty, |config| config.budget).await;
    }

    /// Refresh a token while its caller waits, who has one that works: for as long as one try may take, and no longer.
    pub async fn refresh_briefly(&self, duty: Refresh) {
        self.refresh_within(duty, |config| config.timeout.min(config.budget)).await;
    }

    async fn refresh_within(&self, duty: Refresh, limit: impl FnOnce(&Config) -> Duration) {
        if let Ok(config) = &self.config {
            let deadline = self.host.now().saturating_add(limit(config));
            // A failure is logged and remembered; nobody waits for it.
            let _ = self.fetch(duty.lead, &Fetch::new(config, &duty.demand, deadline)).await;
        }
    }

    /// The Fresh token for a scope and the default identity, if memory has one. Starts nothing.
    pub fn peek(&self, scope: &str) -> Option<Rc<Token>> {
        let demand = self.demand_for(scope).ok()?;
        match self.cache.borrow().look(demand.key(), self.host.now()) {
            Look::Fresh(token) => {
                let mut stats = self.stats.borrow_mut();
                count(&mut stats.requests);
                count(&mut stats.hits);
                Some(token)
            }
            _ => None,
        }
    }

    /// Drop every held token for a scope, because a service refused it. A scope that is none holds nothing.
    ///
    /// A copy in the store stays there until the next call replaces it, or [`Broker::forget_shared`] removes it.
    pub fn forget(&self, scope: &str) {
        if let Ok(scope) = Scope::parse(scope) {
            self.cache.borrow_mut().forget(&scope);
            self.chain.forget();
        }
    }

    /// Remove from the store what was forgotten here, so that no other instance takes it: in a task of its own, after
    /// [`Broker::forget`], where the host has tasks. A store that does not answer keeps it.
    pub async fn forget_shared(&self, scope: &str) {
        let Ok(config) = &self.config else { return };
        let (Some(shared), Ok(scope)) = (&config.shared, Scope::parse(scope)) else { return };
        let refused = self.cache.borrow().refused_for(&scope);
        for (key, token_hash) in refused {
            shared.remove_token(self, config, &key, &token_hash).await;
        }
    }

    /// How every identity source stands, in the order of trial, after what is wrong with the rest of the
    /// configuration. Sends nothing.
    pub fn explain(&self) -> Vec<SourceReport> {
        let default = self.config.as_ref().map_or(&Identity::Default, |config| &config.default_identity);
        let sample = TokenRequest::for_scope("AUDIENCE");
        let sample = sample.and_then(|request| Policy::default().admit(&request, default, |_| Ok(None)));
        let sources = sample.map(|demand| self.chain.explain(&demand)).unwrap_or_default();
        self.config.as_ref().err().map(misconfigured).into_iter().chain(sources).collect()
    }

    /// The counters of this instance.
    pub fn stats(&self) -> Statistics {
        self.stats.borrow().clone()
    }

    /// Where instances share what they hold.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What a scope and the default identity demand. The last few are kept: consumers ask for the same ones again and
    /// again, and what is allowed does not change.
    fn demand_for(&self, scope: &str) -> Result<Rc<Demand>, Error> {
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

    fn admit(&self, request: &TokenRequest) -> Result<Demand, Error> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let tenant = |identity: &Identity| {
            config.tenants.resolve(request.tenant_id.as_deref(), self.chain.tenant_of(identity))
        };
        let demand = config.policy.admit(request, &config.default_identity, tenant)?;
        self.chain.check(&demand)?;
        Ok(demand)
    }

    /// Claims bypass memory, because nothing is ever held under a key with claims.
    fn look(&self, key: &Key) -> Look {
        self.cache.borrow().look(key, self.host.now())
    }

    fn hit(&self, token: Rc<Token>) -> Grant {
        self.count(|stats| &mut stats.hits);
        Grant { token, refresh: None }
    }

    fn stale_hit(&self, token: Rc<Token>, refresh: Option<Refresh>) -> Grant {
        self.count(|stats| &mut stats.stale_hits);
        Grant { token, refresh }
    }

    fn is_of_use(&self, outcome: &Outcome) -> bool {
        outcome.as_ref().map_or(true, |token| token.is_usable(self.host.now()))
    }

    /// What a caller gets for an outcome: a fetch that failed does not take away a token that still works, and what
    /// another instance fetched may be due for a refresh.
    fn grant(&self, demand: &Rc<Demand>, outcome: Outcome) -> Result<Grant, Error> {
        let (outcome, refresh) = match (outcome, self.look(demand.key())) {
            (Ok(token), Look::Stale(_)) => (Ok(token), self.duty(demand)),
            (Err(_), Look::Fresh(held) | Look::Stale(held) | Look::Resting(held) | Look::Expiring(held)) => {
                (Ok(held), None)
            }
            (outcome, _) => (outcome, None),
        };
        Ok(Grant { token: outcome?, refresh })
    }

    /// Get a token for a key that memory has nothing good for, and give it to whoever waits.
    async fn fetch(&self, lead: Lead, fetch: &Fetch<'_>) -> Outcome {
        let outcome = match &fetch.config.shared {
            None => self.acquire(fetch).await,
            Some(shared) => Sharing::new(shared, self, fetch).run().await,
        };
        lead.land(outcome.clone());
        outcome
    }

    /// Ask the identity sources.
    pub(crate) async fn acquire(&self, fetch: &Fetch<'_>) -> Outcome {
        let key = fetch.demand.key();
        let refreshes = !matches!(self.look(key), Look::Failed(_) | Look::Nothing);
        if refreshes {
            self.count(|stats| &mut stats.refreshes);
        }
        self.count(|stats| &mut stats.fetches);
        let began = self.host.now();
        let outcome = self.chain.fetch(self, fetch).await.map(Rc::new);
        match &outcome {
            Ok(token) => self.cache.borrow_mut().keep(key, Rc::clone(token), self.host.random()),
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

fn misconfigured(error: &Error) -> SourceReport {
    SourceReport {
        source: "configuration",
        verdict: Verdict::Misconfigured,
        reason: error.to_string(),
        would_send: None,
        variables: Vec::new(),
        last_failure: None,
    }
}

/// More scopes than a consumer asks for in turn.
const RECENT: usize = 16;
