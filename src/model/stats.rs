//! The counters of an instance.

/// Counters since the instance began: the contract's `statistics`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Calls for a token, with the peeks that were answered.
    pub requests: u64,
    /// Calls answered from memory with a token that is not due for a refresh.
    pub hits: u64,
    /// Calls answered from memory with a token that is due for a refresh.
    pub stale_hits: u64,
    /// Calls that memory could not answer: each led a fetch or waited for one.
    pub misses: u64,
    /// Fetches that replace a token that is still valid.
    pub refreshes: u64,
    /// Fetches from the identity sources. The tries of one fetch count once.
    pub fetches: u64,
    /// Calls that waited for another call's fetch.
    pub waiters: u64,
    /// Failed fetches by [`kind`](crate::Error::kind) of error.
    pub failures: Vec<(&'static str, u64)>,
    /// Tokens taken from the shared store.
    pub store_hits: u64,
    /// Look-ups in the shared store that found no usable token.
    pub store_misses: u64,
    /// Operations of the shared store that failed or timed out.
    pub store_errors: u64,
    /// Entries of the shared store that could not be decrypted.
    pub store_tampered: u64,
    /// Fetches left to the holder of a lease.
    pub lease_waits: u64,
    /// Leases whose holder gave no result, taken over.
    pub lease_takeovers: u64,
    /// Requests delayed by the rate limit of an endpoint.
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

/// Increments a counter, saturating.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
