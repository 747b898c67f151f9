//! The token service of Service Fabric: TLS with a certificate that clients pin, and cached tokens.

use http::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::{Call, Endpoint, Environment, IDS, Issued, Listener, Platform, Reply, Setup, Spec};
use crate::{
    claims::{Grant, Subject},
    sections::ServiceFabricConfig,
};

pub(crate) const SPEC: Spec = Spec {
    listeners: &[Listener::Pinned],
    paths: &["metadata/identity/oauth2/token"],
    answer,
    failure: |_, _, status| failure(status),
    setups: &[Setup { title: "Service Fabric", needs: "[service-fabric] in the configuration", environment }],
    ..Spec::of(Endpoint::ServiceFabric)
};

fn environment(platform: &Platform) -> Environment {
    let (Some(pinned), Some(config)) = (&platform.addresses.pinned, &platform.config.service_fabric) else {
        return Vec::new();
    };
    vec![
        ("IDENTITY_ENDPOINT", format!("{}/metadata/identity/oauth2/token", pinned.url)),
        ("IDENTITY_HEADER", config.secret.clone()),
        ("IDENTITY_SERVER_THUMBPRINT", pinned.thumbprint.clone()),
    ]
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    let Some(config) = &platform.config.service_fabric else {
        return failure(StatusCode::NOT_FOUND);
    };
    token(platform, config, call).map_or_else(|refusal| refusal, |issued| success(&issued))
}

fn failure(status: StatusCode) -> Reply {
    match status {
        StatusCode::NOT_FOUND => unknown_application(),
        StatusCode::BAD_REQUEST => {
            bad_request("ArgumentNullOrEmpty", "The parameter should not be null or empty.")
        }
        _ => refusal(status, "InternalServerError", "An error occurred."),
    }
}

fn token(platform: &Platform, config: &ServiceFabricConfig, call: &Call) -> Result<Issued, Reply> {
    check_caller(config, call)?;
    check_parameters(call)?;
    let resource = call.required("resource").ok_or_else(|| {
        bad_request("ArgumentNullOrEmpty", "The parameter 'resource' should not be null or empty string.")
    })?;
    let identity = platform.config.system_assigned().ok_or_else(unknown_application)?;
    platform.check_audience(resource).map_err(|why| bad_request("InvalidResource", &why))?;
    let key = (resource.to_owned(), capabilities(call));
    let refused = call.parameter("token_sha256_to_refresh");
    // A token that a fault asked for is not kept.
    let cached = if call.wrong_identity { None } else { platform.fabric_tokens.get(&key, refused) };
    if let Some(cached) = cached {
        return Ok(cached);
    }
    let grant = platform.grant(Subject::identity(identity), resource, config.token_lifetime_seconds);
    let issued = platform.issue(call, Grant { capabilities: key.1.clone(), ..grant })?;
    if !call.wrong_identity {
        platform.fabric_tokens.insert(key, &issued);
    }
    Ok(issued)
}

fn check_caller(config: &ServiceFabricConfig, call: &Call) -> Result<(), Reply> {
    if call.method != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Only GET is allowed."));
    }
    match call.header("secret") {
        Some(secret) if secret == config.secret => Ok(()),
        Some(_) => Err(unknown_application()),
        None => Err(bad_request("SecretHeaderNotFound", "Secret is not found in the request headers.")),
    }
}

fn check_parameters(call: &Call) -> Result<(), Reply> {
    let version = call.parameter("api-version").unwrap_or_default();
    if version != API_VERSION {
        return Err(bad_request(
            "InvalidApiVersion",
            &format!("The api-version '{version}' is not supported. Supported version is '{API_VERSION}'."),
        ));
    }
    match IDS.iter().find(|id| call.parameter(id).is_some()) {
        Some(id) => Err(bad_request(
            "InvalidArgument",
            &format!("The parameter '{id}' is not supported: the cluster decides which identity an app has."),
        )),
        None => Ok(()),
    }
}

/// The capabilities of the client, separated by commas
fn capabilities(call: &Call) -> Vec<String> {
    let listed = call.parameter("xms_cc").unwrap_or_default().split(',');
    listed.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn success(issued: &Issued) -> Reply {
    Reply::ok(json!({
        "access_token": issued.token,
        "expires_on": issued.claims.exp,
        "resource": issued.claims.aud,
        "token_type": "Bearer",
    }))
    .issued_to(&issued.subject)
}

fn unknown_application() -> Reply {
    let message = "Managed identity not found for the specified application host.";
    refusal(StatusCode::NOT_FOUND, "ManagedIdentityNotFound", message)
}

fn bad_request(code: &str, message: &str) -> Reply {
    refusal(StatusCode::BAD_REQUEST, code, message)
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Reply {
    let correlation_id = Uuid::new_v4().to_string();
    let error = json!({ "correlationId": correlation_id, "code": code, "message": message });
    Reply::json(status, json!({ "error": error }))
}

const API_VERSION: &str = "2019-07-01-preview";
