//! App registrations and users.

use anyhow::{Context, Result};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;

/// An app that is registered in the directory
///
/// Without `Debug`, since it holds secrets.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct App {
    /// Its name in the log
    pub name: String,
    /// The application id: `appid` in the token
    pub client_id: String,
    /// The id of its service principal: `oid` and `sub` in the token
    pub object_id: String,
    /// Its tenants; `adfs` stands for an AD FS
    pub tenant_ids: Vec<String>,
    /// Its client secrets
    #[serde(default)]
    pub secrets: Vec<AppSecret>,
    /// Its certificates, as PEM
    #[serde(default)]
    pub certificates: Vec<String>,
    /// The issuers whose tokens it accepts in place of a secret
    #[serde(default)]
    pub federated_credentials: Vec<FederatedCredential>,
}

/// A client secret
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AppSecret {
    /// The secret itself
    pub value: String,
    /// Whether it has expired
    #[serde(default)]
    pub expired: bool,
}

/// An issuer that an app trusts; all three fields are compared letter by letter
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FederatedCredential {
    /// `iss` of the token
    pub issuer: String,
    /// `sub` of the token
    pub subject: String,
    /// `aud` of the token
    pub audience: String,
}

/// A user of the directory
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct User {
    /// Its name in the log, and the first part of the user's principal name
    pub name: String,
    /// `oid` and `sub` in the token
    pub object_id: String,
    /// The reason to refuse on-behalf-of for this user, if any
    #[serde(default)]
    pub refused: Option<UserRefused>,
}

/// A reason to refuse on-behalf-of
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserRefused {
    /// A policy wants a second factor: the answer has claims to pass on to the user's client
    SecondFactor,
    /// Nobody has consented to the scopes of the app
    Consent,
    /// The user's sessions have been revoked
    SessionsRevoked,
}

impl App {
    pub(crate) fn check(&self) -> Result<()> {
        for pem in &self.certificates {
            certificate(pem).with_context(|| format!("app {}: a certificate is no PEM", self.name))?;
        }
        Ok(())
    }

    pub(crate) fn shares_an_id(&self, other: &Self) -> bool {
        self.name == other.name
            || self.client_id.eq_ignore_ascii_case(&other.client_id)
            || self.object_id.eq_ignore_ascii_case(&other.object_id)
    }

    /// Its certificates that can be parsed
    pub(crate) fn certificates(&self) -> impl Iterator<Item = CertificateDer<'static>> {
        self.certificates.iter().filter_map(|pem| certificate(pem).ok())
    }

    pub(crate) fn is_in(&self, tenant_id: &str) -> bool {
        self.tenant_ids.iter().any(|held| held.eq_ignore_ascii_case(tenant_id))
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_slice(pem.as_bytes())?)
}
