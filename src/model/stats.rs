//! Counters since the instance began.

/// What has happened so far; the fields are those of the contract's `statistics`, documented there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Calls for a token, peeks that were answered included.
    pub requests: u64,
    /// Answered from memory with a Fresh token.
    pub hits: u64,
    /// Answered from memory with a token that is due for a refresh.
    pub stale_hits: u64,
    /// Calls that memory could not answer: each led a fetch or waited for one.
    pub misses: u64,
    /// Fetches that replace a token which can still be used.
    pub refreshes: u64,
    /// Times that the identity sources were asked; the tries of one fetch count once.
    pub fetches: u64,
    /// Calls that waited for another call's fetch.
    pub waiters: u64,
    /// Failed fetches by [`kind`](crate::Error::kind) of error.
    pub failures: Vec<(&'static str, u64)>,
    /// Tokens that another instance had put into the store.
    pub store_hits: u64,
    /// Times that the store had no token to offer.
    pub store_misses: u64,
    /// Operations of the store that failed or took too long.
    pub store_errors: u64,
    /// Entries of the store that do not open: changed, moved, or put there by somebody else.
    pub store_tampered: u64,
    /// Calls that found another instance fetching.
    pub lease_waits: u64,
    /// Times that another instance's lease ended without a token, and this one took it.
    pub lease_takeovers: u64,
    /// Requests that were held back by the rate limit of an endpoint.
    pub budget_waits: u64,
}

impl Statistics {
    pub(crate) fn count_failure(&mut self, kind: &'static str) {
        match self.failures.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, counter)) => count(counter),
            None => self.failures.push((kind, 1)),
        }
    }
}

/// Count one more, for as long as an instance may live.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
