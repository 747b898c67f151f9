//! The broker as its host sees it: the calls, and the duty to refresh that a call may leave.

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

/// The broker of one deployment: its configuration, its memory, and the host that it lives on.
///
/// A fetch belongs to the broker, and not to the call that began it: when its caller gives up, another that waits for
/// it polls it on, or the next call for the same token does. It ends with the broker.
#[derive(Debug)]
pub struct Broker<H, S>(Rc<Core<H, S>>);

/// A token, and perhaps the duty to refresh it.
#[derive(Debug)]
pub struct Grant {
    /// What was asked for.
    pub token: Rc<Token>,
    /// Given to one caller at a time: pass it to [`Broker::refresh`], in a task of its own where the host has them.
    /// Dropping it leaves the refresh to the next caller.
    pub refresh: Option<RefreshTicket>,
}

/// The duty to refresh a token.
#[derive(Debug)]
pub struct RefreshTicket {
    wait: Wait,
    /// The caller has waited for it, for as long as a caller with a token does.
    was_awaited: bool,
}

impl<H: Host, S: Store> Broker<H, S> {
    /// A broker with the configuration that the settings give. What is wrong with them is told at each call.
    pub fn new(host: H, store: S, settings: &Settings) -> Self {
        Self(Rc::new(Core::new(host, store, settings)))
    }

    /// A token for a scope and the default identity.
    ///
    /// # Errors
    /// As [`Broker::token`].
    pub async fn token_for_scope(&self, scope: &str) -> Result<Grant, Error> {
        self.0.instance.count(|stats| &mut stats.requests);
        self.0.serve(self.0.demand_for(scope)?, None).await
    }

    /// A token, from memory or from the identity source that is configured here.
    ///
    /// # Errors
    /// Every [`Error`] of the contract. A failed refresh is none while the held token can be used.
    pub async fn token(&self, request: &TokenRequest) -> Result<Grant, Error> {
        self.0.instance.count(|stats| &mut stats.requests);
        self.0.serve(Rc::new(self.0.admit(request)?), None).await
    }

    /// What it lives on.
    pub fn host(&self) -> &H {
        &self.0.instance.host
    }

    /// Refresh a token. What comes of it is kept, or remembered as a failure.
    pub async fn refresh(&self, duty: RefreshTicket) {
        self.refresh_within(duty, |config| config.budget).await;
    }

    /// Refresh a token while its caller waits, who has one that works: for as long as one try may take, and not at all
    /// if the caller has waited already.
    pub async fn refresh_briefly(&self, duty: RefreshTicket) {
        if !duty.was_awaited {
            self.refresh_within(duty, |config| config.fetch.timeout.min(config.budget)).await;
        }
    }

    async fn refresh_within(&self, duty: RefreshTicket, limit: impl FnOnce(&Config) -> Duration) {
        if let Ok(config) = &self.0.config
            && !duty.wait.is_closed()
        {
            let now = self.0.instance.now();
            duty.wait.set_deadline(now, now.saturating_add(limit(config)));
            // A failure is logged and remembered; nobody waits for it.
            let _ = duty.wait.await;
        }
    }

    /// The Fresh token for a scope and the default identity, if memory has one. Starts nothing.
    pub fn peek(&self, scope: &str) -> Option<Rc<Token>> {
        let demand = self.0.demand_for(scope).ok()?;
        match self.0.instance.memory.look(demand.key(), self.0.instance.now()) {
            Lookup::Fresh(token) => {
                let mut stats = self.0.instance.stats.borrow_mut();
                count(&mut stats.requests);
                count(&mut stats.hits);
                Some(token)
            }
            _ => None,
        }
    }

    /// Drop every held token for a scope, because a service refused it, and every failure that is remembered. A scope
    /// that is none holds nothing.
    ///
    /// What was forgotten less than half a minute ago stays: one refusal is worth one new token. False if nothing was
    /// dropped.
    ///
    /// A copy in the store stays there until the next call replaces it, or [`Broker::forget_shared`] removes it.
    pub fn forget(&self, scope: &str) -> bool {
        let Ok(scope) = Scope::parse(scope) else { return false };
        let has_dropped = self.0.instance.memory.forget(&scope, self.0.instance.now());
        if has_dropped {
            self.0.chain.forget();
        }
        has_dropped
    }

    /// Remove from the store what was forgotten here, so that no other instance takes it: in a task of its own, after
    /// [`Broker::forget`], where the host has tasks. A store that does not answer keeps it.
    pub async fn forget_shared(&self, scope: &str) {
        let Ok(config) = &self.0.config else { return };
        let (Some(fleet), Ok(scope)) = (&config.fleet, Scope::parse(scope)) else { return };
        for (key, token_hash) in self.0.instance.memory.refused_for(&scope) {
            fleet.remove_token(&self.0.store, &self.0.instance, &key, &token_hash).await;
        }
    }

    /// How every identity source stands, in the order of trial, after what is wrong with the rest of the
    /// configuration. Sends nothing.
    pub fn explain(&self) -> Vec<SourceReport> {
        let config = &self.0.config;
        let default = config.as_ref().map_or(&Identity::Default, |config| &config.default_identity);
        let sample = TokenRequest::for_scope("AUDIENCE");
        let sample = sample.and_then(|request| Policy::default().admit(&request, default, |_| Ok(None)));
        let sources =
            sample.map(|demand| self.0.chain.explain(&demand, &self.0.instance.names)).unwrap_or_default();
        config.as_ref().err().map(misconfigured).into_iter().chain(sources).collect()
    }

    /// The counters of this instance.
    pub fn stats(&self) -> Statistics {
        self.0.instance.stats.borrow().clone()
    }

    /// Where instances share what they hold.
    pub fn store(&self) -> &S {
        &self.0.store
    }
}

impl<H, S> Drop for Broker<H, S> {
    fn drop(&mut self) {
        // Each fetch that is under way holds the core, which holds the fetches.
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
