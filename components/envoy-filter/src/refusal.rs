//! The response to a request for which there is no token.

use std::time::Duration;

use token_broker::{Error, Failure};
use token_broker_egress::Problem;

use crate::abi::{Status, Stream, pairs};
use crate::log;

/// Answers a request with the problem document in the place of the upstream.
pub(crate) fn send(stream: Stream, error: &Error) {
    let problem = Problem::from(error);
    let headers = problem.headers();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let details = format!("token_broker_{}", problem.kind.replace('-', "_"));
    let sent = stream.respond(problem.status, &details, &pairs::encode(&headers), &problem.body);
    if let Err(status) = sent
        && stream.is_there()
    {
        log::write_error("a request gets no answer", &format!("{status}, for {error}"));
    }
}

/// The error of a request for which the proxy refused a call.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Other(format!(
            "the proxy refuses a call for this request: {status}; fix: report this, with the version of the proxy"
        ))
    }
}

/// The error of a request whose deadline passes while its token is being fetched.
pub(crate) fn too_late(deadline: Duration) -> Error {
    let message = format!("no token came within {} ms; it is still being fetched", deadline.as_millis());
    Error::Transient(Failure::new(BROKER, message).with_remedy(
        "read the answers of the identity service in the log of the proxy; `deadline_ms` is the time that a request waits",
    ))
}

/// The error of a request for which the wait queue has no room.
pub(crate) fn too_many() -> Error {
    let failure = Failure::new(BROKER, "too many requests wait for a token already");
    Error::Throttled(failure.with_remedy("read the answers of the identity service in the log of the proxy"))
}

/// The error of a request without a rule, where the configuration refuses such requests.
pub(crate) fn unmatched() -> Error {
    Error::denied("no rule of the proxy is for this request", "add one to `rules`")
}

const BROKER: &str = "token-broker";
