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
mod identity_binding;
mod region;

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use self::aadsts::{NO_FEDERATED_CREDENTIAL, STALE_ASSERTION};
use self::certificate::AssertionClaims;
pub(crate) use self::certificate::{Certificate, MAX_PEM};
pub(crate) use self::region::RegionSearch;

use super::issuer::{Issuer, Platform};
use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal};
use super::{
    Assertion, Prerequisite, Protocol, RetryClass, Role, Source, SourceCall, SourceError, SourceInfo,
    for_command,
};
use crate::model::{CLOCK_TOLERANCE, Error, Failure, Identity, ReadError, Scope, Secret, merged};
use crate::policy::{AdmittedRequest, CacheKey, Purpose};
use crate::settings::cloud::Authority;
use crate::settings::named_variables::is_name;
use crate::settings::tenant::ADFS;
use crate::settings::variables::{
    ASSERTION, ASSERTION_AUDIENCE, ASSERTION_VARIABLE, AUTHORITY_HOST, CERTIFICATE_PASSWORD,
    CERTIFICATE_PATH, CLIENT_ID, CLIENT_SECRET, FEDERATED_CLIENT_ID, FEDERATED_TENANT_ID,
    FEDERATED_TOKEN_FILE, KUBERNETES_CA_DATA, KUBERNETES_CA_FILE, KUBERNETES_SNI_NAME,
    KUBERNETES_TOKEN_PROXY, PASSWORD, SEND_CERTIFICATE_CHAIN, TENANT_ID, TOKEN_CREDENTIALS, USERNAME,
    VERIFIED_TOKEN_PROXY,
};
use crate::settings::{Credential, SettingNames, Settings, TokenProxy, tenant};
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

pub(crate) const FEDERATED_IDENTITY: SourceInfo = SourceInfo {
    name: "federated-identity",
    credential: Credential::ManagedIdentity,
    role: Role::App,
    required: &[FEDERATED_CLIENT_ID, FEDERATED_TENANT_ID],
    optional: &[AUTHORITY_HOST, CLIENT_ID],
    detect: |settings| Ok(federated_identity(settings)?.map(Source::Entra)),
    health,
};

pub(crate) const FEDERATED_ASSERTION: SourceInfo = SourceInfo {
    name: "federated-assertion",
    credential: Credential::WorkloadIdentity,
    role: Role::App,
    required: &[ASSERTION, TENANT_ID],
    optional: &[CLIENT_ID, ASSERTION_VARIABLE, AUTHORITY_HOST],
    detect: |settings| Ok(federated_assertion(settings)?.map(Source::Entra)),
    health,
};

pub(crate) const SECRET: SourceInfo = SourceInfo {
    name: "client-secret",
    credential: Credential::Environment,
    role: Role::App,
    required: &[CLIENT_SECRET, CLIENT_ID, TENANT_ID],
    optional: &[AUTHORITY_HOST, USERNAME, PASSWORD],
    detect: |settings| Ok(client_secret(settings)?.map(Source::Entra)),
    health,
};

pub(crate) const CERTIFICATE: SourceInfo = SourceInfo {
    name: "client-certificate",
    credential: Credential::Environment,
    role: Role::App,
    required: &[CERTIFICATE_PATH, CLIENT_ID, TENANT_ID],
    optional: &[CERTIFICATE_PASSWORD, SEND_CERTIFICATE_CHAIN, AUTHORITY_HOST],
    detect: |settings| Ok(client_certificate(settings)?.map(Source::Entra)),
    health,
};

pub(crate) const WORKLOAD_IDENTITY: SourceInfo = SourceInfo {
    name: "workload-identity",
    credential: Credential::WorkloadIdentity,
    role: Role::App,
    required: &[FEDERATED_TOKEN_FILE, TENANT_ID],
    optional: &[
        CLIENT_ID,
        AUTHORITY_HOST,
        KUBERNETES_TOKEN_PROXY,
        KUBERNETES_SNI_NAME,
        KUBERNETES_CA_FILE,
        KUBERNETES_CA_DATA,
        VERIFIED_TOKEN_PROXY,
    ],
    detect: |settings| Ok(workload_identity(settings)?.map(Source::Entra)),
    health,
};

pub(super) const SOURCES: [&SourceInfo; 5] =
    [&FEDERATED_IDENTITY, &FEDERATED_ASSERTION, &SECRET, &CERTIFICATE, &WORKLOAD_IDENTITY];

/// An app registration that trusts this machine's managed identity.
///
/// # Errors
/// [`Error::Misconfigured`] for an incomplete pair, and for invalid values.
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
    let audience = Scope::of_audience(authority.exchange_audience().to_owned());
    let request = AdmittedRequest::assertion(audience, managed, Purpose::IdentityAssertion);
    Ok(Some(Entra {
        info: &FEDERATED_IDENTITY,
        region: RegionSearch::detect(settings, &authority)?,
        authority,
        tenant,
        client: client(settings.name(FEDERATED_CLIENT_ID), client_id)?,
        credential: ClientCredential::ManagedIdentity(Rc::new(request)),
    }))
}

/// An app registration that trusts the issuer of another platform. The app is named by a variable or by each request.
///
/// # Errors
/// [`Error::Misconfigured`] for an issuer without a tenant or without its own variables, for a variable without a token,
/// and for invalid values.
pub(crate) fn federated_assertion(settings: &Settings) -> Result<Option<Entra>, Error> {
    let Some(platform) = Platform::detect(settings)? else { return Ok(None) };
    let tenant = settings.get(TENANT_ID).ok_or_else(|| incomplete(settings, ASSERTION, TENANT_ID))?;
    let tenant = tenant::parse(settings.name(TENANT_ID), tenant)?;
    let authority = Authority::detect(settings, (TENANT_ID, &tenant))?;
    let credential = match platform {
        Platform::Variable => variable(settings)?,
        Platform::GitHub | Platform::AzurePipelines | Platform::Gcp | Platform::Url => {
            // Half an issuer is the fault of this source, too: `explain` must not call it ready.
            Issuer::detect(settings)?;
            let audience = settings.get(ASSERTION_AUDIENCE).unwrap_or_else(|| authority.exchange_audience());
            let audience = Scope::of_audience(audience.to_owned());
            let request = AdmittedRequest::assertion(audience, Identity::Default, Purpose::IssuerAssertion);
            ClientCredential::Issuer(Rc::new(request))
        }
    };
    let client = default_client(settings)?;
    let region = RegionSearch::detect(settings, &authority)?;
    Ok(Some(Entra { info: &FEDERATED_ASSERTION, authority, region, tenant, client, credential }))
}

/// The assertion in a variable.
fn variable(settings: &Settings) -> Result<ClientCredential, Error> {
    let Some(name) = settings.get(ASSERTION_VARIABLE) else {
        return Err(incomplete(settings, ASSERTION, ASSERTION_VARIABLE));
    };
    let refuse = |why: &str| {
        settings.refused(
            ASSERTION_VARIABLE,
            &format!("names {name}, which {why}"),
            "the name of a variable with a JWT, such as `TFC_WORKLOAD_IDENTITY_TOKEN`",
        )
    };
    if !is_name(name) {
        return Err(settings.refused(
            ASSERTION_VARIABLE,
            "is not the name of a variable",
            "a name, and put the token there",
        ));
    }
    let text = settings.get(name).ok_or_else(|| refuse("is not set"))?;
    Ok(ClientCredential::Variable(name.to_owned(), Assertion::parse(text).map_err(refuse)?))
}

/// An app registration with a client secret.
///
/// # Errors
/// [`Error::Misconfigured`] for a secret without a client id or tenant, for invalid values, and for a user in the place
/// of the secret.
pub(crate) fn client_secret(settings: &Settings) -> Result<Option<Entra>, Error> {
    let Some(secret) = settings.get(CLIENT_SECRET) else { return no_user(settings).map(|()| None) };
    app(settings, &SECRET, CLIENT_SECRET, ClientCredential::Secret(secret.into())).map(Some)
}

/// Azure's SDKs sign a user in by these variables; the token of a machine's identity would be another one's.
///
/// # Errors
/// [`Error::Misconfigured`] if a user's name and password are the only credential of an app.
fn no_user(settings: &Settings) -> Result<(), Error> {
    let is_user = [USERNAME, PASSWORD, CLIENT_ID].into_iter().all(|name| settings.is_set(name));
    if !is_user || settings.is_set(CERTIFICATE_PATH) {
        return Ok(());
    }
    Err(Error::misconfigured(
        format_args!(
            "{} and {} are set, and a user's name and password are not supported",
            settings.name(USERNAME),
            settings.name(PASSWORD)
        ),
        "use a client secret, a certificate, a federated token or a managed identity, and unset both",
    ))
}

/// An app registration with a certificate.
///
/// # Errors
/// [`Error::Misconfigured`] for a certificate without a client id or tenant, for a password, and for invalid values.
pub(crate) fn client_certificate(settings: &Settings) -> Result<Option<Entra>, Error> {
    let Some(path) = settings.get(CERTIFICATE_PATH) else {
        // With a client secret, the password has no effect.
        let is_half = settings.is_set(CERTIFICATE_PASSWORD) && !settings.is_set(CLIENT_SECRET);
        return match is_half {
            true => Err(incomplete(settings, CERTIFICATE_PASSWORD, CERTIFICATE_PATH)),
            false => Ok(None),
        };
    };
    if settings.is_set(CERTIFICATE_PASSWORD) {
        return Err(Error::misconfigured(
            format_args!(
                "{} is set, and encrypted keys are not supported",
                settings.name(CERTIFICATE_PASSWORD)
            ),
            "create a PEM file without a password, `openssl pkcs12 -in app.pfx -nodes`, that only this program can read, \
             and unset the variable",
        ));
    }
    let send_chain = settings.is_on(SEND_CERTIFICATE_CHAIN)?;
    let credential = ClientCredential::Certificate(Certificate::new(path.to_owned(), send_chain)?);
    app(settings, &CERTIFICATE, CERTIFICATE_PATH, credential).map(Some)
}

/// An app registration that trusts the issuer of the token in a file. The app is named by a variable or by each
/// request.
///
/// # Errors
/// [`Error::Misconfigured`] for a file without a tenant, and for invalid values.
pub(crate) fn workload_identity(settings: &Settings) -> Result<Option<Entra>, Error> {
    let Some(path) = settings.get(FEDERATED_TOKEN_FILE) else { return Ok(None) };
    let Some(tenant) = settings.get(TENANT_ID) else {
        return Err(incomplete(settings, FEDERATED_TOKEN_FILE, TENANT_ID));
    };
    let tenant = tenant::parse(settings.name(TENANT_ID), tenant)?;
    let authority = Authority::detect(settings, (TENANT_ID, &tenant))?;
    let proxy = identity_binding::token_proxy(settings)?;
    let authority = proxy.iter().fold(authority, Authority::behind);
    Ok(Some(Entra {
        info: if proxy.is_some() { &identity_binding::INFO } else { &WORKLOAD_IDENTITY },
        region: RegionSearch::detect(settings, &authority)?,
        authority,
        tenant,
        client: default_client(settings)?,
        credential: ClientCredential::TokenFile(path.to_owned(), proxy.map(Box::new)),
    }))
}

fn app(
    settings: &Settings,
    info: &'static SourceInfo,
    variable: &str,
    credential: ClientCredential,
) -> Result<Entra, Error> {
    let needed = |missing| settings.get(missing).ok_or_else(|| incomplete(settings, variable, missing));
    let tenant = tenant::parse(settings.name(TENANT_ID), needed(TENANT_ID)?)?;
    let authority = Authority::detect(settings, (TENANT_ID, &tenant))?;
    Ok(Entra {
        info,
        client: client(settings.name(CLIENT_ID), needed(CLIENT_ID)?)?,
        region: RegionSearch::detect(settings, &authority)?,
        authority,
        tenant,
        credential,
    })
}

/// The app of requests that name none; [`Identity::Default`] if each must name one.
fn default_client(settings: &Settings) -> Result<Identity, Error> {
    settings.get(CLIENT_ID).map_or(Ok(Identity::Default), |id| client(settings.name(CLIENT_ID), id))
}

pub(super) fn client(variable: &str, id: &str) -> Result<Identity, Error> {
    Identity::client_id(id)
        .map_err(|error| Error::Misconfigured(format!("{variable} cannot be used: {}", error.detail())))
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

fn incomplete(settings: &Settings, set: &str, missing: &str) -> Error {
    let (set, missing) = (settings.name(set), settings.name(missing));
    Error::misconfigured(format_args!("{set} is set and {missing} is not"), "set both, or neither")
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

fn health(names: &SettingNames) -> String {
    format!(
        "check https://azure.status.microsoft for outages, that {} names the authority, and DNS, firewalls and proxies on \
         the way",
        names.of(AUTHORITY_HOST)
    )
}

const PROJECTED: &str = "on AKS, `kubectl describe pod <pod>` shows whether the workload identity webhook mounted the \
                         token, and `kubectl get serviceaccount -o yaml` the account's annotations";

const PEM: &str =
    "use a PEM file with the certificate and its RSA key; `openssl pkcs12 -in app.pfx -nodes` converts a PFX";

/// The largest token file, in bytes: Entra does not accept larger assertions.
pub(crate) const MAX_TOKEN_FILE: usize = 64 * 1024;
