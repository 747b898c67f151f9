//! A call: look, join, fetch, answer.

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
    /// `deadline` (time since the Unix epoch): that of the fetch which this call is part of.
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
                Lookup::Resting(token) => return Ok(self.stale_hit(token, None)),
                // A part of a fetch hands no duty on: it refreshes at once.
                Lookup::Stale(token) if !is_part => {
                    return Ok(self.stale_hit(token, self.duty(&request)));
                }
                Lookup::Failed(error, left) => {
                    self.look_despite(config, &request, &error, left).await;
                    return self
                        .memory()
                        .held(&request, self.now())
                        .map_or(Err(error), |token| Ok(self.hit(token)));
                }
                Lookup::Stale(token) | Lookup::Expiring(token) => Some(token),
                Lookup::Nothing => None,
            };
            self.instance.count(|stats| &mut stats.misses);
            // Only now: a call that memory answers asks for the time once.
            let now = self.now();
            let until = deadline.unwrap_or_else(|| now.saturating_add(config.budget));
            let left = call.get_or_insert_with(|| Term::new(now, until)).left(now);
            let deadline = now.saturating_add(left);
            let wait = self.memory().flights.join(key, now, &|| self.begin(&request, deadline))?;
            if wait.is_for_anothers() {
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
            // A token may have ended before its waiter came to it, and the clock may have been set.
            if outcome.as_ref().map_or(true, |token| token.is_usable(self.now())) {
                return self.grant(&request, outcome);
            }
        }
    }

    /// Wait for a fetch with a token that still works: for half of its life, and no longer than [`PATIENCE`].
    async fn wait_briefly(&self, wait: Wait, held: &Token) -> Either<FetchResult, Wait> {
        let patience = PATIENCE.min(Duration::from_millis(milliseconds(held.life_left(self.now())) / 2));
        match select(wait, pin!(self.instance.host.sleep(patience))).await {
            Either::Left((outcome, _)) => Either::Left(outcome),
            Either::Right(((), wait)) => Either::Right(wait.put_off()),
        }
    }

    /// Look for a token of another instance although a fetch failed here, which rests for `left` more.
    async fn look_despite(
        self: &Rc<Self>,
        config: &Config,
        request: &AdmittedRequest,
        error: &Error,
        left: Duration,
    ) {
        let Some(fleet) = &config.fleet else { return };
        let now = self.now();
        if self.memory().looks_again(request, now) {
            let term = Term::new(now, now.saturating_add(config.fetch.timeout));
            let fetch = FetchContext::new(&self.instance, &config.fetch, request, term, self);
            FleetFetch::new(fleet, &self.store, &self.chain, &fetch).look_despite(error, left).await;
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

    /// The duty to refresh, unless somebody has it.
    fn duty(self: &Rc<Self>, request: &Rc<AdmittedRequest>) -> Option<RefreshTicket> {
        let now = self.now();
        // Until it is taken up, it has the time of a call.
        let budget = self.config.as_ref().map_or(Duration::ZERO, |config| config.budget);
        let begin = || self.begin(request, now.saturating_add(budget));
        let wait = self.memory().flights.lead(request.key(), now, &begin)?;
        Some(RefreshTicket { wait, was_awaited: false })
    }

    /// The answer that a caller gets for an outcome: a fetch that failed does not take away a token that still works,
    /// and what another instance fetched may be due for a refresh.
    fn grant(self: &Rc<Self>, request: &Rc<AdmittedRequest>, outcome: FetchResult) -> Result<Grant, Error> {
        let (outcome, refresh) = match (outcome, self.memory().look(request.key(), self.now())) {
            (Ok(token), Lookup::Stale(_)) => (Ok(token), self.duty(request)),
            (
                Err(_),
                Lookup::Fresh(held) | Lookup::Stale(held) | Lookup::Resting(held) | Lookup::Expiring(held),
            ) => (Ok(held), None),
            (outcome, _) => (outcome, None),
        };
        Ok(Grant { token: outcome?, refresh })
    }

    /// A fetch, which holds all that it needs: it may outlive the call.
    fn begin(self: &Rc<Self>, request: &Rc<AdmittedRequest>, deadline: Duration) -> (Rc<Term>, Work) {
        let term = Term::new(self.now(), deadline);
        (Rc::clone(&term), Box::pin(Rc::clone(self).fetch(Rc::clone(request), term)))
    }

    /// Get a token for a key that memory has nothing good for.
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

/// They are for the broker's own use: held, shared and refreshed like any other token.
impl<H: Host, S: Store> Assertions for Rc<Core<H, S>> {
    fn assertion(
        &self,
        request: Rc<AdmittedRequest>,
        deadline: Duration,
    ) -> Pin<Box<dyn Future<Output = FetchResult> + '_>> {
        Box::pin(async move { Ok(self.serve(request, Some(deadline)).await?.token) })
    }
}

/// How long a caller waits for a fetch who has a token that still works. An endpoint that is well answers sooner.
const PATIENCE: Duration = Duration::from_secs(2);
