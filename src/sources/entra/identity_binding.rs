//! AKS identity bindings: the cluster's token proxy exchanges a pod's token in the place of Entra.
//!
//! <https://learn.microsoft.com/azure/aks/identity-bindings-concepts>

use serde::Deserialize;
use serde_json::Value;

use super::WORKLOAD_IDENTITY;
use crate::model::Error;
use crate::settings::variables::{
    KUBERNETES_CA_DATA, KUBERNETES_CA_FILE, KUBERNETES_SNI_NAME, KUBERNETES_TOKEN_PROXY, VERIFIED_TOKEN_PROXY,
};
use crate::settings::{ProxyAuthorities, SettingNames, Settings, TokenProxy};
use crate::sources::SourceInfo;
use crate::wire::Jwt;

/// Workload identity by a token proxy.
pub(super) const INFO: SourceInfo = SourceInfo { health, ..WORKLOAD_IDENTITY };

/// The token proxy of the settings, if they have one.
///
/// # Errors
/// [`Error::Misconfigured`] for invalid settings, and if this host does not verify the proxy. Entra is not asked instead:
/// it does not take the assertion, and a pod with identity bindings need not reach it.
pub(super) fn token_proxy(settings: &Settings) -> Result<Option<TokenProxy>, Error> {
    let proxy = TokenProxy::detect(settings)?;
    match settings.get(KUBERNETES_TOKEN_PROXY) {
        Some(url) if settings.get(VERIFIED_TOKEN_PROXY) != Some(url) => Err(unverified(settings)),
        _ => Ok(proxy),
    }
}

fn unverified(settings: &Settings) -> Error {
    Error::misconfigured(
        format_args!(
            "{} selects the cluster's token proxy, whose certificate a component cannot check and this host does not \
             verify: the assertion goes neither there nor past it to Entra",
            settings.name(KUBERNETES_TOKEN_PROXY)
        ),
        "use `token-broker get`, `run` or `serve`, or token-broker-host, which verify it; for a component on another host, \
         `token-broker serve` beside it as its IMDS; in Envoy, the field `token_proxy`. Else remove the pod's annotation \
         azure.workload.identity/use-identity-binding, and let the app trust the service account's issuer: \
         `az identity federated-credential create`",
    )
}

/// What the proxy is known by, for the operator.
pub(super) fn description(proxy: &TokenProxy, names: &SettingNames) -> String {
    let (base, name) = (proxy.base(), proxy.server_name());
    let origin = match proxy.has_sni_name() {
        true => format!(" ({})", names.of(KUBERNETES_SNI_NAME)),
        false => String::new(),
    };
    format!(
        "the cluster's token proxy {base} is asked instead of Entra; its certificate must have the name {name}{origin} and \
         be of {}",
        authorities(proxy, names)
    )
}

fn authorities(proxy: &TokenProxy, names: &SettingNames) -> String {
    match proxy.authorities() {
        ProxyAuthorities::OfHost => "an authority that the host trusts".to_owned(),
        ProxyAuthorities::File(file) => format!("an authority in {file} ({})", names.of(KUBERNETES_CA_FILE)),
        ProxyAuthorities::Pem(_) => format!("an authority in {}", names.of(KUBERNETES_CA_DATA)),
    }
}

/// The remedy for a proxy that the host does not trust.
pub(super) fn untrusted_remedy(proxy: &TokenProxy, names: &SettingNames) -> String {
    format!(
        "compare {} ({}) with the names of the proxy's certificate, and check that it is of {}, in PEM; the host's log has \
         the reason",
        names.of(KUBERNETES_SNI_NAME),
        proxy.server_name(),
        authorities(proxy, names)
    )
}

/// The remedy for a refusal of the proxy's own.
pub(super) fn refusal_remedy(status: u16, client: &str, names: &SettingNames) -> String {
    match status {
        401 => format!(
            "the proxy does not accept the pod's token: its audience must be {AUDIENCE}, for which the pod needs the \
             annotation {ANNOTATION} when it is created"
        ),
        403 => format!(
            "let the pod's service account use the identity: a ClusterRole with the verb use-managed-identity on the \
             resource {client} of the API group cid.wi.aks.azure.com, and a ClusterRoleBinding to it; and check that the \
             cluster has an identity binding for {client}"
        ),
        _ => health(names),
    }
}

fn health(names: &SettingNames) -> String {
    format!(
        "check that {} and {} are as AKS set them in the pod, that the pod reaches its API server, and that the cluster has \
         identity bindings (not with API server VNet integration)",
        names.of(KUBERNETES_TOKEN_PROXY),
        names.of(KUBERNETES_SNI_NAME)
    )
}

/// The remedy for an assertion that Entra refused because it is meant for a token proxy; none for another one.
pub(super) fn bound_token_remedy(assertion: &str) -> Option<String> {
    is_bound(assertion).then(|| {
        format!(
            "the token has the audience {AUDIENCE}: it is for AKS identity bindings, and the cluster's token proxy takes it, \
             not Entra. Pass on {KUBERNETES_TOKEN_PROXY}, {KUBERNETES_SNI_NAME} and {KUBERNETES_CA_FILE}, which the pod's \
             annotation {ANNOTATION} sets, to `token-broker` or token-broker-host; in Envoy, set the field `token_proxy`; or \
             remove the annotation, and let the app trust the service account's issuer"
        )
    })
}

fn is_bound(assertion: &str) -> bool {
    let claims = Jwt::parse(assertion).and_then(|jwt| jwt.claims::<Claims>());
    claims.is_some_and(|Claims { aud }| match aud {
        Value::Array(list) => list.iter().any(|aud| aud == AUDIENCE),
        one => one == AUDIENCE,
    })
}

/// A string or a list (RFC 7519, 4.1.3).
#[derive(Deserialize)]
struct Claims {
    aud: Value,
}

const AUDIENCE: &str = "api://AKSIdentityBinding";
const ANNOTATION: &str = "azure.workload.identity/use-identity-binding: \"true\"";

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn a_token_for_the_proxy_is_known_by_its_audience() {
        for (claims, bound) in [
            (r#"{"aud":"api://AKSIdentityBinding"}"#, true),
            (r#"{"aud":["https://x","api://AKSIdentityBinding"]}"#, true),
            (r#"{"aud":["api://AzureADTokenExchange"]}"#, false),
            (r#"{"aud":7}"#, false),
            ("{}", false),
            ("no claims", false),
        ] {
            let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
            assert_eq!(bound_token_remedy(&token).is_some(), bound, "{claims}");
        }
        assert_eq!(bound_token_remedy("opaque"), None);
    }
}
