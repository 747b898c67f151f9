//! One fetch: for whom and what, until when, and what it has taken so far.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::policy::Demand;

/// What everybody who works on a fetch needs to know, and what the log tells of it in the end.
#[derive(Debug)]
pub(crate) struct Fetch<'a> {
    pub(crate) config: &'a Config,
    pub(crate) demand: &'a Demand,
    term: Rc<Term>,
    requests: Cell<u32>,
    correlation_id: RefCell<String>,
}

/// The limits of a fetch, each a time since the Unix epoch.
#[derive(Debug)]
pub(crate) struct Term {
    /// Nothing begins after it.
    deadline: Cell<Duration>,
    /// The limit of the request that is under way.
    request: Cell<Option<Duration>>,
    /// Whether the identity sources are asked. Before that there is a store to look into, and others who do.
    has_asked: Cell<bool>,
    /// Whether its token is in memory, and only the store is left to be told.
    is_served: Cell<bool>,
}

impl Term {
    pub(crate) fn until(deadline: Duration) -> Rc<Self> {
        Rc::new(Self {
            deadline: Cell::new(deadline),
            request: Cell::default(),
            has_asked: Cell::default(),
            is_served: Cell::default(),
        })
    }

    /// Whether whoever comes now is served from memory, or must not be: a token may have been forgotten since.
    pub(crate) fn is_served(&self) -> bool {
        self.is_served.get()
    }

    pub(crate) fn set_deadline(&self, deadline: Duration) {
        self.deadline.set(deadline);
    }

    /// Whether a fetch that nobody has polled for a while is worth going on with: it has asked, and no limit has passed
    /// which is all that it would tell.
    pub(crate) fn is_resumable(&self, now: Duration) -> bool {
        let is_within = now < self.deadline.get() && self.request.get().is_none_or(|limit| now < limit);
        self.has_asked.get() && is_within
    }
}

impl<'a> Fetch<'a> {
    pub(crate) fn new(config: &'a Config, demand: &'a Demand, term: Rc<Term>) -> Self {
        Self { config, demand, term, requests: Cell::new(0), correlation_id: RefCell::default() }
    }

    /// Nothing begins after it (time since the Unix epoch).
    pub(crate) fn deadline(&self) -> Duration {
        self.term.deadline.get()
    }

    /// The identity sources are asked.
    pub(crate) fn asks(&self) {
        self.term.has_asked.set(true);
    }

    /// Its token is in memory, and nothing more is asked for.
    pub(crate) fn is_served(&self) {
        self.term.is_served.set(true);
    }

    /// A request is sent, known to the service by this id, and answered by a moment.
    pub(crate) fn sends(&self, correlation_id: &str, limit: Duration) {
        self.requests.set(self.requests.get().saturating_add(1));
        correlation_id.clone_into(&mut self.correlation_id.borrow_mut());
        self.term.request.set(Some(limit));
    }

    /// The request was answered, or will not be.
    pub(crate) fn is_answered(&self) {
        self.term.request.set(None);
    }

    /// How many requests were sent.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// The id of the last request, empty if there was none.
    pub(crate) fn correlation_id(&self) -> String {
        self.correlation_id.borrow().clone()
    }

    /// How long it may still take.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.deadline().saturating_sub(now)
    }
}
