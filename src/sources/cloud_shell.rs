//! The identity endpoint of Cloud Shell: the token of the user who opened it.

use http::HeaderValue;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal, RoundTrip};
use super::{Endpoint, SourceCall, SourceError, SourceInfo, only_its_own_identity, response};
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
    needs: &[MSI_ENDPOINT],
    takes: &[MSI_SECRET],
    health: |_| "restart Cloud Shell".to_owned(),
};

impl CloudShell {
    /// The endpoint, if there is one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] as [`Endpoint::parse`].
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(endpoint) = settings.get(MSI_ENDPOINT).filter(|_| !settings.is_set(MSI_SECRET)) else {
            return Ok(None);
        };
        Ok(Some(Self { endpoint: Endpoint::parse(settings, MSI_ENDPOINT, endpoint)? }))
    }

    pub(crate) fn asked<'a>(&'a self, ask: &SourceCall<'a>) -> CallSummary<'a> {
        CallSummary::new(&SOURCE, self.endpoint.as_str(), ask, None)
    }

    /// # Errors
    /// [`Error::InvalidRequest`] for a user-assigned identity: the endpoint would answer with the user's token.
    pub(crate) fn takes(&self, key: &CacheKey) -> Result<(), SourceError> {
        only_its_own_identity(key, "Cloud Shell", &format!("leave the identity out, and unset {CLIENT_ID}"))
    }

    pub(crate) fn call<'a>(&'a self, ask: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let form = vec![("resource", ask.request.key().audience().into())];
        OutgoingRequest::post(self.endpoint.as_str().to_owned(), form)
            .header("metadata", HeaderValue::from_static("true"))
    }

    pub(crate) fn parse(
        &self,
        ask: &SourceCall<'_>,
        response: &http::Response<Body>,
        exchange: RoundTrip,
    ) -> Result<Token, SourceError> {
        let asked = self.asked(ask);
        response::read(&asked, response, exchange, |refusal| {
            refusal.not_found_by_code_is_final().error(|refusal| remedy(ask.request.key(), refusal))
        })
    }
}

fn remedy(key: &CacheKey, refusal: &Refusal<'_>) -> String {
    let audience = key.audience();
    match refusal.status {
        // Container Apps sets MSI_ENDPOINT without MSI_SECRET, and takes no POST there.
        405 => format!(
            "what {MSI_ENDPOINT} names is not Cloud Shell's: on App Service and Container Apps pass {IDENTITY_ENDPOINT} \
             and {IDENTITY_HEADER} on to the broker"
        ),
        _ if refusal.says("audiencenotsupported") => format!(
            "Cloud Shell has no tokens for {audience}: ask for one of the audiences that it supports, or elsewhere for \
             this one"
        ),
        _ => format!(
            "see that the user may have a token for {audience}: `az account get-access-token --resource <audience>`"
        ),
    }
}
