//! What an HTTP exchange comes to, which is the same on every WASI: its limit, its answer, its failures.

use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use token_broker::{Body, Host as _, Limits, SendError, SendErrorKind, milliseconds};

use crate::host::Wasi;
use crate::http::ErrorCode;

/// What comes of an exchange, unless the total limit passes first: the host's own timeouts begin anew with each byte.
pub(crate) async fn within<T>(
    limits: Limits,
    exchange: impl Future<Output = Result<T, SendError>>,
) -> Result<T, SendError> {
    match select(pin!(exchange), pin!(Wasi.sleep(limits.total))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), _)) => {
            let detail = format!("nothing complete within {} ms", milliseconds(limits.total));
            Err(SendError { kind: SendErrorKind::TimedOut, detail })
        }
    }
}

pub(crate) fn answer(
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
) -> Result<Response<Body>, SendError> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() =
        StatusCode::from_u16(status).map_err(|_| failed(SendErrorKind::Broken, "the status is none"))?;
    for (name, value) in headers {
        // What is not a header to us cannot be one that we look for.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    Ok(answer)
}

/// An answer had begun when this happened.
pub(crate) fn broken_off(code: &ErrorCode) -> SendError {
    let error = unsent(code);
    let kind = match error.kind {
        SendErrorKind::TimedOut | SendErrorKind::TooLarge => error.kind,
        _ => SendErrorKind::Truncated,
    };
    SendError { kind, ..error }
}

pub(crate) fn unsent(code: &ErrorCode) -> SendError {
    use SendErrorKind::{Broken, Forbidden, NotConnected, TimedOut, TooLarge, Truncated, Untrusted};
    match code {
        ErrorCode::ConnectionRefused => failed(NotConnected, "connection refused"),
        ErrorCode::ConnectionTimeout => failed(NotConnected, "no connection in time"),
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) => failed(NotConnected, "the name cannot be resolved"),
        ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpUnroutable => failed(NotConnected, "the address cannot be reached"),
        ErrorCode::HttpRequestDenied => failed(Forbidden, "request denied"),
        ErrorCode::DestinationIpProhibited => failed(Forbidden, "address prohibited"),
        ErrorCode::HttpResponseTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout => failed(TimedOut, "no answer in time"),
        ErrorCode::HttpResponseIncomplete => failed(Truncated, "the answer is incomplete"),
        ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_) => failed(TooLarge, "the answer is too large for the host"),
        ErrorCode::TlsCertificateError => {
            failed(Untrusted, "the host's log says why (TOKEN_BROKER_LOG=error)")
        }
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => failed(Broken, "no TLS connection"),
        ErrorCode::InternalError(Some(words)) => failed(Broken, words),
        ErrorCode::ConnectionTerminated => failed(Broken, "connection terminated"),
        _ => failed(Broken, "not an HTTP answer"),
    }
}

pub(crate) fn failed(kind: SendErrorKind, detail: &str) -> SendError {
    SendError { kind, detail: detail.to_owned() }
}
