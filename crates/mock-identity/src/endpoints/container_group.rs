//! The identity endpoint of a container group on Windows: plain http at an address of the group's, with a query of its own.

use http::{HeaderName, Method, StatusCode, header};
use serde_json::json;
use uuid::Uuid;

use crate::{
    call::Call,
    endpoint::Endpoint,
    issuer::Issued,
    platform::Platform,
    reply::Reply,
    spec::{Environment, PLAIN_OR_TLS, Setup, Spec},
};

pub(crate) const SPEC: Spec = Spec {
    endpoint: Endpoint::ContainerGroup,
    listeners: PLAIN_OR_TLS,
    paths: &["container-group/metadata/identity/oauth2/token"],
    refuses_chunks: false,
    answer,
    failure: |_, _, status| failure(status),
    setups: &[Setup { title: "A container group on Windows", needs: "", environment }],
};

/// The thumbprint that goes with it is of no certificate: there is no TLS.
fn environment(platform: &Platform) -> Environment {
    let url = &platform.addresses.plain;
    vec![
        (
            "IDENTITY_ENDPOINT",
            format!("{url}/container-group/metadata/identity/oauth2/token?api-version=1.0"),
        ),
        ("IDENTITY_HEADER", platform.config.container_group.secret.clone()),
        ("IDENTITY_SERVER_THUMBPRINT", "ab".repeat(20)),
        ("IDENTITY_API_VERSION", "2020-05-01".to_owned()),
    ]
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    let reply = match token(platform, call) {
        Ok(issued) => success(&issued).issued_to(&issued.subject),
        Err(refusal) => refusal,
    };
    let reply = reply.in_chunks().with(header::SERVER, "Kestrel");
    let reply = reply.with(HeaderName::from_static("x-ms-request-id"), &Uuid::new_v4().to_string());
    match call.header(CLIENT_REQUEST_ID) {
        Some(id) => reply.with(HeaderName::from_static(CLIENT_REQUEST_ID), id),
        None => reply,
    }
}

fn failure(status: StatusCode) -> Reply {
    match status {
        StatusCode::NOT_FOUND => no_identity(),
        _ => refusal(status, "InternalServerError", "An error occurred."),
    }
}

/// It has one identity at most: an id in the request makes no difference.
fn token(platform: &Platform, call: &Call) -> Result<Issued, Reply> {
    if call.method != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Only GET is allowed."));
    }
    if call.header("secret") != Some(&platform.config.container_group.secret) {
        return Err(refusal(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "The secret header is missing or wrong.",
        ));
    }
    let resource = call.parameter("resource").filter(|resource| !resource.is_empty());
    let resource = resource.ok_or_else(|| {
        refusal(StatusCode::BAD_REQUEST, "ArgumentNullOrEmpty", "The parameter 'resource' is missing.")
    })?;
    let identity = platform.config.system_assigned().ok_or_else(no_identity)?;
    if !platform.config.knows_audience(resource) {
        return Err(refusal(
            StatusCode::BAD_REQUEST,
            "InvalidResource",
            &platform.unknown_audience(resource),
        ));
    }
    platform.issue_to(identity, call, resource, platform.config.container_group.token_lifetime_seconds)
}

/// In the form of Service Fabric, whose protocol it is
fn success(issued: &Issued) -> Reply {
    Reply::json(
        StatusCode::OK,
        &json!({
            "token_type": "Bearer",
            "access_token": issued.token,
            "expires_on": issued.claims.exp,
            "resource": issued.claims.aud,
        }),
    )
}

fn no_identity() -> Reply {
    refusal(StatusCode::NOT_FOUND, "DefaultIdentityNotDefined", "DefaultIdentityNotDefined ")
}

/// Over several lines
fn refusal(status: StatusCode, code: &str, message: &str) -> Reply {
    let body = json!({ "error": { "code": code, "message": message, "details": [] } });
    Reply { body: format!("{body:#}"), ..Reply::json(status, &body) }
}

const CLIENT_REQUEST_ID: &str = "x-ms-client-request-id";
