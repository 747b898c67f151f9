//! The task that owns the broker's store: it serves calls concurrently, lets refreshes run on, and replaces an
//! instance that trapped.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use token_broker::Error;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use wasmtime::Result;
use wasmtime::component::{Accessor, AccessorTask};

use crate::contract::report::{Statistics, WireReport};
use crate::contract::wire::{TokenResult, WireError, WireRequest};
use crate::guest::instance::{Exports, Instance};
use crate::guest::prototype::Prototype;
use crate::guest::state::State;

/// A call on its way to the instance. The permits bound how many there are, of all callers and of one linker.
pub(crate) struct Job {
    pub(crate) call: Call,
    pub(crate) permits: Permits,
}

pub(crate) type Permits = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

pub(crate) enum Call {
    Get(Arc<str>, Reply<TokenResult>),
    Request(WireRequest, Reply<TokenResult>),
    Forget(Arc<str>, Reply<()>),
    Explain(Reply<Vec<WireReport>>),
    Stats(Reply<Statistics>),
}

/// The way back to a caller: the answer, or the reason why the call was not served.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// Serve calls until every handle of the broker is gone.
///
/// A call that needs an instance makes it, so a broker whose instance trapped costs nothing until the next call.
pub(crate) async fn drive(
    prototype: Arc<Prototype>,
    first: Instance,
    mut jobs: mpsc::UnboundedReceiver<Job>,
) {
    let mut ready = Some(first);
    let mut replacements = Replacements::default();
    while let Some(job) = jobs.recv().await {
        let instance = match ready.take() {
            Some(instance) => Ok(instance),
            None => replacements.make(&prototype).await,
        };
        match instance {
            Err(error) => job.call.refuse(error),
            Ok(instance) => {
                // A panic is the embedder's, in its policy or store for instance; it must not end the broker for good.
                let why = match AssertUnwindSafe(serve(instance, job, &mut jobs)).catch_unwind().await {
                    Ok(Ok(())) => continue,
                    Ok(Err(trap)) => format!("{}; fix: report it", trap.root_cause()),
                    Err(_) => {
                        "the program's HTTP policy, store, settings or log panicked; fix: make it return an \
                               error"
                            .to_owned()
                    }
                };
                prototype.resources.log.event("the broker's instance trapped", &why);
            }
        }
    }
}

/// Serve calls with one instance. The error is a trap; the calls inside end with it.
async fn serve(mut instance: Instance, first: Job, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Result<()> {
    let exports = instance.exports;
    let mut next = Some(first);
    instance
        .store
        .run_concurrent(async |accessor| {
            while let Some(job) = next {
                accessor.spawn(Task { job, exports })?;
                next = jobs.recv().await;
            }
            Ok(())
        })
        .await?
}

/// One call inside the instance. It runs to its end even if its caller leaves: others may wait for its fetch.
struct Task {
    job: Job,
    exports: Exports,
}

impl AccessorTask<State> for Task {
    async fn run(self, accessor: &Accessor<State>) -> Result<()> {
        let Self { job: Job { call, permits }, exports } = self;
        match call {
            Call::Get(scope, reply) => {
                let (answer,) = exports.get.call_concurrent(accessor, (scope,)).await?;
                _ = reply.send(Ok(answer.map(Arc::new)));
            }
            Call::Request(request, reply) => {
                let (answer,) = exports.request.call_concurrent(accessor, (request,)).await?;
                _ = reply.send(Ok(answer.map(Arc::new)));
            }
            Call::Forget(scope, reply) => {
                exports.forget.call_concurrent(accessor, (scope,)).await?;
                _ = reply.send(Ok(()));
            }
            Call::Explain(reply) => {
                let (reports,) = exports.explain.call_concurrent(accessor, ()).await?;
                _ = reply.send(Ok(reports));
            }
            Call::Stats(reply) => {
                let (statistics,) = exports.stats.call_concurrent(accessor, ()).await?;
                _ = reply.send(Ok(statistics));
            }
        }
        drop(permits);
        Ok(())
    }
}

impl Call {
    fn refuse(self, error: Error) {
        // A caller that has left needs no answer, and a fresh instance has nothing to forget.
        match self {
            Self::Get(_, reply) | Self::Request(_, reply) => _ = reply.send(Ok(Err(WireError::from(error)))),
            Self::Explain(reply) => _ = reply.send(Err(error)),
            Self::Stats(reply) => _ = reply.send(Err(error)),
            Self::Forget(_, reply) => _ = reply.send(Ok(())),
        }
    }
}

/// The times of replacements: a rate limit for instances that trap at once.
#[derive(Default)]
struct Replacements(VecDeque<Instant>);

impl Replacements {
    async fn make(&mut self, prototype: &Prototype) -> Result<Instance, Error> {
        self.admit(Instant::now())?;
        Instance::new(prototype).await.map_err(|error| {
            // It ends with a fix.
            Error::Other(format!("the broker's instance trapped and a new one cannot be made: {error:#}"))
        })
    }

    fn admit(&mut self, now: Instant) -> Result<(), Error> {
        while self.0.front().is_some_and(|made| now.duration_since(*made) >= PERIOD) {
            self.0.pop_front();
        }
        if self.0.len() >= MAX_REPLACEMENTS {
            return Err(Error::Other(format!(
                "the broker's instance trapped {MAX_REPLACEMENTS} times within {} s, and calls \
                 fail for up to that long; fix: correct the cause that the log names",
                PERIOD.as_secs()
            )));
        }
        self.0.push_back(now);
        Ok(())
    }
}

const MAX_REPLACEMENTS: usize = 10;
const PERIOD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_are_bounded_within_a_period_and_allowed_again_after_it() {
        let mut replacements = Replacements::default();
        let start = Instant::now();
        for _ in 0..MAX_REPLACEMENTS {
            assert_eq!(replacements.admit(start), Ok(()));
        }
        let refused = replacements.admit(start + PERIOD - Duration::from_millis(1)).unwrap_err();
        assert!(refused.to_string().contains("10 times within 60 s"), "{refused}");
        assert_eq!(replacements.admit(start + PERIOD), Ok(()));
    }
}
