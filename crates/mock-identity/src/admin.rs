//! The mock's own endpoint: its log and counters, faults to come, and credentials for programs under test.

use std::{collections::BTreeMap, time::Duration};

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::{
    call::Call,
    config::MockConfig,
    endpoint::Endpoint,
    endpoints::{self, entra, token_proxy},
    fault::Fault,
    federation,
    log::Counts,
    platform::Platform,
    reply::Reply,
};

/// The answer for `path`, the segments after `/admin`
pub(crate) fn answer(platform: &Platform, call: &Call, path: &[&str]) -> Reply {
    match (&call.method, path) {
        (&Method::GET, ["requests"]) => Reply::ok(platform.log.requests()),
        (&Method::GET, ["counters"]) => Reply::ok(counters(platform)),
        (&Method::GET, ["faults"]) => Reply::ok(platform.faults.lock().pending()),
        (&Method::POST, ["faults"]) => add_faults(platform, &call.body),
        (&Method::POST, ["reset"]) => {
            platform.reset();
            Reply::ok(json!({ "reset": true }))
        }
        (&Method::GET, ["client-certificate"]) => {
            Reply::text(StatusCode::OK, MockConfig::CLIENT_CERTIFICATE_PEM)
        }
        (&Method::GET, ["federated-token", app]) => token(federated_token(platform, app)),
        (&Method::GET, ["bound-token"]) => token(bound_token(platform)),
        (&Method::GET, ["token-proxy-ca"]) => authority(platform),
        (&Method::POST, ["token-proxy-ca"]) => replaced_authority(platform),
        (&Method::GET, ["user-token", user, app]) => token(user_token(platform, user, app)),
        _ => Reply::text(StatusCode::NOT_FOUND, HELP),
    }
}

/// Of each endpoint, asked or not
fn counters(platform: &Platform) -> BTreeMap<Endpoint, Counts> {
    let counters = platform.log.counters();
    endpoints::ALL.into_iter().map(|spec| (spec.endpoint, counters.of(spec.endpoint))).collect()
}

fn federated_token(platform: &Platform, app: &str) -> Option<String> {
    let app = platform.config.apps.iter().find(|held| held.name == app)?;
    federation::token(platform, federation::cluster_credential(platform, app)?, AN_HOUR).ok()
}

fn bound_token(platform: &Platform) -> Option<String> {
    token_proxy::bound_token(platform, AN_HOUR)?.ok()
}

/// Of the cluster's token proxy, as PEM
fn authority(platform: &Platform) -> Reply {
    match &platform.addresses.token_proxy {
        Some(proxy) => Reply::text(StatusCode::OK, proxy.certificate.authority()),
        None => Reply::text(StatusCode::NOT_FOUND, "the configuration has no token proxy\n"),
    }
}

fn replaced_authority(platform: &Platform) -> Reply {
    let replaced = platform.addresses.token_proxy.as_ref().map(|proxy| proxy.certificate.replace());
    match replaced {
        Some(Err(error)) => Reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")),
        Some(Ok(())) | None => authority(platform),
    }
}

fn user_token(platform: &Platform, user: &str, app: &str) -> Option<String> {
    let user = platform.config.users.iter().find(|held| held.name == user)?;
    let app = platform.config.apps.iter().find(|held| held.name == app)?;
    entra::user_token(platform, user, app).ok()
}

fn token(token: Option<String>) -> Reply {
    match token {
        Some(token) => Reply::text(StatusCode::OK, token),
        None => Reply::text(StatusCode::NOT_FOUND, "the configuration has no such app, user or credential\n"),
    }
}

fn add_faults(platform: &Platform, body: &[u8]) -> Reply {
    match read_faults(body) {
        Ok(faults) => {
            let mut script = platform.faults.lock();
            if script.len().saturating_add(faults.len()) > MAX_FAULTS {
                return Reply::text(StatusCode::PAYLOAD_TOO_LARGE, TOO_MANY_FAULTS);
            }
            faults.into_iter().for_each(|fault| script.add(fault));
            Reply::ok(script.pending())
        }
        Err(error) => {
            Reply::text(StatusCode::BAD_REQUEST, format!("neither a fault nor a list of faults: {error}\n"))
        }
    }
}

/// One fault or a list of them. Not an untagged enum, whose error would not say what is wrong.
fn read_faults(body: &[u8]) -> serde_json::Result<Vec<Fault>> {
    match serde_json::from_slice(body)? {
        list @ serde_json::Value::Array(_) => Vec::deserialize(list),
        fault => Ok(vec![Fault::deserialize(fault)?]),
    }
}

/// The most faults that may wait. A test that needs more of the same uses `times`.
const MAX_FAULTS: usize = 1000;
const TOO_MANY_FAULTS: &str =
    "more than 1000 faults would wait; fix: use \"times\", or clear them with POST /admin/reset\n";

const AN_HOUR: Duration = Duration::from_secs(3600);

const HELP: &str = "\
GET  /admin/requests                the newest requests
GET  /admin/counters                requests, tokens, refusals and faults of each endpoint
GET  /admin/faults                  the faults that are still to play
POST /admin/faults                  add a fault or a list of faults, as JSON
POST /admin/reset                   clear log and counters, restart the configured faults
GET  /admin/client-certificate      the certificate of the app billing, and its key
GET  /admin/federated-token/APP     a federated token that the app trusts
GET  /admin/bound-token             a token of a pod for the cluster's token proxy
GET  /admin/token-proxy-ca          the authority of the cluster's token proxy
POST /admin/token-proxy-ca          replace that authority
GET  /admin/user-token/USER/APP     an access token of the user for the app, for on-behalf-of
";
