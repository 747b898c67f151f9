//! What a client gets for whose request there is no token.

use std::time::Duration;

use serde_json::{Value, json};
use token_broker::{Error, Failure, Problem, milliseconds};

use crate::abi;
use crate::pairs;

/// Answer the current request in the place of whom it was for.
///
/// `503` whatever is wrong: it is not the client's fault. The body is a problem of RFC 9457, and says what the operator
/// needs to know.
pub(crate) fn send(error: &Error, detail: &str) {
    let wait = wait(error).as_secs().max(1).to_string();
    let headers = pairs::encode(&[
        (b"content-type", Problem::CONTENT_TYPE.as_bytes()),
        (b"cache-control", b"no-store"),
        (b"retry-after", wait.as_bytes()),
        (Problem::HEADER.as_bytes(), error.kind().as_bytes()),
    ]);
    let body = problem(error, detail).to_string();
    let details = format!("token_broker_{}", error.kind().replace('-', "_"));
    // If the stream is gone, so is the client.
    let _ = abi::respond(STATUS, &details, &headers, &body);
}

/// Members are left out that the error says nothing of.
fn problem(error: &Error, detail: &str) -> Value {
    let mut problem = json!({
        "title": "There is no token for this request",
        "status": STATUS,
        "kind": error.kind(),
        "detail": detail,
    });
    let Some(last) = error.failures().last() else { return problem };
    let members = [
        ("source", Some(json!(last.source))),
        ("source_status", last.status.map(Into::into)),
        ("code", last.code.as_deref().map(Into::into)),
        ("correlation_id", last.correlation_id.as_deref().map(Into::into)),
        ("remedy", error.remedy().map(Into::into)),
        ("retry_after_ms", error.retry_after().map(|wait| milliseconds(wait).into())),
    ];
    if let Value::Object(problem) = &mut problem {
        problem.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    problem
}

/// What a request gets that waited in vain.
pub(crate) fn too_late(deadline: Duration) -> Error {
    Error::Transient(Failure {
        source: "token-broker".into(),
        message: format!("no token came within {} ms; it is still being fetched", deadline.as_millis()),
        remedy: Some("see the log of the proxy for what the identity service answers; `deadline_ms` is how long a request waits".to_owned()),
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::default()
    })
}

/// What a request gets for which there is no room to wait.
pub(crate) fn too_many() -> Error {
    Error::Throttled(Failure {
        source: "token-broker".into(),
        message: "too many requests wait for a token already".to_owned(),
        remedy: Some("see the log of the proxy for what the identity service answers".to_owned()),
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::default()
    })
}

/// What a request gets that no rule is for, where such are refused.
pub(crate) fn unmatched() -> Error {
    Error::Denied(
        "no rule of the proxy is for this request; whoever deploys it can add one to `rules`".to_owned(),
    )
}

/// When asking again may help: as long as the failure is remembered.
fn wait(error: &Error) -> Duration {
    error.retry_after().unwrap_or(match error {
        Error::Transient(_) | Error::Throttled(_) | Error::Protocol(_) => Duration::from_secs(1),
        _ => Duration::from_secs(10),
    })
}

const STATUS: u16 = 503;
