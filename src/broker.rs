//! The public interface of the broker.

mod config;
mod core;
mod serve;

use std::rc::Rc;
use std::time::Duration;

use self::config::Config;
use self::core::Core;
use crate::acquire::{SourceReport, Verdict};
use crate::memory::{Lookup, Wait};
use crate::model::{Error, Host, Identity, Scope, Statistics, Store, Token, TokenRequest, count};
use crate::policy::Policy;
use crate::settings::Settings;

/// A broker of tokens for one deployment.
///
/// A fetch belongs to the broker, not to the call that began it: if that call is dropped, another waiting call polls
/// the fetch, or the next call for the same token resumes it. It is dropped with the broker.
#[derive(Debug)]
pub struct Broker<H, S>(Rc<Core<H, S>>);

/// A token, with a ticket if its refresh is due.
#[derive(Debug)]
pub struct Grant {
    /// The token.
    pub token: Rc<Token>,
    /// The ticket, which only one caller at a time gets: pass it to [`Broker::refresh`], in a separate task if the host
    /// has tasks. If it is dropped, the next caller gets one.
    pub refresh: Option<RefreshTicket>,
}

/// The right to refresh a token, for [`Broker::refresh`].
#[derive(Debug)]
pub struct RefreshTicket {
    wait: Wait,
    /// Whether the caller has waited for the refresh already, for the longest time of a caller with a valid token.
    was_awaited: bool,
}

impl<H: Host, S: Store> Broker<H, S> {
    /// A broker with the configuration of the settings. Configuration errors are returned by every call.
    pub fn new(host: H, store: S, settings: &Settings) -> Self {
        Self(Rc::new(Core::new(host, store, settings)))
    }

    /// A token for a scope and the default identity.
    ///
    /// # Errors
    /// As [`Broker::token`].
    pub async fn token_for_scope(&self, scope: &str) -> Result<Grant, Error> {
        self.0.instance.count(|stats| &mut stats.requests);
        self.0.serve(self.0.admit_scope(scope)?, None).await
    }

    /// A token, from memory or from the identity source that is configured here.
    ///
    /// # Errors
    /// Every [`Error`] of the contract. A failed refresh is not an error while the cached token is valid.
    pub async fn token(&self, request: &TokenRequest) -> Result<Grant, Error> {
        self.0.instance.count(|stats| &mut stats.requests);
        self.0.serve(Rc::new(self.0.admit(request)?), None).await
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.0.instance.host
    }

    /// Refreshes a token. The new token or the failure is cached.
    pub async fn refresh(&self, ticket: RefreshTicket) {
        self.refresh_within(ticket, |config| config.budget).await;
    }

    /// Refreshes a token while a caller with a valid token waits: for the timeout of one request, or not at all if the
    /// caller has waited already.
    pub async fn refresh_briefly(&self, ticket: RefreshTicket) {
        if !ticket.was_awaited {
            self.refresh_within(ticket, |config| config.fetch.timeout.min(config.budget)).await;
        }
    }

    async fn refresh_within(&self, ticket: RefreshTicket, limit: impl FnOnce(&Config) -> Duration) {
        if let Ok(config) = &self.0.config
            && !ticket.wait.is_closed()
        {
            let now = self.0.instance.now();
            ticket.wait.set_deadline(now, now.saturating_add(limit(config)));
            // The failure is logged and cached.
            let _ = ticket.wait.await;
        }
    }

    /// The token for a scope and the default identity, if memory holds one that is not due for a refresh. Starts
    /// nothing.
    pub fn peek(&self, scope: &str) -> Option<Rc<Token>> {
        let admitted = self.0.admit_scope(scope).ok()?;
        match self.0.instance.memory.look(admitted.key(), self.0.instance.now()) {
            Lookup::Fresh(token) => {
                let mut stats = self.0.instance.stats.borrow_mut();
                count(&mut stats.requests);
                count(&mut stats.hits);
                Some(token)
            }
            _ => None,
        }
    }

    /// Forgets the tokens of all identities for a scope, because a service refused one, and the cached failures. False
    /// if nothing was forgotten, as for an invalid scope.
    ///
    /// A token is forgotten at most once in 30 seconds: a new token that is refused as well is kept for that time.
    ///
    /// A copy in the store stays until the next call replaces it, or [`Broker::forget_shared`] removes it.
    pub fn forget(&self, scope: &str) -> bool {
        let Ok(scope) = Scope::parse(scope) else { return false };
        let has_dropped = self.0.instance.memory.forget(&scope, self.0.instance.now());
        if has_dropped {
            self.0.chain.forget_absences();
        }
        has_dropped
    }

    /// Removes forgotten tokens from the store, so that no other instance takes them. Call it after [`Broker::forget`]. At
    /// an error of the store the others stay there.
    pub async fn forget_shared(&self, scope: &str) {
        let Ok(config) = &self.0.config else { return };
        let (Some(fleet), Ok(scope)) = (&config.fleet, Scope::parse(scope)) else { return };
        for (key, token_hash) in self.0.instance.memory.refused_for(&scope) {
            if fleet.remove_token(&self.0.store, &self.0.instance, &key, &token_hash).await.is_err() {
                return;
            }
        }
    }

    /// The reports of the identity sources in the order in which they are tried, after that of an error in the rest of
    /// the configuration. Nothing is sent.
    pub fn explain(&self) -> Vec<SourceReport> {
        let config = &self.0.config;
        let default = config.as_ref().map_or(&Identity::Default, |config| &config.default_identity);
        let sample = TokenRequest::for_scope("AUDIENCE");
        let sample = sample.and_then(|request| Policy::default().admit(&request, default, |_| Ok(None)));
        let sources = sample
            .map(|admitted| self.0.chain.explain(&admitted, &self.0.instance.names))
            .unwrap_or_default();
        config.as_ref().err().map(misconfigured).into_iter().chain(sources).collect()
    }

    /// The counters of this instance.
    pub fn stats(&self) -> Statistics {
        self.0.instance.stats.borrow().clone()
    }

    /// The shared store.
    pub fn store(&self) -> &S {
        &self.0.store
    }
}

impl<H, S> Drop for Broker<H, S> {
    fn drop(&mut self) {
        // Breaks the cycle of the core and its fetches.
        self.0.instance.memory.flights.clear();
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
