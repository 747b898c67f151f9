//! The identity endpoint of App Service, version 2019-08-01, which Functions and Container Apps have too.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use std::time::Duration;

use http::HeaderValue;

use crate::answer::{self, Answer, Asked};
use crate::config::{
    CLIENT_ID, IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT, IMDS_ENDPOINT, Settings,
};
use crate::endpoint::Endpoint;
use crate::error::{Error, Failure};
use crate::host::Body;
use crate::policy::Key;
use crate::source::identity_parameter;

/// The endpoint that `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` name.
#[derive(Debug)]
pub(crate) struct AppService {
    endpoint: Endpoint,
    secret: HeaderValue,
}

pub(crate) const NAME: &str = "app-service";

/// The variables that it looks at.
pub(crate) const VARIABLES: &[&str] =
    &[IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT, IMDS_ENDPOINT, CLIENT_ID];

impl AppService {
    /// The endpoint, or why this is not App Service.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for half of the pair and for values that cannot be used.
    pub(crate) fn detect(settings: &Settings) -> Result<Result<Self, &'static str>, Error> {
        if settings.is_set(IDENTITY_SERVER_THUMBPRINT) {
            // Its secret may go only to the server with that certificate, which is not checked here.
            return Ok(Err(
                "IDENTITY_SERVER_THUMBPRINT says Service Fabric, which this version does not serve",
            ));
        }
        match (settings.get(IDENTITY_ENDPOINT), settings.get(IDENTITY_HEADER)) {
            (None, None) => Ok(Err("IDENTITY_ENDPOINT and IDENTITY_HEADER are not set")),
            (Some(_), None) if settings.is_set(IMDS_ENDPOINT) => {
                Ok(Err("IMDS_ENDPOINT says Azure Arc, which this version does not serve"))
            }
            (Some(_), None) => Err(half(IDENTITY_ENDPOINT, IDENTITY_HEADER)),
            (None, Some(_)) => Err(half(IDENTITY_HEADER, IDENTITY_ENDPOINT)),
            (Some(endpoint), Some(header)) => Self::new(endpoint, header).map(Ok),
        }
    }

    fn new(endpoint: &str, header: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(IDENTITY_ENDPOINT, endpoint)?;
        let Ok(mut secret) = HeaderValue::from_str(header) else {
            let text = format!(
                "{IDENTITY_HEADER} has a character that no header can carry; restart the app to renew it"
            );
            return Err(Error::Misconfigured(text));
        };
        secret.set_sensitive(true);
        Ok(Self { endpoint, secret })
    }

    pub(crate) fn asked<'a>(&'a self, key: &'a Key) -> Asked<'a> {
        Asked { source: NAME, endpoint: &self.endpoint, key, secret: self.secret.to_str().ok() }
    }

    pub(crate) fn url(&self, key: &Key) -> String {
        let mut query = vec![("api-version", "2019-08-01"), ("resource", key.audience())];
        // `msi_res_id` would be ignored without a word, and the token be another identity's.
        query.extend(identity_parameter(key.identity(), "mi_res_id"));
        self.endpoint.with_query(&query)
    }

    pub(crate) fn headers(&self, builder: http::request::Builder) -> http::request::Builder {
        // Azure Automation speaks this protocol and insists on the second header.
        builder.header("x-identity-header", self.secret.clone()).header("metadata", "true")
    }

    pub(crate) fn parse(&self, key: &Key, response: &http::Response<Body>, now: Duration) -> Answer {
        match answer::read(&self.asked(key), response, now) {
            Answer::Final(Error::Rejected(failure)) => {
                let remedy = Some(remedy(key, failure.status));
                Answer::Final(Error::Rejected(Failure { remedy, ..failure }))
            }
            other => other,
        }
    }
}

fn half(set: &str, missing: &str) -> Error {
    Error::Misconfigured(format!(
        "{set} is set and {missing} is not; the platform sets both, so pass both on or neither"
    ))
}

fn remedy(key: &Key, status: Option<u16>) -> String {
    match (status, key.identity().id()) {
        (Some(401 | 403), _) => {
            format!(
                "the endpoint does not accept {IDENTITY_HEADER}, which is renewed with the app: restart the app"
            )
        }
        (_, Some(id)) => format!(
            "assign the identity {} to the app: `az webapp identity assign -g <group> -n <app> --identities \
             <resource id>`, or correct the id in the request or in {CLIENT_ID}",
            id.as_str()
        ),
        (_, None) => format!(
            "give the app an identity: `az webapp identity assign -g <group> -n <app>` (`az functionapp`, \
             `az containerapp` likewise), or name a user-assigned one in {CLIENT_ID}; check the audience too: {}",
            key.audience()
        ),
    }
}
