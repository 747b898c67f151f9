//! The errors of sources.

use crate::model::{Error, Failure};

/// The reason why a source gave no token, which determines the next step.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// The source is not on this machine: the next one is tried.
    Absent(Failure),
    /// The source does not serve this request: the next one is tried.
    Declined(Failure),
    /// The source is this platform's, and cannot be called. No other source is tried.
    Blocked(Failure),
    /// The call failed for good. No other source is tried.
    Failed(Error),
    /// The call failed, and may be retried.
    Retry(Failure, RetryClass),
}

/// The reason for a retry, which determines its delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RetryClass {
    /// The service or the network is overloaded or broken.
    Busy,
    /// IMDS is being upgraded, which may take 70 s (VM documentation, "retry guidance" for 410).
    Upgrading,
    /// The credential has expired.
    Stale,
    /// A challenge requires the content of this file.
    KeyFile(String),
}

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
