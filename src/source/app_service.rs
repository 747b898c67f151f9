//! The identity endpoint of App Service, version 2019-08-01, which Functions and Container Apps have too.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use http::HeaderValue;

use crate::answer::{self, Answer, Asked, Exchange};
use crate::config::{CLIENT_ID, IDENTITY_ENDPOINT, IDENTITY_HEADER, IMDS_ENDPOINT, Settings};
use crate::endpoint::Endpoint;
use crate::error::{Error, Failure};
use crate::host::Body;
use crate::policy::Key;
use crate::source::{About, identity_parameter, in_a_command};

/// The endpoint that `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` name.
#[derive(Debug)]
pub(crate) struct AppService {
    endpoint: Endpoint,
    secret: HeaderValue,
}

pub(crate) const SOURCE: About =
    About { name: "app-service", needs: &[IDENTITY_ENDPOINT, IDENTITY_HEADER], takes: &[CLIENT_ID] };

impl AppService {
    /// The endpoint, if there is one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for half of the pair and for values that cannot be used.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        match (settings.get(IDENTITY_ENDPOINT), settings.get(IDENTITY_HEADER)) {
            (None, None) => Ok(None),
            // Azure Arc's half of the variables.
            (Some(_), None) if settings.is_set(IMDS_ENDPOINT) => Ok(None),
            (Some(_), None) => Err(half(IDENTITY_ENDPOINT, IDENTITY_HEADER)),
            (None, Some(_)) => Err(half(IDENTITY_HEADER, IDENTITY_ENDPOINT)),
            (Some(endpoint), Some(header)) => Self::new(endpoint, header).map(Some),
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
        Asked { source: SOURCE.name, endpoint: &self.endpoint, key, secret: Some(&self.secret) }
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

    pub(crate) fn parse(&self, key: &Key, response: &http::Response<Body>, exchange: Exchange) -> Answer {
        match answer::read(&self.asked(key), response, exchange) {
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
            "assign the identity {} to the app, `az webapp identity assign -g <group> -n <app> --identities \
             <resource id>` (`az functionapp` likewise), or correct the id in the request or in {CLIENT_ID}",
            in_a_command(id)
        ),
        (_, None) => format!(
            "give the app an identity: `az webapp identity assign -g <group> -n <app>` (`az functionapp` likewise), or name a user-assigned one in {CLIENT_ID}; check the audience too: {}",
            key.audience()
        ),
    }
}
