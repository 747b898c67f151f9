//! A small Key Vault: it challenges, checks the bearer token, and hands out secrets.

use http::{Method, StatusCode};
use serde_json::json;

use super::{Call, Endpoint, Platform, Reply, Spec};
use crate::{
    claims::issuer,
    issuer::{TokenError, unix_now},
};

pub(crate) const SPEC: Spec = Spec {
    paths: &["secrets/**"],
    answer,
    failure: |platform, _, status| failure(platform, status),
    ..Spec::of(Endpoint::KeyVault)
};

fn answer(platform: &Platform, call: &Call) -> Reply {
    let reply = check_bearer(platform, call).map_or_else(|refusal| refusal, |()| secret(platform, call));
    reply.with_all(&HEADERS).with_request_ids(call)
}

fn failure(platform: &Platform, status: StatusCode) -> Reply {
    match status {
        StatusCode::UNAUTHORIZED => challenge(platform, "[TokenExpired] Error validating token: 'S2S12086'."),
        StatusCode::FORBIDDEN => {
            error(status, "Forbidden", "Caller is not authorized to perform action on resource.")
        }
        StatusCode::TOO_MANY_REQUESTS => {
            error(status, "Throttled", "Request was not processed, too many requests.")
        }
        _ => error(status, "InternalServerError", "An internal error has occurred."),
    }
}

fn check_bearer(platform: &Platform, call: &Call) -> Result<(), Reply> {
    let audience = &platform.config.vault.audience;
    let Some(token) = call.bearer() else {
        return Err(challenge(platform, "AKV10000: Request is missing a Bearer or PoP token."));
    };
    let expected = issuer(&platform.config.tenant_id, false);
    let message = match platform.issuer.verify(token, audience) {
        Ok(claims) if claims.iss == expected => return Ok(()),
        Ok(claims) => format!("AKV10032: Invalid issuer. Expected one of {expected}, found {}.", claims.iss),
        Err(TokenError::Audience { found }) => {
            format!("AKV10022: Invalid audience. Expected {audience}, found: {found}.")
        }
        Err(TokenError::Expired { .. }) => "[TokenExpired] Error validating token: 'S2S12086'.".to_owned(),
        Err(TokenError::Invalid) => {
            "[BearerReadAccessTokenFailed] Error validating token: 'S2S12005'.".to_owned()
        }
    };
    Err(challenge(platform, &message))
}

fn secret(platform: &Platform, call: &Call) -> Reply {
    if call.method != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "The mock vault is read-only.");
    }
    if call.parameter("api-version").is_none_or(str::is_empty) {
        return error(StatusCode::BAD_REQUEST, "BadParameter", "The api-version parameter is missing.");
    }
    match call.segments().as_slice() {
        ["secrets", name] => read(platform, call, name),
        ["secrets", name, VERSION] => read(platform, call, name),
        ["secrets", name, _] => not_found(name),
        _ => error(StatusCode::NOT_FOUND, "NotFound", "The mock vault only reads secrets by name."),
    }
}

/// Names of secrets are compared without regard to case.
fn read(platform: &Platform, call: &Call, name: &str) -> Reply {
    let secret = platform.config.vault.secrets.iter().find(|(held, _)| held.eq_ignore_ascii_case(name));
    let Some((name, value)) = secret else {
        return not_found(name);
    };
    let created = unix_now();
    Reply::ok(json!({
        "value": value,
        "id": format!("{}/secrets/{name}/{VERSION}", call.origin),
        "attributes": { "enabled": true, "created": created, "updated": created,
                        "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90 },
        "tags": {},
    }))
}

fn not_found(name: &str) -> Reply {
    let message = format!(
        "A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may \
         be able to recover it using the correct recovery command."
    );
    error(StatusCode::NOT_FOUND, "SecretNotFound", &message)
}

fn challenge(platform: &Platform, message: &str) -> Reply {
    let challenge = format!(
        r#"Bearer authorization="https://login.microsoftonline.com/{}", resource="{}""#,
        platform.config.tenant_id, platform.config.vault.audience,
    );
    error(StatusCode::UNAUTHORIZED, "Unauthorized", message).with("www-authenticate", &challenge)
}

fn error(status: StatusCode, code: &str, message: &str) -> Reply {
    Reply::json(status, json!({ "error": { "code": code, "message": message } }))
}

const HEADERS: [(&str, &str); 8] = [
    ("cache-control", "no-cache"),
    ("expires", "-1"),
    ("pragma", "no-cache"),
    ("strict-transport-security", "max-age=31536000;includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-ms-keyvault-network-info", "addr=203.0.113.1;act_addr_fam=InterNetwork;"),
    ("x-ms-keyvault-region", "eastus"),
    ("x-ms-keyvault-service-version", "1.1.0.878"),
];

/// Every secret has one version.
const VERSION: &str = "00000000000000000000000000000001";
