//! Tokens of other issuers, by which apps prove themselves: the mock makes those of a Kubernetes cluster.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::{App, FederatedCredential},
    claims::issuer,
    identity::Identity,
    issuer::unix_now,
    platform::Platform,
};

/// The first credential by which `app` trusts somebody else than this platform's managed identities
pub(crate) fn cluster_credential<'a>(platform: &Platform, app: &'a App) -> Option<&'a FederatedCredential> {
    app.federated_credentials.iter().find(|credential| !is_own(platform, credential))
}

/// The first managed identity of this platform that `app` trusts
pub(crate) fn trusted_identity<'a>(platform: &'a Platform, app: &App) -> Option<&'a Identity> {
    let own = app.federated_credentials.iter().filter(|credential| is_own(platform, credential));
    let subjects: Vec<_> = own.map(|credential| credential.subject.as_str()).collect();
    platform.config.identities.iter().find(|identity| subjects.contains(&identity.object_id.as_str()))
}

fn is_own(platform: &Platform, credential: &FederatedCredential) -> bool {
    credential.issuer == issuer(&platform.config.tenant_id, true)
}

/// A token as a cluster projects it into a pod's files, signed with the mock's own key
pub(crate) fn token(
    platform: &Platform,
    credential: &FederatedCredential,
    lifetime: Duration,
) -> Result<String> {
    let now = unix_now();
    platform.issuer.sign(&json!({
        "aud": [credential.audience],
        "exp": now.saturating_add(lifetime.as_secs()),
        "iat": now,
        "iss": credential.issuer,
        "jti": Uuid::new_v4().to_string(),
        "nbf": now,
        "sub": credential.subject,
    }))
}
