//! The token endpoint of Entra ID, for an app registration that authenticates by a client secret, a certificate, a
//! token of another issuer, or a managed identity.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

pub(super) mod aadsts;
#[cfg(feature = "certificate")]
mod certificate;
#[cfg(not(feature = "certificate"))]
#[path = "entra/certificate_off.rs"]
mod certificate;
mod configured;
mod identity_binding;
mod region;

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use self::aadsts::{NO_FEDERATED_CREDENTIAL, STALE_ASSERTION};
use self::certificate::AssertionClaims;
pub(crate) use self::certificate::{Certificate, MAX_PEM};
pub(crate) use self::configured::{
    CERTIFICATE, FEDERATED_ASSERTION, FEDERATED_IDENTITY, SECRET, SOURCES, WORKLOAD_IDENTITY, client,
};
pub(crate) use self::region::RegionSearch;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal};
use super::{
    Assertion, Prerequisite, Protocol, RetryClass, SourceCall, SourceError, SourceInfo, for_command,
};
use crate::model::{CLOCK_TOLERANCE, Error, Failure, Identity, ReadError, Secret, merged};
use crate::policy::{AdmittedRequest, CacheKey};
use crate::settings::cloud::Authority;
use crate::settings::tenant::ADFS;
use crate::settings::variables::{
    ASSERTION, AUTHORITY_HOST, CERTIFICATE_PATH, CLIENT_ID, CLIENT_SECRET, FEDERATED_TOKEN_FILE, TENANT_ID,
    TOKEN_CREDENTIALS,
};
use crate::settings::{SettingNames, TokenProxy};
use crate::wire::Field;

/// An app registration with its credential.
#[derive(Debug)]
pub(crate) struct Entra {
    info: &'static SourceInfo,
    authority: Authority,
    /// The search for the region of the authority, if it is to be detected.
    region: Option<RegionSearch>,
    tenant: String,
    /// The app. [`Identity::Default`]: each request must name it.
    client: Identity,
    credential: ClientCredential,
}

/// The credential of an app registration.
#[derive(Debug)]
enum ClientCredential {
    Secret(Secret),
    Certificate(Certificate),
    /// The path of a file with a token of another issuer, and the token proxy that exchanges it, if it is not Entra.
    TokenFile(String, Option<Box<TokenProxy>>),
    /// The name of a variable, and the token of another issuer that it contains.
    Variable(String, Assertion),
    /// The request for the token of another issuer.
    Issuer(Rc<AdmittedRequest>),
    /// The request for a managed identity's token, which is the client assertion.
    ManagedIdentity(Rc<AdmittedRequest>),
}

/// <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>
fn missing_client_id_of_pod(names: &SettingNames) -> Error {
    let [file, tenant, client] =
        [FEDERATED_TOKEN_FILE, TENANT_ID, CLIENT_ID].map(|variable| names.of(variable));
    Error::misconfigured(
        format_args!("{file} and {tenant} are set and {client} is not, and the request names no client id"),
        format_args!(
            "on AKS annotate the pod's service account, `kubectl annotate serviceaccount <name> \
             azure.workload.identity/client-id=<client id>`, and restart the pod, since its variables are set when it is \
             created; for the machine's own identity set {TOKEN_CREDENTIALS} to ManagedIdentityCredential"
        ),
    )
}

impl Entra {
    /// Whether an identity is this app. Any app may trust the token of another issuer.
    pub(crate) fn serves(&self, identity: &Identity) -> bool {
        let serves_any = match self.credential {
            ClientCredential::TokenFile(..)
            | ClientCredential::Variable(..)
            | ClientCredential::Issuer(_) => true,
            ClientCredential::Secret(_)
            | ClientCredential::Certificate(_)
            | ClientCredential::ManagedIdentity(_) => false,
        };
        matches!(identity, Identity::ClientId(_)) && (*identity == self.client || serves_any)
    }

    /// The token proxy that is asked instead of Entra.
    fn proxy(&self) -> Option<&TokenProxy> {
        match &self.credential {
            ClientCredential::TokenFile(_, proxy) => proxy.as_deref(),
            ClientCredential::Secret(_)
            | ClientCredential::Certificate(_)
            | ClientCredential::Variable(..)
            | ClientCredential::Issuer(_)
            | ClientCredential::ManagedIdentity(_) => None,
        }
    }

    /// The assertion of a variable.
    ///
    /// # Errors
    /// [`SourceError::Blocked`] if it has expired. Nothing is sent.
    pub(crate) fn variable(
        &self,
        call: &SourceCall<'_>,
        assertion: &Assertion,
        now: Duration,
    ) -> Result<Secret, SourceError> {
        let ClientCredential::Variable(name, _) = &self.credential else {
            return Ok(assertion.secret.clone());
        };
        let expired = assertion.expires_on.and_then(|time| Some((time, now.as_secs().checked_sub(time)?)));
        let Some((time, ago)) = expired.filter(|(_, ago)| *ago > CLOCK_TOLERANCE.as_secs()) else {
            return Ok(assertion.secret.clone());
        };
        Err(SourceError::Blocked(Failure {
            source: self.info.name.into(),
            message: format!(
                "the token in {name} expired {ago} s ago, at {time} (Unix time); nothing is sent without a valid one"
            ),
            remedy: Some(format!(
                "start the job or the run again, which sets {name} once; where the platform can give a token more than once, \
                 set {} to it",
                call.names.of(ASSERTION)
            )),
            ..Failure::default()
        }))
    }

    /// The claims of an assertion for a request.
    pub(crate) fn assertion_claims(&self, key: &CacheKey) -> AssertionClaims {
        AssertionClaims {
            client_id: client_id(key).to_owned(),
            audience: self.token_url(key),
            adfs: self.tenant == ADFS,
        }
    }

    /// The error for a file of this source that cannot be read.
    pub(crate) fn unreadable_file(
        &self,
        call: &SourceCall<'_>,
        path: &str,
        error: &ReadError,
    ) -> SourceError {
        let fix = match error {
            ReadError::NotFound => Some("mount the file, and give the broker access to its directory"),
            ReadError::Outside => Some(
                "give the broker access to the directory that really contains the file, and name the file there",
            ),
            ReadError::TooLarge | ReadError::Other(_) => None,
        };
        self.unusable_file(call, path, &format!("cannot be read: {error}"), fix)
    }

    /// The error for a file of this source with invalid content. `why` begins with a verb.
    pub(crate) fn invalid_file(&self, call: &SourceCall<'_>, path: &str, why: &str) -> SourceError {
        self.unusable_file(call, path, why, None)
    }

    fn unusable_file(&self, call: &SourceCall<'_>, path: &str, why: &str, fix: Option<&str>) -> SourceError {
        match &self.credential {
            ClientCredential::TokenFile(..) => SourceError::Blocked(Failure {
                source: self.info.name.into(),
                message: format!(
                    "the token file {path}, which {} names, {why}; nothing is sent without it",
                    call.names.of(FEDERATED_TOKEN_FILE)
                ),
                remedy: Some(format!(
                    "{}; {PROJECTED}",
                    fix.unwrap_or("check that the file is mounted and that its issuer renews it")
                )),
                ..Failure::default()
            }),
            ClientCredential::Secret(_)
            | ClientCredential::Certificate(_)
            | ClientCredential::Variable(..)
            | ClientCredential::Issuer(_)
            | ClientCredential::ManagedIdentity(_) => {
                let variable = call.names.of(CERTIFICATE_PATH);
                SourceError::Failed(Error::misconfigured(
                    format_args!("the file {path}, which {variable} names, {why}"),
                    fix.unwrap_or(PEM),
                ))
            }
        }
    }

    fn missing_client_id(&self, names: &SettingNames) -> Error {
        if matches!(self.credential, ClientCredential::TokenFile(..)) {
            return missing_client_id_of_pod(names);
        }
        Error::misconfigured(
            format_args!(
                "{} is set and {} is not, and the request names no client id",
                names.of(ASSERTION),
                names.of(CLIENT_ID)
            ),
            "set it to the client id of the app registration or the managed identity that trusts the issuer",
        )
    }

    fn credential_fields<'a>(&'a self, call: &SourceCall<'a>) -> Vec<Field<'a>> {
        if let ClientCredential::Secret(secret) = &self.credential {
            return vec![("client_secret", secret.expose_secret().into())];
        }
        let assertion = call.credential.map_or("", |credential| credential.expose_secret());
        vec![("client_assertion_type", Cow::from(ASSERTION_TYPE)), ("client_assertion", assertion.into())]
    }

    /// Instructions for listing the credentials that the app accepts.
    fn trust(&self) -> &'static str {
        match self.credential {
            ClientCredential::Secret(_) => {
                "`az ad app credential reset --id <client id>` creates a new secret"
            }
            ClientCredential::Certificate(_) => {
                "`az ad app credential list --id <client id> --cert` lists the certificates of the app"
            }
            ClientCredential::TokenFile(..)
            | ClientCredential::Variable(..)
            | ClientCredential::Issuer(_)
            | ClientCredential::ManagedIdentity(_) => {
                "`az identity federated-credential list -g <group> --identity-name <name>` for a managed identity, or \
                 `az ad app federated-credential list --id <client id>` for an app, lists the trusted issuers"
            }
        }
    }

    fn token_url(&self, key: &CacheKey) -> String {
        let detected = self.region.as_ref().and_then(RegionSearch::found);
        self.authority.token_url(key.tenant_id().unwrap_or(&self.tenant), key.is_for_user(), detected)
    }
}
impl Protocol for Entra {
    fn info(&self) -> &'static SourceInfo {
        self.info
    }

    fn url(&self, key: &CacheKey) -> Cow<'_, str> {
        self.token_url(key).into()
    }

    fn secret(&self) -> Option<(&'static str, &str)> {
        match &self.credential {
            ClientCredential::Secret(secret) => Some((CLIENT_SECRET, secret.expose_secret())),
            ClientCredential::Certificate(_)
            | ClientCredential::TokenFile(..)
            | ClientCredential::Variable(..)
            | ClientCredential::Issuer(_)
            | ClientCredential::ManagedIdentity(_) => None,
        }
    }

    fn serves_users(&self) -> bool {
        true
    }

    /// # Errors
    /// [`SourceError::Declined`] for another identity; [`Error::Misconfigured`] if neither the request nor the platform
    /// names the app: the next source would answer with another identity.
    fn check(&self, call: &SourceCall<'_>) -> Result<(), SourceError> {
        let identity = call.request.key().identity();
        match identity {
            _ if self.serves(identity) => Ok(()),
            Identity::Default => Err(SourceError::Failed(self.missing_client_id(call.names))),
            _ => Err(SourceError::Declined(Failure {
                source: self.info.name.into(),
                message: format!("is for {}, and {identity} was requested", self.client),
                remedy: Some("request the configured identity, or configure the requested one".to_owned()),
                ..Failure::default()
            })),
        }
    }

    fn prerequisite(&self) -> Prerequisite<'_> {
        match &self.credential {
            ClientCredential::Secret(_) => Prerequisite::Nothing,
            ClientCredential::Certificate(certificate) => Prerequisite::Signature(self, certificate),
            ClientCredential::TokenFile(path, _) => Prerequisite::TokenFile(self, path),
            ClientCredential::Variable(_, assertion) => Prerequisite::Variable(self, assertion),
            ClientCredential::Issuer(request) | ClientCredential::ManagedIdentity(request) => {
                Prerequisite::Token(request)
            }
        }
    }

    fn tenant(&self) -> Option<&str> {
        Some(&self.tenant)
    }

    fn region_search(&self) -> Option<&RegionSearch> {
        self.region.as_ref()
    }

    fn renewal(&self) -> Option<&'static str> {
        Some(match self.credential {
            ClientCredential::TokenFile(..) => PROJECTED,
            ClientCredential::Variable(..) => "start the job or the run again, which renews the token",
            ClientCredential::Issuer(_) => "check that the issuer gives a token that is valid now",
            ClientCredential::Secret(_)
            | ClientCredential::Certificate(_)
            | ClientCredential::ManagedIdentity(_) => self.trust(),
        })
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = call.request.key();
        let mut form: Vec<Field<'a>> = vec![("client_id", client_id(key).into())];
        match call.request.on_behalf_of() {
            None => form.extend([
                ("grant_type", "client_credentials".into()),
                ("scope", format!("{}/.default", key.audience()).into()),
            ]),
            // https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow
            Some(user) => form.extend([
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".into()),
                ("requested_token_use", "on_behalf_of".into()),
                ("scope", user.permission.as_str().into()),
                ("assertion", user.assertion.expose_secret().into()),
            ]),
        }
        form.extend(merged(call.request.claims(), key.cae()).map(|claims| ("claims", claims.into())));
        form.extend(self.credential_fields(call));
        OutgoingRequest::post(self.token_url(key), form)
    }

    fn note(&self, names: &SettingNames) -> Option<String> {
        Some(identity_binding::description(self.proxy()?, names))
    }

    /// A token proxy is the cluster's, so that another certificate is one of the deployment's faults.
    fn untrusted(&self, summary: &CallSummary<'_>, failure: Failure) -> SourceError {
        match self.proxy() {
            None => SourceError::Failed(Error::Protocol(failure)),
            Some(proxy) => {
                let remedy = Some(identity_binding::untrusted_remedy(proxy, summary.names));
                SourceError::Blocked(Failure { remedy, ..failure })
            }
        }
    }

    fn refused(&self, summary: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
        let is_renewable =
            !matches!(self.credential, ClientCredential::Secret(_) | ClientCredential::Variable(..));
        let is_stale = is_renewable && refusal.is(STALE_ASSERTION);
        let is_untrusted_issuer = NO_FEDERATED_CREDENTIAL.iter().any(|number| refusal.is(*number));
        // Without an AADSTS number, the refusal is that of a proxy or an AD FS.
        let remedy = |refusal: &Refusal<'_>| match self.proxy() {
            Some(_) => {
                let client = summary.key.identity().id().map_or("<client id>", for_command);
                identity_binding::refusal_remedy(refusal.status, client, summary.names)
            }
            None => format!(
                "check that {} names the authority, and check for a proxy on the way; {}",
                summary.names.of(AUTHORITY_HOST),
                self.trust()
            ),
        };
        // 404: there is no Entra at this address.
        match refusal.not_found_is_final().error(remedy) {
            SourceError::Failed(Error::Rejected(failure))
                if is_untrusted_issuer && self.proxy().is_none() =>
            {
                let bound = summary.credential().and_then(identity_binding::bound_token_remedy);
                let remedy = bound.or(failure.remedy);
                SourceError::Failed(Error::Rejected(Failure { remedy, ..failure }))
            }
            SourceError::Failed(Error::Rejected(failure)) if is_stale => {
                SourceError::Retry(failure, RetryClass::Stale)
            }
            other => other,
        }
    }
}

/// The client id of an accepted request.
fn client_id(key: &CacheKey) -> &str {
    key.identity().id().map_or("", |id| id.as_str())
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

const PROJECTED: &str = "on AKS, `kubectl describe pod <pod>` shows whether the workload identity webhook mounted the \
                         token, and `kubectl get serviceaccount -o yaml` the account's annotations";

const PEM: &str =
    "use a PEM file with the certificate and its RSA key; `openssl pkcs12 -in app.pfx -nodes` converts a PFX";

/// The largest token file, in bytes: Entra does not accept larger assertions.
pub(crate) const MAX_TOKEN_FILE: usize = 64 * 1024;
