//! The identity endpoint of Windows container groups of Azure Container Instances.

use http::{Method, StatusCode};
use serde_json::json;

use super::{
    Environment,
    call::Call,
    identity::{IdKind, Selector},
    issuer::Issued,
    platform::Platform,
    reply::Reply,
};

/// The variables are those of Service Fabric, and the URL has a query of its own
pub(super) fn environment(platform: &Platform) -> Environment {
    let url = format!("{}/container-group/metadata/identity/oauth2/token", platform.addresses.plain);
    vec![
        ("IDENTITY_ENDPOINT", format!("{url}?api-version={API_VERSION}")),
        ("IDENTITY_HEADER", platform.config.container_instances.secret.clone()),
        ("IDENTITY_SERVER_THUMBPRINT", "AB".repeat(20)),
    ]
}

pub(super) fn answer(platform: &Platform, call: &Call) -> Reply {
    match token(platform, call) {
        Ok(issued) => success(&issued).issued_to(&issued.holder),
        Err(refusal) => refusal,
    }
}

/// What it says with a status that a fault asks for
pub(super) fn failure(status: StatusCode) -> Reply {
    match status {
        StatusCode::NOT_FOUND => no_identity(),
        _ => refusal(status, "InternalServerError"),
    }
}

/// The identity is chosen by its object id alone; a parameter of another name is ignored.
fn token(platform: &Platform, call: &Call) -> Result<Issued, Reply> {
    let config = &platform.config.container_instances;
    if call.method != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"));
    }
    if call.header("secret") != Some(&config.secret) {
        return Err(refusal(StatusCode::UNAUTHORIZED, "Unauthorized"));
    }
    if call.parameter("api-version") != Some(API_VERSION) {
        return Err(refusal(StatusCode::BAD_REQUEST, "InvalidApiVersion"));
    }
    let resource = call.parameter("resource").filter(|resource| platform.config.knows_audience(resource));
    let resource = resource.ok_or_else(|| refusal(StatusCode::BAD_REQUEST, "InvalidResource"))?;
    let identity = match call.parameter("principalId") {
        None => platform.config.system_assigned(),
        Some(id) => platform.config.selected(Selector { kind: IdKind::Object, id }),
    };
    platform.issue_to(identity.ok_or_else(no_identity)?, call, resource, config.token_lifetime_seconds)
}

fn success(issued: &Issued) -> Reply {
    Reply::json(
        StatusCode::OK,
        &json!({
            "access_token": issued.token,
            "expires_on": issued.claims.exp.to_string(),
            "resource": issued.claims.aud,
            "token_type": "Bearer",
        }),
    )
}

fn no_identity() -> Reply {
    refusal(StatusCode::NOT_FOUND, "DefaultIdentityNotDefined")
}

/// Over several lines, with a space behind the message, as recorded
fn refusal(status: StatusCode, code: &str) -> Reply {
    let error = json!({ "error": { "code": code, "message": format!("{code} "), "details": [] } });
    let body = serde_json::to_string_pretty(&error).unwrap_or_default();
    Reply { body, ..Reply::json(status, &()) }
}

const API_VERSION: &str = "1.0";
