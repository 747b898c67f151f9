//! Version 2017-09-01 of the identity endpoint: App Service's legacy, and all that Azure Machine Learning has.

use std::num::NonZeroU64;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Environment, app_service as modern,
    call::Call,
    date,
    identity::{IdKind, Identity, Selector},
    issuer::Issued,
    platform::Platform,
    reply::Reply,
    sections::DateForm,
};

pub(super) fn app_service_environment(platform: &Platform) -> Environment {
    vec![
        ("MSI_ENDPOINT", format!("{}/2017/msi/token", platform.addresses.plain)),
        ("MSI_SECRET", platform.config.app_service_2017.secret.clone()),
    ]
}

pub(super) fn azure_ml_environment(platform: &Platform) -> Environment {
    vec![
        ("MSI_ENDPOINT", format!("{}/msi/auth", platform.addresses.plain)),
        ("MSI_SECRET", platform.config.azure_ml.secret.clone()),
    ]
}

pub(super) fn app_service(platform: &Platform, call: &Call) -> Reply {
    let config = &platform.config.app_service_2017;
    let expires_on: fn(u64) -> Value = match config.dates {
        DateForm::Linux => |exp| date::on_linux(exp).into(),
        DateForm::Windows => |exp| date::on_windows(exp).into(),
    };
    let (secret, lifetime) = (&config.secret, config.token_lifetime_seconds);
    Service { secret, lifetime, expires_on, refusal: app_service_refusal }.answer(platform, call)
}

/// What App Service said in 2017 with a status that a fault asks for
pub(super) fn app_service_failure(status: StatusCode) -> Reply {
    let correlation_id = Uuid::new_v4().to_string();
    if status != StatusCode::SERVICE_UNAVAILABLE {
        return app_service_refusal(
            status,
            Wrong::Other("An unexpected error occured while fetching the AAD Token."),
        );
    }
    let body = json!({
        "ExceptionMessage": "",
        "ErrorCode": "service_unavailable",
        "ServiceErrorCodes": null,
        "StatusCode": status.as_u16(),
        "Message": null,
        "CorrelationId": correlation_id,
    });
    modern::traced(Reply::json(status, &body).in_chunks(), &correlation_id)
}

pub(super) fn azure_ml(platform: &Platform, call: &Call) -> Reply {
    let config = &platform.config.azure_ml;
    let (secret, lifetime) = (&config.secret, config.token_lifetime_seconds);
    Service { secret, lifetime, expires_on: Value::from, refusal: azure_ml_refusal }.answer(platform, call)
}

/// What Azure Machine Learning says with a status that a fault asks for
pub(super) fn azure_ml_failure(status: StatusCode) -> Reply {
    azure_ml_refusal(status, Wrong::Other("Failed to acquire the token."))
}

/// One of the two services that speak this version
struct Service<'a> {
    secret: &'a str,
    lifetime: NonZeroU64,
    expires_on: fn(u64) -> Value,
    refusal: fn(StatusCode, Wrong<'_>) -> Reply,
}

/// What is wrong with a request
#[derive(Clone, Copy)]
enum Wrong<'a> {
    /// It shows this secret, or an empty one
    Secret(&'a str),
    /// There is no such identity
    Identity,
    Other(&'a str),
}

impl Service<'_> {
    fn answer(&self, platform: &Platform, call: &Call) -> Reply {
        match self.token(platform, call) {
            Ok(issued) => self.success(&issued).issued_to(&issued.holder),
            Err(refusal) => refusal,
        }
    }

    fn token(&self, platform: &Platform, call: &Call) -> Result<Issued, Reply> {
        self.check_caller(call)?;
        self.check_version(call)?;
        let resource = call
            .parameter("resource")
            .filter(|resource| !resource.is_empty())
            .ok_or_else(|| self.bad_request("The resource parameter is missing."))?;
        let identity = self.choose(platform, call)?;
        if !platform.config.knows_audience(resource) {
            return Err(self.bad_request(&platform.unknown_audience(resource)));
        }
        platform.issue_to(identity, call, resource, self.lifetime)
    }

    fn check_caller(&self, call: &Call) -> Result<(), Reply> {
        if call.method != Method::GET {
            return Err((self.refusal)(StatusCode::METHOD_NOT_ALLOWED, Wrong::Other("Only GET is allowed.")));
        }
        match call.header("secret").unwrap_or_default() {
            secret if secret == self.secret => Ok(()),
            other => Err((self.refusal)(StatusCode::UNAUTHORIZED, Wrong::Secret(other))),
        }
    }

    fn check_version(&self, call: &Call) -> Result<(), Reply> {
        match call.parameter("api-version") {
            Some(API_VERSION) => Ok(()),
            Some(_) => Err(self.bad_request("The api-version is not supported: use 2017-09-01.")),
            None => Err(self.bad_request("The api-version parameter is missing.")),
        }
    }

    /// This version knows `clientid` alone: a `client_id` is ignored, and an empty value is none.
    fn choose<'a>(&self, platform: &'a Platform, call: &Call) -> Result<&'a Identity, Reply> {
        match call.parameter("clientid").filter(|id| !id.is_empty()) {
            None => platform.config.system_assigned(),
            Some(id) => platform.config.selected(Selector { kind: IdKind::Client, id }),
        }
        .ok_or_else(|| (self.refusal)(StatusCode::BAD_REQUEST, Wrong::Identity))
    }

    fn success(&self, issued: &Issued) -> Reply {
        Reply::json(
            StatusCode::OK,
            &json!({
                "access_token": issued.token,
                "expires_on": (self.expires_on)(issued.claims.exp),
                "resource": issued.claims.aud,
                "token_type": "Bearer",
            }),
        )
    }

    fn bad_request(&self, message: &str) -> Reply {
        (self.refusal)(StatusCode::BAD_REQUEST, Wrong::Other(message))
    }
}

/// With capitals, unlike its later version
fn app_service_refusal(status: StatusCode, wrong: Wrong<'_>) -> Reply {
    let message = match wrong {
        Wrong::Secret(_) => "The secret header is missing or wrong.",
        Wrong::Identity => "No MSI found for specified ClientId/ResourceId.",
        Wrong::Other(message) => message,
    };
    let correlation_id = Uuid::new_v4().to_string();
    let body = json!({ "StatusCode": status.as_u16(), "Message": message, "CorrelationId": correlation_id });
    modern::traced(Reply::json(status, &body).in_chunks(), &correlation_id)
}

/// In plain words, the secret that was shown among them
fn azure_ml_refusal(status: StatusCode, wrong: Wrong<'_>) -> Reply {
    Reply::text(
        status,
        match wrong {
            Wrong::Secret(shown) => format!("Invalid secret token header: {shown}."),
            Wrong::Identity => {
                "SSO failure: unable to retrieve a token. Error Token service mock-compute. Token not found"
                    .to_owned()
            }
            Wrong::Other(message) => message.to_owned(),
        },
    )
}

const API_VERSION: &str = "2017-09-01";
