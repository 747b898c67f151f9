//! One HTTP exchange, as far as it is the same on every WASI: the request's head, the time limit, the answer, the errors.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use token_broker::{Body, Limits, SendError, SendErrorKind, milliseconds};

use crate::http::{ErrorCode, Method, OutgoingRequest, RequestOptions, Scheme};
use crate::http_error::described;
use crate::wasi::sleep;

/// Runs an exchange within the total limit: the host's own timeouts begin anew with each byte.
pub(crate) async fn within<T>(
    limits: Limits,
    exchange: impl Future<Output = Result<T, SendError>>,
) -> Result<T, SendError> {
    match select(pin!(exchange), pin!(sleep(limits.total))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), _)) => {
            let detail = format!("nothing complete within {} ms", milliseconds(limits.total));
            Err(SendError { kind: SendErrorKind::TimedOut, detail })
        }
    }
}

pub(crate) fn headers(parts: &Parts) -> Vec<(String, Vec<u8>)> {
    let pairs = parts.headers.iter();
    pairs.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// Sets the method and the URL of a request; none if the host does not take them.
pub(crate) fn set_head(request: &OutgoingRequest, parts: &Parts) -> Option<()> {
    let method = match &parts.method {
        &http::Method::GET => Method::Get,
        &http::Method::POST => Method::Post,
        other => Method::Other(other.as_str().to_owned()),
    };
    request.set_method(&method).ok()?;
    let scheme = if parts.uri.scheme_str() == Some("http") { Scheme::Http } else { Scheme::Https };
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(parts.uri.authority().map(|authority| authority.as_str())).ok()?;
    request.set_path_with_query(parts.uri.path_and_query().map(|path| path.as_str())).ok()
}

/// The timeouts of a request. A host may ignore each of them: the total limit is enforced by [`within`].
pub(crate) fn options(limits: Limits) -> RequestOptions {
    let options = RequestOptions::new();
    let total = Some(nanoseconds(limits.total));
    let _ = options.set_connect_timeout(Some(nanoseconds(limits.connect)));
    let _ = options.set_first_byte_timeout(total);
    let _ = options.set_between_bytes_timeout(total);
    options
}

/// A duration as WASI takes it, never zero: some hosts trap on a timeout of zero.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The answer as the core takes it. A header with an invalid name or value is left out: the core reads none such.
pub(crate) fn answer(
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
) -> Result<Response<Body>, SendError> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() =
        StatusCode::from_u16(status).map_err(|_| failed(SendErrorKind::Broken, "invalid HTTP status"))?;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    Ok(answer)
}

/// The error of an exchange that broke after its answer had begun.
pub(crate) fn broken_off(code: &ErrorCode) -> SendError {
    let error = unsent(code);
    let kind = match error.kind {
        SendErrorKind::TimedOut | SendErrorKind::TooLarge => error.kind,
        _ => SendErrorKind::Truncated,
    };
    SendError { kind, ..error }
}

/// The error of an exchange that broke before its answer began.
pub(crate) fn unsent(code: &ErrorCode) -> SendError {
    let (kind, words) = described(code);
    failed(kind, words)
}

pub(crate) fn failed(kind: SendErrorKind, detail: &str) -> SendError {
    SendError { kind, detail: detail.to_owned() }
}
