//! A call: look up, join, fetch, answer.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::config::Config;
use super::core::Core;
use super::{Grant, RefreshTicket};
use crate::acquire::{Assertions, FetchContext, acquire};
use crate::fleet::FleetFetch;
use crate::memory::{FetchResult, Lookup, Memory, Term, Wait, Work};
use crate::model::{Error, Host, Store, Token, milliseconds};
use crate::policy::AdmittedRequest;

impl<H: Host, S: Store> Core<H, S> {
    /// Answers a call. `deadline` (time since the Unix epoch) is that of the fetch to which the call belongs, if it
    /// gets a client assertion.
    pub(super) async fn serve(
        self: &Rc<Self>,
        request: Rc<AdmittedRequest>,
        deadline: Option<Duration>,
    ) -> Result<Grant, Error> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let (key, is_part, mut call) = (request.key(), deadline.is_some(), None);
        loop {
            let held = match self.memory().look(key, self.now()) {
                Lookup::Fresh(token) => return Ok(self.hit(token)),
                Lookup::Paused(token) => return Ok(self.stale_hit(token, None)),
                // A part of a fetch gives no ticket: it refreshes at once.
                Lookup::Stale(token) if !is_part => {
                    return Ok(self.stale_hit(token, self.refresh_ticket(&request)));
                }
                Lookup::Failed(error, left) => {
                    self.check_store_despite(config, &request, &error, left).await;
                    return self
                        .memory()
                        .held(&request, self.now())
                        .map_or(Err(error), |token| Ok(self.hit(token)));
                }
                Lookup::Stale(token) | Lookup::Expiring(token) => Some(token),
                Lookup::Nothing => None,
            };
            self.instance.count(|stats| &mut stats.misses);
            // Not before: a call that memory answers reads the clock once.
            let now = self.now();
            let until = deadline.unwrap_or_else(|| now.saturating_add(config.budget));
            let left = call.get_or_insert_with(|| Term::new(now, until)).left(now);
            let deadline = now.saturating_add(left);
            let wait = self.memory().flights.join(key, now, &|| self.begin(&request, deadline))?;
            if wait.is_shared() {
                self.instance.count(|stats| &mut stats.waiters);
            }
            let outcome = match held {
                None => wait.await,
                Some(token) => match self.wait_briefly(wait, &token).await {
                    Either::Left(outcome) => outcome,
                    Either::Right(wait) if token.is_usable(self.now()) => {
                        self.memory().pause_refresh(&request, self.now());
                        return Ok(Grant { token, refresh: Some(RefreshTicket { wait, was_awaited: true }) });
                    }
                    Either::Right(wait) => wait.await,
                },
            };
            // The token may have expired before its waiter was polled, or the clock may have been set.
            if outcome.as_ref().map_or(true, |token| token.is_usable(self.now())) {
                return self.grant(&request, outcome);
            }
        }
    }

    /// Waits for a fetch with a valid token: for half of its remaining lifetime, and no longer than [`PATIENCE`].
    async fn wait_briefly(&self, wait: Wait, held: &Token) -> Either<FetchResult, Wait> {
        let patience = PATIENCE.min(Duration::from_millis(milliseconds(held.time_left(self.now())) / 2));
        match select(wait, pin!(self.instance.host.sleep(patience))).await {
            Either::Left((outcome, _)) => Either::Left(outcome),
            Either::Right(((), wait)) => Either::Right(wait.deferred()),
        }
    }

    /// Looks into the store for a token of another instance during the cooldown of a failure.
    async fn check_store_despite(
        self: &Rc<Self>,
        config: &Config,
        request: &AdmittedRequest,
        error: &Error,
        left: Duration,
    ) {
        let Some(fleet) = &config.fleet else { return };
        let now = self.now();
        if self.memory().should_check_store(request, now) {
            let term = Term::new(now, now.saturating_add(config.fetch.timeout));
            let fetch = FetchContext::new(&self.instance, &config.fetch, request, term, self);
            FleetFetch::new(fleet, &self.store, &self.chain, &fetch).check_store_despite(error, left).await;
        }
    }

    fn hit(&self, token: Rc<Token>) -> Grant {
        self.instance.count(|stats| &mut stats.hits);
        Grant { token, refresh: None }
    }

    fn stale_hit(&self, token: Rc<Token>, refresh: Option<RefreshTicket>) -> Grant {
        self.instance.count(|stats| &mut stats.stale_hits);
        Grant { token, refresh }
    }

    /// The ticket for a refresh, unless another caller has it.
    fn refresh_ticket(self: &Rc<Self>, request: &Rc<AdmittedRequest>) -> Option<RefreshTicket> {
        let now = self.now();
        // Until the ticket is used, the deadline is that of a call.
        let budget = self.config.as_ref().map_or(Duration::ZERO, |config| config.budget);
        let begin = || self.begin(request, now.saturating_add(budget));
        let wait = self.memory().flights.lead(request.key(), now, &begin)?;
        Some(RefreshTicket { wait, was_awaited: false })
    }

    /// The answer for the result of a fetch. A failed fetch does not take a valid token away, and a token of another
    /// instance may be due for a refresh.
    fn grant(self: &Rc<Self>, request: &Rc<AdmittedRequest>, outcome: FetchResult) -> Result<Grant, Error> {
        let (outcome, refresh) = match (outcome, self.memory().look(request.key(), self.now())) {
            (Ok(token), Lookup::Stale(_)) => (Ok(token), self.refresh_ticket(request)),
            (
                Err(_),
                Lookup::Fresh(held) | Lookup::Stale(held) | Lookup::Paused(held) | Lookup::Expiring(held),
            ) => (Ok(held), None),
            (outcome, _) => (outcome, None),
        };
        Ok(Grant { token: outcome?, refresh })
    }

    /// Creates a fetch, which owns its state and may outlive the call.
    fn begin(self: &Rc<Self>, request: &Rc<AdmittedRequest>, deadline: Duration) -> (Rc<Term>, Work) {
        let term = Term::new(self.now(), deadline);
        (Rc::clone(&term), Box::pin(Rc::clone(self).fetch(Rc::clone(request), term)))
    }

    /// Gets a token for a key without a fresh one in memory.
    async fn fetch(self: Rc<Self>, request: Rc<AdmittedRequest>, term: Rc<Term>) -> FetchResult {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let fetch = FetchContext::new(&self.instance, &config.fetch, &request, term, &self);
        match &config.fleet {
            None => acquire(&self.chain, &fetch).await,
            Some(fleet) => FleetFetch::new(fleet, &self.store, &self.chain, &fetch).run().await,
        }
    }

    fn memory(&self) -> &Memory {
        &self.instance.memory
    }

    fn now(&self) -> Duration {
        self.instance.now()
    }
}

/// Client assertions are cached, shared and refreshed like other tokens.
impl<H: Host, S: Store> Assertions for Rc<Core<H, S>> {
    fn assertion(
        &self,
        request: Rc<AdmittedRequest>,
        deadline: Duration,
    ) -> Pin<Box<dyn Future<Output = FetchResult> + '_>> {
        Box::pin(async move { Ok(self.serve(request, Some(deadline)).await?.token) })
    }
}

/// The longest wait for a fetch of a caller with a valid token. A healthy endpoint answers sooner.
const PATIENCE: Duration = Duration::from_secs(2);
