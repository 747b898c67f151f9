//! What is kept in a store: for each key of the cache a token, and who fetches the next one.

use std::borrow::Cow;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::lease::LASTS;
use crate::model::{CLOCK_TOLERANCE, Error, Failure, Secret, Token, milliseconds};

/// What is in the place of a lease. A holder is an instance, by its name.
#[derive(Debug)]
pub(super) enum LeaseEntry {
    /// Somebody fetches.
    Taken { holder: String },
    /// Nobody does: fetching failed. That is the answer for so long by our clock, and never for no time at all.
    Failed { error: Error, left: Duration, holder: String },
    /// It is of another time than ours.
    Over,
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

/// Times are those since the Unix epoch.
pub(super) fn taken(holder: &str, now: Duration) -> Zeroizing<Vec<u8>> {
    bytes(&LeaseText { holder: holder.into(), at_ms: milliseconds(now), failed: None })
}

/// `rest`: for how long the failure is the answer, from `now` on.
pub(super) fn failed(error: &Error, holder: &str, now: Duration, rest: Duration) -> Zeroizing<Vec<u8>> {
    let failures = error.failures().iter().map(FailureText::of).collect();
    let failed = FailedText { kind: error.kind().into(), failures, rest_ms: milliseconds(rest) };
    bytes(&LeaseText { holder: holder.into(), at_ms: milliseconds(now), failed: Some(failed) })
}

/// It is the store that ends what is over, since the clocks of two machines may be apart by more than it lasts. A lease
/// that is over by [`APART`] was put back by somebody. A failure is over by [`CLOCK_TOLERANCE`] where the store does not
/// end what it has: it would else be the answer for hours.
pub(super) fn holding(bytes: &[u8], now: Duration) -> Option<LeaseEntry> {
    let LeaseText { holder, at_ms, failed } = serde_json::from_slice(bytes).ok()?;
    let (at, holder) = (Duration::from_millis(at_ms), holder.into_owned());
    let passed = now.saturating_sub(at);
    Some(match failed {
        _ if at > now.saturating_add(APART) => LeaseEntry::Over,
        None if passed > LASTS.saturating_add(APART) => LeaseEntry::Over,
        None => LeaseEntry::Taken { holder },
        Some(failed) => {
            let rest = Duration::from_millis(failed.rest_ms);
            if passed > rest.saturating_add(CLOCK_TOLERANCE) {
                return Some(LeaseEntry::Over);
            }
            let left = if passed < rest { rest.saturating_sub(passed) } else { SHORTEST };
            let failures = failed.failures.into_iter().map(|text| text.into_failure(passed)).collect();
            LeaseEntry::Failed { error: error(&failed.kind, failures)?.with_wait_left(left), left, holder }
        }
    })
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

/// For how long a failure is the answer that is over by our clock and not by the store's.
const SHORTEST: Duration = Duration::from_secs(1);

/// A clock that was set to the wrong hour is not further off.
const APART: Duration = Duration::from_secs(2 * 3600);

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
struct LeaseText<'a> {
    holder: Cow<'a, str>,
    at_ms: u64,
    failed: Option<FailedText<'a>>,
}

#[derive(Serialize, Deserialize)]
struct FailedText<'a> {
    kind: Cow<'a, str>,
    failures: Vec<FailureText<'a>>,
    rest_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct FailureText<'a> {
    source: Cow<'a, str>,
    status: Option<u16>,
    code: Option<Cow<'a, str>>,
    message: Cow<'a, str>,
    correlation_id: Option<Cow<'a, str>>,
    remedy: Option<Cow<'a, str>>,
    retry_after_ms: Option<u64>,
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
            retry_after_ms: failure.retry_after.map(milliseconds),
        }
    }

    fn into_failure(self, passed: Duration) -> Failure {
        let left = |told| Duration::from_millis(told).saturating_sub(passed);
        Failure {
            source: Cow::Owned(self.source.into_owned()),
            status: self.status,
            code: self.code.map(Cow::into_owned),
            message: self.message.into_owned(),
            correlation_id: self.correlation_id.map(Cow::into_owned),
            remedy: self.remedy.map(Cow::into_owned),
            retry_after: self.retry_after_ms.map(left).filter(|left| !left.is_zero()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

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
        let text = failed(&error, "one", NOW, Duration::from_secs(40));
        let back = |now| match holding(&text, now) {
            Some(LeaseEntry::Failed { error, left, holder }) if holder == "one" => (error, left),
            other => panic!("{other:?}"),
        };
        assert_eq!(back(NOW), (error, Duration::from_secs(40)));
        let (later, left) = back(NOW + Duration::from_secs(30));
        assert_eq!((later.retry_after(), left), (Some(Duration::from_secs(10)), Duration::from_secs(10)));
        let by_a_clock_behind = back(NOW - Duration::from_secs(30));
        assert_eq!(by_a_clock_behind.1, Duration::from_secs(40));
        let (by_a_clock_ahead, left) = back(NOW + Duration::from_secs(100));
        assert_eq!((by_a_clock_ahead.retry_after(), left), (Some(SHORTEST), SHORTEST));
        assert!(
            matches!(holding(&text, NOW + Duration::from_secs(101)), Some(LeaseEntry::Over)),
            "not ended"
        );
    }

    #[test]
    fn every_kind_of_failure_that_is_shared_comes_back_as_itself() {
        let failure = |wait: Option<u64>| Failure {
            message: "m".to_owned(),
            retry_after: wait.map(Duration::from_secs),
            ..Failure::default()
        };
        for error in [
            Error::Unavailable(vec![failure(None), failure(Some(9))]),
            Error::Rejected(failure(None)),
            Error::Transient(failure(Some(20))),
            Error::Protocol(failure(None)),
        ] {
            let text = failed(&error, "one", NOW, NOW);
            let Some(LeaseEntry::Failed { error: back, .. }) = holding(&text, NOW) else { panic!("{error}") };
            assert_eq!(back, error);
        }
    }

    #[test]
    fn a_lease_of_another_time_is_nobodys() {
        let text = taken("one", NOW);
        let stands = |now| match holding(&text, now) {
            Some(LeaseEntry::Taken { holder }) => holder == "one",
            Some(LeaseEntry::Over) => false,
            other => panic!("{other:?}"),
        };
        assert!(stands(NOW) && stands(NOW + LASTS + APART) && stands(NOW - APART));
        assert!(!stands(NOW + LASTS + APART + Duration::from_secs(1)), "it was put back");
        assert!(!stands(NOW - APART - Duration::from_secs(1)), "no clock is ahead as far");
        let text = failed(&Error::Rejected(Failure::default()), "one", NOW, NOW);
        assert!(matches!(holding(&text, NOW - APART * 2), Some(LeaseEntry::Over)));
    }

    #[test]
    fn a_text_of_another_form_is_none() {
        for text in [
            "",
            "{}",
            "null",
            "\"other\"",
            r#"{"holder":"h","at_ms":0,"failed":{"kind":"other","failures":[],"rest_ms":0}}"#,
            r#"{"holder":"h","at_ms":0,"failed":{"kind":"rejected","failures":[],"rest_ms":0}}"#,
        ] {
            assert!(holding(text.as_bytes(), Duration::ZERO).is_none(), "{text}");
            assert!(token(text.as_bytes()).is_none(), "{text}");
        }
    }

    /// The fields of an entry, with values of the right types and of wrong ones.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let name = proptest::sample::select(
            &[
                "secret",
                "type",
                "expires_on",
                "refresh_on",
                "received_on",
                "source",
                "holder",
                "at_ms",
                "failed",
                "kind",
                "failures",
                "rest_ms",
                "message",
                "retry_after_ms",
                "status",
            ][..],
        );
        let value = prop_oneof![
            any::<u64>().prop_map(|n| n.to_string()),
            Just("null".to_owned()),
            "\"[a-z\\\\\"]{0,9}",
            Just(r#"{"kind":"rejected","failures":[{"source":"s","message":"m"}],"rest_ms":1}"#.to_owned()),
            Just(r#"{"kind":"throttled","failures":[],"rest_ms":18446744073709551615}"#.to_owned()),
            "\"(imds|throttled|rejected)\"",
        ];
        let fields = proptest::collection::vec((name, value), 0..9);
        let object = fields.prop_map(|fields| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", fields.join(",")).into_bytes()
        });
        prop_oneof![object, proptest::collection::vec(any::<u8>(), 0..300)]
    }

    proptest! {
        #![proptest_config(crate::tests::cases(512))]

        #[test]
        fn entries(text in text(), now in any::<u32>(), cut in any::<usize>(), changed in any::<u8>()) {
            let now = Duration::from_secs(now.into());
            let _ = token(&text);
            if let Some(LeaseEntry::Failed { left, .. }) = holding(&text, now) {
                prop_assert!(!left.is_zero());
            }
            let seal = super::super::seal::Seal::parse("KEY", KEY).unwrap();
            let place = seal.place(b"token");
            prop_assert!(place.open(&text).is_none(), "nobody sealed it");
            let mut sealed = place.seal(&text, || 7);
            let whole = place.open(&sealed);
            prop_assert_eq!(whole.as_deref(), Some(&text));
            let at = cut % sealed.len();
            sealed[at] ^= changed.max(1);
            prop_assert!(place.open(&sealed).is_none() && place.open(&sealed[..at]).is_none());
        }
    }

    const KEY: &str = "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=";
}
