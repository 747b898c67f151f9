//! The issuer of another platform, which gives the client assertion of an app registration that trusts it.
//!
//! Consumers never get its tokens. The source `federated-assertion` requests them, and they are cached, shared and retried
//! as all tokens are.

mod platform;

pub(super) use self::platform::Platform;

use std::borrow::Cow;
use std::time::Duration;

use http::header::{DATE, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;

use super::assertion::Assertion;
use super::request::OutgoingRequest;
use super::response::{self, CallSummary, Refusal, RoundTrip};
use super::service_error::{Form, ServiceError, header};
use super::{
    CONNECT_LIMIT, Endpoint, Protocol, RetryClass, Role, Source, SourceCall, SourceError, SourceInfo,
};
use crate::model::{ASSERTION_EXPIRING, Body, Error, Failure, Secret, Token};
use crate::policy::CacheKey;
use crate::settings::variables::{
    ASSERTION, ASSERTION_AUDIENCE, ASSERTION_FIELD, ASSERTION_HEADERS, ASSERTION_METHOD, ASSERTION_URL,
    GCP_HOST, GITHUB_TOKEN, GITHUB_URL, PIPELINES_CONNECTION, PIPELINES_TOKEN, PIPELINES_URL,
};
use crate::settings::{Credential, Settings};
use crate::wire::{Seconds, end_of_life, http_date, secret_field};

/// The request that an issuer answers with a token.
#[derive(Debug)]
pub(crate) struct Issuer {
    platform: Platform,
    endpoint: Endpoint,
    /// A POST without a body, instead of a GET.
    is_post: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The secret in the headers, with the variable that contains it.
    secret: Option<(&'static str, Secret)>,
    /// The parameters that are added to the URL.
    parameters: Vec<(&'static str, String)>,
    /// Whether the parameter `audience` is added as well.
    sends_audience: bool,
    /// The field of a JSON answer; none if the answer is the token.
    field: Option<String>,
    may_be_absent: bool,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "assertion-issuer",
    credential: Credential::WorkloadIdentity,
    role: Role::Issuer,
    required: &[ASSERTION],
    optional: &[
        ASSERTION_AUDIENCE,
        GITHUB_URL,
        GITHUB_TOKEN,
        PIPELINES_URL,
        PIPELINES_TOKEN,
        PIPELINES_CONNECTION,
        GCP_HOST,
        ASSERTION_URL,
        ASSERTION_METHOD,
        ASSERTION_HEADERS,
        ASSERTION_FIELD,
    ],
    detect: |settings| Ok(Issuer::detect(settings)?.map(Source::Issuer)),
    health: |names| {
        format!(
            "check the issuer's status page, that {} names the platform of this machine, and DNS, firewalls and proxies on \
             the way",
            names.of(ASSERTION)
        )
    },
};

impl Issuer {
    /// The issuer of the settings, if they name one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an unknown platform, and for variables of it that are missing or invalid.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        match Platform::detect(settings)? {
            Some(platform) => platform.issuer(settings),
            None => Ok(None),
        }
    }

    /// Reads the answer 200.
    ///
    /// # Errors
    /// The fault of the body, as a clause that begins with a verb.
    fn assertion(&self, body: &Body) -> Result<Assertion, Cow<'static, str>> {
        let bytes = body.expose_secret();
        let Some(field) = &self.field else {
            return Ok(Assertion::parse(std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?)?);
        };
        let text = secret_field(bytes, field).map_err(|_| "is not JSON")?;
        let text = text.as_ref().map(|text| text.expose_secret()).filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| format!("has no text in the field `{field}`"))?;
        Assertion::parse(text).map_err(|why| format!("has a field `{field}` that {why}").into())
    }

    fn accepted(
        &self,
        summary: &CallSummary<'_>,
        response: &http::Response<Body>,
        round_trip: RoundTrip,
    ) -> Result<Token, SourceError> {
        let refuse = |why: &str| Err(summary.protocol(Some(200), &format!("got 200, which {why}")));
        let Assertion { secret, expires_on } = match self.assertion(response.body()) {
            Ok(assertion) => assertion,
            Err(why) => return refuse(&why),
        };
        let received_on = round_trip.received_at.as_secs();
        // A token of unknown lifetime is never fresh, so it serves this exchange only.
        let times = match expires_on {
            Some(time) => (Seconds::Known(time), Seconds::Absent),
            None => (Seconds::Absent, Seconds::Known(ASSERTION_EXPIRING.as_secs())),
        };
        let date = header(response.headers(), DATE).and_then(http_date);
        match end_of_life(times, date, (round_trip.sent_at.as_secs(), received_on)) {
            Ok(time) => Ok(Token::assertion(summary.source, secret, (received_on, time))),
            Err(why) => refuse(&why),
        }
    }

    /// Names the reason for a page: Azure DevOps answers an invalid access token with its sign-in page.
    fn with_reason(
        &self,
        error: SourceError,
        response: &http::Response<Body>,
        summary: &CallSummary<'_>,
    ) -> SourceError {
        match (error, self.platform.page_remedy(summary.names)) {
            (SourceError::Failed(Error::Protocol(failure)), Some(remedy)) if is_page(response) => {
                SourceError::Failed(Error::Protocol(Failure { remedy: Some(remedy), ..failure }))
            }
            (error, _) => error,
        }
    }
}

impl Protocol for Issuer {
    fn info(&self) -> &'static SourceInfo {
        &SOURCE
    }

    fn url(&self, _: &CacheKey) -> Cow<'_, str> {
        self.endpoint.as_str().split('?').next().unwrap_or_default().into()
    }

    fn secret(&self) -> Option<(&'static str, &str)> {
        self.secret.as_ref().map(|(variable, secret)| (*variable, secret.expose_secret()))
    }

    fn may_be_absent(&self) -> bool {
        self.may_be_absent
    }

    fn absent_remedy(&self) -> &'static str {
        "run this on Google Cloud, whose metadata server has this address, or set GCE_METADATA_HOST to that of another one"
    }

    fn connect_limit(&self) -> Duration {
        if self.may_be_absent { CONNECT_LIMIT } else { Duration::MAX }
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let audience = self.sends_audience.then(|| ("audience", call.request.key().audience().into()));
        let own = self.parameters.iter().map(|(name, value)| (*name, value.as_str().into()));
        let parameters: Vec<_> = own.chain(audience).collect();
        let url = match parameters.is_empty() {
            true => self.endpoint.as_str().to_owned(),
            false => self.endpoint.with_query(&parameters),
        };
        let request = match self.is_post {
            true => OutgoingRequest::empty_post(url),
            false => OutgoingRequest::get(url),
        };
        let request = request.headers(&self.headers);
        // The query of a URL that the deployer wrote may contain a secret.
        if self.platform == Platform::Url { request.hiding_query() } else { request }
    }

    fn refused(&self, summary: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
        // GitHub's words for a job that has not started: `Can't issue ID_TOKEN for job in 'Pending' state`, or `'Delayed'`.
        let is_early = refusal.status == 403
            && ["id_token", "state"].into_iter().all(|word| refusal.mentions(word))
            && !refusal.mentions("'completed'");
        match refusal.not_found_is_final().error(|refusal| self.platform.remedy(refusal, summary.names)) {
            SourceError::Failed(Error::Rejected(failure)) if is_early => {
                SourceError::Retry(failure, RetryClass::Busy)
            }
            other => other,
        }
    }

    fn read(
        &self,
        _: &SourceCall<'_>,
        summary: &CallSummary<'_>,
        response: &http::Response<Body>,
        round_trip: RoundTrip,
    ) -> Result<Token, SourceError> {
        let answer = match response.status().as_u16() {
            200 => self.accepted(summary, response, round_trip),
            400..=599 => Err(self.refused(summary, Refusal::read(summary, response, round_trip.received_at))),
            _ => Err(response::unexpected(summary, response)),
        };
        answer.map_err(|error| self.with_reason(error, response, summary))
    }
}

/// Whether an answer is a page for people, or leads to one.
fn is_page(response: &http::Response<Body>) -> bool {
    let status = response.status().as_u16();
    matches!(status, 203 | 300..=399) || ServiceError::read(response).form() == Form::Markup
}
