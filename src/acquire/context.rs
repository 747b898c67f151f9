//! One fetch: for whom and what, until when, and what it has taken so far.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::instance::Instance;
use crate::memory::{FetchResult, Term};
use crate::policy::AdmittedRequest;

/// What everybody who works on a fetch needs, and what the log tells of it in the end.
pub(crate) struct FetchContext<'a, H> {
    pub(crate) instance: &'a Instance<H>,
    pub(crate) limits: &'a FetchLimits,
    pub(crate) request: &'a AdmittedRequest,
    pub(crate) assertions: &'a dyn Assertions,
    term: Rc<Term>,
    requests: Cell<u32>,
    correlation_id: RefCell<String>,
}

/// Gets the tokens of managed identities with which applications prove themselves.
pub(crate) trait Assertions {
    /// Get one by a fetch of its own, until a deadline (time since the Unix epoch).
    fn assertion(
        &self,
        request: Rc<AdmittedRequest>,
        deadline: Duration,
    ) -> Pin<Box<dyn Future<Output = FetchResult> + '_>>;
}

/// What holds for every fetch.
#[derive(Debug)]
pub(crate) struct FetchLimits {
    /// One try.
    pub(crate) timeout: Duration,
    /// Managed identity was asked for by name, so that its absence is a fault to wait out.
    pub(crate) is_patient: bool,
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

    /// The identity sources are asked.
    pub(crate) fn asks(&self) {
        self.term.asks();
    }

    /// Its token is in memory, and nothing more is asked for.
    pub(crate) fn mark_served(&self) {
        self.term.mark_served();
    }

    /// A request is sent, known to the service by this id, and answered by a moment.
    pub(crate) fn sends(&self, correlation_id: &str, limit: Duration) {
        self.requests.set(self.requests.get().saturating_add(1));
        correlation_id.clone_into(&mut self.correlation_id.borrow_mut());
        self.term.set_request_limit(Some(limit));
    }

    /// The request was answered, or will not be.
    pub(crate) fn mark_answered(&self) {
        self.term.set_request_limit(None);
    }

    /// How many requests were sent.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// The id of the last request, empty if there was none.
    pub(crate) fn correlation_id(&self) -> String {
        self.correlation_id.borrow().clone()
    }

    /// How long it may still take. Nothing begins after it.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.term.left(now)
    }
}
