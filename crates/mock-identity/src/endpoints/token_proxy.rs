//! The token proxy of an AKS cluster with identity bindings: it reviews a pod's token, asks the cluster's roles, and answers
//! as Entra ID does
//!
//! Its own refusals are text: Azure documents none.

use std::time::Duration;

use anyhow::Result;
use http::{Method, StatusCode};

use super::{Call, Endpoint, Environment, Listener, Platform, Reply, Setup, Spec, entra};
use crate::{
    app::FederatedCredential,
    federation,
    sections::{BoundAccount, TokenProxyConfig},
};

pub(crate) const SPEC: Spec = Spec {
    listeners: &[Listener::TokenProxy],
    paths: &["token-proxy/*/oauth2/v2.0/token"],
    answer,
    failure: |_, _, status| Reply::text(status, "a scripted failure of the token proxy\n"),
    setups: &[Setup {
        title: "AKS with identity bindings (curl URL/admin/bound-token > token; curl URL/admin/token-proxy-ca > ca.crt)",
        needs: "[token-proxy] in the configuration",
        environment,
    }],
    ..Spec::of(Endpoint::TokenProxy)
};

/// As AKS sets them in a pod; the URL ends in a slash, which clients strip
fn environment(platform: &Platform) -> Environment {
    let (Some(proxy), Some(config)) = (&platform.addresses.token_proxy, &platform.config.token_proxy) else {
        return Vec::new();
    };
    let entra = platform.addresses.tls.as_deref().unwrap_or("https://login.microsoftonline.com");
    let client_id = config.accounts.iter().find_map(|account| account.client_ids.first());
    vec![
        ("AZURE_AUTHORITY_HOST", format!("{entra}/")),
        ("AZURE_TENANT_ID", platform.config.tenant_id.clone()),
        ("AZURE_CLIENT_ID", client_id.cloned().unwrap_or_default()),
        ("AZURE_FEDERATED_TOKEN_FILE", "token".to_owned()),
        ("AZURE_KUBERNETES_TOKEN_PROXY", format!("{}/{PREFIX}/", proxy.url)),
        ("AZURE_KUBERNETES_SNI_NAME", config.sni_name.clone()),
        ("AZURE_KUBERNETES_CA_FILE", "ca.crt".to_owned()),
    ]
}

/// A token as the cluster projects it into the pods of the first service account
///
/// # Errors
/// When it cannot be signed.
pub(crate) fn bound_token(platform: &Platform, lifetime: Duration) -> Option<Result<String>> {
    let config = platform.config.token_proxy.as_ref()?;
    let credential = FederatedCredential {
        issuer: config.issuer.clone(),
        subject: config.accounts.first()?.subject.clone(),
        audience: AUDIENCE.to_owned(),
    };
    Some(federation::token(platform, &credential, lifetime))
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    match &platform.config.token_proxy {
        Some(config) => admit(platform, config, call).map_or_else(
            |refusal| refusal,
            |()| {
                let path = call.path.trim_start_matches('/').trim_start_matches(PREFIX).to_owned();
                entra::exchange(platform, &Call { path, ..call.clone() })
            },
        ),
        None => text(StatusCode::NOT_FOUND, "there is no token proxy here"),
    }
}

/// What the proxy checks before it asks Entra ID
fn admit(platform: &Platform, config: &TokenProxyConfig, call: &Call) -> Result<(), Reply> {
    if call.method != Method::POST {
        return Err(text(StatusCode::METHOD_NOT_ALLOWED, "only POST is allowed"));
    }
    if call.form.is_none() {
        return Err(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is not a form"));
    }
    if call.field("client_assertion_type") != Some(ASSERTION_TYPE) {
        return Err(text(StatusCode::BAD_REQUEST, "client_assertion_type is not that of a JWT"));
    }
    let token = call.field("client_assertion").unwrap_or_default();
    let subject = entra::reviewed_subject(platform, token, &config.issuer, AUDIENCE)
        .ok_or_else(|| text(StatusCode::UNAUTHORIZED, "the token review failed"))?;
    let client_id = call.field("client_id").unwrap_or_default();
    match config.accounts.iter().any(|account| account.may_use(&subject, client_id)) {
        true => Ok(()),
        false => Err(text(
            StatusCode::FORBIDDEN,
            &format!(
                "User \"{subject}\" cannot use-managed-identity resource \"{client_id}\" in API group \
                 \"cid.wi.aks.azure.com\" at the cluster scope"
            ),
        )),
    }
}

impl BoundAccount {
    fn may_use(&self, subject: &str, client_id: &str) -> bool {
        self.subject == subject && self.client_ids.iter().any(|id| id.eq_ignore_ascii_case(client_id))
    }
}

fn text(status: StatusCode, words: &str) -> Reply {
    Reply::text(status, format!("{words}\n"))
}

/// Of the path: a real cluster's URL has none, and clients keep one
const PREFIX: &str = "token-proxy";
const AUDIENCE: &str = "api://AKSIdentityBinding";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
