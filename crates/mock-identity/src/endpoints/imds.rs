//! The instance metadata service: how a virtual machine gets tokens.

use http::{Method, StatusCode};
use serde_json::json;

use super::{Call, Endpoint, Environment, IdKind, Identity, Issued, Platform, Reply, Setup, Spec};
use crate::entra_error;

pub(crate) const SPEC: Spec = Spec {
    paths: &["metadata/identity/oauth2/token"],
    answer,
    failure: |_, _, status| failure(status),
    setups: &[Setup {
        title: "Managed identity of a virtual machine (IMDS), for the Azure SDKs of Python and JavaScript, MSAL, and token-broker",
        needs: "",
        environment,
    }],
    ..Spec::of(Endpoint::Imds)
};

pub(super) fn environment(platform: &Platform) -> Environment {
    vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", platform.addresses.plain.clone())]
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    signed(token(platform, call).unwrap_or_else(|refusal| refusal))
}

fn failure(status: StatusCode) -> Reply {
    signed(match status {
        StatusCode::NOT_FOUND => refusal(status, "not_found", "The requested resource is not available"),
        StatusCode::GONE => refusal(status, "gone", "The identity endpoint is being updated"),
        StatusCode::TOO_MANY_REQUESTS => {
            refusal(status, "invalid_request", "Temporarily throttled, too many requests")
        }
        StatusCode::BAD_REQUEST => refusal(status, "invalid_request", "Identity not found"),
        StatusCode::UNAUTHORIZED => refusal(status, "unauthorized_client", "The client is not authorized"),
        _ => refusal(status, "unknown", "Failed to retrieve token from the Active directory"),
    })
}

fn token(platform: &Platform, call: &Call) -> Result<Reply, Reply> {
    check_guards(call)?;
    check_version(call)?;
    if !platform.imds_throttle.admits(platform.config.imds.requests_per_second) {
        return Err(failure(StatusCode::TOO_MANY_REQUESTS));
    }
    let resource = call
        .required("resource")
        .ok_or_else(|| bad_request("Required query variable 'resource' is missing"))?;
    let identity = choose(platform, call)?;
    if !platform.config.knows_audience(resource) {
        return Err(entra_error::relayed_unknown_resource(call, resource, &platform.config.tenant_id));
    }
    let lifetime = platform.config.imds.token_lifetime_seconds;
    let issued = platform.issue_to(identity, call, resource, lifetime)?;
    let success = if platform.config.imds.older_form { older_success } else { success };
    Ok(success(&issued).issued_to(&issued.subject))
}

/// The two guards against SSRF and forwarding proxies
fn check_guards(call: &Call) -> Result<(), Reply> {
    if call.method != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Only GET is allowed"));
    }
    if call.headers.contains_key("x-forwarded-for") {
        return Err(bad_request("Requests with an X-Forwarded-For header are not allowed"));
    }
    match call.has_metadata() {
        true => Ok(()),
        false => Err(bad_request("Required metadata header not specified")),
    }
}

fn check_version(call: &Call) -> Result<(), Reply> {
    match call.parameter("api-version") {
        None | Some("") => Err(bad_request("Required query variable 'api-version' is missing")),
        Some(version) if API_VERSIONS.contains(&version) => Ok(()),
        Some(_) => Err(Reply::json(
            StatusCode::BAD_REQUEST,
            json!({ "error": "invalid_request", "error_description": "The requested api-version is not supported",
                     "newest-versions": API_VERSIONS.iter().rev().take(3).collect::<Vec<_>>() }),
        )),
    }
}

fn choose<'a>(platform: &'a Platform, call: &Call) -> Result<&'a Identity, Reply> {
    let selector = call
        .selector(&SELECTORS)
        .map_err(|_| bad_request("Only one of client_id, object_id and msi_res_id can be specified"))?;
    match selector {
        None => choose_unspecified(platform),
        Some(selector) => platform.config.selected(selector).ok_or_else(|| bad_request("Identity not found")),
    }
}

/// Without a system-assigned identity, a machine's only user-assigned one answers in its place.
fn choose_unspecified(platform: &Platform) -> Result<&Identity, Reply> {
    if let Some(identity) = platform.config.system_assigned() {
        return Ok(identity);
    }
    let mut identities = platform.config.user_assigned();
    match (identities.next(), identities.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(bad_request("Identity not found")),
        _ => Err(bad_request(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in \
             the token request",
        )),
    }
}

fn success(issued: &Issued) -> Reply {
    let expires_in = issued.expires_in();
    Reply::ok(json!({
        "access_token": issued.token,
        "client_id": issued.claims.appid,
        "expires_in": expires_in.to_string(),
        "expires_on": issued.claims.exp.to_string(),
        "ext_expires_in": expires_in.saturating_sub(1).to_string(),
        "not_before": issued.claims.nbf.to_string(),
        "resource": issued.claims.aud,
        "token_type": "Bearer",
    }))
}

/// The form of before 2024, which proxies in front of IMDS still send
fn older_success(issued: &Issued) -> Reply {
    Reply::ok(json!({
        "access_token": issued.token,
        "refresh_token": "",
        "expires_in": issued.expires_in().to_string(),
        "expires_on": issued.claims.exp.to_string(),
        "not_before": issued.claims.nbf.to_string(),
        "resource": issued.claims.aud,
        "token_type": "Bearer",
    }))
}

fn bad_request(description: &str) -> Reply {
    refusal(StatusCode::BAD_REQUEST, "invalid_request", description)
}

fn refusal(status: StatusCode, error: &str, description: &str) -> Reply {
    Reply::json(status, json!({ "error": error, "error_description": description }))
}

fn signed(reply: Reply) -> Reply {
    reply.with("server", "IMDS/150.870.65.1853")
}

/// `msi_res_id` is the documented name; virtual machines also take `mi_res_id`.
const SELECTORS: [(&str, IdKind); 4] = [
    ("client_id", IdKind::Client),
    ("object_id", IdKind::Object),
    ("msi_res_id", IdKind::Resource),
    ("mi_res_id", IdKind::Resource),
];

const API_VERSIONS: [&str; 27] = [
    "2018-02-01",
    "2018-04-02",
    "2018-10-01",
    "2019-02-01",
    "2019-03-11",
    "2019-04-30",
    "2019-06-01",
    "2019-06-04",
    "2019-08-01",
    "2019-08-15",
    "2019-11-01",
    "2020-06-01",
    "2020-07-15",
    "2020-09-01",
    "2020-10-01",
    "2020-12-01",
    "2021-01-01",
    "2021-02-01",
    "2021-03-01",
    "2021-05-01",
    "2021-10-01",
    "2021-11-01",
    "2021-11-15",
    "2021-12-13",
    "2023-07-01",
    "2023-11-15",
    "2025-04-07",
];
