//! Entra ID's errors: an OAuth error, Entra's own number for it, and the ids by which support finds the request.

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{call::Call, date, issuer::unix_now, reply::Reply};

/// An error, in words for the caller
#[derive(Debug)]
pub(crate) struct EntraError {
    code: Code,
    message: String,
    more: Value,
}

/// The number of a mistake, and the OAuth error and status that go with it
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    number: u32,
    error: &'static str,
    status: u16,
}

impl Code {
    pub(crate) const SECOND_FACTOR: Self = Self::of(50_076, "invalid_grant", 400);
    pub(crate) const SESSIONS_REVOKED: Self = Self::of(50_173, "invalid_grant", 400);
    pub(crate) const NO_CONSENT: Self = Self::of(65_001, "invalid_grant", 400);
    pub(crate) const NO_FEDERATED_CREDENTIAL: Self = Self::of(70_021, "invalid_request", 400);
    pub(crate) const FEDERATED_SUBJECT_CASE: Self = Self::of(7_002_138, "invalid_client", 401);
    pub(crate) const ASSERTION_INVALID: Self = Self::of(50_013, "invalid_grant", 400);
    pub(crate) const JWT_MALFORMED: Self = Self::of(50_027, "invalid_request", 400);
    pub(crate) const UNKNOWN_USER: Self = Self::of(50_034, "invalid_grant", 400);
    pub(crate) const UNSUPPORTED_GRANT: Self = Self::of(70_003, "unsupported_grant_type", 400);
    pub(crate) const BAD_SCOPE: Self = Self::of(70_011, "invalid_scope", 400);
    pub(crate) const SEVERAL_RESOURCES: Self = Self::of(28_000, "invalid_request", 400);
    pub(crate) const UNKNOWN_TENANT: Self = Self::of(90_002, "invalid_request", 400);
    pub(crate) const BAD_REQUEST: Self = Self::of(90_023, "invalid_request", 400);
    pub(crate) const UNAVAILABLE: Self = Self::of(90_033, "temporarily_unavailable", 503);
    pub(crate) const THROTTLED: Self = Self::of(90_055, "temporarily_unavailable", 429);
    pub(crate) const UNKNOWN_RESOURCE: Self = Self::of(500_011, "invalid_resource", 400);
    pub(crate) const USER_ASSERTION_EXPIRED: Self = Self::of(500_133, "invalid_grant", 400);
    pub(crate) const UNKNOWN_APP: Self = Self::of(700_016, "unauthorized_client", 400);
    pub(crate) const OTHER_CLIENT: Self = Self::of(700_021, "invalid_client", 401);
    pub(crate) const WRONG_AUDIENCE: Self = Self::of(700_023, "invalid_client", 401);
    pub(crate) const ASSERTION_EXPIRED: Self = Self::of(700_024, "invalid_client", 401);
    pub(crate) const BAD_SIGNATURE: Self = Self::of(700_027, "invalid_client", 401);
    pub(crate) const NO_FEDERATED_ISSUER: Self = Self::of(700_211, "invalid_client", 401);
    pub(crate) const NO_FEDERATED_AUDIENCE: Self = Self::of(700_212, "invalid_client", 401);
    pub(crate) const NO_FEDERATED_SUBJECT: Self = Self::of(700_213, "invalid_client", 401);
    pub(crate) const MISSING_PARAMETER: Self = Self::of(900_144, "invalid_request", 400);
    pub(crate) const NOT_POST: Self = Self::of(900_561, "invalid_request", 400);
    pub(crate) const NOT_DEFAULT_SCOPE: Self = Self::of(1_002_012, "invalid_scope", 400);
    pub(crate) const APP_ONLY_ASSERTION: Self = Self::of(7_000_114, "invalid_grant", 400);
    pub(crate) const WRONG_SECRET: Self = Self::of(7_000_215, "invalid_client", 401);
    pub(crate) const NO_CREDENTIAL: Self = Self::of(7_000_216, "invalid_client", 401);
    pub(crate) const NO_CREDENTIAL_OF_CLIENT: Self = Self::of(7_000_218, "invalid_client", 401);
    pub(crate) const SECRET_EXPIRED: Self = Self::of(7_000_222, "invalid_client", 401);
    pub(crate) const DUPLICATE_PARAMETER: Self = Self::of(9_000_411, "invalid_request", 400);

    const fn of(number: u32, error: &'static str, status: u16) -> Self {
        Self { number, error, status }
    }

    pub(crate) fn because(self, message: impl Into<String>) -> EntraError {
        EntraError { code: self, message: message.into(), more: json!({}) }
    }
}

impl EntraError {
    /// With these fields beside the others
    pub(crate) fn with(self, more: Value) -> Self {
        Self { more, ..self }
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        let message = format!("The request body must contain the following parameter: '{parameter}'.");
        Code::MISSING_PARAMETER.because(message)
    }

    pub(crate) fn number(&self) -> u32 {
        self.code.number
    }

    pub(crate) fn reply(&self, call: &Call, trace: &str) -> Reply {
        let status = StatusCode::from_u16(self.code.status).unwrap_or(StatusCode::BAD_REQUEST);
        Reply::json(status, self.body(trace, &correlation_id(call), ADDRESS))
    }

    /// In the words of the host at `address`
    fn body(&self, trace: &str, correlation: &str, address: &str) -> Value {
        let Code { number, error, .. } = self.code;
        let timestamp = date::of_entra(unix_now());
        let description = format!(
            "AADSTS{number}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
            self.message
        );
        let mut body = json!({
            "error": error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("{address}/error?code={number}"),
        });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), &self.more) {
            body.extend(more.clone());
        }
        body
    }
}

/// The error as IMDS relays it: without its headers, and with the address of a region
pub(crate) fn relayed_unknown_resource(call: &Call, resource: &str, tenant: &str) -> Reply {
    let error = Code::UNKNOWN_RESOURCE.because(unknown_resource(resource, tenant));
    let trace = Uuid::new_v4().to_string();
    Reply::json(StatusCode::BAD_REQUEST, error.body(&trace, &correlation_id(call), REGIONAL_ADDRESS))
}

/// The answer of discovery for an unknown tenant: the words of the token endpoint, and another error
pub(crate) fn invalid_tenant(call: &Call, tenant: &str) -> Reply {
    let code = Code { error: "invalid_tenant", ..Code::UNKNOWN_TENANT };
    code.because(unknown_tenant(tenant)).reply(call, &Uuid::new_v4().to_string())
}

pub(crate) fn unknown_tenant(tenant: &str) -> String {
    format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
         correct cloud. Check with your subscription administrator, this may happen if there are no active \
         subscriptions for the tenant."
    )
}

/// A refusal with this status, as a fault asks for it
pub(crate) fn scripted(status: StatusCode) -> EntraError {
    let (code, message) = match status {
        StatusCode::UNAUTHORIZED => (Code::WRONG_SECRET, "Invalid client secret provided."),
        StatusCode::TOO_MANY_REQUESTS => (Code::THROTTLED, "There are too many incoming requests."),
        status if status.is_client_error() => (Code::BAD_REQUEST, "The request isn't valid."),
        _ => (Code::UNAVAILABLE, "A transient error has occurred. Please try again."),
    };
    (Code { status: status.as_u16(), ..code }).because(message)
}

/// Without the number in front, since others say it too
pub(crate) fn unknown_resource(resource: &str, tenant: &str) -> String {
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

/// Where it is unless a request names another address
const ADDRESS: &str = "https://login.microsoftonline.com";
const REGIONAL_ADDRESS: &str = "https://westus2.login.microsoft.com";
