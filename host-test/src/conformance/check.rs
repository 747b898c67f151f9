//! Whether an answer is the expected one.

use std::collections::BTreeMap;

use super::broker::{self, AccessToken, Error, Failure, Outcome, SourceReport, Statistics};
use super::case::{Count, Counter, ErrorKind, Then, Verdict};

impl Then {
    /// In what an answer is not the expected one.
    pub(crate) fn differences(&self, outcome: &Outcome) -> Vec<String> {
        match outcome {
            Ok(_) if self.is_error() => vec!["there must be an error and is a token".to_owned()],
            Ok(token) => self.differences_of_token(token),
            Err(error) if !self.is_error() => vec![format!("there must be a token and is {error:?}")],
            Err(error) => self.differences_of_error(error),
        }
    }

    fn differences_of_token(&self, token: &AccessToken) -> Vec<String> {
        let mut differences = Vec::new();
        if self.token.as_ref().is_some_and(|wanted| *wanted != token.token) {
            // A token is not shown, not even one of a case.
            differences.push("the token is another one".to_owned());
        }
        differences.extend(other("expires-on", self.expires_on.as_ref(), &token.expires_on));
        differences.extend(other("refresh-on", self.refresh_on.as_ref(), &token.refresh_on));
        differences
    }

    fn differences_of_error(&self, error: &Error) -> Vec<String> {
        let (kind, failures) = parts(error);
        // Of several sources the last one tried is the one that speaks.
        let last = failures.last().copied();
        let mut differences = Vec::new();
        differences.extend(other("error", self.error.as_ref(), &kind));
        differences.extend(other("status", self.status.as_ref(), &last.and_then(|failure| failure.status)));
        differences.extend(other("code", self.code.as_ref(), &last.and_then(|failure| failure.code.clone())));
        if let Some(wanted) = &self.correlation_id {
            let got = last.and_then(|failure| failure.correlation_id.as_ref());
            differences.extend(other("correlation-id", Some(&Some(wanted)), &got));
        }
        let wait = failures.iter().filter_map(|failure| failure.retry_after_ms).min();
        differences.extend(other("retry-after-ms", self.retry_after_ms.as_ref(), &wait));
        differences.extend(lacking("message", &self.message_contains, &messages(error)));
        differences.extend(holding("message", &self.message_lacks, &messages(error)));
        differences.extend(lacking("remedy", &self.remedy_contains, &remedies(&failures)));
        differences.extend(holding("remedy", &self.remedy_lacks, &remedies(&failures)));
        // Whatever a case is about, an operator must be told what to do.
        if last.is_some_and(|failure| failure.remedy.as_ref().is_none_or(String::is_empty)) {
            differences.push("there must be a remedy and is none".to_owned());
        }
        if !differences.is_empty() {
            differences.push(format!("the error is {error:?}"));
        }
        differences
    }
}

fn other<T: PartialEq + std::fmt::Debug>(what: &str, wanted: Option<&T>, got: &T) -> Option<String> {
    let wanted = wanted.filter(|wanted| *wanted != got)?;
    Some(format!("{what} must be {wanted:?} and is {got:?}"))
}

fn lacking(what: &str, parts: &[String], text: &str) -> Vec<String> {
    let lacking = parts.iter().filter(|part| !text.contains(part.as_str()));
    lacking.map(|part| format!("the {what} must hold {part:?}")).collect()
}

fn holding(what: &str, parts: &[String], text: &str) -> Vec<String> {
    let holding = parts.iter().filter(|part| text.contains(part.as_str()));
    holding.map(|part| format!("the {what} must not hold {part:?}")).collect()
}

fn parts(error: &Error) -> (ErrorKind, Vec<&Failure>) {
    match error {
        Error::InvalidRequest(_) => (ErrorKind::InvalidRequest, Vec::new()),
        Error::Misconfigured(_) => (ErrorKind::Misconfigured, Vec::new()),
        Error::Denied(_) => (ErrorKind::Denied, Vec::new()),
        Error::Unavailable(failures) => (ErrorKind::Unavailable, failures.iter().collect()),
        Error::Rejected(failure) => (ErrorKind::Rejected, vec![failure]),
        Error::Throttled(failure) => (ErrorKind::Throttled, vec![failure]),
        Error::Transient(failure) => (ErrorKind::Transient, vec![failure]),
        Error::Protocol(failure) => (ErrorKind::Protocol, vec![failure]),
        Error::Other(_) => (ErrorKind::Other, Vec::new()),
    }
}

/// The words of every source that was tried, one after the other.
fn messages(error: &Error) -> String {
    match error {
        Error::InvalidRequest(text)
        | Error::Misconfigured(text)
        | Error::Denied(text)
        | Error::Other(text) => text.clone(),
        Error::Unavailable(_)
        | Error::Rejected(_)
        | Error::Throttled(_)
        | Error::Transient(_)
        | Error::Protocol(_) => {
            let (_, failures) = parts(error);
            failures.into_iter().map(words).collect()
        }
    }
}

/// What an operator reads before the remedy.
fn words(failure: &Failure) -> String {
    let Failure { source, code, message, correlation_id, .. } = failure;
    format!("{source}: {message} {code:?} {correlation_id:?}\n")
}

fn remedies(failures: &[&Failure]) -> String {
    failures.iter().filter_map(|failure| failure.remedy.as_deref()).collect::<Vec<_>>().join("\n")
}

/// Which counters are not as expected.
pub(crate) fn other_counts(wanted: &BTreeMap<Counter, Count>, got: &Statistics) -> Vec<String> {
    let differing = wanted.iter().flat_map(|(counter, count)| match count {
        Count::Plain(wanted) => {
            Vec::from_iter(other(&format!("{counter:?}"), Some(wanted), &counter.of(got)))
        }
        Count::ByKind(kinds) => {
            let of_kind = |kind: &str| {
                got.failures.iter().find(|(name, _)| name == kind).map_or(0, |(_, count)| *count)
            };
            let differing =
                kinds.iter().filter_map(|(kind, wanted)| other(kind, Some(wanted), &of_kind(kind)));
            differing.collect()
        }
    });
    differing.collect()
}

/// Which sources do not stand as expected.
pub(crate) fn other_verdicts(wanted: &BTreeMap<String, Verdict>, got: &[SourceReport]) -> Vec<String> {
    let of_source = |name: &str| {
        let report = got.iter().find(|report| report.source == name)?;
        Some(Verdict::from(report.verdict))
    };
    let differing = wanted.iter().filter_map(|(name, wanted)| {
        other(&format!("the verdict on {name}"), Some(&Some(*wanted)), &of_source(name))
    });
    differing.collect()
}

impl From<broker::Verdict> for Verdict {
    fn from(verdict: broker::Verdict) -> Self {
        match verdict {
            broker::Verdict::Used => Self::Used,
            broker::Verdict::Ready => Self::Ready,
            broker::Verdict::NotConfigured => Self::NotConfigured,
            broker::Verdict::Misconfigured => Self::Misconfigured,
            broker::Verdict::Failed => Self::Failed,
        }
    }
}

impl Counter {
    fn of(self, stats: &Statistics) -> u64 {
        match self {
            Self::Requests => stats.requests,
            Self::Hits => stats.hits,
            Self::StaleHits => stats.stale_hits,
            Self::Misses => stats.misses,
            Self::Refreshes => stats.refreshes,
            Self::Fetches => stats.fetches,
            Self::Waiters => stats.waiters,
            Self::Failures => stats.failures.iter().map(|(_, count)| count).sum(),
            Self::StoreHits => stats.store_hits,
            Self::StoreMisses => stats.store_misses,
            Self::StoreErrors => stats.store_errors,
            Self::StoreTampered => stats.store_tampered,
            Self::LeaseWaits => stats.lease_waits,
            Self::LeaseTakeovers => stats.lease_takeovers,
            Self::BudgetWaits => stats.budget_waits,
        }
    }
}
