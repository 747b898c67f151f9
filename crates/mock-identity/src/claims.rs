//! The claims of a token.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    app::{App, User},
    identity::Identity,
};

/// The claims that Entra ID puts into a token
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// The audience, spelt as the request spelt it
    pub aud: String,
    /// The issuer
    pub iss: String,
    /// Opaque data of Entra ID
    #[serde(default)]
    pub aio: String,
    /// When it was issued, in Unix seconds
    pub iat: u64,
    /// The start of its lifetime
    pub nbf: u64,
    /// The end of its lifetime
    pub exp: u64,
    /// The client's id; in a token of version 2 it is called `azp`
    #[serde(alias = "azp")]
    pub appid: String,
    /// How the client proved itself: `1`, by a secret, or `2`, by a certificate or a signed assertion
    #[serde(alias = "azpacr")]
    pub appidacr: String,
    /// The identity provider
    pub idp: String,
    /// `app`: no user is involved; else `user`
    pub idtyp: String,
    /// The object id of the identity, service principal or user
    pub oid: String,
    /// The subject: again the object id
    pub sub: String,
    /// The directory
    pub tid: String,
    /// This token's own id
    pub uti: String,
    /// The token's format: `1.0`, or `2.0` where the audience is that of a token exchange
    pub ver: String,
    /// The resource id of a managed identity
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xms_mirid: Option<String>,
    /// The scopes that the user has consented to
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scp: Option<String>,
    /// The capabilities of the client: `CP1`, to answer a claims challenge
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xms_cc: Vec<String>,
}

/// The subject of a token, as far as its claims and the log tell of it
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Its name in the log
    pub(crate) name: &'a str,
    pub(crate) object_id: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) proof: Proof,
    /// Of a managed identity
    pub(crate) resource_id: Option<&'a str>,
    /// Of a user
    pub(crate) scopes: Option<&'a str>,
}

/// The credential that an app has used
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Secret,
    Assertion,
}

/// A token to be issued
pub(crate) struct Grant<'a> {
    pub(crate) subject: Subject<'a>,
    pub(crate) tenant_id: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) lifetime: u64,
    pub(crate) capabilities: Vec<String>,
}

impl Grant<'_> {
    /// Its claims, issued at `now`
    pub(crate) fn claims(&self, now: u64) -> TokenClaims {
        // Most resources take tokens of version 1; a token that is to be exchanged for another is of version 2.
        let version_2 = self.audience.starts_with("api://AzureADTokenExchange");
        let iss = issuer(self.tenant_id, version_2);
        let Subject { object_id, client_id, proof, resource_id, scopes, .. } = self.subject;
        TokenClaims {
            aud: self.audience.to_owned(),
            idp: iss.clone(),
            iss,
            aio: Uuid::new_v4().simple().to_string(),
            iat: now.saturating_sub(BACKDATED),
            nbf: now.saturating_sub(BACKDATED),
            exp: now.saturating_add(self.lifetime),
            appid: client_id.to_owned(),
            appidacr: if proof == Proof::Secret { "1" } else { "2" }.to_owned(),
            idtyp: if scopes.is_some() { "user" } else { "app" }.to_owned(),
            sub: object_id.to_owned(),
            oid: object_id.to_owned(),
            tid: self.tenant_id.to_owned(),
            uti: Uuid::new_v4().simple().to_string(),
            ver: if version_2 { "2.0" } else { "1.0" }.to_owned(),
            xms_mirid: resource_id.map(str::to_owned),
            scp: scopes.map(str::to_owned),
            xms_cc: self.capabilities.clone(),
        }
    }
}

impl<'a> Subject<'a> {
    /// A managed identity, which proves itself by a certificate that Azure keeps
    pub(crate) fn identity(identity: &'a Identity) -> Self {
        let Identity { name, object_id, client_id, resource_id, .. } = identity;
        let resource_id = Some(resource_id.as_str());
        Self { name, object_id, client_id, proof: Proof::Assertion, resource_id, scopes: None }
    }

    /// An app for itself
    pub(crate) fn app(app: &'a App, proof: Proof) -> Self {
        let App { name, object_id, client_id, .. } = app;
        Self { name, object_id, client_id, proof, resource_id: None, scopes: None }
    }

    /// A user, by way of an app
    pub(crate) fn user(user: &'a User, client_id: &'a str, proof: Proof, scopes: &'a str) -> Self {
        let User { name, object_id, .. } = user;
        Self { name, object_id, client_id, proof, resource_id: None, scopes: Some(scopes) }
    }
}

/// The issuer of a tenant's tokens
pub(crate) fn issuer(tenant_id: &str, version_2: bool) -> String {
    match (tenant_id, version_2) {
        (ADFS, _) => "http://adfs.mock.example/adfs/services/trust".to_owned(),
        (_, true) => format!("https://login.microsoftonline.com/{tenant_id}/v2.0"),
        (_, false) => format!("https://sts.windows.net/{tenant_id}/"),
    }
}

/// The tenant id that stands for an AD FS
pub(crate) const ADFS: &str = "adfs";

/// Entra ID dates tokens back by five minutes, for services whose clocks are slow.
const BACKDATED: u64 = 300;
