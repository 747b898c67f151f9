//! The metadata server of Google Cloud: its root, by which clients find it, the machine's service account, and its identity
//! tokens.
//!
//! <https://cloud.google.com/compute/docs/instances/verifying-instance-identity>

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, Endpoint, Environment, Platform, Reply, Setup, Spec};
use crate::{federation::Workload, sections::GcpMetadataConfig};

pub(crate) const SPEC: Spec = Spec {
    paths: &["", "computeMetadata/**"],
    answer,
    failure: |_, _, status| of_server(page(status, "The service is unavailable.")),
    setups: &[Setup {
        title: "A virtual machine of Google Cloud, for google-auth and others",
        needs: "[gcp-metadata] in the configuration",
        environment,
    }],
    ..Spec::of(Endpoint::GcpMetadata)
};

pub(super) fn environment(platform: &Platform) -> Environment {
    if platform.config.gcp_metadata.is_none() {
        return Vec::new();
    }
    let url = &platform.addresses.plain;
    let host = url.strip_prefix("http://").unwrap_or(url).to_owned();
    // The second is where clients look whether there is a metadata server at all.
    vec![("GCE_METADATA_HOST", host.clone()), ("GCE_METADATA_IP", host)]
}

/// The issuer and the subject of its tokens
pub(super) fn trusted(platform: &Platform) -> Option<(&str, &str)> {
    let config = platform.config.gcp_metadata.as_ref()?;
    Some((ISSUER, &config.service_account_id))
}

/// Whether a request is for a metadata server, whatever its path
pub(crate) fn is_asked(call: &Call) -> bool {
    call.headers.contains_key(FLAVOR)
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    match &platform.config.gcp_metadata {
        Some(config) => of_server(document(platform, config, call).unwrap_or_else(|refusal| refusal)),
        None => Reply::text(StatusCode::NOT_FOUND, "no machine here: configure one with [gcp-metadata]"),
    }
}

fn document(platform: &Platform, config: &GcpMetadataConfig, call: &Call) -> Result<Reply, Reply> {
    check_guards(call)?;
    match call.segments().as_slice() {
        [] => Ok(listing("computeMetadata/\n")),
        ["computeMetadata", "v1", "instance", "service-accounts", account, rest @ ..]
            if [DEFAULT, &config.service_account].contains(account) =>
        {
            match rest {
                [] => Ok(service_account(config, call)),
                ["identity"] => token(platform, config, call),
                _ => Err(not_found()),
            }
        }
        _ => Err(not_found()),
    }
}

fn not_found() -> Reply {
    page(StatusCode::NOT_FOUND, "The requested URL was not found on this server.")
}

/// A directory, whose name ends with a slash
fn service_account(config: &GcpMetadataConfig, call: &Call) -> Reply {
    if !call.path.ends_with('/') {
        let url = format!("{}{}/", call.origin, call.path);
        return Reply::html(StatusCode::MOVED_PERMANENTLY, "").with("location", &url);
    }
    if call.parameter("recursive") != Some("true") {
        return listing("aliases\nemail\nidentity\nscopes\ntoken\n");
    }
    Reply::ok(json!({
        "aliases": [DEFAULT],
        "email": config.service_account,
        "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
    }))
    .with("content-type", "application/json")
}

fn token(platform: &Platform, config: &GcpMetadataConfig, call: &Call) -> Result<Reply, Reply> {
    let Some(audience) = call.required("audience") else {
        return Err(Reply::html(StatusCode::BAD_REQUEST, "non-empty audience parameter required\n"));
    };
    let subject = &config.service_account_id;
    let more = claims(config, call.parameter("format") == Some("full"));
    let workload = Workload { issuer: ISSUER, subject, audience, more };
    let token = workload.token(platform, call, (0, config.token_lifetime_seconds))?;
    Ok(Reply::text(StatusCode::OK, token)
        .with("content-type", "text/html")
        .issued_to(&config.service_account))
}

/// The guards against forwarding proxies and SSRF
fn check_guards(call: &Call) -> Result<(), Reply> {
    if call.headers.contains_key("x-forwarded-for") {
        return Err(page(StatusCode::FORBIDDEN, NO_PERMISSION));
    }
    if call.header(FLAVOR) != Some("Google") {
        let words = format!("{NO_PERMISSION} Missing Metadata-Flavor:Google header.");
        return Err(page(StatusCode::FORBIDDEN, &words));
    }
    match call.method {
        Method::GET => Ok(()),
        _ => Err(page(StatusCode::METHOD_NOT_ALLOWED, "The request method is inappropriate for the URL.")),
    }
}

/// A token in full tells of the machine, too.
fn claims(config: &GcpMetadataConfig, in_full: bool) -> Value {
    let mut claims = json!({ "azp": config.service_account_id });
    if in_full {
        claims["email"] = config.service_account.as_str().into();
        claims["email_verified"] = true.into();
        claims["google"] = json!({ "compute_engine": {
            "instance_id": "152986662232938449",
            "instance_name": "mock",
            "project_id": "contoso",
            "project_number": 739_419_398_126_u64,
            "zone": "us-west1-b",
        }});
    }
    claims
}

fn listing(names: &str) -> Reply {
    Reply::text(StatusCode::OK, names).with("content-type", "application/text")
}

/// A page as for people
fn page(status: StatusCode, words: &str) -> Reply {
    let (code, reason) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
    let page = format!(
        "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  <title>Error {code} ({reason})!!1</title>\n  \
         <p><b>{code}.</b> <ins>That’s an error.</ins>\n  <p>{words}  <ins>That’s all we know.</ins>\n"
    );
    Reply::html(status, page).with("content-type", "text/html; charset=UTF-8")
}

fn of_server(reply: Reply) -> Reply {
    reply.with_all(&HEADERS)
}

/// The other name of the machine's service account
const DEFAULT: &str = "default";
const FLAVOR: &str = "metadata-flavor";
const HEADERS: [(&str, &str); 4] = [
    (FLAVOR, "Google"),
    ("server", "Metadata Server for VM"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-xss-protection", "0"),
];
const ISSUER: &str = "https://accounts.google.com";
const NO_PERMISSION: &str = "Your client does not have permission to get the requested URL from this server.";
