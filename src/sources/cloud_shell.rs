//! The identity endpoint of Cloud Shell, whose identity is the user who opened it.

use http::HeaderValue;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal, RoundTrip};
use super::{Endpoint, Source, SourceCall, SourceError, SourceInfo, refuse_user_assigned, response};
use crate::model::{Body, Error, Token};
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

    pub(crate) fn summary<'a>(&'a self, call: &SourceCall<'a>) -> CallSummary<'a> {
        CallSummary::new(&SOURCE, self.endpoint.as_str(), call, None)
    }

    /// # Errors
    /// [`Error::InvalidRequest`] for a user-assigned identity: the endpoint would answer with the user's token.
    pub(crate) fn accepts(&self, key: &CacheKey) -> Result<(), SourceError> {
        refuse_user_assigned(key, "Cloud Shell", &format!("omit the identity, and unset {CLIENT_ID}"))
    }

    pub(crate) fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let form = vec![("resource", call.request.key().audience().into())];
        OutgoingRequest::post(self.endpoint.as_str().to_owned(), form)
            .header("metadata", HeaderValue::from_static("true"))
    }

    pub(crate) fn parse(
        &self,
        call: &SourceCall<'_>,
        response: &http::Response<Body>,
        round_trip: RoundTrip,
    ) -> Result<Token, SourceError> {
        let summary = self.summary(call);
        response::read(&summary, response, round_trip, |refusal| {
            refusal.not_found_by_code_is_final().error(|refusal| remedy(call.request.key(), refusal))
        })
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
