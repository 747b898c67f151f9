//! The shared broker: a handle to one instance, for many callers.

mod diagnostics;
mod driver;
mod linker;
mod token_copies;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use token_broker::{Error, Failure, Identity, RawRequest};
use tokio::sync::{Semaphore, mpsc, oneshot};
use wasmtime::Result;

use crate::broker::driver::{Call, Job, Permits, Reply};
use crate::broker::token_copies::TokenCopies;
use crate::contract::report::{SourceReport, Statistics, WireReport};
use crate::contract::token::AccessToken;
use crate::contract::wire::{TokenResult, WireRequest};
use crate::guest::instance::Instance;
use crate::guest::prototype::Prototype;

/// A broker that many callers share, from any task. Cheap to clone.
///
/// A task of its own drives one instance. The task ends with the last clone and the last linker that got credentials
/// from this broker. The first call after a trap gets a new instance; the calls inside the trapped one return
/// [`Error::Other`].
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
    /// The bound on a linker's concurrent calls; none for the embedder's own handles.
    quota: Option<Arc<Semaphore>>,
    forgets: Arc<Semaphore>,
}

struct Shared {
    prototype: Arc<Prototype>,
    default_identity: Identity,
    config_error: Option<Error>,
    copies: TokenCopies,
    jobs: mpsc::UnboundedSender<Job>,
    calls: Arc<Semaphore>,
}

impl Broker {
    /// Start the task that drives an instance. Needs a tokio runtime.
    pub(crate) fn start(prototype: Prototype, instance: Instance, default_identity: Identity) -> Self {
        let prototype = Arc::new(prototype);
        let (jobs, received) = mpsc::unbounded_channel();
        let config_error = instance.config_error().cloned();
        tokio::spawn(driver::drive(Arc::clone(&prototype), instance, received));
        Self::over(Shared {
            prototype,
            default_identity,
            config_error,
            copies: TokenCopies::default(),
            jobs,
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
        })
    }

    fn over(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), quota: None, forgets: Arc::new(Semaphore::new(MAX_FORGETS)) }
    }

    /// A handle for the components of a linker, with a quota that keeps the broker free for others.
    pub(crate) fn for_linker(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            quota: Some(Arc::new(Semaphore::new(MAX_CALLS_OF_A_LINKER))),
            forgets: Arc::new(Semaphore::new(MAX_FORGETS)),
        }
    }

    /// The token for a scope and the default identity, if the broker gave out a Fresh one within the last minute.
    ///
    /// Never waits and never starts a fetch. On `None`, call [`Broker::get_token`].
    pub fn peek_token(&self, scope: &str) -> Option<AccessToken> {
        self.shared.copies.get(scope, self.now()).map(AccessToken)
    }

    /// A token for a scope and the default identity, from memory or from Azure.
    ///
    /// # Errors
    /// The broker's error, or [`Error::Other`] if its instance trapped or does not answer.
    pub async fn get_token(&self, scope: &str) -> Result<AccessToken, Error> {
        self.forward_get(scope).await?.map(AccessToken).map_err(Error::from)
    }

    /// A token for a request with an identity, a tenant, claims or a user assertion.
    ///
    /// # Errors
    /// As [`Broker::get_token`].
    pub async fn request_token(&self, request: &RawRequest) -> Result<AccessToken, Error> {
        self.forward_request(request.into()).await?.map(AccessToken).map_err(Error::from)
    }

    /// Drop the held tokens for a scope, of every identity, and the store's copies. Call it when a service refused one.
    ///
    /// # Errors
    /// [`Error::Other`] if too many of these calls are pending, or the broker does not answer.
    pub async fn forget_token(&self, scope: &str) -> Result<(), Error> {
        let permit = Arc::clone(&self.forgets).try_acquire_owned().map_err(|_| {
            Error::Other(format!(
                "{MAX_FORGETS} calls of forget-token are pending; fix: forget a scope once per refusal"
            ))
        })?;
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Call::Forget(scope.into(), reply), (permit, None));
        // Only now: a get that is sent before the forget may still bring the old token, and must not put it back.
        self.shared.copies.clear();
        sent?;
        // An instance that trapped has forgotten everything.
        within_deadline(async { answer.await.unwrap_or(Ok(())) }).await
    }

    /// A report on every identity source in the order of trial: its variables, its request and its last failure.
    /// [`Builder::settings`](crate::Builder::settings) are included as the instance read them when it was made.
    ///
    /// # Errors
    /// [`Error::Other`] if the broker's instance trapped.
    pub async fn explain(&self) -> Result<Vec<SourceReport>, Error> {
        Ok(self.forward_explain().await?.into_iter().map(SourceReport::from).collect())
    }

    /// The counters of the broker's instance, including calls that this handle answered from its copies.
    ///
    /// # Errors
    /// [`Error::Other`] if the broker's instance trapped.
    pub async fn stats(&self) -> Result<Statistics, Error> {
        let mut statistics = self.call(Call::Stats).await?;
        let answered = self.shared.copies.answered();
        statistics.requests = statistics.requests.saturating_add(answered);
        statistics.hits = statistics.hits.saturating_add(answered);
        Ok(statistics)
    }

    pub(crate) fn default_identity(&self) -> &Identity {
        &self.shared.default_identity
    }

    pub(crate) async fn forward_explain(&self) -> Result<Vec<WireReport>, Error> {
        self.call(Call::Explain).await
    }

    pub(crate) async fn forward_get(&self, scope: &str) -> Result<TokenResult, Error> {
        if let Some(token) = self.shared.copies.get(scope, self.now()) {
            return Ok(Ok(token));
        }
        self.configured()?;
        let since = self.shared.copies.generation();
        let answer = self.call(|reply| Call::Get(scope.into(), reply)).await?;
        if let Ok(token) = &answer {
            self.shared.copies.put(scope, token, self.now(), since);
        }
        Ok(answer)
    }

    pub(crate) async fn forward_request(&self, request: WireRequest) -> Result<TokenResult, Error> {
        self.configured()?;
        let has_claims = request.claims.is_some();
        let answer = self.call(|reply| Call::Request(request, reply)).await?;
        if has_claims {
            // The token that the claims brought replaces the one without.
            self.shared.copies.clear();
        }
        Ok(answer)
    }

    fn configured(&self) -> Result<(), Error> {
        self.shared.config_error.clone().map_or(Ok(()), Err)
    }

    async fn call<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, Error> {
        let quota =
            self.quota.clone().map(Semaphore::try_acquire_owned).transpose().map_err(|_| flooded())?;
        within_deadline(async {
            let permit = Arc::clone(&self.shared.calls).acquire_owned().await.map_err(|_| gone())?;
            let (reply, answer) = oneshot::channel();
            self.send(call(reply), (permit, quota))?;
            answer.await.unwrap_or_else(|_| Err(trapped()))
        })
        .await
    }

    fn send(&self, call: Call, permits: Permits) -> Result<(), Error> {
        self.shared.jobs.send(Job { call, permits }).map_err(|_| gone())
    }

    fn now(&self) -> u64 {
        self.shared.prototype.resources.clock.wall().as_secs()
    }
}

async fn within_deadline<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(|_| Err(silent()))
}

fn trapped() -> Error {
    Error::Other(
        "the broker's instance trapped while it served this call; fix: call again: the next call gets a new \
         instance; if it traps too, report the reason in the log"
            .to_owned(),
    )
}

fn silent() -> Error {
    Error::Other(format!(
        "the broker's instance did not answer within {} s; fix: make the program's store, settings \
         and HTTP policy answer in time",
        DEADLINE.as_secs()
    ))
}

fn flooded() -> Error {
    let message = format!("{MAX_CALLS_OF_A_LINKER} calls of this linker's components are pending");
    let failure = Failure::new("host", message).with_retry_after(RETRY_AFTER);
    Error::Throttled(
        failure.with_remedy("share one token among callers, and call peek-token first: it never waits"),
    )
}

/// The task ends with the runtime that it was started on.
fn gone() -> Error {
    Error::Other(
        "the tokio runtime of the broker has shut down; fix: build the broker on a runtime that outlives its \
         calls"
            .to_owned(),
    )
}

/// Calls inside the broker at once; more wait for their turn. Each takes a few kilobytes of the guest's memory.
const MAX_CALLS: usize = 4096;
/// A quarter: one linker alone makes nobody wait.
const MAX_CALLS_OF_A_LINKER: usize = 1024;
/// A forget ends within the timeouts of the store, so these pile up only under a consumer that does nothing else. Each
/// linker has its own.
const MAX_FORGETS: usize = 1024;
/// The delay that an error at a linker's quota asks for.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longer than a call can take: ten minutes are the longest budget, and before it come the settings, 5 s at most each.
const DEADLINE: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::mpsc::UnboundedReceiver;
    use tokio::task::unconstrained;

    use super::*;
    use crate::guest::prototype::tests::empty_prototype;

    /// A broker and the calls that reach it, which nobody answers.
    fn unanswered() -> (Broker, UnboundedReceiver<Job>) {
        let (jobs, received) = mpsc::unbounded_channel();
        let broker = Broker::over(Shared {
            prototype: Arc::new(empty_prototype()),
            default_identity: Identity::Default,
            config_error: None,
            copies: TokenCopies::default(),
            jobs,
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
        });
        (broker, received)
    }

    /// How often a call is accepted before it is refused, each left alone at once.
    fn flood(broker: &Broker, call: impl Fn(&Broker) -> Option<Error>) -> (usize, Error) {
        (0..=MAX_CALLS).find_map(|n| call(broker).map(|error| (n, error))).unwrap()
    }

    fn get(broker: &Broker) -> Option<Error> {
        unconstrained(broker.get_token("s")).now_or_never().map(Result::unwrap_err)
    }

    fn forget(broker: &Broker) -> Option<Error> {
        unconstrained(broker.forget_token("s")).now_or_never().map(Result::unwrap_err)
    }

    #[tokio::test]
    async fn a_linker_that_floods_is_throttled_until_its_calls_end_and_no_other_is() {
        let (broker, mut jobs) = unanswered();
        let (loud, calm) = (broker.for_linker(), broker.for_linker());
        let (accepted, error) = flood(&loud, get);
        assert_eq!((accepted, error.kind()), (MAX_CALLS_OF_A_LINKER, "throttled"));
        assert_eq!(get(&calm), None);
        assert_eq!(get(&broker), None);
        while jobs.try_recv().is_ok() {}
        assert_eq!(get(&loud), None);
    }

    #[tokio::test]
    async fn a_linker_that_floods_with_forgets_is_refused_alone() {
        let (broker, _jobs) = unanswered();
        let (loud, calm) = (broker.for_linker(), broker.for_linker());
        assert_eq!(flood(&loud, forget).0, MAX_FORGETS);
        assert_eq!((forget(&calm), forget(&broker), get(&loud)), (None, None, None));
    }

    #[test]
    fn each_error_of_a_call_ends_with_one_fix() {
        for error in [trapped(), silent(), flooded(), gone()] {
            assert_eq!(error.to_string().matches("; fix: ").count(), 1, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_never_answers_is_given_up() {
        let (broker, _jobs) = unanswered();
        let error = broker.get_token("s").await.unwrap_err();
        assert!(error.to_string().contains("did not answer within 900 s"), "{error}");
    }
}
