//! Tokens with their lifetimes.

use std::borrow::Cow;
use std::time::Duration;

use super::secret::{Secret, fingerprint};
use secrecy::ExposeSecret as _;

/// An access token with its type, its times and its source.
#[derive(Clone, Debug)]
pub struct Token {
    pub(crate) secret: Secret,
    pub(crate) token_type: String,
    pub(crate) expires_on: u64,
    pub(crate) refresh_on: Option<u64>,
    pub(crate) received_on: u64,
    pub(crate) source: Cow<'static, str>,
}

impl Token {
    /// A token with its reception and expiry in Unix seconds. The time of its refresh is computed.
    pub(crate) fn new(
        source: &'static str,
        secret: Secret,
        token_type: String,
        (received_on, expires_on): (u64, u64),
        refresh_in: Option<u64>,
    ) -> Self {
        let refresh_on = refresh_on(received_on, expires_on, refresh_in);
        Self { secret, token_type, expires_on, refresh_on, received_on, source: source.into() }
    }

    /// A client assertion with its reception and expiry in Unix seconds. It is presented to one service at once, so it
    /// needs no longer margin than the time of that request.
    pub(crate) fn assertion(
        source: &'static str,
        secret: Secret,
        (received_on, expires_on): (u64, u64),
    ) -> Self {
        let last = expires_on.saturating_sub(ASSERTION_EXPIRING.as_secs());
        let refresh_on = (last > received_on).then_some(last);
        let (token_type, source) = ("JWT".to_owned(), source.into());
        Self { secret, token_type, expires_on, refresh_on, received_on, source }
    }

    /// The secret.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The type of the token, usually `Bearer`.
    pub fn token_type(&self) -> &str {
        &self.token_type
    }

    /// The time at which the token expires, in Unix seconds by the host's clock.
    pub fn expires_on(&self) -> u64 {
        self.expires_on
    }

    /// The time at which the token was received, in Unix seconds by the clock of the host that received it.
    pub fn received_on(&self) -> u64 {
        self.received_on
    }

    /// The time from which the token is due for a refresh, in Unix seconds, without jitter; none if its lifetime is not
    /// longer than [`EXPIRING`].
    pub fn refresh_on(&self) -> Option<u64> {
        self.refresh_on
    }

    /// The name of the source that issued the token.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the token is valid: not expired, and not received in the future.
    pub fn is_usable(&self, now: Duration) -> bool {
        let now = now.as_secs();
        now < self.expires_on && self.received_on <= now.saturating_add(CLOCK_TOLERANCE.as_secs())
    }

    /// The time from which the token is replaced before it is used, in Unix seconds: [`EXPIRING`] before its expiry,
    /// unless its refresh is due later still.
    pub(crate) fn expiring_from(&self) -> u64 {
        let from = self.expires_on.saturating_sub(EXPIRING.as_secs());
        from.max(self.refresh_on.unwrap_or_default())
    }

    /// The [`fingerprint`] of the secret, for logs.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.secret.expose_secret())
    }

    /// The time until the token expires; zero if it has expired.
    pub(crate) fn time_left(&self, now: Duration) -> Duration {
        Duration::from_secs(self.expires_on).saturating_sub(now)
    }
}

/// The refresh time: the server's `refresh_in`, else half of the lifetime of a long-lived token, else [`EXPIRING`]
/// before the expiry, which is also the latest time.
fn refresh_on(received_on: u64, expires_on: u64, refresh_in: Option<u64>) -> Option<u64> {
    let lifetime = expires_on.saturating_sub(received_on);
    let last = expires_on.saturating_sub(EXPIRING.as_secs());
    if last <= received_on {
        return None;
    }
    // With a refresh_in of zero every call would refresh.
    let wanted = match refresh_in.filter(|seconds| *seconds > 0) {
        Some(seconds) => received_on.saturating_add(seconds),
        None if lifetime >= LONG_LIVED.as_secs() => received_on.saturating_add(lifetime / 2),
        None => last,
    };
    Some(wanted.min(last))
}

/// The time before its expiry in which a token is replaced before it is used. Azure's libraries have the same margin.
pub const EXPIRING: Duration = Duration::from_secs(5 * 60);

/// The same of a client assertion: the time to send it, and a difference between clocks.
pub(crate) const ASSERTION_EXPIRING: Duration = Duration::from_secs(30);

/// The lifetime from which tokens are refreshed at half of it, as azure-identity for Python does.
const LONG_LIVED: Duration = Duration::from_secs(7200);

/// The tolerated difference between clocks. A token received later than this in the future was received before the
/// clock was set back.
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn token(lifetime: u64, refresh_in: Option<u64>) -> Token {
        Token::new("imds", "secret".into(), "Bearer".into(), (1000, 1000 + lifetime), refresh_in)
    }

    #[test]
    fn refresh_is_due_at_half_life_from_two_hours_on() {
        assert_eq!(token(7200, None).refresh_on(), Some(1000 + 3600));
        assert_eq!(token(7890, None).refresh_on(), Some(1000 + 3945));
        assert_eq!(token(7199, None).refresh_on(), Some(1000 + 7199 - 300));
    }

    #[test]
    fn the_servers_refresh_in_wins_but_never_reaches_into_the_last_five_minutes() {
        assert_eq!(token(86_400, Some(1200)).refresh_on(), Some(2200));
        assert_eq!(token(3600, Some(3599)).refresh_on(), Some(1000 + 3300));
        assert_eq!(token(3600, Some(0)).refresh_on(), Some(1000 + 3300));
        assert_eq!(token(3600, Some(u64::MAX)).refresh_on(), Some(1000 + 3300));
    }

    #[test]
    fn a_client_assertion_is_used_until_half_a_minute_before_its_expiry() {
        let assertion = |lifetime: u64| Token::assertion("issuer", "jwt".into(), (1000, 1000 + lifetime));
        assert_eq!((assertion(300).refresh_on(), assertion(300).expiring_from()), (Some(1270), 1270));
        assert_eq!((assertion(30).refresh_on(), assertion(30).expiring_from()), (None, 730));
        assert_eq!(token(3600, Some(60)).expiring_from(), 1000 + 3300);
    }

    #[test]
    fn the_secret_is_not_in_debug() {
        assert!(!format!("{:?}", token(3600, None)).contains("secret\""));
        assert!(format!("{:?}", token(3600, None)).contains("REDACTED"));
    }
}
