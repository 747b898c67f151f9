//! The identity endpoint of Cloud Shell, whose identity is the user who opened it.

use http::HeaderValue;
use std::borrow::Cow;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal};
use super::{Endpoint, Protocol, Role, Source, SourceCall, SourceError, SourceInfo, refuse_user_assigned};
use crate::model::Error;
use crate::policy::CacheKey;
use crate::settings::variables::{CLIENT_ID, IDENTITY_ENDPOINT, IDENTITY_HEADER, MSI_ENDPOINT, MSI_SECRET};
use crate::settings::{Credential, Settings};

/// The endpoint that `MSI_ENDPOINT` names when there is no `MSI_SECRET`.
#[derive(Debug)]
pub(crate) struct CloudShell {
    endpoint: Endpoint,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "cloud-shell",
    credential: Credential::ManagedIdentity,
    role: Role::Machine,
    required: &[MSI_ENDPOINT],
    optional: &[MSI_SECRET],
    detect: |settings| Ok(CloudShell::detect(settings)?.map(Source::CloudShell)),
    health: |_| "restart Cloud Shell".to_owned(),
};

impl CloudShell {
    /// The endpoint of the settings, if they have one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] as [`Endpoint::parse`].
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(endpoint) = settings.get(MSI_ENDPOINT).filter(|_| !settings.is_set(MSI_SECRET)) else {
            return Ok(None);
        };
        Ok(Some(Self { endpoint: Endpoint::parse(settings, MSI_ENDPOINT, endpoint)? }))
    }
}

impl Protocol for CloudShell {
    fn info(&self) -> &'static SourceInfo {
        &SOURCE
    }

    fn url(&self, _: &CacheKey) -> Cow<'_, str> {
        self.endpoint.as_str().into()
    }

    /// # Errors
    /// [`Error::InvalidRequest`] for a user-assigned identity: the endpoint would answer with the user's token.
    fn check(&self, call: &SourceCall<'_>) -> Result<(), SourceError> {
        let key = call.request.key();
        refuse_user_assigned(key, "Cloud Shell", &format!("omit the identity, and unset {CLIENT_ID}"))
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let form = vec![("resource", call.request.key().audience().into())];
        OutgoingRequest::post(self.endpoint.as_str().to_owned(), form)
            .header("metadata", HeaderValue::from_static("true"))
    }

    fn refused(&self, summary: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
        refusal.not_found_by_code_is_final().error(|refusal| remedy(summary.key, refusal))
    }
}

fn remedy(key: &CacheKey, refusal: &Refusal<'_>) -> String {
    let audience = key.audience();
    match refusal.status {
        // Container Apps sets MSI_ENDPOINT without MSI_SECRET, and its endpoint does not accept POST.
        405 => format!(
            "{MSI_ENDPOINT} is not the endpoint of Cloud Shell: on App Service and Container Apps pass \
             {IDENTITY_ENDPOINT} and {IDENTITY_HEADER} on to the broker"
        ),
        _ if refusal.mentions("audiencenotsupported") => format!(
            "Cloud Shell does not support the audience {audience}: request one that it supports, or use another platform"
        ),
        _ => format!(
            "check that the user can get a token for {audience}: `az account get-access-token --resource <audience>`"
        ),
    }
}
