//! The identity endpoint of Cloud Shell: the token of the user who opened it.

use http::HeaderValue;

use crate::answer::{self, Answer, Asked, Exchange};
use crate::call::Call;
use crate::config::{MSI_ENDPOINT, MSI_SECRET, Settings};
use crate::endpoint::Endpoint;
use crate::error::{Error, Failure};
use crate::host::Body;
use crate::policy::Key;
use crate::source::{About, Ask, Credential, Stop, only_its_own_identity};

/// The endpoint that `MSI_ENDPOINT` names when there is no `MSI_SECRET`.
#[derive(Debug)]
pub(crate) struct CloudShell {
    endpoint: Endpoint,
}

pub(crate) const SOURCE: About = About {
    name: "cloud-shell",
    credential: Credential::ManagedIdentity,
    needs: &[MSI_ENDPOINT],
    takes: &[MSI_SECRET],
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

    pub(crate) fn asked<'a>(&'a self, ask: &Ask<'a>) -> Asked<'a> {
        Asked::new(SOURCE.name, self.endpoint.as_str(), ask, None)
    }

    /// # Errors
    /// [`Error::InvalidRequest`] for a user-assigned identity: the endpoint would answer with the user's token.
    pub(crate) fn takes(&self, key: &Key) -> Result<(), Stop> {
        only_its_own_identity(key, "Cloud Shell", "leave the identity out, and unset AZURE_CLIENT_ID")
    }

    pub(crate) fn call<'a>(&'a self, ask: &Ask<'a>) -> Call<'a> {
        let form = vec![("resource", ask.demand.key().audience().into())];
        Call::post(self.endpoint.as_str().to_owned(), form)
            .header("metadata", HeaderValue::from_static("true"))
    }

    pub(crate) fn parse(&self, ask: &Ask<'_>, response: &http::Response<Body>, exchange: Exchange) -> Answer {
        answer::read(&self.asked(ask), response, exchange).rejected(|failure| {
            let remedy = format!(
                "see that the user may have a token for {}: `az account get-access-token --resource <audience>`",
                ask.demand.key().audience()
            );
            Failure { remedy: Some(remedy), ..failure }
        })
    }
}
