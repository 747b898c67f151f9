//! The identity endpoint of App Service, version 2019-08-01, which Functions and Container Apps have too.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use http::HeaderValue;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal, RoundTrip};
use super::{
    Endpoint, SourceCall, SourceError, SourceInfo, half, identity_parameter, in_a_command, not_the_endpoint,
    response, secret_header,
};
use crate::model::{Body, Error, Token};
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
    secret: HeaderValue,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "app-service",
    credential: Credential::ManagedIdentity,
    needs: &[IDENTITY_ENDPOINT, IDENTITY_HEADER],
    takes: &[CLIENT_ID, ALLOWED_ENDPOINT],
    health: |_| "see the app's log, and restart the app".to_owned(),
};

impl AppService {
    /// The endpoint, if there is one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for half of the pair and for values that cannot be used.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        match (settings.get(IDENTITY_ENDPOINT), settings.get(IDENTITY_HEADER)) {
            (None, None) => Ok(None),
            // Service Fabric's or those of Azure Container Instances, which have their own say on halves.
            _ if settings.is_set(IDENTITY_SERVER_THUMBPRINT) => Ok(None),
            // Azure Arc's half of the variables.
            (Some(_), None) if settings.is_set(IMDS_ENDPOINT) => Ok(None),
            (Some(_), None) => Err(half(settings, IDENTITY_ENDPOINT, IDENTITY_HEADER)),
            (None, Some(_)) => Err(half(settings, IDENTITY_HEADER, IDENTITY_ENDPOINT)),
            (Some(endpoint), Some(header)) => Self::new(settings, endpoint, header).map(Some),
        }
    }

    fn new(settings: &Settings, endpoint: &str, header: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(settings, IDENTITY_ENDPOINT, endpoint)?;
        Ok(Self { endpoint, secret: secret_header(settings.name(IDENTITY_HEADER), header)? })
    }

    pub(crate) fn asked<'a>(&'a self, ask: &SourceCall<'a>) -> CallSummary<'a> {
        CallSummary::new(&SOURCE, self.endpoint.as_str(), ask, self.secret())
    }

    pub(super) fn secret(&self) -> Option<&str> {
        self.secret.to_str().ok()
    }

    pub(crate) fn call<'a>(&'a self, ask: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = ask.request.key();
        let mut query = vec![("api-version", "2019-08-01".into()), ("resource", key.audience().into())];
        // `msi_res_id` would be ignored without a word, and the token be another identity's.
        query.extend(identity_parameter(key.identity(), "mi_res_id"));
        OutgoingRequest::get(self.endpoint.with_query(&query))
            .header("x-identity-header", self.secret.clone())
            // Azure Automation speaks this protocol and insists on the second header.
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
    let client_id = refusal.setting(CLIENT_ID);
    match (refusal.status, key.identity().id()) {
        (401 | 403, _) => {
            format!(
                "the endpoint does not accept {}, which is renewed with the app: restart the app, or the revision of a \
                 container app",
                refusal.setting(IDENTITY_HEADER)
            )
        }
        (405, _) => not_the_endpoint(refusal.setting(IDENTITY_ENDPOINT)),
        // Azure Automation on a hybrid worker.
        (_, Some(_)) if refusal.says("not supported") => {
            format!("this endpoint has no user-assigned identities: leave the identity out, and unset {client_id}")
        }
        _ if refusal.says("automation account") => {
            "give the Automation account an identity: `Set-AzAutomationAccount -ResourceGroupName <group> -Name <account> \
             -AssignSystemIdentity`"
                .to_owned()
        }
        (_, Some(id)) => format!(
            "assign the identity {} to the app, `az webapp identity assign -g <group> -n <app> --identities \
             <resource id>` (`az functionapp` and `az containerapp` likewise), or correct the id in the request or in \
             {client_id}",
            in_a_command(id)
        ),
        (_, None) => format!(
            "give the app an identity: `az webapp identity assign -g <group> -n <app>` (`az functionapp` and \
             `az containerapp` likewise), or name a user-assigned one in {client_id}; check the audience too: {}",
            key.audience()
        ),
    }
}
