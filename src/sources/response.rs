//! Responses of identity endpoints: the parts of their format that all sources share.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONTENT_TYPE, DATE, LOCATION};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::entra::aadsts;
use super::service_error::{Form, ServiceError, header};
use super::source_error::{RetryClass, SourceError};
use super::{Protocol, SourceCall, SourceInfo, for_command};
use crate::model::{Body, Error, Failure, Secret, Token};
use crate::policy::CacheKey;
use crate::settings::SettingNames;
use crate::settings::variables::{AUTHORITY_HOST, CLIENT_SECRET, STORE_KEY};
use crate::wire::{Seconds, end_of_life, http_date, redacted, retry_after};

/// The times of a request and its response, since the Unix epoch by the local clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrip {
    pub(crate) sent_at: Duration,
    pub(crate) received_at: Duration,
}

/// The parts of a call that errors mention, and the secrets that they must not.
#[derive(Clone)]
pub(crate) struct CallSummary<'a> {
    pub(crate) source: &'static str,
    pub(crate) endpoint: Cow<'a, str>,
    pub(crate) key: &'a CacheKey,
    /// The secrets of the request, which messages must not contain.
    pub(crate) secrets: [Option<&'a str>; 3],
    pub(super) info: &'static SourceInfo,
    pub(crate) names: &'a SettingNames,
    /// The tenant of an app registration, or a placeholder for that of a managed identity.
    pub(crate) tenant: &'a str,
    /// Instructions for renewing the credential of an app registration.
    pub(crate) renewal: Option<&'static str>,
}

impl<'a> CallSummary<'a> {
    pub(super) fn new(source: &'a dyn Protocol, call: &SourceCall<'a>) -> Self {
        let key = call.request.key();
        let secret = source.secret().map(|(_, secret)| secret);
        let credential = call.credential.map(|credential| credential.expose_secret());
        let user = call.request.on_behalf_of().map(|user| user.assertion.expose_secret());
        Self {
            source: source.info().name,
            endpoint: source.url(key),
            key,
            secrets: [secret, credential, user],
            info: source.info(),
            names: call.names,
            tenant: source.tenant().unwrap_or("of the identity"),
            renewal: source.renewal(),
        }
    }

    /// The client assertion of the request.
    pub(super) fn credential(&self) -> Option<&'a str> {
        let [_, credential, _] = self.secrets;
        credential
    }

    /// The advice for a source that does not answer as expected, as the end of a sentence.
    pub(crate) fn health(&self) -> String {
        (self.info.health)(self.names)
    }

    /// A failure whose message names the request and the endpoint, and ends with `answer`.
    pub(crate) fn failure(&self, answer: &str) -> Failure {
        let (audience, identity) = (self.key.audience(), self.key.identity());
        let message = format!("asked {} for a token for {audience} as {identity}, {answer}", self.endpoint);
        Failure { source: self.source.into(), message, ..Failure::default() }
    }

    /// The error for an answer that cannot be read or trusted.
    pub(crate) fn protocol(&self, status: Option<u16>, answer: &str) -> SourceError {
        let remedy = format!(
            "check which server listens at {}: it does not answer as {} does",
            self.endpoint, self.source
        );
        SourceError::Failed(Error::Protocol(Failure { status, remedy: Some(remedy), ..self.failure(answer) }))
    }

    /// The error for an incomplete or empty answer, which may be retried.
    pub(crate) fn incomplete(&self, status: Option<u16>, answer: &str) -> SourceError {
        let remedy = format!(
            "check for a proxy between the broker and {}, and for restarts: the proxy or the service closed the connection \
             early",
            self.endpoint
        );
        let failure = Failure { status, remedy: Some(remedy), ..self.failure(answer) };
        SourceError::Retry(failure, RetryClass::Busy)
    }

    /// A value of a peer in quotes, redacted.
    pub(crate) fn quoted(&self, value: &str) -> String {
        format!("`{}`", redacted(value, &self.secrets))
    }
}

/// Reads a response by its status. `refused` is the source's reading of an error status.
///
/// # Errors
/// A [`SourceError`] if the response has no token.
pub(crate) fn read(
    summary: &CallSummary<'_>,
    response: &http::Response<Body>,
    round_trip: RoundTrip,
    refused: &dyn Fn(Refusal<'_>) -> SourceError,
) -> Result<Token, SourceError> {
    match response.status().as_u16() {
        400..=599 => Err(refused(Refusal::read(summary, response, round_trip.received_at))),
        _ => accepted(summary, response, round_trip),
    }
}

/// Reads a response without an error status.
fn accepted(
    summary: &CallSummary<'_>,
    response: &http::Response<Body>,
    round_trip: RoundTrip,
) -> Result<Token, SourceError> {
    let status = response.status().as_u16();
    if !matches!(status, 200 | 202) {
        return Err(unexpected(summary, response));
    }
    token(summary, response, round_trip).map_err(|unreadable| match ends_early(response) {
        true => summary.incomplete(Some(status), &format!("got {status} with {}", extent(response))),
        false => summary.protocol(Some(status), &format!("got {status}, which {unreadable}")),
    })
}

/// The error for a status that is neither that of a token nor that of an error.
pub(super) fn unexpected(summary: &CallSummary<'_>, response: &http::Response<Body>) -> SourceError {
    let status = response.status().as_u16();
    match status {
        300..=399 => {
            let target = header(response.headers(), LOCATION).unwrap_or_default();
            // The query may contain a secret.
            let target = target.split(['?', '#']).next().filter(|target| !target.is_empty());
            let target = target.map(|target| format!(" to {}", summary.quoted(target))).unwrap_or_default();
            let answer = format!("got {status}, a redirect{target}, which is not followed");
            summary.protocol(Some(status), &answer)
        }
        _ => summary.protocol(Some(status), &format!("got the unexpected status {status}")),
    }
}

/// A response with an error status.
pub(crate) struct Refusal<'a> {
    summary: &'a CallSummary<'a>,
    pub(crate) status: u16,
    error: ServiceError,
    /// Entra's error number, which other services relay.
    number: Option<u32>,
    failure: Failure,
    /// Whether the same request may succeed later.
    is_transient: bool,
}

impl<'a> Refusal<'a> {
    pub(super) fn read(summary: &'a CallSummary<'a>, response: &http::Response<Body>, now: Duration) -> Self {
        let status = response.status().as_u16();
        let error = ServiceError::read(response);
        let number = aadsts::most_specific(error.numbers());
        let redacted = error.redacted(response, number, &summary.secrets);
        let failure = Failure {
            status: Some(status),
            code: redacted.code,
            correlation_id: redacted.correlation_id,
            retry_after: retry_after(response.headers(), now),
            ..summary.failure(&format!("got {status}{}", redacted.text))
        };
        let is_transient = matches!(status, 404 | 408 | 410 | 429 | 500..=599);
        Self { summary, status, error, number, failure, is_transient }
    }

    /// Whether the service's code or message contains a text, which is given in lower case.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.error.mentions(text)
    }

    /// The service's own code, unredacted.
    pub(crate) fn code(&self) -> Option<&str> {
        self.error.code()
    }

    pub(crate) fn form(&self) -> Form {
        self.error.form()
    }

    /// The name by which the deployer knows a variable.
    pub(crate) fn setting(&self, variable: &'a str) -> &'a str {
        self.summary.names.of(variable)
    }

    /// Whether the error has this number.
    pub(crate) fn is(&self, number: u32) -> bool {
        self.number == Some(number)
    }

    /// Treats 404 as final: it means "not yet" for IMDS only.
    pub(crate) fn not_found_is_final(mut self) -> Self {
        self.is_transient &= self.status != 404;
        self
    }

    /// Treats 404 as final if the service sent an error code with it.
    pub(crate) fn not_found_by_code_is_final(self) -> Self {
        if self.code().is_some() { self.not_found_is_final() } else { self }
    }

    /// The error of the response. Its remedy depends on Entra's number, else on the form of the body, else on whether
    /// the error is transient; `remedy` is the source's own for all other errors.
    pub(crate) fn error(self, remedy: impl FnOnce(&Self) -> String) -> SourceError {
        let remedy = match self.number {
            Some(number) => self.number_remedy(number),
            None if self.form() == Form::Markup => self.responder_remedy(),
            None if self.is_transient => self.transient_remedy(),
            None => remedy(&self),
        };
        let failure = Failure { remedy: Some(remedy), ..self.failure };
        match self.number {
            // MSAL treats this as a refusal. Requests after the ten seconds of a refusal would continue the loop.
            Some(aadsts::REQUEST_LOOP) => {
                let retry_after = failure.retry_after.or(Some(LOOP_WAIT));
                SourceError::Failed(Error::Throttled(Failure { retry_after, ..failure }))
            }
            _ if self.is_transient => SourceError::Retry(failure, RetryClass::Busy),
            _ => SourceError::Failed(Error::Rejected(failure)),
        }
    }

    fn number_remedy(&self, number: u32) -> String {
        let CallSummary { key, tenant, renewal, .. } = self.summary;
        let context = aadsts::RemedyContext {
            client: key.identity().id().map_or("<client id>", for_command),
            tenant: key.tenant_id().unwrap_or(tenant),
            audience: key.audience(),
            renewal: &renewal.map_or_else(|| self.summary.health(), str::to_owned),
            authority: self.setting(AUTHORITY_HOST),
            client_secret: self.setting(CLIENT_SECRET),
        };
        aadsts::remedy(number, &context)
    }

    fn responder_remedy(&self) -> String {
        let CallSummary { endpoint, source, .. } = self.summary;
        let health = self.summary.health();
        format!(
            "check which server answers at {endpoint}: a gateway, a proxy or another server sends such a page, {source} \
             does not; {health}"
        )
    }

    fn transient_remedy(&self) -> String {
        let CallSummary { source, .. } = self.summary;
        match self.status {
            429 => format!(
                "send fewer requests: use one broker for all callers, and a store that all instances share ({}); then retry",
                self.setting(STORE_KEY)
            ),
            410 => format!("wait: {source} is being upgraded, which takes up to 70 s"),
            _ => format!("retry later; if it persists, {}", self.summary.health()),
        }
    }
}

/// Whether the content type of a body is JSON.
pub(crate) fn is_labelled_json(response: &http::Response<Body>) -> bool {
    header(response.headers(), CONTENT_TYPE).is_some_and(|label| label.to_ascii_lowercase().contains("json"))
}

/// Whether a body is JSON, regardless of its content type.
pub(crate) fn is_json(response: &http::Response<Body>) -> bool {
    serde_json::from_slice::<IgnoredAny>(response.body().expose_secret()).is_ok()
}

/// Whether a body is incomplete JSON. A lost connection is not noticed if the server sends no length.
fn ends_early(response: &http::Response<Body>) -> bool {
    serde_json::from_slice::<IgnoredAny>(response.body().expose_secret()).is_err_and(|error| error.is_eof())
}

/// The description of an incomplete body.
fn extent(response: &http::Response<Body>) -> &'static str {
    if response.body().expose_secret().is_empty() { "an empty body" } else { "an incomplete body" }
}

/// Reads the token of a body.
///
/// # Errors
/// The fault of the body, as the end of a sentence.
fn token(
    summary: &CallSummary<'_>,
    response: &http::Response<Body>,
    round_trip: RoundTrip,
) -> Result<Token, String> {
    let wire: TokenResponse =
        serde_json::from_slice(response.body().expose_secret()).map_err(|_| UNREADABLE)?;
    let secret = wire.access_token.ok_or("has no access_token")?;
    if secret.expose_secret().is_empty() {
        return Err("has an empty access_token".to_owned());
    }
    if !secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has an access_token with characters that no header can carry".to_owned());
    }
    let token_type = wire.token_type.unwrap_or_else(|| BEARER.to_owned());
    if token_type.is_empty()
        || token_type.len() > 32
        || !token_type.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        let [own, credential, user] = summary.secrets;
        let shown = redacted(&token_type, &[own, credential, user, Some(secret.expose_secret())]);
        return Err(format!("has the invalid token_type `{shown}`"));
    }
    let date = header(response.headers(), DATE).and_then(http_date);
    let received_on = round_trip.received_at.as_secs();
    let span = (round_trip.sent_at.as_secs(), received_on);
    let expires_on = end_of_life((wire.expires_on, wire.expires_in), date, span)
        .map_err(|why| redacted(&why, &summary.secrets))?;
    let refresh_in = match wire.refresh_in {
        Seconds::Known(seconds) => Some(seconds),
        Seconds::Absent | Seconds::Unreadable(_) => None,
    };
    Ok(Token::new(summary.source, secret, token_type, (received_on, expires_on), refresh_in))
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: Option<Secret>,
    token_type: Option<String>,
    #[serde(default)]
    expires_on: Seconds,
    #[serde(default)]
    expires_in: Seconds,
    #[serde(default)]
    refresh_in: Seconds,
}

const BEARER: &str = "Bearer";
const UNREADABLE: &str = "is not a token response in JSON";
/// The wait after the refusal of a request loop, for which Entra names none.
const LOOP_WAIT: Duration = Duration::from_secs(60);
