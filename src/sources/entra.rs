//! The token endpoint of Entra ID: an app registration that proves itself by a secret, a certificate, a token of
//! another issuer, or a managed identity.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

pub(super) mod aadsts;
#[cfg(feature = "certificate")]
mod certificate;
#[cfg(not(feature = "certificate"))]
#[path = "entra/certificate_off.rs"]
mod certificate;

use std::borrow::Cow;
use std::rc::Rc;

use secrecy::ExposeSecret as _;

use self::aadsts::STALE_ASSERTION;
use self::certificate::AssertionClaims;
pub(crate) use self::certificate::{Certificate, MAX_PEM};

use super::request::OutgoingRequest;
use super::response::{CallSummary, RoundTrip};
use super::{Prerequisite, RetryClass, SourceCall, SourceError, SourceInfo, response};
use crate::model::{Body, Error, Failure, Identity, ReadError, Scope, Secret, Token, merged};
use crate::policy::{AdmittedRequest, CacheKey};
use crate::settings::cloud::Authority;
use crate::settings::tenant::ADFS;
use crate::settings::variables::{
    AUTHORITY_HOST, CERTIFICATE_PASSWORD, CERTIFICATE_PATH, CLIENT_ID, CLIENT_SECRET, FEDERATED_CLIENT_ID,
    FEDERATED_TENANT_ID, FEDERATED_TOKEN_FILE, KUBERNETES_PROXY, SEND_CERTIFICATE_CHAIN, TENANT_ID,
    TOKEN_CREDENTIALS,
};
use crate::settings::{Credential, SettingNames, Settings, tenant};
use crate::wire::Field;

/// An app registration and what it proves itself with.
#[derive(Debug)]
pub(crate) struct Entra {
    about: &'static SourceInfo,
    authority: Authority,
    tenant: String,
    /// The app. Without one the request must name it.
    client: Identity,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    Secret(Secret),
    Certificate(Certificate),
    /// The path of a file with a token of another issuer.
    TokenFile(String),
    /// What a managed identity is asked for: its token is the assertion.
    ManagedIdentity(Rc<AdmittedRequest>),
}

pub(crate) const FEDERATED_IDENTITY: SourceInfo = SourceInfo {
    name: "federated-identity",
    credential: Credential::ManagedIdentity,
    needs: &[FEDERATED_CLIENT_ID, FEDERATED_TENANT_ID],
    takes: &[AUTHORITY_HOST, CLIENT_ID],
    health,
};

pub(crate) const SECRET: SourceInfo = SourceInfo {
    name: "client-secret",
    credential: Credential::Environment,
    needs: &[CLIENT_SECRET, CLIENT_ID, TENANT_ID],
    takes: &[AUTHORITY_HOST],
    health,
};

pub(crate) const CERTIFICATE: SourceInfo = SourceInfo {
    name: "client-certificate",
    credential: Credential::Environment,
    needs: &[CERTIFICATE_PATH, CLIENT_ID, TENANT_ID],
    takes: &[CERTIFICATE_PASSWORD, SEND_CERTIFICATE_CHAIN, AUTHORITY_HOST],
    health,
};

pub(crate) const WORKLOAD_IDENTITY: SourceInfo = SourceInfo {
    name: "workload-identity",
    credential: Credential::WorkloadIdentity,
    needs: &[FEDERATED_TOKEN_FILE, TENANT_ID],
    takes: &[CLIENT_ID, AUTHORITY_HOST],
    health,
};

pub(super) const SOURCES: [&SourceInfo; 4] = [&FEDERATED_IDENTITY, &SECRET, &CERTIFICATE, &WORKLOAD_IDENTITY];

/// A managed identity that proves to be an app.
///
/// # Errors
/// [`Error::Misconfigured`] for half of the pair and for values that cannot be used.
pub(crate) fn federated_identity(settings: &Settings) -> Result<Option<Entra>, Error> {
    let (client_id, tenant) = match (settings.get(FEDERATED_CLIENT_ID), settings.get(FEDERATED_TENANT_ID)) {
        (None, None) => return Ok(None),
        (Some(client_id), Some(tenant)) => (client_id, tenant),
        (Some(_), None) => return Err(incomplete(settings, FEDERATED_CLIENT_ID, FEDERATED_TENANT_ID)),
        (None, Some(_)) => return Err(incomplete(settings, FEDERATED_TENANT_ID, FEDERATED_CLIENT_ID)),
    };
    let managed = match settings.get(CLIENT_ID) {
        None => Identity::Default,
        Some(id) => client(settings.name(CLIENT_ID), id)?,
    };
    let tenant = tenant::parse(settings.name(FEDERATED_TENANT_ID), tenant)?;
    let authority = Authority::detect(settings, (FEDERATED_TENANT_ID, &tenant))?;
    let request = AdmittedRequest::assertion(Scope::of_audience(authority.exchange_audience()), managed);
    Ok(Some(Entra {
        about: &FEDERATED_IDENTITY,
        authority,
        tenant,
        client: client(settings.name(FEDERATED_CLIENT_ID), client_id)?,
        proof: Proof::ManagedIdentity(Rc::new(request)),
    }))
}

/// An app with a client secret.
///
/// # Errors
/// [`Error::Misconfigured`] if it is not said whose secret it is, and for values that cannot be used.
pub(crate) fn client_secret(settings: &Settings) -> Result<Option<Entra>, Error> {
    let Some(secret) = settings.get(CLIENT_SECRET) else { return Ok(None) };
    app(settings, &SECRET, CLIENT_SECRET, Proof::Secret(secret.into())).map(Some)
}

/// An app with a certificate.
///
/// # Errors
/// [`Error::Misconfigured`] if it is not said whose certificate it is, and for values that cannot be used.
pub(crate) fn client_certificate(settings: &Settings) -> Result<Option<Entra>, Error> {
    let Some(path) = settings.get(CERTIFICATE_PATH) else {
        // Beside a client secret it is left over.
        let is_half = settings.is_set(CERTIFICATE_PASSWORD) && !settings.is_set(CLIENT_SECRET);
        return match is_half {
            true => Err(incomplete(settings, CERTIFICATE_PASSWORD, CERTIFICATE_PATH)),
            false => Ok(None),
        };
    };
    if settings.is_set(CERTIFICATE_PASSWORD) {
        return Err(Error::misconfigured(
            format_args!(
                "{} is set, and a component opens no encrypted key",
                settings.name(CERTIFICATE_PASSWORD)
            ),
            "make a PEM file without a password, `openssl pkcs12 -in app.pfx -nodes`, that only this program can read, and \
             unset the variable",
        ));
    }
    let send_chain = settings.is_on(SEND_CERTIFICATE_CHAIN)?;
    let proof = Proof::Certificate(Certificate::new(path.to_owned(), send_chain)?);
    app(settings, &CERTIFICATE, CERTIFICATE_PATH, proof).map(Some)
}

/// An app that trusts the issuer of the token in a file.
///
/// # Errors
/// [`Error::Misconfigured`] for a file without a tenant and for values that cannot be used. The app is named by the
/// variable or by each request.
pub(crate) fn workload_identity(settings: &Settings) -> Result<Option<Entra>, Error> {
    let Some(path) = settings.get(FEDERATED_TOKEN_FILE) else { return Ok(None) };
    let Some(tenant) = settings.get(TENANT_ID) else {
        return Err(incomplete(settings, FEDERATED_TOKEN_FILE, TENANT_ID));
    };
    if let Some(variable) = KUBERNETES_PROXY.into_iter().find(|name| settings.is_set(name)) {
        return Err(Error::misconfigured(
            format_args!(
                "{variable} asks for the cluster's token proxy, whose certificate a component cannot check"
            ),
            format_args!("let the host's TLS check it, and unset {}", KUBERNETES_PROXY.join(", ")),
        ));
    }
    let tenant = tenant::parse(settings.name(TENANT_ID), tenant)?;
    Ok(Some(Entra {
        about: &WORKLOAD_IDENTITY,
        authority: Authority::detect(settings, (TENANT_ID, &tenant))?,
        tenant,
        client: settings
            .get(CLIENT_ID)
            .map_or(Ok(Identity::Default), |id| client(settings.name(CLIENT_ID), id))?,
        proof: Proof::TokenFile(path.to_owned()),
    }))
}

fn app(
    settings: &Settings,
    about: &'static SourceInfo,
    variable: &str,
    proof: Proof,
) -> Result<Entra, Error> {
    let needed = |missing| settings.get(missing).ok_or_else(|| incomplete(settings, variable, missing));
    let tenant = tenant::parse(settings.name(TENANT_ID), needed(TENANT_ID)?)?;
    Ok(Entra {
        about,
        client: client(settings.name(CLIENT_ID), needed(CLIENT_ID)?)?,
        authority: Authority::detect(settings, (TENANT_ID, &tenant))?,
        tenant,
        proof,
    })
}

pub(super) fn client(variable: &str, id: &str) -> Result<Identity, Error> {
    Identity::client_id(id)
        .map_err(|error| Error::Misconfigured(format!("{variable} cannot be used: {error}")))
}

/// <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>
fn nameless(names: &SettingNames) -> Error {
    let [file, tenant, client] =
        [FEDERATED_TOKEN_FILE, TENANT_ID, CLIENT_ID].map(|variable| names.of(variable));
    Error::misconfigured(
        format_args!("{file} and {tenant} are set and {client} is not, and the request names no client id"),
        format_args!(
            "on AKS annotate the pod's service account, `kubectl annotate serviceaccount <name> \
             azure.workload.identity/client-id=<client id>`, and restart the pod, since the variables are set when it is \
             made; for the machine's own identity set {TOKEN_CREDENTIALS} to ManagedIdentityCredential"
        ),
    )
}

fn incomplete(settings: &Settings, set: &str, missing: &str) -> Error {
    let (set, missing) = (settings.name(set), settings.name(missing));
    Error::misconfigured(format_args!("{set} is set and {missing} is not"), "set both, or neither")
}

impl Entra {
    /// # Errors
    /// [`SourceError::Declined`] if another identity than an app is asked for; [`Error::Misconfigured`] if none is, and the
    /// platform did not say which app this is: whoever answered next would be another identity.
    pub(crate) fn takes(&self, ask: &SourceCall<'_>) -> Result<(), SourceError> {
        let identity = ask.request.key().identity();
        match identity {
            _ if self.is_for(identity) => Ok(()),
            Identity::Default => Err(SourceError::Failed(nameless(ask.names))),
            _ => Err(SourceError::Declined(Failure {
                source: self.about.name.into(),
                message: format!("is for {}, and {identity} was asked for", self.client),
                remedy: Some(
                    "ask for the identity that is configured, or configure the one that is asked for"
                        .to_owned(),
                ),
                ..Failure::default()
            })),
        }
    }

    /// Whether an identity is this app: a file's token may be trusted by any.
    pub(crate) fn is_for(&self, identity: &Identity) -> bool {
        matches!(identity, Identity::ClientId(_))
            && (*identity == self.client || matches!(self.proof, Proof::TokenFile(_)))
    }

    /// The tenant that is asked unless a request names another.
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    pub(crate) fn need(&self) -> Prerequisite<'_> {
        match &self.proof {
            Proof::Secret(_) => Prerequisite::Nothing,
            Proof::Certificate(certificate) => Prerequisite::Signature(self, certificate),
            Proof::TokenFile(path) => Prerequisite::TokenFile(self, path),
            Proof::ManagedIdentity(request) => Prerequisite::ManagedIdentity(request),
        }
    }

    /// What an assertion for this request says.
    pub(crate) fn claimed(&self, key: &CacheKey) -> AssertionClaims {
        AssertionClaims {
            client_id: client_id(key).to_owned(),
            audience: self.token_url(key),
            adfs: self.tenant == ADFS,
        }
    }

    /// What it means that the file of this source cannot be read.
    pub(crate) fn unreadable(&self, ask: &SourceCall<'_>, path: &str, error: &ReadError) -> SourceError {
        let fix = match error {
            ReadError::NotFound => Some("mount the file, and let the host show its directory to the broker"),
            ReadError::Outside => {
                Some("show the broker the directory that the file is really in, and name the file there")
            }
            ReadError::TooLarge | ReadError::Other(_) => None,
        };
        self.of_no_use(ask, path, &format!("cannot be read: {error}"), fix)
    }

    /// What it means that the content of this source's file is of no use; `why` begins with a verb.
    pub(crate) fn unusable(&self, ask: &SourceCall<'_>, path: &str, why: &str) -> SourceError {
        self.of_no_use(ask, path, why, None)
    }

    fn of_no_use(&self, ask: &SourceCall<'_>, path: &str, why: &str, fix: Option<&str>) -> SourceError {
        match &self.proof {
            Proof::TokenFile(_) => SourceError::Blocked(Failure {
                source: self.about.name.into(),
                message: format!(
                    "the token file {path}, which {} names, {why}; nothing is sent without it",
                    ask.names.of(FEDERATED_TOKEN_FILE)
                ),
                remedy: Some(format!(
                    "{}; {PROJECTED}",
                    fix.unwrap_or("check that the file is mounted and that its issuer renews it")
                )),
                ..Failure::default()
            }),
            Proof::Secret(_) | Proof::Certificate(_) | Proof::ManagedIdentity(_) => {
                let variable = ask.names.of(CERTIFICATE_PATH);
                SourceError::Failed(Error::misconfigured(
                    format_args!("the file {path}, which {variable} names, {why}"),
                    fix.unwrap_or(PEM),
                ))
            }
        }
    }

    pub(crate) fn asked<'a>(&'a self, ask: &SourceCall<'a>) -> CallSummary<'a> {
        let secret = self.secret().map(|(_, secret)| secret);
        let asked = CallSummary::new(self.about, self.token_url(ask.request.key()), ask, secret);
        CallSummary { tenant: &self.tenant, renewal: Some(self.renewal()), ..asked }
    }

    /// The client secret and its variable.
    pub(super) fn secret(&self) -> Option<(&'static str, &str)> {
        match &self.proof {
            Proof::Secret(secret) => Some((CLIENT_SECRET, secret.expose_secret())),
            Proof::Certificate(_) | Proof::TokenFile(_) | Proof::ManagedIdentity(_) => None,
        }
    }

    pub(crate) fn call<'a>(&'a self, ask: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = ask.request.key();
        let mut form: Vec<Field<'a>> = vec![("client_id", client_id(key).into())];
        match ask.request.on_behalf_of() {
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
        form.extend(merged(ask.request.claims(), key.cae()).map(|claims| ("claims", claims.into())));
        form.extend(self.proof_fields(ask));
        OutgoingRequest::post(self.token_url(key), form)
    }

    fn proof_fields<'a>(&'a self, ask: &SourceCall<'a>) -> Vec<Field<'a>> {
        if let Proof::Secret(secret) = &self.proof {
            return vec![("client_secret", secret.expose_secret().into())];
        }
        let assertion = ask.proof.map_or("", |proof| proof.expose_secret());
        vec![("client_assertion_type", Cow::from(ASSERTION_TYPE)), ("client_assertion", assertion.into())]
    }

    pub(crate) fn parse(
        &self,
        ask: &SourceCall<'_>,
        response: &http::Response<Body>,
        exchange: RoundTrip,
    ) -> Result<Token, SourceError> {
        let asked = self.asked(ask);
        let renewable = !matches!(self.proof, Proof::Secret(_));
        // Without a number: the refusal of a proxy, or of an AD FS.
        let remedy = || {
            format!(
                "check that {} names the authority, and see what stands between; {}",
                ask.names.of(AUTHORITY_HOST),
                self.trust()
            )
        };
        response::read(&asked, response, exchange, |refusal| {
            let again = renewable && refusal.is(STALE_ASSERTION);
            // 404: there is no Entra at this address.
            match refusal.not_found_is_final().error(|_| remedy()) {
                SourceError::Failed(Error::Rejected(failure)) if again => {
                    SourceError::Retry(failure, RetryClass::Stale)
                }
                other => other,
            }
        })
    }

    /// How what the app proves itself with is renewed.
    fn renewal(&self) -> &'static str {
        match self.proof {
            Proof::TokenFile(_) => PROJECTED,
            Proof::Secret(_) | Proof::Certificate(_) | Proof::ManagedIdentity(_) => self.trust(),
        }
    }

    /// How to see what the app accepts as a proof.
    fn trust(&self) -> &'static str {
        match self.proof {
            Proof::Secret(_) => "`az ad app credential reset --id <client id>` makes a new secret",
            Proof::Certificate(_) => {
                "`az ad app credential list --id <client id> --cert` shows the certificates that the app has"
            }
            Proof::TokenFile(_) | Proof::ManagedIdentity(_) => {
                "`az identity federated-credential list -g <group> --identity-name <name>` for a managed identity, or \
                 `az ad app federated-credential list --id <client id>` for an app, shows which issuers it trusts"
            }
        }
    }

    fn token_url(&self, key: &CacheKey) -> String {
        self.authority.token_url(key.tenant_id().unwrap_or(&self.tenant), key.is_for_user())
    }
}

/// A request that the source takes is for a client id.
fn client_id(key: &CacheKey) -> &str {
    key.identity().id().map_or("", |id| id.as_str())
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn health(names: &SettingNames) -> String {
    format!(
        "see https://azure.status.microsoft for outages, whether {} names the authority, and which DNS, firewall or proxy \
         stands between",
        names.of(AUTHORITY_HOST)
    )
}

const PROJECTED: &str = "on AKS, `kubectl describe pod <pod>` shows whether the workload identity webhook mounted the \
                         token, and `kubectl get serviceaccount -o yaml` the account's annotations";

const PEM: &str = "use a PEM file with the certificate and its RSA key; `openssl pkcs12 -in app.pfx -nodes` makes one of a PFX";

/// The longest token file that is read, in bytes: what Entra takes as an assertion.
pub(crate) const MAX_TOKEN_FILE: usize = 64 * 1024;
