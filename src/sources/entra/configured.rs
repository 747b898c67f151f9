//! The app registration of the settings: which of them selects a credential, and what each one needs beside it.

use std::rc::Rc;

use super::identity_binding;
use super::{Certificate, ClientCredential, Entra, RegionSearch};
use crate::model::{Error, Identity, Scope};
use crate::policy::{AdmittedRequest, Purpose};
use crate::settings::cloud::Authority;
use crate::settings::named_variables::is_name;
use crate::settings::variables::{
    ASSERTION, ASSERTION_AUDIENCE, ASSERTION_VARIABLE, AUTHORITY_HOST, CERTIFICATE_PASSWORD,
    CERTIFICATE_PATH, CLIENT_ID, CLIENT_SECRET, FEDERATED_CLIENT_ID, FEDERATED_TENANT_ID,
    FEDERATED_TOKEN_FILE, KUBERNETES_CA_DATA, KUBERNETES_CA_FILE, KUBERNETES_SNI_NAME,
    KUBERNETES_TOKEN_PROXY, PASSWORD, SEND_CERTIFICATE_CHAIN, TENANT_ID, USERNAME, VERIFIED_TOKEN_PROXY,
};
use crate::settings::{Credential, SettingNames, Settings, tenant};
use crate::sources::issuer::{Issuer, Platform};
use crate::sources::{Assertion, Role, Source, SourceInfo};

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

pub(crate) const SOURCES: [&SourceInfo; 5] =
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
                "{} is set, and a component does not read encrypted keys",
                settings.name(CERTIFICATE_PASSWORD)
            ),
            "create a PEM file without a password, `openssl pkcs12 -in app.pfx -nodes`, that only this program can read, \
             and unset the variable; `token-broker` and programs with token-broker-host read encrypted keys, with both \
             variables in their environment",
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

pub(crate) fn client(variable: &str, id: &str) -> Result<Identity, Error> {
    Identity::client_id(id)
        .map_err(|error| Error::Misconfigured(format!("{variable} cannot be used: {}", error.detail())))
}

fn incomplete(settings: &Settings, set: &str, missing: &str) -> Error {
    let (set, missing) = (settings.name(set), settings.name(missing));
    Error::misconfigured(format_args!("{set} is set and {missing} is not"), "set both, or neither")
}

fn health(names: &SettingNames) -> String {
    format!(
        "check https://azure.status.microsoft for outages, that {} names the authority, and DNS, firewalls and proxies on \
         the way",
        names.of(AUTHORITY_HOST)
    )
}
