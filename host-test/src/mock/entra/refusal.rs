//! How Entra ID says no: an OAuth error, its own number for it, and the ids by which support finds the request.

use http::{HeaderName, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::super::{call::Call, date, issuer::unix_now, reply::Reply};

/// What was refused, in words for the caller
#[derive(Debug)]
pub(super) struct Refusal {
    code: Code,
    message: String,
}

/// The number of a mistake, and the OAuth error and status that go with it
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    number: u32,
    error: &'static str,
    status: u16,
}

impl Code {
    pub(super) const ASSERTION_INVALID: Self = Self::of(50_013, "invalid_grant", 400);
    pub(super) const JWT_MALFORMED: Self = Self::of(50_027, "invalid_request", 400);
    pub(super) const UNKNOWN_USER: Self = Self::of(50_034, "invalid_grant", 400);
    pub(super) const UNSUPPORTED_GRANT: Self = Self::of(70_003, "unsupported_grant_type", 400);
    pub(super) const BAD_SCOPE: Self = Self::of(70_011, "invalid_scope", 400);
    pub(super) const SEVERAL_RESOURCES: Self = Self::of(28_000, "invalid_request", 400);
    pub(super) const UNKNOWN_TENANT: Self = Self::of(90_002, "invalid_request", 400);
    pub(super) const BAD_REQUEST: Self = Self::of(90_023, "invalid_request", 400);
    pub(super) const UNAVAILABLE: Self = Self::of(90_033, "temporarily_unavailable", 503);
    pub(super) const THROTTLED: Self = Self::of(90_055, "temporarily_unavailable", 429);
    pub(super) const UNKNOWN_RESOURCE: Self = Self::of(500_011, "invalid_resource", 400);
    pub(super) const USER_ASSERTION_EXPIRED: Self = Self::of(500_133, "invalid_grant", 400);
    pub(super) const UNKNOWN_APP: Self = Self::of(700_016, "unauthorized_client", 400);
    pub(super) const OTHER_CLIENT: Self = Self::of(700_021, "invalid_client", 401);
    pub(super) const WRONG_AUDIENCE: Self = Self::of(700_023, "invalid_client", 401);
    pub(super) const ASSERTION_EXPIRED: Self = Self::of(700_024, "invalid_client", 401);
    pub(super) const BAD_SIGNATURE: Self = Self::of(700_027, "invalid_client", 401);
    pub(super) const NO_FEDERATED_ISSUER: Self = Self::of(700_211, "invalid_client", 401);
    pub(super) const NO_FEDERATED_AUDIENCE: Self = Self::of(700_212, "invalid_client", 401);
    pub(super) const NO_FEDERATED_SUBJECT: Self = Self::of(700_213, "invalid_client", 401);
    pub(super) const MISSING_PARAMETER: Self = Self::of(900_144, "invalid_request", 400);
    pub(super) const NOT_POST: Self = Self::of(900_561, "invalid_request", 400);
    pub(super) const NOT_DEFAULT_SCOPE: Self = Self::of(1_002_012, "invalid_scope", 400);
    pub(super) const APP_ONLY_ASSERTION: Self = Self::of(7_000_114, "invalid_grant", 400);
    pub(super) const WRONG_SECRET: Self = Self::of(7_000_215, "invalid_client", 401);
    pub(super) const NO_CREDENTIAL: Self = Self::of(7_000_216, "invalid_client", 401);
    pub(super) const NO_CREDENTIAL_OF_CLIENT: Self = Self::of(7_000_218, "invalid_client", 401);
    pub(super) const SECRET_EXPIRED: Self = Self::of(7_000_222, "invalid_client", 401);
    pub(super) const DUPLICATE_PARAMETER: Self = Self::of(9_000_411, "invalid_request", 400);

    const fn of(number: u32, error: &'static str, status: u16) -> Self {
        Self { number, error, status }
    }
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn missing(parameter: &str) -> Self {
        let message = format!("The request body must contain the following parameter: '{parameter}'.");
        Self::new(Code::MISSING_PARAMETER, message)
    }

    pub(super) fn reply(&self, call: &Call) -> Reply {
        let Code { number, error, status } = self.code;
        let (trace, correlation) = (Uuid::new_v4(), correlation_id(call));
        let timestamp = date::of_entra(unix_now());
        let description = format!(
            "AADSTS{number}: {}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {timestamp}",
            self.message
        );
        let body = json!({
            "error": error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": timestamp,
            "trace_id": trace.to_string(),
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Reply::json(status, &body).with(REQUEST_ID, &trace.to_string())
    }
}

/// `reply`, by which support finds the request
pub(super) fn traced(reply: Reply, call: &Call) -> Reply {
    let reply = reply.with(REQUEST_ID, &Uuid::new_v4().to_string());
    match call.header("client-request-id") {
        Some(id) => reply.with(HeaderName::from_static("client-request-id"), id),
        None => reply,
    }
}

/// A refusal with this status, as a fault asks for it
pub(super) fn scripted(status: StatusCode) -> Refusal {
    let (code, message) = match status {
        StatusCode::UNAUTHORIZED => (Code::WRONG_SECRET, "Invalid client secret provided."),
        StatusCode::TOO_MANY_REQUESTS => (Code::THROTTLED, "There are too many incoming requests."),
        status if status.is_client_error() => (Code::BAD_REQUEST, "The request isn't valid."),
        _ => (Code::UNAVAILABLE, "A transient error has occurred. Please try again."),
    };
    Refusal::new(Code { status: status.as_u16(), ..code }, message)
}

/// Without the number in front, since IMDS says it too
pub(in super::super) fn unknown_resource(resource: &str, tenant: &str) -> String {
    format!(
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the \
         application has not been installed by the administrator of the tenant or consented to by any user in the \
         tenant. You might have sent your authentication request to the wrong tenant."
    )
}

/// The caller's own id for the request, if it is one
fn correlation_id(call: &Call) -> String {
    let given =
        ["client-request-id", "x-ms-client-request-id"].into_iter().find_map(|name| call.header(name));
    let id = given.and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_else(Uuid::new_v4);
    id.to_string()
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
