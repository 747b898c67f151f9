//! The context of one fetch.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::instance::Instance;
use crate::memory::{FetchResult, Term};
use crate::policy::AdmittedRequest;

/// The context of one fetch: its request, its limits, and counters for the log.
pub(crate) struct FetchContext<'a, H> {
    pub(crate) instance: &'a Instance<H>,
    pub(crate) limits: &'a FetchLimits,
    pub(crate) request: &'a AdmittedRequest,
    pub(crate) assertions: &'a dyn Assertions,
    term: Rc<Term>,
    requests: Cell<u32>,
    correlation_id: RefCell<String>,
}

/// The provider of client assertions: managed identities' tokens with which app registrations authenticate.
pub(crate) trait Assertions {
    /// Gets an assertion by a separate fetch, until a deadline (time since the Unix epoch).
    fn assertion(
        &self,
        request: Rc<AdmittedRequest>,
        deadline: Duration,
    ) -> Pin<Box<dyn Future<Output = FetchResult> + '_>>;
}

/// The limits of every fetch.
#[derive(Debug)]
pub(crate) struct FetchLimits {
    /// The timeout of one request.
    pub(crate) timeout: Duration,
    /// True if the configuration requires a managed identity. An unreachable IMDS is then retried.
    pub(crate) requires_managed_identity: bool,
}

impl<'a, H> FetchContext<'a, H> {
    pub(crate) fn new(
        instance: &'a Instance<H>,
        limits: &'a FetchLimits,
        request: &'a AdmittedRequest,
        term: Rc<Term>,
        assertions: &'a dyn Assertions,
    ) -> Self {
        let (requests, correlation_id) = Default::default();
        Self { instance, limits, request, assertions, term, requests, correlation_id }
    }

    /// Records that the fetch has reached the identity sources.
    pub(crate) fn mark_asked(&self) {
        self.term.mark_asked();
    }

    /// Records that the token is in memory.
    pub(crate) fn mark_served(&self) {
        self.term.mark_served();
    }

    /// Records a request with its id and its limit (time since the Unix epoch).
    pub(crate) fn mark_sent(&self, correlation_id: &str, limit: Duration) {
        self.requests.set(self.requests.get().saturating_add(1));
        correlation_id.clone_into(&mut self.correlation_id.borrow_mut());
        self.term.set_request_limit(Some(limit));
    }

    /// Records that the request has ended.
    pub(crate) fn mark_answered(&self) {
        self.term.set_request_limit(None);
    }

    /// The number of requests.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// The id of the last request; empty if there was none.
    pub(crate) fn correlation_id(&self) -> String {
        self.correlation_id.borrow().clone()
    }

    /// The remaining time. No request begins after it.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.term.left(now)
    }
}
