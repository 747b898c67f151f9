//! What is kept in a store: for each key of the cache a token, and whose turn it is to fetch the next one.

use std::borrow::Cow;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Failure};
use crate::host::milliseconds;
use crate::token::{CLOCK_TOLERANCE, Secret, Token};

/// Whose turn it is.
#[derive(Debug)]
pub(super) enum Turn {
    /// Somebody fetches.
    Taken,
    /// Nobody's: fetching failed, and this is the answer for a while.
    Failed(Error),
}

pub(super) fn of_token(token: &Token) -> Zeroizing<Vec<u8>> {
    bytes(&TokenText {
        secret: Cow::Borrowed(token.secret.expose_secret()),
        token_type: Cow::Borrowed(&token.token_type),
        expires_on: token.expires_on,
        refresh_on: token.refresh_on,
        received_on: token.received_on,
        source: Cow::Borrowed(&token.source),
    })
}

/// Another clock wrote its times: it may be ahead of ours, which is why the token ends earlier here.
pub(super) fn token(bytes: &[u8]) -> Option<Token> {
    let text: TokenText<'_> = serde_json::from_slice(bytes).ok()?;
    Some(Token {
        secret: Secret::from(text.secret.into_owned()),
        token_type: text.token_type.into_owned(),
        expires_on: text.expires_on.saturating_sub(CLOCK_TOLERANCE.as_secs()),
        refresh_on: text.refresh_on,
        received_on: text.received_on,
        source: Cow::Owned(text.source.into_owned()),
    })
}

pub(super) fn taken() -> Zeroizing<Vec<u8>> {
    bytes(&TurnText::Taken)
}

/// `rest`: for how long the failure is the answer, from `now` on (time since the Unix epoch).
pub(super) fn failed(error: &Error, now: Duration, rest: Duration) -> Zeroizing<Vec<u8>> {
    let failures = error.failures().iter().map(FailureText::of).collect();
    let (at_ms, rest_ms) = (milliseconds(now), milliseconds(rest));
    bytes(&TurnText::Failed { kind: error.kind().into(), failures, at_ms, rest_ms })
}

pub(super) fn turn(bytes: &[u8], now: Duration) -> Option<Turn> {
    match serde_json::from_slice(bytes).ok()? {
        TurnText::Taken => Some(Turn::Taken),
        TurnText::Failed { kind, failures, at_ms, rest_ms } => {
            let passed = milliseconds(now).saturating_sub(at_ms);
            let left = Duration::from_millis(rest_ms.saturating_sub(passed));
            let failures = failures.into_iter().map(FailureText::into_failure).collect();
            Some(Turn::Failed(error(&kind, failures)?.with_wait_left(left)))
        }
    }
}

fn error(kind: &str, mut failures: Vec<Failure>) -> Option<Error> {
    match kind {
        "unavailable" => Some(Error::Unavailable(failures)),
        "rejected" => failures.pop().map(Error::Rejected),
        "throttled" => failures.pop().map(Error::Throttled),
        "transient" => failures.pop().map(Error::Transient),
        "protocol" => failures.pop().map(Error::Protocol),
        _ => None,
    }
}

/// Plain texts and numbers cannot fail to serialize.
fn bytes(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(value).unwrap_or_default())
}

#[derive(Serialize, Deserialize)]
struct TokenText<'a> {
    secret: Cow<'a, str>,
    #[serde(rename = "type")]
    token_type: Cow<'a, str>,
    expires_on: u64,
    refresh_on: Option<u64>,
    received_on: u64,
    source: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TurnText<'a> {
    Taken,
    Failed { kind: Cow<'a, str>, failures: Vec<FailureText<'a>>, at_ms: u64, rest_ms: u64 },
}

#[derive(Serialize, Deserialize)]
struct FailureText<'a> {
    source: Cow<'a, str>,
    status: Option<u16>,
    code: Option<Cow<'a, str>>,
    message: Cow<'a, str>,
    correlation_id: Option<Cow<'a, str>>,
    remedy: Option<Cow<'a, str>>,
}

impl<'a> FailureText<'a> {
    fn of(failure: &'a Failure) -> Self {
        Self {
            source: Cow::Borrowed(&failure.source),
            status: failure.status,
            code: failure.code.as_deref().map(Cow::Borrowed),
            message: Cow::Borrowed(&failure.message),
            correlation_id: failure.correlation_id.as_deref().map(Cow::Borrowed),
            remedy: failure.remedy.as_deref().map(Cow::Borrowed),
        }
    }

    fn into_failure(self) -> Failure {
        Failure {
            source: Cow::Owned(self.source.into_owned()),
            status: self.status,
            code: self.code.map(Cow::into_owned),
            message: self.message.into_owned(),
            correlation_id: self.correlation_id.map(Cow::into_owned),
            remedy: self.remedy.map(Cow::into_owned),
            retry_after: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn a_token_comes_back_as_it_was_but_ends_a_minute_earlier() {
        let token = Token::new("imds", "the-secret".into(), "Bearer".into(), (1000, 9000), Some(500));
        let back = super::token(&of_token(&token)).unwrap();
        assert_eq!(back.secret().expose_secret(), "the-secret");
        assert_eq!((back.token_type(), back.source()), ("Bearer", "imds"));
        assert_eq!((back.expires_on(), back.refresh_on(), back.received_on), (8940, Some(1500), 1000));
    }

    #[test]
    fn a_failure_comes_back_with_what_is_left_of_its_wait() {
        let failure = Failure {
            source: "imds".into(),
            status: Some(429),
            code: Some("busy".to_owned()),
            message: "asked, \"got\" 429".to_owned(),
            correlation_id: Some("c".to_owned()),
            remedy: Some("wait".to_owned()),
            retry_after: Some(Duration::from_secs(40)),
        };
        let error = Error::Throttled(failure.clone());
        let text = failed(&error, NOW, Duration::from_secs(40));
        let back = |now| match turn(&text, now) {
            Some(Turn::Failed(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(back(NOW), error);
        assert_eq!(back(NOW + Duration::from_secs(30)).retry_after(), Some(Duration::from_secs(10)));
        assert_eq!(back(NOW - Duration::from_secs(30)).retry_after(), Some(Duration::from_secs(40)));
    }

    #[test]
    fn every_kind_of_failure_that_is_shared_comes_back_as_itself() {
        let failure = || Failure { message: "m".to_owned(), ..Failure::default() };
        for error in [
            Error::Unavailable(vec![failure(), failure()]),
            Error::Rejected(failure()),
            Error::Transient(failure()),
            Error::Protocol(failure()),
        ] {
            let Some(Turn::Failed(back)) = turn(&failed(&error, NOW, NOW), NOW) else { panic!("{error}") };
            assert_eq!(back, error);
        }
    }

    #[test]
    fn a_text_of_another_form_is_none() {
        assert!(matches!(turn(&taken(), NOW), Some(Turn::Taken)));
        for text in [
            "",
            "{}",
            "null",
            "\"other\"",
            r#"{"failed":{"kind":"other","failures":[],"at_ms":0,"rest_ms":0}}"#,
        ] {
            assert!(turn(text.as_bytes(), NOW).is_none(), "{text}");
            assert!(token(text.as_bytes()).is_none(), "{text}");
        }
    }
}
