//! The response to a request for which there is no token.

use std::time::Duration;

use token_broker::{Error, Failure};
use token_broker_egress::Problem;

use crate::abi::{Status, Stream};
use crate::host::log_error;
use crate::pairs;

/// Answer a request with the problem document in the place of the upstream.
pub(crate) fn send(stream: Stream, error: &Error) {
    let problem = Problem::from(error);
    let headers = problem.headers();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let details = format!("token_broker_{}", problem.kind.replace('-', "_"));
    let sent = stream.respond(problem.status, &details, &pairs::encode(&headers), &problem.body);
    if let Err(status) = sent
        && stream.is_there()
    {
        log_error("a request gets no answer", &format!("{status}, for {error}"));
    }
}

/// A call on which the answer depends, and which the proxy did not do.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Other(format!(
            "the proxy does not do what the filter needs for this request: {status}; fix: report it, with the version of the \
             proxy"
        ))
    }
}

/// For a request whose deadline passes while a token is being fetched.
pub(crate) fn too_late(deadline: Duration) -> Error {
    Error::Transient(Failure {
        source: "token-broker".into(),
        message: format!("no token came within {} ms; it is still being fetched", deadline.as_millis()),
        remedy: Some("see the log of the proxy for what the identity service answers; `deadline_ms` is how long a request waits".to_owned()),
        ..Failure::default()
    })
}

/// For a request that finds the waiting room full.
pub(crate) fn too_many() -> Error {
    Error::Throttled(Failure {
        source: "token-broker".into(),
        message: "too many requests wait for a token already".to_owned(),
        remedy: Some("see the log of the proxy for what the identity service answers".to_owned()),
        ..Failure::default()
    })
}

/// For a request without a rule, where such are refused.
pub(crate) fn unmatched() -> Error {
    Error::Denied("no rule of the proxy is for this request; fix: add one to `rules`".to_owned())
}
