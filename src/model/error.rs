//! The errors of the contract, and their remedies.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::duration::milliseconds;

/// The reason why there is no token.
///
/// The cases are those of the contract, of which a later version may have more. `Display` is one line: the request, the
/// service, the answer, and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The caller's mistake. Nothing was sent.
    InvalidRequest(String),
    /// A mistake in the configuration: the variable and its accepted form. Nothing was sent.
    Misconfigured(String),
    /// The policy refuses this scope or identity. Nothing was sent.
    Denied(String),
    /// No source works here: one failure for each that was tried, in order.
    Unavailable(Vec<Failure>),
    /// The identity service refuses the request. A retry does not help.
    Rejected(Failure),
    /// The identity service limits the rate of requests. Retry after [`Error::retry_after`].
    Throttled(Failure),
    /// The network or the service failed, after the retries.
    Transient(Failure),
    /// The answer cannot be read or trusted.
    Protocol(Failure),
    /// A defect of the broker or of its host.
    Other(String),
}

/// The failure of one identity source. It contains no secret, and can be shown to an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The name of the source, as in the contract's `source-report`.
    pub source: Cow<'static, str>,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// The error code of the service.
    pub code: Option<String>,
    /// The request, the service, and the answer, in one sentence.
    pub message: String,
    /// The id of the request, which Azure's support asks for.
    pub correlation_id: Option<String>,
    /// The fix: the command to run or the setting to change.
    pub remedy: Option<String>,
    /// The time to wait before the next request.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An [`Error::InvalidRequest`] with its fix.
    pub fn invalid_request(text: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self::InvalidRequest(with_fix(text, fix))
    }

    /// An [`Error::Misconfigured`] with its fix.
    pub fn misconfigured(text: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self::Misconfigured(with_fix(text, fix))
    }

    /// An [`Error::Denied`] with the change that would allow the request.
    pub fn denied(text: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self::Denied(with_fix(text, fix))
    }

    /// The text without the kind, for an error that is reported as part of another. Of failures, the last one's message.
    pub fn detail(&self) -> &str {
        match self {
            Self::InvalidRequest(text)
            | Self::Misconfigured(text)
            | Self::Denied(text)
            | Self::Other(text) => text,
            _ => self.failures().last().map_or("", |failure| &failure.message),
        }
    }

    /// The name of the case in the contract.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid-request",
            Self::Misconfigured(_) => "misconfigured",
            Self::Denied(_) => "denied",
            Self::Unavailable(_) => "unavailable",
            Self::Rejected(_) => "rejected",
            Self::Throttled(_) => "throttled",
            Self::Transient(_) => "transient",
            Self::Protocol(_) => "protocol",
            Self::Other(_) => "other",
        }
    }

    /// Whether the same call may succeed later without a fix.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Transient(_))
    }

    /// The time after which a retry may succeed: the shortest one of all failures.
    pub fn retry_after(&self) -> Option<Duration> {
        self.failures().iter().filter_map(|failure| failure.retry_after).min()
    }

    /// The fix: the command to run or the setting to change.
    pub fn remedy(&self) -> Option<&str> {
        self.failures().iter().rev().find_map(|failure| failure.remedy.as_deref())
    }

    /// The failures of the sources, in the order in which they were tried.
    pub fn failures(&self) -> &[Failure] {
        match self {
            Self::Unavailable(failures) => failures,
            Self::Rejected(failure)
            | Self::Throttled(failure)
            | Self::Transient(failure)
            | Self::Protocol(failure) => std::slice::from_ref(failure),
            Self::InvalidRequest(_) | Self::Misconfigured(_) | Self::Denied(_) | Self::Other(_) => &[],
        }
    }

    /// The time for which the failure is cached, so that callers do not flood a broken endpoint; none if it is not
    /// cached.
    pub(crate) fn cooldown(&self) -> Option<Duration> {
        let floor = match self {
            Self::Unavailable(_) | Self::Rejected(_) => Duration::from_secs(10),
            Self::Throttled(_) | Self::Transient(_) | Self::Protocol(_) => Duration::from_secs(1),
            Self::InvalidRequest(_) | Self::Misconfigured(_) | Self::Denied(_) | Self::Other(_) => {
                return None;
            }
        };
        Some(self.retry_after().map_or(floor, |wait| wait.max(floor)).min(MAX_COOLDOWN))
    }

    /// The value of a `Retry-After` header, in seconds: the time for which the failure is cached. None if a retry does
    /// not help.
    pub fn retry_after_header(&self) -> Option<u64> {
        let cooldown = self.cooldown().filter(|_| self.is_transient())?;
        Some(milliseconds(cooldown).div_ceil(1000))
    }

    /// The same error with the time that is left of its wait.
    pub(crate) fn with_wait_left(mut self, left: Duration) -> Self {
        match &mut self {
            Self::Throttled(failure) => failure.retry_after = Some(left),
            Self::Rejected(failure) | Self::Transient(failure) | Self::Protocol(failure) => {
                failure.retry_after = failure.retry_after.map(|wait| wait.min(left));
            }
            Self::Unavailable(_)
            | Self::InvalidRequest(_)
            | Self::Misconfigured(_)
            | Self::Denied(_)
            | Self::Other(_) => {}
        }
        self
    }
}

/// The text of an error without a [`Failure`], which ends with its fix.
fn with_fix(text: impl fmt::Display, fix: impl fmt::Display) -> String {
    format!("{text}; fix: {fix}")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind())?;
        match self {
            Self::InvalidRequest(text)
            | Self::Misconfigured(text)
            | Self::Denied(text)
            | Self::Other(text) => f.write_str(text),
            _ => {
                for (nth, failure) in self.failures().iter().enumerate() {
                    let separator = if nth == 0 { "" } else { " | " };
                    write!(f, "{separator}{failure}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

impl Failure {
    /// The failure of a source. `message`: the request, the server, and its response.
    pub fn new(source: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { source: source.into(), message: message.into(), ..Self::default() }
    }

    /// The same failure with a remedy.
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The same failure with the time before the next attempt.
    pub fn with_retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.message)?;
        if let Some(id) = &self.correlation_id {
            write!(f, " (correlation id {id})")?;
        }
        if let Some(wait) = self.retry_after {
            write!(f, "; try again in {} s", milliseconds(wait).div_ceil(1000))?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; fix: {remedy}")?;
        }
        Ok(())
    }
}

/// The longest time for which a failure is cached.
const MAX_COOLDOWN: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure {
            source: "imds".into(),
            message: "asked for a token and got 429".into(),
            correlation_id: Some("c-1".into()),
            remedy: Some("wait".into()),
            retry_after: Some(Duration::from_millis(1500)),
            ..Failure::default()
        }
    }

    #[test]
    fn only_throttling_and_outages_are_transient() {
        assert!(Error::Throttled(failure()).is_transient());
        assert!(Error::Transient(failure()).is_transient());
        for error in [
            Error::InvalidRequest(String::new()),
            Error::Misconfigured(String::new()),
            Error::Denied(String::new()),
            Error::Unavailable(vec![failure()]),
            Error::Rejected(failure()),
            Error::Protocol(failure()),
            Error::Other(String::new()),
        ] {
            assert!(!error.is_transient(), "{error}");
        }
    }

    #[test]
    fn an_error_is_one_line_that_ends_with_the_fix() {
        let line = Error::Throttled(failure()).to_string();
        assert_eq!(
            line,
            "throttled: imds: asked for a token and got 429 (correlation id c-1); try again in 2 s; fix: wait"
        );
    }

    #[test]
    fn the_wait_is_the_shortest_after_which_a_try_could_succeed() {
        let after = |wait: &Option<u64>| Failure { retry_after: wait.map(Duration::from_secs), ..failure() };
        let cases: [(&[Option<u64>], Option<u64>); 4] = [
            (&[Some(9), None, Some(2), Some(30)], Some(2)),
            (&[None, Some(5)], Some(5)),
            (&[None], None),
            (&[], None),
        ];
        for (all, shortest) in cases {
            let error = Error::Unavailable(all.iter().map(after).collect());
            assert_eq!(error.retry_after(), shortest.map(Duration::from_secs), "{all:?}");
        }
        assert_eq!(Error::Throttled(failure()).retry_after(), Some(Duration::from_millis(1500)));
        assert_eq!(Error::Denied(String::new()).retry_after(), None);
    }

    #[test]
    fn the_remedy_of_a_chain_is_that_of_the_last_source() {
        let first = Failure { remedy: Some("first".into()), ..failure() };
        assert_eq!(Error::Unavailable(vec![first, failure()]).remedy(), Some("wait"));
    }
}
