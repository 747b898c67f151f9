//! What a service needs to check tokens: the tenant's OpenID configuration and its signing keys.

use http::{Method, StatusCode};
use serde_json::json;

use super::{call::Call, platform::Platform, reply::Reply};

pub(super) fn answer(platform: &Platform, call: &Call) -> Reply {
    let segments = call.segments();
    if call.method != Method::GET {
        return Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed");
    }
    if segments.first().is_none_or(|tenant| !tenant.eq_ignore_ascii_case(&platform.config.tenant_id)) {
        return unknown_tenant();
    }
    if segments.last() == Some(&"keys") {
        return Reply::json(StatusCode::OK, &platform.issuer.key_set());
    }
    configuration(platform, segments.contains(&"v2.0"))
}

/// Endpoints of version 2 name another issuer than version 1's; managed identities' tokens are version 1's.
fn configuration(platform: &Platform, version_2: bool) -> Reply {
    let (url, tenant) = (&platform.url, &platform.config.tenant_id);
    let (issuer, version) = if version_2 {
        (format!("https://login.microsoftonline.com/{tenant}/v2.0"), "/v2.0")
    } else {
        (platform.issuer.issuer(), "")
    };
    Reply::json(
        StatusCode::OK,
        &json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{url}/{tenant}/oauth2{version}/authorize"),
            "token_endpoint": format!("{url}/{tenant}/oauth2{version}/token"),
            "jwks_uri": format!("{url}/{tenant}/discovery{version}/keys"),
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "subject_types_supported": ["pairwise"],
        }),
    )
}

fn unknown_tenant() -> Reply {
    Reply::json(
        StatusCode::BAD_REQUEST,
        &json!({ "error": "invalid_tenant", "error_description": "AADSTS90002: Tenant not found." }),
    )
}
