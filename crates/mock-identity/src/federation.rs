//! Tokens of other issuers, by which apps prove themselves: those of a Kubernetes cluster, of jobs and of another cloud.

use std::{num::NonZeroU64, time::Duration};

use anyhow::Result;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::{App, FederatedCredential},
    call::Call,
    claims::issuer,
    identity::Identity,
    issuer::unix_now,
    platform::Platform,
    reply::Reply,
};

/// A workload as its platform describes it in a token
pub(crate) struct Workload<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) audience: &'a str,
    /// The platform's own claims, an object
    pub(crate) more: Value,
}

impl Workload<'_> {
    /// Its token, valid since `backdated` seconds, or that of another subject if a fault wants that
    pub(crate) fn token(
        &self,
        platform: &Platform,
        call: &Call,
        (backdated, lifetime): (u64, NonZeroU64),
    ) -> Result<String, Reply> {
        let now = unix_now();
        let mut claims = json!({
            "aud": self.audience,
            "exp": now.saturating_add(lifetime.get()),
            "iat": now,
            "iss": self.issuer,
            "nbf": now.saturating_sub(backdated),
            "sub": if call.wrong_identity { ANOTHER_SUBJECT } else { self.subject },
        });
        if let (Some(claims), Value::Object(more)) = (claims.as_object_mut(), &self.more) {
            claims.extend(more.clone());
        }
        platform
            .issuer
            .sign(&claims)
            .map_err(|error| Reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("no token: {error:#}")))
    }
}

/// The first app that trusts this subject of this issuer, for whatever audience
pub(crate) fn app_that_trusts<'a>(platform: &'a Platform, issuer: &str, subject: &str) -> Option<&'a App> {
    let trusts = |held: &FederatedCredential| held.issuer == issuer && held.subject == subject;
    platform.config.apps.iter().find(|app| app.federated_credentials.iter().any(trusts))
}

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

const ANOTHER_SUBJECT: &str = "another-subject";
