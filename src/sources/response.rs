//! Reading what an identity endpoint answers: the parts that all sources have in common.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONTENT_TYPE, DATE, LOCATION};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::entra::aadsts;
use super::service_error::{Form, ServiceError, header};
use super::source_error::{RetryClass, SourceError};
use super::{SourceCall, SourceInfo, in_a_command};
use crate::model::{Body, Error, Failure, Secret, Token};
use crate::policy::CacheKey;
use crate::settings::SettingNames;
use crate::settings::variables::{AUTHORITY_HOST, CLIENT_SECRET, STORE_KEY};
use crate::wire::{Seconds, end_of_life, http_date, redacted, retry_after};

/// Between these two moments the peer made its answer (times since the Unix epoch, by our clock).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrip {
    pub(crate) asked_at: Duration,
    pub(crate) received_at: Duration,
}

/// What was asked of whom, for the operator's sake.
#[derive(Clone)]
pub(crate) struct CallSummary<'a> {
    pub(crate) source: &'static str,
    pub(crate) endpoint: Cow<'a, str>,
    pub(crate) key: &'a CacheKey,
    /// What went with the request and must not come back in a message.
    pub(crate) secrets: [Option<&'a str>; 3],
    pub(super) info: &'static SourceInfo,
    pub(crate) names: &'a SettingNames,
    /// The tenant, where the broker and not the platform names it.
    pub(crate) tenant: &'a str,
    /// How the app's proof of itself is renewed, for an app.
    pub(crate) renewal: Option<&'static str>,
}

impl<'a> CallSummary<'a> {
    /// `secret`: what the source's own configuration adds to the call.
    pub(crate) fn new(
        source: &'static SourceInfo,
        endpoint: impl Into<Cow<'a, str>>,
        ask: &SourceCall<'a>,
        secret: Option<&'a str>,
    ) -> Self {
        let proof = ask.proof.map(|proof| proof.expose_secret());
        let user = ask.request.on_behalf_of().map(|user| user.assertion.expose_secret());
        Self {
            source: source.name,
            endpoint: endpoint.into(),
            key: ask.request.key(),
            secrets: [secret, proof, user],
            info: source,
            names: ask.names,
            tenant: "of the identity",
            renewal: None,
        }
    }

    /// Where to look when the source has a fault: the end of a sentence.
    pub(crate) fn health(&self) -> String {
        (self.info.health)(self.names)
    }

    /// A failure whose message is: what was asked, of whom, and this end of the sentence.
    pub(crate) fn failure(&self, came_back: &str) -> Failure {
        let (audience, identity) = (self.key.audience(), self.key.identity());
        let message =
            format!("asked {} for a token for {audience} as {identity}, {came_back}", self.endpoint);
        Failure { source: self.source.into(), message, ..Failure::default() }
    }

    /// An answer that cannot be trusted.
    pub(crate) fn protocol(&self, status: Option<u16>, came_back: &str) -> SourceError {
        let remedy =
            format!("see what listens at {}: it does not answer as {} does", self.endpoint, self.source);
        SourceError::Failed(Error::Protocol(Failure {
            status,
            remedy: Some(remedy),
            ..self.failure(came_back)
        }))
    }

    /// An answer of which the end, or all of it, did not come: the next try may bring it.
    pub(crate) fn incomplete(&self, status: Option<u16>, came_back: &str) -> SourceError {
        let remedy = format!(
            "see what stands between the broker and {}, and whether that restarts: a proxy or the service itself ended \
             the connection early",
            self.endpoint
        );
        let failure = Failure { status, remedy: Some(remedy), ..self.failure(came_back) };
        SourceError::Retry(failure, RetryClass::Busy)
    }

    /// A value of a peer, fit to be shown.
    pub(crate) fn quoted(&self, value: &str) -> String {
        format!("`{}`", redacted(value, &self.secrets))
    }
}

/// Read an answer by its status, as every identity endpoint means it. `refused`: what the source knows of a refusal.
///
/// # Errors
/// A [`SourceError`], if there is no token in it.
pub(crate) fn read(
    asked: &CallSummary<'_>,
    response: &http::Response<Body>,
    exchange: RoundTrip,
    refused: impl FnOnce(Refusal<'_>) -> SourceError,
) -> Result<Token, SourceError> {
    match response.status().as_u16() {
        400..=599 => Err(refused(Refusal::read(asked, response, exchange.received_at))),
        _ => accepted(asked, response, exchange),
    }
}

/// The token in an answer that is no refusal.
fn accepted(
    asked: &CallSummary<'_>,
    response: &http::Response<Body>,
    exchange: RoundTrip,
) -> Result<Token, SourceError> {
    let status = response.status().as_u16();
    Err(match status {
        200 | 202 => match token(asked, response, exchange) {
            Ok(token) => return Ok(token),
            Err(_) if ends_early(response) => {
                asked.incomplete(Some(status), &format!("got {status} with {}", extent(response)))
            }
            Err(unreadable) => asked.protocol(Some(status), &format!("got {status}, which {unreadable}")),
        },
        300..=399 => {
            let target = header(response.headers(), LOCATION).unwrap_or_default();
            // What follows the path may hold a secret.
            let target = target.split(['?', '#']).next().filter(|target| !target.is_empty());
            let target = target.map(|target| format!(" to {}", asked.quoted(target))).unwrap_or_default();
            let came_back = format!("got {status}, a redirect{target}, which is never followed");
            asked.protocol(Some(status), &came_back)
        }
        _ => asked.protocol(Some(status), &format!("got {status}, which no identity endpoint answers")),
    })
}

/// An answer with an error status.
pub(crate) struct Refusal<'a> {
    asked: &'a CallSummary<'a>,
    pub(crate) status: u16,
    error: ServiceError,
    /// Entra's number, whoever passes it on.
    number: Option<u32>,
    failure: Failure,
    /// Whether the same request may succeed later.
    passes: bool,
}

impl<'a> Refusal<'a> {
    fn read(asked: &'a CallSummary<'a>, response: &http::Response<Body>, now: Duration) -> Self {
        let status = response.status().as_u16();
        let error = ServiceError::read(response);
        let number = aadsts::telling(error.numbers());
        let told = error.told(response, number, &asked.secrets);
        let failure = Failure {
            status: Some(status),
            code: told.code,
            correlation_id: told.correlation_id,
            retry_after: retry_after(response.headers(), now),
            ..asked.failure(&format!("got {status}{}", told.text))
        };
        let passes = matches!(status, 404 | 408 | 410 | 429 | 500..=599);
        Self { asked, status, error, number, failure, passes }
    }

    /// Whether the service's code or words hold a text, in lower case.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.error.says(text)
    }

    /// The service's own code, unredacted.
    pub(crate) fn code(&self) -> Option<&str> {
        self.error.code()
    }

    pub(crate) fn form(&self) -> Form {
        self.error.form()
    }

    /// What the deployer calls a variable.
    pub(crate) fn setting(&self, variable: &'a str) -> &'a str {
        self.asked.names.of(variable)
    }

    pub(crate) fn is(&self, number: u32) -> bool {
        self.number == Some(number)
    }

    /// The refusal of a service whose 404 does not mean "not yet", as it does for IMDS: asking again takes nobody further.
    pub(crate) fn not_found_is_final(mut self) -> Self {
        self.passes &= self.status != 404;
        self
    }

    /// The same, where the service has a code for what it did not find.
    pub(crate) fn not_found_by_code_is_final(self) -> Self {
        if self.code().is_some() { self.not_found_is_final() } else { self }
    }

    /// What the refusal comes to. Its remedy follows Entra's number if it has one, then who answered, then whether it
    /// passes by itself; `remedy` is the source's for all else.
    pub(crate) fn error(self, remedy: impl FnOnce(&Self) -> String) -> SourceError {
        let remedy = match self.number {
            Some(number) => self.remedy_of(number),
            None if self.form() == Form::Markup => self.ask_who_answers(),
            None if self.passes => self.be_patient(),
            None => remedy(&self),
        };
        let failure = Failure { remedy: Some(remedy), ..self.failure };
        match self.number {
            // MSAL takes this for a refusal. Asking on after ten seconds would keep the loop up.
            Some(aadsts::REQUEST_LOOP) => {
                let retry_after = failure.retry_after.or(Some(LOOP_WAIT));
                SourceError::Failed(Error::Throttled(Failure { retry_after, ..failure }))
            }
            _ if self.passes => SourceError::Retry(failure, RetryClass::Busy),
            _ => SourceError::Failed(Error::Rejected(failure)),
        }
    }

    fn remedy_of(&self, number: u32) -> String {
        let CallSummary { key, tenant, renewal, .. } = self.asked;
        let about = aadsts::RemedyContext {
            client: key.identity().id().map_or("<client id>", in_a_command),
            tenant: key.tenant_id().unwrap_or(tenant),
            audience: key.audience(),
            renewal: &renewal.map_or_else(|| self.asked.health(), str::to_owned),
            authority: self.setting(AUTHORITY_HOST),
            client_secret: self.setting(CLIENT_SECRET),
        };
        aadsts::remedy(number, &about)
    }

    fn ask_who_answers(&self) -> String {
        let CallSummary { endpoint, source, .. } = self.asked;
        let health = self.asked.health();
        format!(
            "see what answers at {endpoint}: a gateway, a proxy or another server sends such a page, {source} does not; \
             {health}"
        )
    }

    fn be_patient(&self) -> String {
        let CallSummary { source, .. } = self.asked;
        match self.status {
            429 => format!(
                "ask less often: one broker for all callers, and a store that all instances share ({}); then try again",
                self.setting(STORE_KEY)
            ),
            410 => format!("wait: {source} is being upgraded, which takes up to 70 s"),
            _ => format!("try again later; if it lasts, {}", self.asked.health()),
        }
    }
}

/// Whether a body claims to be JSON.
pub(crate) fn is_labelled_json(response: &http::Response<Body>) -> bool {
    header(response.headers(), CONTENT_TYPE).is_some_and(|label| label.to_ascii_lowercase().contains("json"))
}

/// Whether a body is JSON, whatever it claims.
pub(crate) fn is_json(response: &http::Response<Body>) -> bool {
    serde_json::from_slice::<IgnoredAny>(response.body().expose_secret()).is_ok()
}

/// Whether a body ends where JSON must go on. A server that ends the connection in the place of a length hides the cut.
fn ends_early(response: &http::Response<Body>) -> bool {
    serde_json::from_slice::<IgnoredAny>(response.body().expose_secret()).is_err_and(|error| error.is_eof())
}

/// How much there is of a body that ends early.
fn extent(response: &http::Response<Body>) -> &'static str {
    if response.body().expose_secret().is_empty() { "an empty body" } else { "a body without its end" }
}

/// The token in a body.
///
/// # Errors
/// What is wrong with the body, as the end of a sentence.
fn token(
    asked: &CallSummary<'_>,
    response: &http::Response<Body>,
    exchange: RoundTrip,
) -> Result<Token, String> {
    let wire: TokenResponse =
        serde_json::from_slice(response.body().expose_secret()).map_err(|_| UNREADABLE)?;
    let secret = wire.access_token.ok_or("holds no access_token")?;
    if secret.expose_secret().is_empty() {
        return Err("holds an empty access_token".to_owned());
    }
    if !secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds an access_token with characters that no header can carry".to_owned());
    }
    let token_type = wire.token_type.unwrap_or_else(|| BEARER.to_owned());
    if token_type.is_empty()
        || token_type.len() > 32
        || !token_type.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        let [own, proof, user] = asked.secrets;
        let shown = redacted(&token_type, &[own, proof, user, Some(secret.expose_secret())]);
        return Err(format!("holds the invalid token_type `{shown}`"));
    }
    let date = header(response.headers(), DATE).and_then(http_date);
    let received_on = exchange.received_at.as_secs();
    let span = (exchange.asked_at.as_secs(), received_on);
    let expires_on = end_of_life((wire.expires_on, wire.expires_in), date, span)
        .map_err(|why| redacted(&why, &asked.secrets))?;
    let refresh_in = match wire.refresh_in {
        Seconds::Known(seconds) => Some(seconds),
        Seconds::Absent | Seconds::Unreadable(_) => None,
    };
    Ok(Token::new(asked.source, secret, token_type, (received_on, expires_on), refresh_in))
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
const UNREADABLE: &str = "is not the JSON of a token";
/// Entra does not say how long it refuses a loop of requests.
const LOOP_WAIT: Duration = Duration::from_secs(60);
