//! The identity endpoint of Azure Machine Learning, which has the protocol of App Service's version 2017-09-01.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use std::borrow::Cow;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal};
use super::{
    Endpoint, Protocol, Role, SecretHeader, Source, SourceCall, SourceError, SourceInfo, entra,
    half_configured, wrong_endpoint,
};
use crate::model::{Error, Identity};
use crate::policy::CacheKey;
use crate::settings::variables::{
    ALLOWED_ENDPOINT, CLIENT_ID, DEFAULT_IDENTITY_CLIENT_ID, MSI_ENDPOINT, MSI_SECRET,
};
use crate::settings::{Credential, Settings};

/// The endpoint that `MSI_ENDPOINT` and `MSI_SECRET` name.
#[derive(Debug)]
pub(crate) struct MachineLearning {
    endpoint: Endpoint,
    secret: SecretHeader,
    /// The user-assigned identity of the compute, if it has one.
    default_client_id: Option<String>,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "azure-ml",
    credential: Credential::ManagedIdentity,
    role: Role::Machine,
    required: &[MSI_ENDPOINT, MSI_SECRET],
    optional: &[DEFAULT_IDENTITY_CLIENT_ID, CLIENT_ID, ALLOWED_ENDPOINT],
    detect: |settings| Ok(MachineLearning::detect(settings)?.map(Source::MachineLearning)),
    health: |_| "restart the compute, the job or the app".to_owned(),
};

impl MachineLearning {
    /// The endpoint of the settings, if they have one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a secret without an endpoint, for an endpoint with a default identity and without a
    /// secret, and for invalid values.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        match (settings.get(MSI_ENDPOINT), settings.get(MSI_SECRET)) {
            (Some(_), None) if settings.is_set(DEFAULT_IDENTITY_CLIENT_ID) => {
                Err(half_configured(settings, MSI_ENDPOINT, MSI_SECRET))
            }
            // Without a secret the endpoint is Cloud Shell's.
            (_, None) => Ok(None),
            (None, Some(_)) => Err(half_configured(settings, MSI_SECRET, MSI_ENDPOINT)),
            (Some(endpoint), Some(secret)) => Self::new(settings, endpoint, secret).map(Some),
        }
    }

    fn new(settings: &Settings, endpoint: &str, secret: &str) -> Result<Self, Error> {
        let client_id = settings.get(DEFAULT_IDENTITY_CLIENT_ID);
        client_id.map(|id| entra::client(settings.name(DEFAULT_IDENTITY_CLIENT_ID), id)).transpose()?;
        Ok(Self {
            endpoint: Endpoint::parse(settings, MSI_ENDPOINT, endpoint)?,
            secret: SecretHeader::parse(settings, MSI_SECRET, secret)?,
            default_client_id: client_id.map(str::to_owned),
        })
    }
}

impl Protocol for MachineLearning {
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
    /// [`Error::InvalidRequest`] for an id for which this version of the protocol has no parameter: the endpoint would
    /// ignore it, and answer with another identity's token.
    fn check(&self, call: &SourceCall<'_>) -> Result<(), SourceError> {
        let key = call.request.key();
        if matches!(key.identity(), Identity::ObjectId(_) | Identity::ResourceId(_)) {
            return Err(SourceError::Failed(Error::invalid_request(
                format_args!(
                    "the endpoint of Azure Machine Learning accepts client ids only, and {} was requested",
                    key.identity()
                ),
                "name the identity by its client id, which `az identity show --query clientId` prints",
            )));
        }
        Ok(())
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = call.request.key();
        let client_id = match key.identity() {
            Identity::ClientId(id) => Some(id.as_str()),
            Identity::Default => self.default_client_id.as_deref(),
            Identity::SystemAssigned | Identity::ObjectId(_) | Identity::ResourceId(_) => None,
        };
        let mut query = vec![("api-version", "2017-09-01".into()), ("resource", key.audience().into())];
        // `client_id` is a parameter of later versions, and would be ignored.
        query.extend(client_id.map(|id| ("clientid", id.into())));
        OutgoingRequest::get(self.endpoint.with_query(&query)).header("secret", self.secret.value.clone())
    }

    fn refused(&self, summary: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
        refusal.not_found_by_code_is_final().error(|refusal| remedy(summary.key, refusal))
    }
}

fn remedy(key: &CacheKey, refusal: &Refusal<'_>) -> String {
    let client_id = refusal.setting(CLIENT_ID);
    match refusal.status {
        405 => wrong_endpoint(refusal.setting(MSI_ENDPOINT)),
        status if matches!(status, 401 | 403) || refusal.mentions("secret token header") => format!(
            "the endpoint does not accept {}, which is renewed with the job or the app: restart it",
            refusal.setting(MSI_SECRET)
        ),
        // App Service's text in this version of the protocol.
        _ if refusal.mentions("no msi found") => format!(
            "the identity is not assigned here: `az webapp identity assign -g <group> -n <app>`, or on Azure Machine \
             Learning `az ml compute update`; correct the client id in the request or in {client_id}"
        ),
        _ => format!(
            "check the identity of the compute, `az ml compute show -n <compute> --query identity`, and that {client_id} or \
             {DEFAULT_IDENTITY_CLIENT_ID} is its client id; check the audience too: {}",
            key.audience()
        ),
    }
}
