//! The broker's reports for operators.

use serde::{Serialize, Serializer};
use token_broker::Failure;
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::contract::wire::WireFailure;

/// The report on an identity source. It holds no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceReport {
    /// The source's name, as in [`Failure::source`].
    pub source: String,
    /// The state of the source.
    pub verdict: Verdict,
    /// The reason for the verdict, in one sentence.
    pub reason: String,
    /// The request that it would send for a token, without secrets.
    pub would_send: Option<String>,
    /// The variables that it reads, and whether each is set. Never a value.
    pub variables: Vec<(String, bool)>,
    /// The failure of its last request, if that failed.
    pub last_failure: Option<Failure>,
}

impl SourceReport {
    /// A report without variables, request and failure, for tests of programs that show reports.
    pub fn new(source: &str, verdict: Verdict, reason: &str) -> Self {
        Self {
            source: source.to_owned(),
            verdict,
            reason: reason.to_owned(),
            would_send: None,
            variables: Vec::new(),
            last_failure: None,
        }
    }
}

/// The state of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[non_exhaustive]
pub enum Verdict {
    /// It gave the last token.
    #[component(name = "used")]
    Used,
    /// It is configured and has not been asked, or not with success.
    #[component(name = "ready")]
    Ready,
    /// Its variables are not set here.
    #[component(name = "not-configured")]
    NotConfigured,
    /// Its variables are set and cannot be used.
    #[component(name = "misconfigured")]
    Misconfigured,
    /// It was asked last and gave no token.
    #[component(name = "failed")]
    Failed,
}

impl Verdict {
    /// The verdict as the contract spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Ready => "ready",
            Self::NotConfigured => "not-configured",
            Self::Misconfigured => "misconfigured",
            Self::Failed => "failed",
        }
    }
}

/// Counters since the start of the instance; a replacement starts from zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ComponentType, Lift, Lower)]
#[component(record)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Statistics {
    /// Calls for a token, peeks that were answered included.
    pub requests: u64,
    /// Answered from memory with a Fresh token.
    pub hits: u64,
    /// Answered from memory with a token that is due for a refresh.
    #[component(name = "stale-hits")]
    pub stale_hits: u64,
    /// Not answerable from memory.
    pub misses: u64,
    /// Fetches that replace a token which can still be used.
    pub refreshes: u64,
    /// Times that the identity sources were asked; the tries of one fetch count once.
    pub fetches: u64,
    /// Calls that waited for another call's fetch.
    pub waiters: u64,
    /// Failed fetches by kind of error, as the contract spells the kinds.
    #[serde(serialize_with = "by_kind")]
    pub failures: Vec<(String, u64)>,
    /// Tokens taken from the shared store.
    #[component(name = "store-hits")]
    pub store_hits: u64,
    /// Look-ups in the shared store that found nothing of use.
    #[component(name = "store-misses")]
    pub store_misses: u64,
    /// Calls to the shared store that failed.
    #[component(name = "store-errors")]
    pub store_errors: u64,
    /// Entries of the shared store that could not be unsealed.
    #[component(name = "store-tampered")]
    pub store_tampered: u64,
    /// Fetches left to the holder of a lease.
    #[component(name = "lease-waits")]
    pub lease_waits: u64,
    /// Leases whose holder gave no result, taken over.
    #[component(name = "lease-takeovers")]
    pub lease_takeovers: u64,
    /// Requests held back by the rate limit of an endpoint.
    #[component(name = "budget-waits")]
    pub budget_waits: u64,
}

fn by_kind<S: Serializer>(failures: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(failures.iter().map(|(kind, count)| (kind, count)))
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WireReport {
    source: String,
    verdict: Verdict,
    reason: String,
    #[component(name = "would-send")]
    would_send: Option<String>,
    variables: Vec<(String, bool)>,
    #[component(name = "last-failure")]
    last_failure: Option<WireFailure>,
}

impl From<WireReport> for SourceReport {
    fn from(report: WireReport) -> Self {
        Self {
            source: report.source,
            verdict: report.verdict,
            reason: report.reason,
            would_send: report.would_send,
            variables: report.variables,
            last_failure: report.last_failure.map(Into::into),
        }
    }
}
