//! The limits of a fetch.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

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

    /// Its token is in memory, and nothing more is asked for.
    pub(crate) fn serves(&self) {
        self.is_served.set(true);
    }

    /// The identity sources are asked.
    pub(crate) fn asks(&self) {
        self.has_asked.set(true);
    }

    pub(crate) fn set_request_limit(&self, limit: Option<Duration>) {
        self.request.set(limit);
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline.get()
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
