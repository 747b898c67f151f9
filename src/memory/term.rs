//! The limits of a fetch.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The limits of a fetch, each a time since the Unix epoch.
#[derive(Debug)]
pub(crate) struct Term {
    from: Cell<Duration>,
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
    pub(crate) fn new(from: Duration, deadline: Duration) -> Rc<Self> {
        Rc::new(Self {
            from: Cell::new(from),
            deadline: Cell::new(deadline),
            request: Cell::default(),
            has_asked: Cell::default(),
            is_served: Cell::default(),
        })
    }

    /// Whether the token is in memory: if it was forgotten there, nobody joins the fetch any more.
    pub(crate) fn is_served(&self) -> bool {
        self.is_served.get()
    }

    /// Its token is in memory, and nothing more is asked for.
    pub(crate) fn mark_served(&self) {
        self.is_served.set(true);
    }

    /// The identity sources are asked.
    pub(crate) fn asks(&self) {
        self.has_asked.set(true);
    }

    pub(crate) fn set_request_limit(&self, limit: Option<Duration>) {
        self.request.set(limit);
    }

    /// The time that is left. It begins anew with a clock that was set back, which would prolong it otherwise.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        if now < self.from.get() {
            let whole = self.deadline.get().saturating_sub(self.from.get());
            self.restart(now, now.saturating_add(whole));
        }
        self.deadline.get().saturating_sub(now)
    }

    pub(crate) fn restart(&self, from: Duration, deadline: Duration) {
        self.from.set(from);
        self.deadline.set(deadline);
    }

    /// Whether a fetch that nobody has polled for a while is worth going on with: it has asked, and no limit has passed
    /// which is all that it would tell. A clock that was set back does not tell for how long.
    pub(crate) fn is_resumable(&self, now: Duration) -> bool {
        let times = self.from.get()..self.deadline.get();
        let is_within = times.contains(&now) && self.request.get().is_none_or(|limit| now < limit);
        self.has_asked.get() && is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_is_set_back_gives_a_fetch_its_whole_time_once_more_and_no_longer() {
        let term = Term::new(at(5000), at(5090));
        assert_eq!([term.left(at(5030)), term.left(at(5100))], [at(60), at(0)]);
        assert_eq!([term.left(at(1000)), term.left(at(1010)), term.left(at(1090))], [at(90), at(80), at(0)]);
        assert_eq!(term.left(at(5030)), at(0), "and set forward again it is over");
    }

    #[test]
    fn a_fetch_that_was_left_alone_is_not_resumed_with_a_clock_that_was_set_back() {
        let term = Term::new(at(5000), at(5090));
        assert!(!term.is_resumable(at(5010)), "it has not asked");
        term.asks();
        assert_eq!([5010, 5090, 4990].map(|now| term.is_resumable(at(now))), [true, false, false]);
    }
}
