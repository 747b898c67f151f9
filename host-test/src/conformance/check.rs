//! The comparison of outcomes, counters and verdicts with those of a case.

use std::collections::BTreeMap;

use super::broker::{self, AccessToken, Error, Failure, Outcome, SourceReport, Statistics};
use super::case::{Count, Counter, ErrorKind, Then, Verdict};

impl Then {
    /// The differences of an outcome from the expected one.
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
        differences.extend(unequal("expires-on", self.expires_on.as_ref(), &token.expires_on));
        differences.extend(unequal("refresh-on", self.refresh_on.as_ref(), &token.refresh_on));
        differences
    }

    fn differences_of_error(&self, error: &Error) -> Vec<String> {
        let (kind, failures) = parts(error);
        // The last source tried speaks for all of them.
        let last = failures.last().copied();
        let mut differences = Vec::new();
        differences.extend(unequal("error", self.error.as_ref(), &kind));
        differences.extend(unequal("status", self.status.as_ref(), &last.and_then(|failure| failure.status)));
        let code = last.and_then(|failure| failure.code.clone());
        differences.extend(unequal("code", self.code.as_ref(), &code));
        if let Some(wanted) = &self.correlation_id {
            let got = last.and_then(|failure| failure.correlation_id.as_ref());
            differences.extend(unequal("correlation-id", Some(&Some(wanted)), &got));
        }
        let wait = failures.iter().filter_map(|failure| failure.retry_after_ms).min();
        differences.extend(unequal("retry-after-ms", self.retry_after_ms.as_ref(), &wait));
        differences.extend(missing("message", &self.message_contains, &messages(error)));
        differences.extend(forbidden("message", &self.message_lacks, &messages(error)));
        differences.extend(missing("remedy", &self.remedy_contains, &remedies(&failures)));
        differences.extend(forbidden("remedy", &self.remedy_lacks, &remedies(&failures)));
        // Every error tells the operator what to do.
        if last.is_some_and(|failure| failure.remedy.as_ref().is_none_or(String::is_empty)) {
            differences.push("there must be a remedy and is none".to_owned());
        }
        if !differences.is_empty() {
            differences.push(format!("the error is {error:?}"));
        }
        differences
    }
}

fn unequal<T: PartialEq + std::fmt::Debug>(what: &str, wanted: Option<&T>, got: &T) -> Option<String> {
    let wanted = wanted.filter(|wanted| *wanted != got)?;
    Some(format!("{what} must be {wanted:?} and is {got:?}"))
}

fn missing(what: &str, parts: &[String], text: &str) -> Vec<String> {
    let missing = parts.iter().filter(|part| !text.contains(part.as_str()));
    missing.map(|part| format!("the {what} must hold {part:?}")).collect()
}

fn forbidden(what: &str, parts: &[String], text: &str) -> Vec<String> {
    let forbidden = parts.iter().filter(|part| text.contains(part.as_str()));
    forbidden.map(|part| format!("the {what} must not hold {part:?}")).collect()
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

/// The messages of all sources that were tried.
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
        | Error::Protocol(_) => parts(error).1.into_iter().map(message).collect(),
    }
}

/// Everything that an operator reads before the remedy.
fn message(failure: &Failure) -> String {
    let Failure { source, code, message, correlation_id, .. } = failure;
    format!("{source}: {message} {code:?} {correlation_id:?}\n")
}

fn remedies(failures: &[&Failure]) -> String {
    failures.iter().filter_map(|failure| failure.remedy.as_deref()).collect::<Vec<_>>().join("\n")
}

/// The counters that differ from the expected ones.
pub(crate) fn count_differences(wanted: &BTreeMap<Counter, Count>, got: &Statistics) -> Vec<String> {
    let differing = wanted.iter().flat_map(|(counter, count)| match count {
        Count::Plain(wanted) => {
            Vec::from_iter(unequal(&format!("{counter:?}"), Some(wanted), &counter.of(got)))
        }
        Count::ByKind(kinds) => {
            let failures = |kind: &str| got.failures.iter().find(|(name, _)| name == kind);
            let of_kind = |kind: &str| failures(kind).map_or(0, |(_, count)| *count);
            kinds.iter().filter_map(|(kind, wanted)| unequal(kind, Some(wanted), &of_kind(kind))).collect()
        }
    });
    differing.collect()
}

/// The sources whose verdict differs from the expected one.
pub(crate) fn verdict_differences(wanted: &BTreeMap<String, Verdict>, got: &[SourceReport]) -> Vec<String> {
    let report_of = |name: &str| got.iter().find(|report| report.source == name);
    let of_source = |name: &str| report_of(name).map(|report| Verdict::from(report.verdict));
    let differing = wanted.iter().filter_map(|(name, wanted)| {
        unequal(&format!("the verdict on {name}"), Some(&Some(*wanted)), &of_source(name))
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
