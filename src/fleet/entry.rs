//! The entries of a store: tokens, leases and failures, as JSON.

use std::borrow::Cow;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::lease::LEASE_TTL;
use crate::model::{CLOCK_TOLERANCE, Error, Failure, Secret, Token, milliseconds};

/// The entry under the name of a lease. The holder is the name of an instance.
#[derive(Debug)]
pub(super) enum LeaseEntry {
    /// A lease.
    Taken { holder: String },
    /// A failure with its remaining cooldown, which is not zero.
    Failed { error: Error, left: Duration, holder: String },
    /// An expired lease or failure.
    Expired,
}

/// The entry under the name of a token.
#[derive(Debug)]
pub(super) enum TokenEntry {
    /// A token. `replaces_refused`: it was fetched because a service refused the one before.
    Token { token: Token, replaces_refused: bool },
    /// The mark of a token that a service refused: the next one replaces it.
    Refused,
}

pub(super) fn token_bytes(token: &Token, replaces_refused: bool) -> Zeroizing<Vec<u8>> {
    bytes(&TokenText {
        replaces_refused,
        secret: Cow::Borrowed(token.secret.expose_secret()),
        token_type: Cow::Borrowed(&token.token_type),
        expires_on: token.expires_on,
        refresh_on: token.refresh_on,
        received_on: token.received_on,
        source: Cow::Borrowed(&token.source),
    })
}

/// The mark of a token that a service refused, in the token's place.
pub(super) fn refused_bytes() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(REFUSED.to_vec())
}

/// The token of an entry, or the mark in its place. A token expires earlier here, because the clock of its writer may be
/// ahead.
pub(super) fn token_entry(bytes: &[u8]) -> Option<TokenEntry> {
    if bytes == REFUSED {
        return Some(TokenEntry::Refused);
    }
    let text: TokenText<'_> = serde_json::from_slice(bytes).ok()?;
    let replaces_refused = text.replaces_refused;
    let token = Token {
        secret: Secret::from(text.secret.into_owned()),
        token_type: text.token_type.into_owned(),
        expires_on: text.expires_on.saturating_sub(CLOCK_TOLERANCE.as_secs()),
        refresh_on: text.refresh_on,
        received_on: text.received_on,
        source: Cow::Owned(text.source.into_owned()),
    };
    Some(TokenEntry::Token { token, replaces_refused })
}

/// The entry of a lease. `now` is the time since the Unix epoch.
pub(super) fn lease_bytes(holder: &str, now: Duration) -> Zeroizing<Vec<u8>> {
    bytes(&LeaseText { holder: holder.into(), at_ms: milliseconds(now), failed: None })
}

/// The entry of a failure with its remaining cooldown.
pub(super) fn failure_bytes(
    error: &Error,
    holder: &str,
    now: Duration,
    left: Duration,
) -> Zeroizing<Vec<u8>> {
    let failures = error.failures().iter().map(FailureText::of).collect();
    let failed = FailedText { kind: error.kind().into(), failures, rest_ms: milliseconds(left) };
    bytes(&LeaseText { holder: holder.into(), at_ms: milliseconds(now), failed: Some(failed) })
}

/// The lease or failure of an entry; none if it is invalid.
///
/// Entries expire by the store's clock, because the clocks of two machines may differ by more than an entry lasts. A
/// lease that has expired more than [`MAX_CLOCK_SKEW`] ago was replayed. A failure that has expired more than
/// [`CLOCK_TOLERANCE`] ago is ignored: in a store that does not remove entries it would last for hours.
pub(super) fn lease_entry(bytes: &[u8], now: Duration) -> Option<LeaseEntry> {
    let LeaseText { holder, at_ms, failed } = serde_json::from_slice(bytes).ok()?;
    let (at, holder) = (Duration::from_millis(at_ms), holder.into_owned());
    let passed = now.saturating_sub(at);
    Some(match failed {
        _ if at > now.saturating_add(MAX_CLOCK_SKEW) => LeaseEntry::Expired,
        None if passed > LEASE_TTL.saturating_add(MAX_CLOCK_SKEW) => LeaseEntry::Expired,
        None => LeaseEntry::Taken { holder },
        Some(failed) => {
            let cooldown = Duration::from_millis(failed.rest_ms);
            if passed > cooldown.saturating_add(CLOCK_TOLERANCE) {
                return Some(LeaseEntry::Expired);
            }
            let left = if passed < cooldown { cooldown.saturating_sub(passed) } else { MIN_COOLDOWN };
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

/// Serializing texts and numbers cannot fail.
fn bytes(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(value).unwrap_or_default())
}

/// The remaining cooldown of a failure that has expired by the local clock, but not by the store's.
const MIN_COOLDOWN: Duration = Duration::from_secs(1);

/// The largest plausible difference between two clocks: one may be set to the wrong hour.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(2 * 3600);

/// Not the text of a token, which is an object.
const REFUSED: &[u8] = b"\"refused\"";

#[derive(Serialize, Deserialize)]
struct TokenText<'a> {
    #[serde(default)]
    replaces_refused: bool,
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
        let left = |ms| Duration::from_millis(ms).saturating_sub(passed);
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
        let Some(TokenEntry::Token { token: back, replaces_refused: true }) =
            token_entry(&token_bytes(&token, true))
        else {
            panic!("another entry")
        };
        assert_eq!(back.secret().expose_secret(), "the-secret");
        assert_eq!((back.token_type(), back.source()), ("Bearer", "imds"));
        assert_eq!((back.expires_on(), back.refresh_on(), back.received_on), (8940, Some(1500), 1000));
    }

    #[test]
    fn a_failure_is_read_with_the_time_left_of_its_wait() {
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
        let text = failure_bytes(&error, "one", NOW, Duration::from_secs(40));
        let back = |now| match lease_entry(&text, now) {
            Some(LeaseEntry::Failed { error, left, holder }) if holder == "one" => (error, left),
            other => panic!("{other:?}"),
        };
        assert_eq!(back(NOW), (error, Duration::from_secs(40)));
        let (later, left) = back(NOW + Duration::from_secs(30));
        assert_eq!((later.retry_after(), left), (Some(Duration::from_secs(10)), Duration::from_secs(10)));
        let by_a_clock_behind = back(NOW - Duration::from_secs(30));
        assert_eq!(by_a_clock_behind.1, Duration::from_secs(40));
        let (by_a_clock_ahead, left) = back(NOW + Duration::from_secs(100));
        assert_eq!((by_a_clock_ahead.retry_after(), left), (Some(MIN_COOLDOWN), MIN_COOLDOWN));
        let ended = lease_entry(&text, NOW + Duration::from_secs(101));
        assert!(matches!(ended, Some(LeaseEntry::Expired)), "not ended");
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
            let text = failure_bytes(&error, "one", NOW, NOW);
            let Some(LeaseEntry::Failed { error: back, .. }) = lease_entry(&text, NOW) else {
                panic!("{error}")
            };
            assert_eq!(back, error);
        }
    }

    #[test]
    fn a_lease_of_another_time_has_expired() {
        let text = lease_bytes("one", NOW);
        let stands = |now| match lease_entry(&text, now) {
            Some(LeaseEntry::Taken { holder }) => holder == "one",
            Some(LeaseEntry::Expired) => false,
            other => panic!("{other:?}"),
        };
        assert!(stands(NOW) && stands(NOW + LEASE_TTL + MAX_CLOCK_SKEW) && stands(NOW - MAX_CLOCK_SKEW));
        assert!(!stands(NOW + LEASE_TTL + MAX_CLOCK_SKEW + Duration::from_secs(1)), "it was put back");
        assert!(!stands(NOW - MAX_CLOCK_SKEW - Duration::from_secs(1)), "no clock is ahead as far");
        let text = failure_bytes(&Error::Rejected(Failure::default()), "one", NOW, NOW);
        assert!(matches!(lease_entry(&text, NOW - MAX_CLOCK_SKEW * 2), Some(LeaseEntry::Expired)));
    }

    #[test]
    fn a_text_of_another_form_is_invalid() {
        for text in [
            "",
            "{}",
            "null",
            "\"other\"",
            r#"{"holder":"h","at_ms":0,"failed":{"kind":"other","failures":[],"rest_ms":0}}"#,
            r#"{"holder":"h","at_ms":0,"failed":{"kind":"rejected","failures":[],"rest_ms":0}}"#,
        ] {
            assert!(lease_entry(text.as_bytes(), Duration::ZERO).is_none(), "{text}");
            assert!(token_entry(text.as_bytes()).is_none(), "{text}");
        }
    }

    /// The fields of an entry, with values of the right types and of wrong ones.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let token = ["secret", "type", "expires_on", "refresh_on", "received_on", "source"];
        let lease = ["holder", "at_ms", "failed", "kind", "failures", "rest_ms"];
        let failure = ["message", "retry_after_ms", "status"];
        let name = proptest::sample::select([&token[..], &lease, &failure].concat());
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
            let _ = token_entry(&text);
            if let Some(LeaseEntry::Failed { left, .. }) = lease_entry(&text, now) {
                prop_assert!(!left.is_zero());
            }
            let seal = super::super::seal::Seal::parse("KEY", KEY).unwrap();
            let slot = seal.slot(b"token");
            prop_assert!(slot.open(&text).is_none(), "nobody sealed it");
            let mut sealed = slot.seal(&text, || 7);
            let whole = slot.open(&sealed);
            prop_assert_eq!(whole.as_deref(), Some(&text));
            let at = cut % sealed.len();
            sealed[at] ^= changed.max(1);
            prop_assert!(slot.open(&sealed).is_none() && slot.open(&sealed[..at]).is_none());
        }
    }

    const KEY: &str = "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=";
}
