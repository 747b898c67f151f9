//! Reading what an identity endpoint answers: the parts that all sources have in common.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Failure};
use crate::expiry::{self, Seconds};
use crate::host::Body;
use crate::lenient::Text;
use crate::policy::Key;
use crate::retry::Class;
use crate::source::Ask;
use crate::token::{Secret, Token};
use crate::words::shown;

/// What one try came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A token that can be read, not verified yet.
    Token(Token),
    /// Something else answers there: this is not the source's platform, and the next one may be tried.
    Absent(Failure),
    /// The platform has no identity for this: the next source may be tried.
    Declined(Failure),
    /// No, and asking again will not change it.
    Final(Error),
    /// Not now.
    Again(Failure, Class),
    /// Not without the content of this file.
    Challenged(String),
}

impl Answer {
    /// The answer, with more to say if it is a no.
    pub(crate) fn rejected(self, more: impl FnOnce(Failure) -> Failure) -> Self {
        match self {
            Self::Final(Error::Rejected(failure)) => Self::Final(Error::Rejected(more(failure))),
            other => other,
        }
    }

    /// The answer of a service whose 404 does not mean "not yet", as it does for IMDS: asking again takes nobody further.
    pub(crate) fn not_found_is_final(self) -> Self {
        match self {
            Self::Again(failure, _) if failure.status == Some(404) => Self::Final(Error::Rejected(failure)),
            other => other,
        }
    }
}

/// Between these two moments the peer made its answer (times since the Unix epoch, by our clock).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) asked_at: Duration,
    pub(crate) received_at: Duration,
}

/// What was asked of whom, for the operator's sake.
#[derive(Clone)]
pub(crate) struct Asked<'a> {
    pub(crate) source: &'static str,
    pub(crate) endpoint: Cow<'a, str>,
    pub(crate) key: &'a Key,
    /// What went with the request and must not come back in a message.
    pub(crate) secrets: [Option<&'a str>; 3],
}

impl<'a> Asked<'a> {
    /// `secret`: what the source's own configuration adds to the call.
    pub(crate) fn new(
        source: &'static str,
        endpoint: impl Into<Cow<'a, str>>,
        ask: &Ask<'a>,
        secret: Option<&'a str>,
    ) -> Self {
        let proof = ask.proof.map(|proof| proof.expose_secret());
        let user = ask.demand.on_behalf_of().map(|user| user.assertion.expose_secret());
        Self { source, endpoint: endpoint.into(), key: ask.demand.key(), secrets: [secret, proof, user] }
    }

    /// A failure whose message is: what was asked, of whom, and this end of the sentence.
    pub(crate) fn failure(&self, came_back: &str) -> Failure {
        let (audience, identity) = (self.key.audience(), self.key.identity());
        let message =
            format!("asked {} for a token for {audience} as {identity}, {came_back}", self.endpoint);
        Failure { source: self.source.into(), message, ..Failure::default() }
    }

    /// An answer that cannot be trusted.
    pub(crate) fn protocol(&self, status: Option<u16>, came_back: &str) -> Answer {
        let remedy =
            format!("see what listens at {}: it does not answer as {} does", self.endpoint, self.source);
        Answer::Final(Error::Protocol(Failure { status, remedy: Some(remedy), ..self.failure(came_back) }))
    }

    /// An answer of which the end, or all of it, did not come: the next try may bring it.
    pub(crate) fn incomplete(&self, status: Option<u16>, came_back: &str) -> Answer {
        let remedy = format!(
            "see what stands between the broker and {}, and whether that restarts: a proxy or the service itself ended \
             the connection early",
            self.endpoint
        );
        let failure = Failure { status, remedy: Some(remedy), ..self.failure(came_back) };
        Answer::Again(failure, Class::Busy)
    }

    /// An answer with an error status, in the service's own words where they can be shown.
    pub(crate) fn refusal(&self, response: &http::Response<Body>, now: Duration) -> Failure {
        let status = response.status().as_u16();
        let words = Words::read(response, &self.secrets);
        let code = words.code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
        let text = if words.text.is_empty() { words.text } else { format!(": {}", words.text) };
        Failure {
            status: Some(status),
            code: words.code,
            correlation_id: words.correlation_id,
            retry_after: retry_after(response.headers(), now),
            ..self.failure(&format!("got {status}{code}{text}"))
        }
    }
}

/// Read an answer by its status, as every identity endpoint means it.
pub(crate) fn read(asked: &Asked<'_>, response: &http::Response<Body>, exchange: Exchange) -> Answer {
    let now = exchange.received_at;
    let status = response.status().as_u16();
    match status {
        200 | 202 => match token(asked.source, response, exchange) {
            Ok(token) => Answer::Token(token),
            Err(_) if ends_early(response) => {
                asked.incomplete(Some(status), &format!("got {status} with {}", extent(response)))
            }
            Err(unreadable) => asked.protocol(Some(status), &format!("got {status}, which {unreadable}")),
        },
        300..=399 => {
            asked.protocol(Some(status), &format!("got {status}, a redirect, which is never followed"))
        }
        404 | 408 | 410 | 429 | 500..=599 => Answer::Again(asked.refusal(response, now), Class::Busy),
        400..=499 => Answer::Final(Error::Rejected(asked.refusal(response, now))),
        _ => asked.protocol(Some(status), &format!("got {status}, which no identity endpoint answers")),
    }
}

/// Whether a body claims to be JSON.
pub(crate) fn is_labelled_json(response: &http::Response<Body>) -> bool {
    header(response.headers(), &CONTENT_TYPE).is_some_and(|label| label.to_ascii_lowercase().contains("json"))
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
    source: &'static str,
    response: &http::Response<Body>,
    exchange: Exchange,
) -> Result<Token, &'static str> {
    let wire: TokenBody = serde_json::from_slice(response.body().expose_secret()).map_err(|_| UNREADABLE)?;
    let secret = wire.access_token.ok_or("holds no access_token")?;
    if secret.expose_secret().is_empty() {
        return Err("holds an empty access_token");
    }
    if !secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds an access_token with characters that no header can carry");
    }
    let token_type = wire.token_type.unwrap_or_else(|| BEARER.to_owned());
    if token_type.is_empty()
        || token_type.len() > 32
        || !token_type.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return Err("holds a token_type that is none");
    }
    let date = header(response.headers(), &DATE).and_then(expiry::http_date);
    let received_on = exchange.received_at.as_secs();
    let span = (exchange.asked_at.as_secs(), received_on);
    let expires_on = expiry::end_of_life((wire.expires_on, wire.expires_in), date, span)?;
    let refresh_in = match wire.refresh_in {
        Seconds::Known(seconds) => Some(seconds),
        Seconds::Absent | Seconds::Unreadable => None,
    };
    Ok(Token::new(source, secret, token_type, (received_on, expires_on), refresh_in))
}

#[derive(Deserialize)]
struct TokenBody {
    access_token: Option<Secret>,
    token_type: Option<String>,
    #[serde(default)]
    expires_on: Seconds,
    #[serde(default)]
    expires_in: Seconds,
    #[serde(default)]
    refresh_in: Seconds,
}

/// The service's own words for a refusal, fit to be shown.
struct Words {
    code: Option<String>,
    text: String,
    correlation_id: Option<String>,
}

impl Words {
    fn read(response: &http::Response<Body>, secrets: &[Option<&str>; 3]) -> Self {
        let bytes = response.body().expose_secret();
        let body: ErrorBody = serde_json::from_slice(bytes).unwrap_or_default();
        let NestedError { code, message, correlation_id } = match body.error {
            Text::Other => serde_json::from_slice::<NestedBody>(bytes).unwrap_or_default().error,
            code => NestedError { code, ..NestedError::default() },
        };
        let token = body.access_token.into_option();
        let [own, proof, user] = *secrets;
        let shown = |text: String| shown(&text, &[own, proof, user, token.as_deref()]);
        let text = [body.error_description, body.message, message].into_iter().find_map(Text::into_option);
        let id = [body.correlation_id, correlation_id].into_iter().find_map(Text::into_option);
        let code = code.into_option().map(shown);
        Self {
            text: match &code {
                None => text.map_or_else(|| shape(response, secrets), shown),
                Some(_) => text.map(shown).unwrap_or_default(),
            },
            code,
            correlation_id: id
                .or_else(|| CORRELATION_HEADERS.iter().find_map(|name| text_of(response.headers(), name)))
                .map(shown),
        }
    }
}

/// `{"error": "...", "error_description": "..."}` is IMDS's and OAuth's form, `{"statusCode": n, "message": "...",
/// "correlationId": "..."}` App Service's, and `{"error": {"code": "...", "message": "..."}}` Cloud Shell's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: Text,
    error_description: Text,
    message: Text,
    #[serde(alias = "correlationId")]
    correlation_id: Text,
    access_token: Text,
}

/// Read only if `error` is an object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NestedBody {
    error: NestedError,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NestedError {
    code: Text,
    message: Text,
    #[serde(rename = "correlationId")]
    correlation_id: Text,
}

/// What can be said of a body that has no words for us: never its content.
fn shape(response: &http::Response<Body>, secrets: &[Option<&str>]) -> String {
    let length = response.body().expose_secret().len();
    match header(response.headers(), &CONTENT_TYPE) {
        _ if length == 0 => "an empty body".to_owned(),
        Some(label) => {
            format!("a body of {length} bytes labelled {} without a known error", shown(label, secrets))
        }
        None => format!("an unlabelled body of {length} bytes without a known error"),
    }
}

/// `Retry-After` (RFC 9110, 10.2.3), in seconds or as a date, at most an hour so that a mistake heals.
fn retry_after(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let text = header(headers, &RETRY_AFTER)?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Duration::from_secs(expiry::http_date(text)?).saturating_sub(now),
    };
    Some(wait.min(LONGEST_WAIT))
}

fn header<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

const BEARER: &str = "Bearer";
const UNREADABLE: &str = "is not the JSON of a token";
const CORRELATION_HEADERS: [&str; 2] = ["x-ms-request-id", "x-correlation-id"];
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date_and_bounded() {
        let now = Duration::from_secs(784_111_700);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(77)));
        assert_eq!(read("Sat, 06 Nov 1993 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(read("99999999"), Some(LONGEST_WAIT));
        for broken in ["-1", "1.5", "soon", ""] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }
}
