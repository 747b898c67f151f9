//! The error of a call for a token.

use std::time::Duration;
use std::{fmt, slice};

use crate::{Cause, Failure};

/// The reason why there is no token, with the fix where one is known
///
/// The methods and the text are those of the broker's own error.
#[derive(Clone, Debug)]
pub struct Error(Cause);

impl Error {
    /// The broker's error, case by case
    pub fn cause(&self) -> &Cause {
        &self.0
    }

    /// Whether the same call may succeed later with nothing fixed
    pub fn is_transient(&self) -> bool {
        matches!(self.0, Cause::Throttled(_) | Cause::Transient(_))
    }

    /// The shortest wait after which another call could succeed: of several sources, the one that is ready first
    pub fn retry_after(&self) -> Option<Duration> {
        self.failures().iter().filter_map(|failure| failure.retry_after_ms).min().map(Duration::from_millis)
    }

    /// The command or the setting that fixes it, where one is known; of several sources, that of the last one tried
    ///
    /// None for an invalid request, a mistake in the configuration and a denial: their text says it.
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

/// One line, as in the broker's log
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
    use std::time::Duration;

    use token_broker::Error as Core;

    use super::*;

    #[test]
    fn an_error_is_the_cores_in_its_line_its_wait_and_its_remedy() {
        let failure = || token_broker::Failure::new("imds", "asked for a token and got 429");
        let id = || {
            let mut failure = failure();
            failure.correlation_id = Some("c-1".to_owned());
            failure
        };
        let wait = |ms| failure().with_retry_after(Duration::from_millis(ms));
        let remedy = |text| id().with_remedy(text);
        let failures = [failure(), id(), wait(1500), remedy("run az identity assign")];
        let of_failure = [Core::Rejected, Core::Throttled, Core::Transient, Core::Protocol];
        let of_text = [Core::InvalidRequest, Core::Misconfigured, Core::Denied, Core::Other];
        let errors = of_failure
            .into_iter()
            .flat_map(|error| failures.clone().map(error))
            .chain(of_text.map(|error| error("the words".into())))
            .chain([
                Core::Unavailable(Vec::new()),
                Core::Unavailable(failures.to_vec()),
                Core::Unavailable(vec![wait(9000), failure(), wait(2000), wait(30_000)]),
                Core::Unavailable(vec![remedy("first"), remedy("second"), failure()]),
            ]);
        for core in errors {
            let error = Error::from(Cause::from(core.clone()));
            assert_eq!(error.to_string(), core.to_string());
            assert_eq!(error.is_transient(), core.is_transient(), "{core}");
            assert_eq!(error.retry_after(), core.retry_after(), "{core}");
            assert_eq!(error.remedy(), core.remedy(), "{core}");
            assert_eq!(Core::from(error.cause().clone()), core);
        }
    }
}
