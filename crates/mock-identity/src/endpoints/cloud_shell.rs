//! The token endpoint of Cloud Shell: it takes a form and issues the user's token.

use http::{Method, StatusCode};
use serde_json::json;

use super::{Call, Endpoint, Environment, IDS, Issued, Platform, Reply, Setup, Spec};
use crate::claims::{Proof, Subject};

pub(crate) const SPEC: Spec = Spec {
    paths: &["oauth2/token"],
    refuses_chunks: true,
    answer,
    failure: |_, _, status| refusal(status, "ServerError", "The token could not be acquired"),
    setups: &[Setup { title: "Cloud Shell", needs: "", environment }],
    ..Spec::of(Endpoint::CloudShell)
};

fn environment(platform: &Platform) -> Environment {
    vec![("MSI_ENDPOINT", format!("{}/oauth2/token", platform.addresses.plain))]
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    token(platform, call).map_or_else(|refusal| refusal, |issued| success(&issued))
}

fn token(platform: &Platform, call: &Call) -> Result<Issued, Reply> {
    check_request(call)?;
    let resource = call
        .field("resource")
        .filter(|resource| !resource.is_empty())
        .ok_or_else(|| bad_request("The resource field of the form is missing"))?;
    if !platform.config.knows_audience(resource) {
        return Err(audience_not_supported(platform, resource));
    }
    let user = platform.config.users.first().ok_or_else(|| bad_request("No user is signed in"))?;
    let subject = Subject::user(user, APP, Proof::Assertion, "user_impersonation");
    platform
        .issue(call, platform.grant(subject, resource, platform.config.cloud_shell.token_lifetime_seconds))
}

fn check_request(call: &Call) -> Result<(), Reply> {
    if call.method != Method::POST {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Only POST is allowed"));
    }
    if !call.has_metadata() {
        return Err(bad_request("Required metadata header not specified"));
    }
    if call.form.is_none() {
        return Err(bad_request("The body must be application/x-www-form-urlencoded"));
    }
    match IDS.iter().find(|id| call.field(id).is_some() || call.parameter(id).is_some()) {
        Some(id) => {
            Err(bad_request(&format!("{id} is not supported: Cloud Shell has no managed identities")))
        }
        None => Ok(()),
    }
}

/// Strings and a number, as seen on the wire
fn success(issued: &Issued) -> Reply {
    Reply::ok(json!({
        "access_token": issued.token,
        "expires_in": issued.expires_in(),
        "expires_on": issued.claims.exp.to_string(),
        "not_before": issued.claims.nbf.to_string(),
        "refresh_token": "",
        "resource": issued.claims.aud,
        "token_type": "Bearer",
    }))
    .issued_to(&issued.subject)
}

fn audience_not_supported(platform: &Platform, resource: &str) -> Reply {
    let supported = platform.config.audiences.join(",");
    let message = format!(
        "Audience {resource} is not a supported MSI token audience. Supported audiences: {supported}"
    );
    refusal(StatusCode::BAD_REQUEST, "AudienceNotSupported", &message)
}

fn bad_request(message: &str) -> Reply {
    refusal(StatusCode::BAD_REQUEST, "BadRequest", message)
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Reply {
    Reply::json(status, json!({ "error": { "code": code, "message": message } }))
}

/// The application that Cloud Shell is to Entra ID
const APP: &str = "b677c290-cf4b-4a8e-a60e-91ba650a4abe";
