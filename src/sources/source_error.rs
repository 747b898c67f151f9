//! Why a source gave no token.

use crate::model::{Error, Failure};

/// Why a source gave no token, and so what may be done next.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// The source is not on this machine: the next one may be tried.
    Absent(Failure),
    /// The source is not for this request: the next one may be tried.
    Declined(Failure),
    /// The source is this platform's and is out of order before anything was sent: no other may be tried instead.
    Blocked(Failure),
    /// The source says no, and asking again will not change it: no other may be tried instead.
    Failed(Error),
    /// Not now: the same source may be asked again.
    Retry(Failure, RetryClass),
}

/// Why a try may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RetryClass {
    /// A busy or broken service, or the network to it.
    Busy,
    /// IMDS is being upgraded, which may take 70 s (VM documentation, "retry guidance" for 410).
    Upgrading,
    /// What the asker proved itself with was out of date.
    Stale,
    /// The content of this file is missing, which a challenge named.
    KeyFile(String),
}

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
