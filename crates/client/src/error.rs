//! Why there is no token, in one line.

use std::time::Duration;
use std::{fmt, slice};

use crate::{Cause, Failure};

/// Why there is no token, and what mends it
#[derive(Clone, Debug)]
pub struct Error(Cause);

impl Error {
    /// The broker's own account of it
    pub fn cause(&self) -> &Cause {
        &self.0
    }

    /// Whether the same call may succeed later with nothing mended
    pub fn is_transient(&self) -> bool {
        matches!(self.0, Cause::Throttled(_) | Cause::Transient(_))
    }

    /// The shortest wait after which a try could succeed: of several sources, that of the one that is ready first
    pub fn retry_after(&self) -> Option<Duration> {
        self.failures().iter().filter_map(|failure| failure.retry_after_ms).min().map(Duration::from_millis)
    }

    /// The command or the setting that mends it, where one is known; of several sources, that of the last one tried
    ///
    /// What is wrong with a request or with the configuration says it in its own words.
    pub fn remedy(&self) -> Option<&str> {
        self.failures().iter().rev().find_map(|failure| failure.remedy.as_deref())
    }

    fn failures(&self) -> &[Failure] {
        match &self.0 {
            Cause::Rejected(failure)
            | Cause::Throttled(failure)
            | Cause::Transient(failure)
            | Cause::Protocol(failure) => slice::from_ref(failure),
            Cause::Unavailable(failures) => failures,
            Cause::InvalidRequest(_) | Cause::Misconfigured(_) | Cause::Denied(_) | Cause::Other(_) => &[],
        }
    }
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self(cause)
    }
}

impl std::error::Error for Error {}

/// One line, as the broker's own log has it
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::InvalidRequest(why) => write!(f, "invalid-request: {why}"),
            Cause::Misconfigured(why) => write!(f, "misconfigured: {why}"),
            Cause::Denied(why) => write!(f, "denied: {why}"),
            Cause::Unavailable(failures) => {
                f.write_str("unavailable: ")?;
                failures.iter().enumerate().try_for_each(|(nth, failure)| {
                    f.write_str(if nth == 0 { "" } else { " | " })?;
                    write_failure(f, failure)
                })
            }
            Cause::Rejected(failure) => f.write_str("rejected: ").and_then(|()| write_failure(f, failure)),
            Cause::Throttled(failure) => f.write_str("throttled: ").and_then(|()| write_failure(f, failure)),
            Cause::Transient(failure) => f.write_str("transient: ").and_then(|()| write_failure(f, failure)),
            Cause::Protocol(failure) => f.write_str("protocol: ").and_then(|()| write_failure(f, failure)),
            Cause::Other(why) => write!(f, "other: {why}"),
        }
    }
}

fn write_failure(f: &mut fmt::Formatter<'_>, failure: &Failure) -> fmt::Result {
    write!(f, "{}: {}", failure.source, failure.message)?;
    if let Some(id) = &failure.correlation_id {
        write!(f, " (correlation id {id})")?;
    }
    if let Some(ms) = failure.retry_after_ms {
        write!(f, "; try again in {} s", ms.div_ceil(1000))?;
    }
    match &failure.remedy {
        Some(remedy) => write!(f, "; fix: {remedy}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_names_the_source_its_words_and_the_remedy_in_one_line() {
        let failure = Failure {
            remedy: Some("run az identity assign".into()),
            ..failure("imds", "Identity not found")
        };

        let line = Error::from(Cause::Rejected(failure)).to_string();

        assert_eq!(line, "rejected: imds: Identity not found; fix: run az identity assign");
    }

    #[test]
    fn every_source_that_was_tried_is_named() {
        let error = Error::from(Cause::Unavailable(vec![
            failure("app-service", "not set"),
            failure("imds", "no answer"),
        ]));

        let line = error.to_string();

        assert_eq!(line, "unavailable: app-service: not set | imds: no answer");
        assert!(!error.is_transient());
    }

    #[test]
    fn a_throttled_call_says_when_to_come_back() {
        let error = Error::from(Cause::Throttled(Failure {
            retry_after_ms: Some(1500),
            ..failure("imds", "too many")
        }));

        assert!(error.is_transient());
        assert_eq!(error.retry_after(), Some(Duration::from_millis(1500)));
        assert_eq!(error.to_string(), "throttled: imds: too many; try again in 2 s");
    }

    #[test]
    fn the_wait_is_the_shortest_after_which_a_try_could_succeed() {
        let with = |wait: &Option<u64>| Failure {
            retry_after_ms: wait.map(|wait| wait * 1000),
            ..failure("imds", "no")
        };
        let cases: [(&[Option<u64>], Option<u64>); 4] = [
            (&[Some(9), None, Some(2), Some(30)], Some(2)),
            (&[None, Some(5)], Some(5)),
            (&[None], None),
            (&[], None),
        ];
        for (all, shortest) in cases {
            let error = Error::from(Cause::Unavailable(all.iter().map(with).collect()));
            assert_eq!(error.retry_after(), shortest.map(Duration::from_secs), "{all:?}");
        }
        let throttled = Failure { retry_after_ms: Some(1500), ..failure("imds", "no") };
        assert_eq!(Error::from(Cause::Throttled(throttled)).retry_after(), Some(Duration::from_millis(1500)));
        assert_eq!(Error::from(Cause::Denied("no".into())).retry_after(), None);
    }

    #[test]
    fn the_remedy_is_that_of_the_last_source_that_has_one() {
        let with = |remedy: &str| Failure { remedy: Some(remedy.into()), ..failure("imds", "no") };
        let all = vec![with("first"), with("second"), failure("imds", "no")];

        assert_eq!(Error::from(Cause::Unavailable(all)).remedy(), Some("second"));
        assert_eq!(Error::from(Cause::Rejected(with("mend it"))).remedy(), Some("mend it"));
        assert_eq!(Error::from(Cause::Denied("no".into())).remedy(), None);
    }

    fn failure(source: &str, message: &str) -> Failure {
        Failure {
            source: source.into(),
            status: None,
            code: None,
            message: message.into(),
            correlation_id: None,
            remedy: None,
            retry_after_ms: None,
        }
    }
}
