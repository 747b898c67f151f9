//! The identity endpoint of Windows container groups of Azure Container Instances. Linux container groups have IMDS.
//!
//! Its variables are those of Service Fabric. Its URL is plain http, and has a query.
//!
//! <https://learn.microsoft.com/azure/container-instances/container-instances-managed-identity>

use std::borrow::Cow;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal};
use super::{
    Endpoint, Protocol, Role, SecretHeader, Source, SourceCall, SourceError, SourceInfo, half_configured,
};
use crate::model::{Error, Identity};
use crate::policy::CacheKey;
use crate::settings::variables::{
    ALLOWED_ENDPOINT, IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT,
};
use crate::settings::{Credential, Settings};

/// The endpoint that `IDENTITY_ENDPOINT` names.
#[derive(Debug)]
pub(crate) struct ContainerInstances {
    endpoint: Endpoint,
    secret: SecretHeader,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "container-instances",
    credential: Credential::ManagedIdentity,
    role: Role::Machine,
    required: &[IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT],
    optional: &[ALLOWED_ENDPOINT],
    detect: |settings| Ok(ContainerInstances::detect(settings)?.map(Source::ContainerInstances)),
    health: |_| "restart the container group".to_owned(),
};

/// Whether the variables are those of a Windows container group, rather than those of Service Fabric.
pub(crate) fn is_here(settings: &Settings) -> bool {
    let is_form = |url: &str| url.starts_with("http://") && url.contains('?');
    settings.is_set(IDENTITY_SERVER_THUMBPRINT) && settings.get(IDENTITY_ENDPOINT).is_some_and(is_form)
}

impl ContainerInstances {
    /// The endpoint of the settings, if they have one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an endpoint without its header, and for invalid values.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(endpoint) = settings.get(IDENTITY_ENDPOINT).filter(|_| is_here(settings)) else {
            return Ok(None);
        };
        let Some(header) = settings.get(IDENTITY_HEADER) else {
            return Err(half_configured(settings, IDENTITY_ENDPOINT, IDENTITY_HEADER));
        };
        Ok(Some(Self {
            endpoint: Endpoint::parse_with_query(settings, IDENTITY_ENDPOINT, endpoint)?,
            secret: SecretHeader::parse(settings, IDENTITY_HEADER, header)?,
        }))
    }
}

impl Protocol for ContainerInstances {
    fn info(&self) -> &'static SourceInfo {
        &SOURCE
    }

    fn url(&self, _: &CacheKey) -> Cow<'_, str> {
        self.endpoint.as_str().into()
    }

    fn secret(&self) -> Option<(&'static str, &str)> {
        self.secret.secret()
    }

    /// # Errors
    /// [`Error::InvalidRequest`] for an id for which the endpoint has no parameter: it would ignore it.
    fn check(&self, call: &SourceCall<'_>) -> Result<(), SourceError> {
        let key = call.request.key();
        if matches!(key.identity(), Identity::ClientId(_) | Identity::ResourceId(_)) {
            return Err(SourceError::Failed(Error::invalid_request(
                format_args!(
                    "the endpoint of a Windows container group accepts object ids only, and {} was requested",
                    key.identity()
                ),
                "name the identity by its object id, which `az identity show --query principalId` prints",
            )));
        }
        Ok(())
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = call.request.key();
        let mut query = vec![("resource", key.audience().into())];
        if let Identity::ObjectId(id) = key.identity() {
            query.push(("principalId", id.as_str().into()));
        }
        OutgoingRequest::get(self.endpoint.with_query(&query)).header("secret", self.secret.value.clone())
    }

    fn refused(&self, _: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
        // 404: the container group has no identity by default.
        refusal.not_found_is_final().error(remedy)
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
