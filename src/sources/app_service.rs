//! The identity endpoint of App Service, version 2019-08-01, which Functions and Container Apps have as well.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use http::HeaderValue;
use std::borrow::Cow;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal};
use super::{
    Endpoint, Protocol, Role, SecretHeader, Source, SourceCall, SourceError, SourceInfo, for_command,
    half_configured, identity_parameter, wrong_endpoint,
};
use crate::model::Error;
use crate::policy::CacheKey;
use crate::settings::variables::{
    ALLOWED_ENDPOINT, CLIENT_ID, IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT,
    IMDS_ENDPOINT,
};
use crate::settings::{Credential, Settings};

/// The endpoint that `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` name.
#[derive(Debug)]
pub(crate) struct AppService {
    endpoint: Endpoint,
    secret: SecretHeader,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "app-service",
    credential: Credential::ManagedIdentity,
    role: Role::Machine,
    required: &[IDENTITY_ENDPOINT, IDENTITY_HEADER],
    optional: &[CLIENT_ID, ALLOWED_ENDPOINT],
    detect: |settings| Ok(AppService::detect(settings)?.map(Source::AppService)),
    health: |_| "read the app's log, and restart the app".to_owned(),
};

impl AppService {
    /// The endpoint of the settings, if they have one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an incomplete pair, and for invalid values.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        match (settings.get(IDENTITY_ENDPOINT), settings.get(IDENTITY_HEADER)) {
            (None, None) => Ok(None),
            // The variables of Service Fabric or Azure Container Instances, whose sources check for incomplete pairs.
            _ if settings.is_set(IDENTITY_SERVER_THUMBPRINT) => Ok(None),
            // The variables of Azure Arc.
            (Some(_), None) if settings.is_set(IMDS_ENDPOINT) => Ok(None),
            (Some(_), None) => Err(half_configured(settings, IDENTITY_ENDPOINT, IDENTITY_HEADER)),
            (None, Some(_)) => Err(half_configured(settings, IDENTITY_HEADER, IDENTITY_ENDPOINT)),
            (Some(endpoint), Some(header)) => Self::new(settings, endpoint, header).map(Some),
        }
    }

    fn new(settings: &Settings, endpoint: &str, header: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(settings, IDENTITY_ENDPOINT, endpoint)?;
        Ok(Self { endpoint, secret: SecretHeader::parse(settings, IDENTITY_HEADER, header)? })
    }
}

impl Protocol for AppService {
    fn info(&self) -> &'static SourceInfo {
        &SOURCE
    }

    fn url(&self, _: &CacheKey) -> Cow<'_, str> {
        self.endpoint.as_str().into()
    }

    fn secret(&self) -> Option<(&'static str, &str)> {
        self.secret.secret()
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = call.request.key();
        let mut query = vec![("api-version", "2019-08-01".into()), ("resource", key.audience().into())];
        // `msi_res_id` would be ignored silently, and the token would be that of another identity.
        query.extend(identity_parameter(key.identity(), "mi_res_id"));
        OutgoingRequest::get(self.endpoint.with_query(&query))
            .header("x-identity-header", self.secret.value.clone())
            // Azure Automation, which has the same protocol, requires this header.
            .header("metadata", HeaderValue::from_static("true"))
    }

    fn refused(&self, summary: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
        refusal.not_found_by_code_is_final().error(|refusal| remedy(summary.key, refusal))
    }
}

fn remedy(key: &CacheKey, refusal: &Refusal<'_>) -> String {
    let client_id = refusal.setting(CLIENT_ID);
    match (refusal.status, key.identity().id()) {
        (401 | 403, _) => {
            format!(
                "the endpoint does not accept {}, which is renewed with the app: restart the app, or the revision of a \
                 container app",
                refusal.setting(IDENTITY_HEADER)
            )
        }
        (405, _) => wrong_endpoint(refusal.setting(IDENTITY_ENDPOINT)),
        // Azure Automation on a hybrid worker.
        (_, Some(_)) if refusal.mentions("not supported") => {
            format!("this endpoint has no user-assigned identities: omit the identity, and unset {client_id}")
        }
        _ if refusal.mentions("automation account") => {
            "give the Automation account an identity: `Set-AzAutomationAccount -ResourceGroupName <group> -Name <account> \
             -AssignSystemIdentity`"
                .to_owned()
        }
        (_, Some(id)) => format!(
            "assign the identity {} to the app, `az webapp identity assign -g <group> -n <app> --identities \
             <resource id>` (`az functionapp` and `az containerapp` likewise), or correct the id in the request or in \
             {client_id}",
            for_command(id)
        ),
        (_, None) => format!(
            "give the app an identity: `az webapp identity assign -g <group> -n <app>` (`az functionapp` and \
             `az containerapp` likewise), or name a user-assigned one in {client_id}; check the audience too: {}",
            key.audience()
        ),
    }
}
