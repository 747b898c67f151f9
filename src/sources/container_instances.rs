//! The identity endpoint of Windows container groups of Azure Container Instances. Linux ones have IMDS.
//!
//! Its variables are Service Fabric's, and its URL is plain http with a query of its own.
//!
//! <https://learn.microsoft.com/azure/container-instances/container-instances-managed-identity>

use http::HeaderValue;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal, RoundTrip};
use super::{Endpoint, SourceCall, SourceError, SourceInfo, half, response, secret_header};
use crate::model::{Body, Error, Identity, Token};
use crate::policy::CacheKey;
use crate::settings::variables::{
    ALLOWED_ENDPOINT, IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT,
};
use crate::settings::{Credential, Settings};

/// The endpoint that `IDENTITY_ENDPOINT` names.
#[derive(Debug)]
pub(crate) struct ContainerInstances {
    endpoint: Endpoint,
    secret: HeaderValue,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "container-instances",
    credential: Credential::ManagedIdentity,
    needs: &[IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT],
    takes: &[ALLOWED_ENDPOINT],
    health: |_| "restart the container group".to_owned(),
};

/// Whether the variables are those of a Windows container group, and not those of Service Fabric.
pub(crate) fn is_here(settings: &Settings) -> bool {
    let is_form = |url: &str| url.starts_with("http://") && url.contains('?');
    settings.is_set(IDENTITY_SERVER_THUMBPRINT) && settings.get(IDENTITY_ENDPOINT).is_some_and(is_form)
}

impl ContainerInstances {
    /// The endpoint, if there is one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an endpoint without its header, and for values that cannot be used.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(endpoint) = settings.get(IDENTITY_ENDPOINT).filter(|_| is_here(settings)) else {
            return Ok(None);
        };
        let Some(header) = settings.get(IDENTITY_HEADER) else {
            return Err(half(settings, IDENTITY_ENDPOINT, IDENTITY_HEADER));
        };
        Ok(Some(Self {
            endpoint: Endpoint::parse_with_query(settings, IDENTITY_ENDPOINT, endpoint)?,
            secret: secret_header(settings.name(IDENTITY_HEADER), header)?,
        }))
    }

    pub(crate) fn asked<'a>(&'a self, ask: &SourceCall<'a>) -> CallSummary<'a> {
        CallSummary::new(&SOURCE, self.endpoint.as_str(), ask, self.secret())
    }

    pub(super) fn secret(&self) -> Option<&str> {
        self.secret.to_str().ok()
    }

    /// # Errors
    /// [`Error::InvalidRequest`] for an id that the endpoint has no parameter for: it would ignore it.
    pub(crate) fn takes(&self, key: &CacheKey) -> Result<(), SourceError> {
        if matches!(key.identity(), Identity::ClientId(_) | Identity::ResourceId(_)) {
            return Err(SourceError::Failed(Error::invalid_request(
                format_args!(
                    "the endpoint of a Windows container group takes object ids only, and was asked for {}",
                    key.identity()
                ),
                "name the identity by its object id, which `az identity show --query principalId` prints",
            )));
        }
        Ok(())
    }

    pub(crate) fn call<'a>(&'a self, ask: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = ask.request.key();
        let mut query = vec![("resource", key.audience().into())];
        if let Identity::ObjectId(id) = key.identity() {
            query.push(("principalId", id.as_str().into()));
        }
        OutgoingRequest::get(self.endpoint.with_query(&query)).header("secret", self.secret.clone())
    }

    pub(crate) fn parse(
        &self,
        ask: &SourceCall<'_>,
        response: &http::Response<Body>,
        exchange: RoundTrip,
    ) -> Result<Token, SourceError> {
        // 404: the container group has no identity by default.
        response::read(&self.asked(ask), response, exchange, |refusal| {
            refusal.not_found_is_final().error(remedy)
        })
    }
}

fn remedy(refusal: &Refusal<'_>) -> String {
    let remedy = match refusal.status {
        401 | 403 => "restart the container group, which renews its IDENTITY_HEADER",
        _ => {
            "give the container group an identity of its own, `az container create --assign-identity`, or name one by its \
             object id in the request; `az container show -g <group> -n <name> --query identity` lists them with it, as \
             principalId"
        }
    };
    remedy.to_owned()
}
