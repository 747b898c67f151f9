//! The limits of a fetch.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The limits of a fetch, each a time since the Unix epoch.
#[derive(Debug)]
pub(crate) struct Term {
    from: Cell<Duration>,
    /// No request begins after it.
    deadline: Cell<Duration>,
    /// The limit of the current request.
    request: Cell<Option<Duration>>,
    /// Whether the fetch has reached the identity sources. Before that it waits for the store.
    has_asked: Cell<bool>,
    /// Whether its token is in memory, and only the publication to the store is left.
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

    /// Whether the token is in memory.
    pub(crate) fn is_served(&self) -> bool {
        self.is_served.get()
    }

    /// Records that the token is in memory.
    pub(crate) fn mark_served(&self) {
        self.is_served.set(true);
    }

    /// Records that the fetch has reached the identity sources.
    pub(crate) fn mark_asked(&self) {
        self.has_asked.set(true);
    }

    pub(crate) fn set_request_limit(&self, limit: Option<Duration>) {
        self.request.set(limit);
    }

    /// The remaining time. If the clock was set back, the whole time begins again, so that it is not prolonged further.
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

    /// Whether an idle fetch can be resumed: it has asked a source, and no limit has passed. If the clock was set back,
    /// the idle time is unknown, and the fetch is not resumed.
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
        term.mark_asked();
        assert_eq!([5010, 5090, 4990].map(|now| term.is_resumable(at(now))), [true, false, false]);
    }
}
