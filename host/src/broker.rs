//! The handle of the shared broker.

use std::sync::Arc;

use token_broker::{Error, Identity, RawRequest};
use tokio::sync::{Semaphore, mpsc, oneshot};
use wasmtime::Result;

use crate::builder::Builder;
use crate::driver::{self, Call, Job, Reply};
use crate::guest::Template;
use crate::held::Held;
use crate::instance::Instance;
use crate::report::{SourceReport, Statistics};
use crate::token::AccessToken;
use crate::wire::{TokenResult, WireRequest};

/// A broker that many callers share, from any task and on behalf of any store. Cheap to clone.
///
/// One instance in its own store, driven by a task of its own: it ends when the last clone and the last linker that
/// was given credentials are gone. An instance that traps is replaced when the next call comes; the calls that were
/// inside it get [`Error::Other`].
#[derive(Clone)]
pub struct Broker(Arc<Shared>);

struct Shared {
    template: Arc<Template>,
    default_identity: Identity,
    held: Held,
    jobs: mpsc::UnboundedSender<Job>,
    calls: Arc<Semaphore>,
    forgets: Arc<Semaphore>,
}

impl Broker {
    /// Say what a broker is to be made of.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Start the task that drives an instance. Needs a tokio runtime.
    pub(crate) fn start(template: Template, instance: Instance, default_identity: Identity) -> Self {
        let template = Arc::new(template);
        let (jobs, received) = mpsc::unbounded_channel();
        tokio::spawn(driver::drive(Arc::clone(&template), instance, received));
        Self(Arc::new(Shared {
            template,
            default_identity,
            held: Held::default(),
            jobs,
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            forgets: Arc::new(Semaphore::new(MAX_FORGETS)),
        }))
    }

    /// The token for a scope and the default identity, if a Fresh one was given out within the last minute.
    ///
    /// Never waits and starts nothing. None means: call [`Broker::get_token`].
    pub fn peek_token(&self, scope: &str) -> Option<AccessToken> {
        self.0.held.get(scope, self.now()).map(AccessToken)
    }

    /// A token for a scope and the default identity, from memory or from Azure.
    ///
    /// # Errors
    /// What the broker says, or [`Error::Other`] if its instance trapped.
    pub async fn get_token(&self, scope: &str) -> Result<AccessToken, Error> {
        self.forward_get(scope).await?.map(AccessToken).map_err(Error::from)
    }

    /// A token for a request that says more than a scope.
    ///
    /// # Errors
    /// As [`Broker::get_token`].
    pub async fn request_token(&self, request: &RawRequest) -> Result<AccessToken, Error> {
        self.forward_request(request.into()).await?.map(AccessToken).map_err(Error::from)
    }

    /// Forget what is held for a scope, of every identity, because a service refused it.
    ///
    /// # Errors
    /// [`Error::Other`] if more of these are on their way than the broker keeps up with.
    pub fn forget_token(&self, scope: &str) -> Result<(), Error> {
        let permit = Arc::clone(&self.0.forgets).try_acquire_owned().map_err(|_| {
            Error::Other(format!(
                "{MAX_FORGETS} calls of forget-token are under way; forget a scope once per refusal"
            ))
        })?;
        let sent = self.0.jobs.send(Job { call: Call::Forget(scope.into()), permit }).map_err(|_| gone());
        // Only now: a get that is sent before the forget may still bring the old token, and must not put it back.
        self.0.held.clear();
        sent
    }

    /// Every identity source in the order of trial: what was found, what is missing, what it would send.
    ///
    /// # Errors
    /// [`Error::Other`] if the broker's instance trapped.
    pub async fn explain(&self) -> Result<Vec<SourceReport>, Error> {
        self.call(Call::Explain).await
    }

    /// The counters of the broker's instance, and of the calls that were answered without asking it.
    ///
    /// # Errors
    /// [`Error::Other`] if the broker's instance trapped.
    pub async fn stats(&self) -> Result<Statistics, Error> {
        let mut statistics = self.call(Call::Stats).await?;
        let answered = self.0.held.answered();
        statistics.requests = statistics.requests.saturating_add(answered);
        statistics.hits = statistics.hits.saturating_add(answered);
        Ok(statistics)
    }

    pub(crate) fn default_identity(&self) -> &Identity {
        &self.0.default_identity
    }

    pub(crate) async fn forward_get(&self, scope: &str) -> Result<TokenResult, Error> {
        if let Some(token) = self.0.held.get(scope, self.now()) {
            return Ok(Ok(token));
        }
        let since = self.0.held.generation();
        let answer = self.call(|reply| Call::Get(scope.into(), reply)).await?;
        if let Ok(token) = &answer {
            self.0.held.put(scope, token, self.now(), since);
        }
        Ok(answer)
    }

    pub(crate) async fn forward_request(&self, request: WireRequest) -> Result<TokenResult, Error> {
        let has_claims = request.claims.is_some();
        let answer = self.call(|reply| Call::Request(request, reply)).await?;
        if has_claims {
            // The token that the claims brought replaces the one without.
            self.0.held.clear();
        }
        Ok(answer)
    }

    async fn call<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, Error> {
        let permit = Arc::clone(&self.0.calls).acquire_owned().await.map_err(|_| gone())?;
        let (reply, answer) = oneshot::channel();
        self.0.jobs.send(Job { call: call(reply), permit }).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(trapped()))
    }

    fn now(&self) -> u64 {
        self.0.template.lent.clock.wall().as_secs()
    }
}

fn trapped() -> Error {
    Error::Other(
        "the broker's instance trapped while this call was inside; the next call gets a new instance, \
         and the log says why"
            .to_owned(),
    )
}

/// The task ends with the runtime that it was started on.
fn gone() -> Error {
    Error::Other(
        "the runtime on which the broker was built has been shut down; build it on one that lives".to_owned(),
    )
}

/// Calls inside the broker at once; more wait for their turn. Each takes a few kilobytes of the guest's memory.
const MAX_CALLS: usize = 4096;
/// A forget waits for nothing, so these only pile up under a consumer that does nothing else.
const MAX_FORGETS: usize = 1024;
