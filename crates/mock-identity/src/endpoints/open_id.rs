//! Discovery: OpenID configuration and signing keys for services, instance discovery for clients.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Endpoint, Listener, Platform, Reply, Spec, entra};
use crate::{
    claims::{ADFS, issuer},
    entra_error,
};

pub(crate) const SPEC: Spec = Spec {
    paths: &[
        "common/discovery/instance",
        "*/.well-known/openid-configuration",
        "*/v2.0/.well-known/openid-configuration",
        "*/discovery/keys",
        "*/discovery/v2.0/keys",
    ],
    refuses_chunks: true,
    answer,
    ..Spec::of(Endpoint::OpenId)
};

fn answer(platform: &Platform, call: &Call) -> Reply {
    entra::of_discovery(document(platform, call), call, &Uuid::new_v4().to_string())
}

fn document(platform: &Platform, call: &Call) -> Reply {
    let segments = call.segments();
    if call.method != Method::GET {
        return Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed");
    }
    if segments.as_slice() == ["common", "discovery", "instance"] {
        return Reply::ok(instance(platform, call));
    }
    let asked = segments.first().copied().unwrap_or_default();
    let Some(tenant) = platform.config.tenant_ids().find(|id| id.eq_ignore_ascii_case(asked)) else {
        return entra_error::invalid_tenant(call, asked);
    };
    if segments.last() == Some(&"keys") {
        return Reply::ok(platform.issuer.key_set());
    }
    Reply::ok(configuration(base(platform, call), tenant, segments.contains(&"v2.0")))
}

/// Endpoints of version 2 name another issuer than version 1's; managed identities' tokens are version 1's.
fn configuration(url: &str, tenant: &str, version_2: bool) -> Value {
    // An AD FS has no versions.
    let version = if version_2 && tenant != ADFS { "/v2.0" } else { "" };
    json!({
        "issuer": issuer(tenant, version_2),
        "authorization_endpoint": format!("{url}/{tenant}/oauth2{version}/authorize"),
        "device_authorization_endpoint": format!("{url}/{tenant}/oauth2{version}/devicecode"),
        "end_session_endpoint": format!("{url}/{tenant}/oauth2{version}/logout"),
        "token_endpoint": format!("{url}/{tenant}/oauth2{version}/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{url}/{tenant}/discovery{version}/keys"),
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "kerberos_endpoint": format!("{url}/{tenant}/kerberos"),
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "subject_types_supported": ["pairwise"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "name", "tid", "ver"],
        "request_uri_parameter_supported": false,
        "http_logout_supported": true,
        "frontchannel_logout_supported": true,
        "tenant_region_scope": "WW",
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net",
    })
}

/// Instance discovery: the host names of the mock, and the URL of its configuration
fn instance(platform: &Platform, call: &Call) -> Value {
    let url = base(platform, call);
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    let tenant = &platform.config.tenant_id;
    json!({
        "tenant_discovery_endpoint": format!("{url}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
    })
}

/// With TLS the URL that the client has used, since its assertions name it.
fn base<'a>(platform: &'a Platform, call: &'a Call) -> &'a str {
    match call.listener {
        Listener::Tls => &call.origin,
        Listener::Plain | Listener::Pinned | Listener::TokenProxy => &platform.addresses.plain,
    }
}
