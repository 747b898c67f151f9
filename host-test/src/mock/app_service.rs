//! The identity endpoint of App Service, Functions and Container Apps, version 2019-08-01.

use http::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::{
    Environment,
    call::Call,
    identity::{IdKind, Identity, Selector},
    issuer::Issued,
    platform::Platform,
    reply::Reply,
};

pub(super) fn environment(platform: &Platform) -> Environment {
    vec![
        ("IDENTITY_ENDPOINT", format!("{}/msi/token", platform.addresses.plain)),
        ("IDENTITY_HEADER", platform.config.app_service.identity_header.clone()),
    ]
}

pub(super) fn answer(platform: &Platform, call: &Call) -> Reply {
    token(platform, call).unwrap_or_else(|refusal| refusal)
}

/// What it says with a status that a fault asks for
pub(super) fn failure(status: StatusCode) -> Reply {
    // The misspelling is on the wire, and clients look for it.
    refusal(status, "An unexpected error occured while fetching the AAD Token.")
}

fn token(platform: &Platform, call: &Call) -> Result<Reply, Reply> {
    check_caller(platform, call)?;
    check_version(call)?;
    let resource = call
        .parameter("resource")
        .filter(|resource| !resource.is_empty())
        .ok_or_else(|| bad_request("The resource parameter is missing."))?;
    let identity = choose(platform, call)?;
    if !platform.config.knows_audience(resource) {
        return Err(bad_request(&platform.unknown_audience(resource)));
    }
    let lifetime = platform.config.app_service.token_lifetime_seconds;
    let issued = platform.issue_to(identity, call, resource, lifetime)?;
    Ok(success(&issued).issued_to(&issued.holder))
}

fn check_caller(platform: &Platform, call: &Call) -> Result<(), Reply> {
    if call.method != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "Only GET is allowed."));
    }
    match call.header("x-identity-header") {
        Some(value) if value == platform.config.app_service.identity_header => Ok(()),
        _ => Err(refusal(StatusCode::UNAUTHORIZED, "The X-IDENTITY-HEADER is missing or wrong.")),
    }
}

fn check_version(call: &Call) -> Result<(), Reply> {
    match call.parameter("api-version") {
        Some(API_VERSION) => Ok(()),
        Some(_) => Err(bad_request("The api-version is not supported: use 2019-08-01.")),
        None => Err(bad_request("The api-version parameter is missing.")),
    }
}

fn choose<'a>(platform: &'a Platform, call: &Call) -> Result<&'a Identity, Reply> {
    let selector = Selector::of(call, &SELECTORS)
        .map_err(|_| bad_request("Only one of client_id, principal_id and mi_res_id can be specified."))?;
    match selector {
        None => {
            platform.config.system_assigned().ok_or("Unable to load the proper Managed Identity.")
        }
        Some(selector) => platform.config.selected(selector).ok_or(
            "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
        ),
    }
    .map_err(bad_request)
}

fn success(issued: &Issued) -> Reply {
    Reply::json(
        StatusCode::OK,
        &json!({
            "access_token": issued.token,
            "client_id": issued.claims.appid,
            "expires_on": issued.claims.exp.to_string(),
            "resource": issued.claims.aud,
            "token_type": "Bearer",
        }),
    )
}

pub(super) fn bad_request(message: &str) -> Reply {
    refusal(StatusCode::BAD_REQUEST, message)
}

pub(super) fn refusal(status: StatusCode, message: &str) -> Reply {
    let correlation_id = Uuid::new_v4().to_string();
    Reply::json(
        status,
        &json!({ "statusCode": status.as_u16(), "message": message, "correlationId": correlation_id }),
    )
}

/// `msi_res_id` is not among them: App Service ignores it and answers for the system-assigned identity.
const SELECTORS: [(&str, IdKind); 4] = [
    ("client_id", IdKind::Client),
    ("object_id", IdKind::Object),
    ("principal_id", IdKind::Object),
    ("mi_res_id", IdKind::Resource),
];

const API_VERSION: &str = "2019-08-01";
