//! A token: a secret and the times that decide whether it may be used.

use std::borrow::Cow;
use std::time::Duration;

use super::secret::{Secret, fingerprint};
use secrecy::ExposeSecret as _;

/// A token that was received, read and verified.
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
    /// A token received at `received_on`, with the moment of its refresh worked out; times in Unix seconds.
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

    /// The secret itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// How the token is presented, `Bearer` as a rule.
    pub fn token_type(&self) -> &str {
        &self.token_type
    }

    /// When it ends, in Unix seconds by the host's clock.
    pub fn expires_on(&self) -> u64 {
        self.expires_on
    }

    /// When it was received, in Unix seconds by the clock of the host that received it.
    pub fn received_on(&self) -> u64 {
        self.received_on
    }

    /// When a new one is due, in Unix seconds, without jitter; none if it lives no longer than [`EXPIRING`].
    pub fn refresh_on(&self) -> Option<u64> {
        self.refresh_on
    }

    /// The source that gave it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the token may still be presented to a service.
    pub fn is_usable(&self, now: Duration) -> bool {
        let now = now.as_secs();
        now < self.expires_on && self.received_on <= now.saturating_add(CLOCK_TOLERANCE.as_secs())
    }

    /// What a log may say of the secret, as [`fingerprint`].
    pub fn fingerprint(&self) -> String {
        fingerprint(self.secret.expose_secret())
    }

    /// How long it can still be used; nothing for one that has ended.
    pub(crate) fn life_left(&self, now: Duration) -> Duration {
        Duration::from_secs(self.expires_on).saturating_sub(now)
    }
}

/// The server's `refresh_in` wins; a long-lived token is renewed at half its life; any other just before it is Expiring.
fn refresh_on(received_on: u64, expires_on: u64, refresh_in: Option<u64>) -> Option<u64> {
    let lifetime = expires_on.saturating_sub(received_on);
    let last = expires_on.saturating_sub(EXPIRING.as_secs());
    if last <= received_on {
        return None;
    }
    // A refresh_in of zero would make every call a refresh.
    let wanted = match refresh_in.filter(|seconds| *seconds > 0) {
        Some(seconds) => received_on.saturating_add(seconds),
        None if lifetime >= LONG_LIVED.as_secs() => received_on.saturating_add(lifetime / 2),
        None => last,
    };
    Some(wanted.min(last))
}

/// A token with less than this left is fetched anew before it is used: what Azure's libraries keep as margin.
pub const EXPIRING: Duration = Duration::from_secs(5 * 60);

/// Tokens that live at least this long are refreshed at half their life, as azure-identity for Python does.
const LONG_LIVED: Duration = Duration::from_secs(7200);

/// A token received this much later than now was received by a clock that has been set back since.
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
    fn the_secret_is_not_in_debug() {
        assert!(!format!("{:?}", token(3600, None)).contains("secret\""));
        assert!(format!("{:?}", token(3600, None)).contains("REDACTED"));
    }
}
