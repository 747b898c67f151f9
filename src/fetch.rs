//! One fetch: for whom and what, until when, and what it has taken so far.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::config::Config;
use crate::policy::Demand;

/// What everybody who works on a fetch needs to know, and what the log tells of it in the end.
#[derive(Debug)]
pub(crate) struct Fetch<'a> {
    pub(crate) config: &'a Config,
    pub(crate) demand: &'a Demand,
    /// Nothing begins after it (time since the Unix epoch).
    pub(crate) deadline: Duration,
    requests: Cell<u32>,
    correlation_id: RefCell<String>,
}

impl<'a> Fetch<'a> {
    pub(crate) fn new(config: &'a Config, demand: &'a Demand, deadline: Duration) -> Self {
        Self { config, demand, deadline, requests: Cell::new(0), correlation_id: RefCell::default() }
    }

    /// A request is sent, known to the service by this id.
    pub(crate) fn sends(&self, correlation_id: &str) {
        self.requests.set(self.requests.get().saturating_add(1));
        correlation_id.clone_into(&mut self.correlation_id.borrow_mut());
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
        self.deadline.saturating_sub(now)
    }
}
