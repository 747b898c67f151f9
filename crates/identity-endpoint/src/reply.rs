//! The forms of a token and of a refusal in each protocol.

use std::fmt;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;
use token_broker::{Body, Error};

use crate::api::{Protocol, Question};

/// An HTTP response. The body may hold a token.
pub type Reply = Response<Body>;

/// A token to give out.
#[derive(Clone, Copy)]
pub struct Granted<'a> {
    /// The secret.
    pub token: &'a str,
    /// The scheme of the `Authorization` header, `Bearer` as a rule.
    pub token_type: &'a str,
    /// The time at which it ends, in Unix seconds.
    pub expires_on: u64,
}

/// A refusal, before it has the form of a protocol.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The service's own code, if it has one.
    pub(crate) code: Option<String>,
    /// The reason and the fix, in one line.
    pub(crate) text: String,
    pub(crate) correlation_id: Option<String>,
    /// The value of `Retry-After`, in seconds.
    pub(crate) retry_after: Option<u64>,
}

/// The outcome of a question: a token, or the error for which there is none.
pub type Outcome<'a> = Result<Granted<'a>, &'a Error>;

impl Question {
    /// The response with the token, or with the error in words that SDKs show to their users. `now` is the time since the
    /// Unix epoch.
    pub fn answer(&self, outcome: Outcome<'_>, now: Duration) -> Reply {
        match outcome {
            Ok(granted) => self.granted(granted, now),
            Err(error) => self.protocol().refused(&Refusal::of(error)),
        }
    }

    fn granted(&self, granted: Granted<'_>, now: Duration) -> Reply {
        let Granted { token, token_type, expires_on } = granted;
        let expires_in = expires_on.saturating_sub(now.as_secs()).to_string();
        let is_imds = self.protocol() == Protocol::Imds;
        let body = TokenBody {
            access_token: token,
            expires_on: &expires_on.to_string(),
            resource: self.audience(),
            token_type,
            expires_in: is_imds.then_some(&*expires_in),
            ext_expires_in: is_imds.then_some(&*expires_in),
            refresh_token: is_imds.then_some(""),
        };
        reply(StatusCode::OK, &body, token.len())
    }
}

impl Protocol {
    pub(crate) fn refused(self, refusal: &Refusal) -> Reply {
        let Refusal { status, text, code, correlation_id, retry_after } = refusal;
        let mut reply = match self {
            Self::Imds => {
                let error = code.as_deref().unwrap_or_else(|| usual_code(*status));
                reply(*status, &ImdsRefusal { error, error_description: text }, 0)
            }
            Self::AppService => {
                let correlation_id = correlation_id.as_deref();
                let status_code = status.as_u16();
                reply(*status, &AppServiceRefusal { status_code, message: text, correlation_id }, 0)
            }
        };
        if let Some(seconds) = retry_after {
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        if *status == StatusCode::METHOD_NOT_ALLOWED {
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        reply
    }
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, what: impl fmt::Display, fix: impl fmt::Display) -> Self {
        let text = format!("{what}; fix: {fix}");
        Self { status, text, code: None, correlation_id: None, retry_after: None }
    }

    pub(crate) fn bad(what: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what, fix)
    }

    pub(crate) fn of(error: &Error) -> Self {
        let last = error.failures().last();
        Self {
            status: status(error),
            code: last.and_then(|failure| failure.code.clone()),
            text: error.to_string(),
            correlation_id: last.and_then(|failure| failure.correlation_id.clone()),
            retry_after: error.retry_after_header(),
        }
    }
}

/// The status to which SDKs react correctly: they repeat a request only if it can succeed with nothing fixed, and let a
/// chain of credentials go on where there is no identity, but not where one is refused. They repeat a request after 404,
/// 410, 429 and 5xx, some for a minute and a half, and take 400 for a sign that there is no identity.
fn status(error: &Error) -> StatusCode {
    match error {
        Error::InvalidRequest(_) | Error::Unavailable(_) | Error::Rejected(_) => StatusCode::BAD_REQUEST,
        Error::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
        Error::Transient(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    }
}

/// The name of OAuth where it has one, else that of HTTP.
fn usual_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "unauthorized_client",
        StatusCode::FORBIDDEN => "access_denied",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::TOO_MANY_REQUESTS => "too_many_requests",
        StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
        _ => "invalid_request",
    }
}

/// `secret`: the length of the secret in the body, which must not stay behind in a buffer that had to grow.
fn reply(status: StatusCode, body: &impl Serialize, secret: usize) -> Reply {
    let mut json = Vec::with_capacity(secret.saturating_add(ROOM));
    // Neither a Vec nor plain strings can fail to serialize.
    let _ = serde_json::to_writer(&mut json, body);
    let mut reply = Response::new(Body::from(json));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// A token in the form of both protocols. Numbers are texts in both, and some SDKs insist on it.
#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    expires_on: &'a str,
    resource: &'a str,
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ext_expires_in: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

#[derive(Serialize)]
struct ImdsRefusal<'a> {
    error: &'a str,
    error_description: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppServiceRefusal<'a> {
    status_code: u16,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
}

/// For everything in a body but the token, the longest audience included.
const ROOM: usize = 3 * 1024;
