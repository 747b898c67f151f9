//! The identity endpoint of a container group on Windows: plain http at an address of the group's, with a query of its own.

use http::{Method, StatusCode};
use serde_json::json;

use super::{Call, Endpoint, Environment, Issued, Platform, Reply, Setup, Spec};

pub(crate) const SPEC: Spec = Spec {
    paths: &["container-group/metadata/identity/oauth2/token"],
    answer,
    failure: |_, _, status| failure(status),
    setups: &[Setup { title: "A container group on Windows", needs: "", environment }],
    ..Spec::of(Endpoint::ContainerGroup)
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
    let reply = token(platform, call).map_or_else(|refusal| refusal, |issued| success(&issued));
    reply.in_chunks().with("server", "Kestrel").with_request_ids(call)
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
        let message = "The secret header is missing or wrong.";
        return Err(refusal(StatusCode::UNAUTHORIZED, "Unauthorized", message));
    }
    let resource = call.required("resource");
    let resource = resource.ok_or_else(|| {
        refusal(StatusCode::BAD_REQUEST, "ArgumentNullOrEmpty", "The parameter 'resource' is missing.")
    })?;
    let identity = platform.config.system_assigned().ok_or_else(no_identity)?;
    let unknown = |why: String| refusal(StatusCode::BAD_REQUEST, "InvalidResource", &why);
    platform.check_audience(resource).map_err(unknown)?;
    platform.issue_to(identity, call, resource, platform.config.container_group.token_lifetime_seconds)
}

/// In the form of Service Fabric, whose protocol it is
fn success(issued: &Issued) -> Reply {
    Reply::ok(json!({
        "token_type": "Bearer",
        "access_token": issued.token,
        "expires_on": issued.claims.exp,
        "resource": issued.claims.aud,
    }))
    .issued_to(&issued.subject)
}

fn no_identity() -> Reply {
    refusal(StatusCode::NOT_FOUND, "DefaultIdentityNotDefined", "DefaultIdentityNotDefined ")
}

/// Over several lines
fn refusal(status: StatusCode, code: &str, message: &str) -> Reply {
    let body = json!({ "error": { "code": code, "message": message, "details": [] } });
    Reply { body: format!("{body:#}"), ..Reply::json(status, &body) }
}
