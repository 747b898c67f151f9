//! A token: a secret and the times that decide whether it may be used.

use std::borrow::Cow;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use crate::jitter::share;

/// Text that must not be seen: no `Display`, an opaque `Debug`, wiped when dropped.
pub type Secret = secrecy::SecretString;

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

/// Whether a held token may be used, and whether it is time for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Before its refresh: use it.
    Fresh,
    /// Due for a refresh, with more than [`EXPIRING`] left: use it and refresh it meanwhile.
    Stale,
    /// In its last [`EXPIRING`]: fetch a new one first, and use this one if that fails.
    Expiring,
    /// Ended, or from the future: never use it.
    Gone,
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

    pub(crate) fn is_expiring(&self, now: Duration) -> bool {
        matches!(self.freshness(u64::MAX, now), Freshness::Expiring | Freshness::Gone)
    }

    /// How long it can still be used; nothing for one that has ended.
    pub(crate) fn life_left(&self, now: Duration) -> Duration {
        Duration::from_secs(self.expires_on).saturating_sub(now)
    }

    /// How the token stands, when its refresh is due at `refresh_at` (Unix seconds, jitter included).
    pub(crate) fn freshness(&self, refresh_at: u64, now: Duration) -> Freshness {
        let seconds = now.as_secs();
        if !self.is_usable(now) {
            Freshness::Gone
        } else if seconds >= self.expires_on.saturating_sub(EXPIRING.as_secs()) {
            Freshness::Expiring
        } else if seconds >= refresh_at {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }

    /// When the refresh is really due: earlier than `refresh_on` by up to a tenth of the way to it, never later,
    /// so that instances which started together do not refresh together.
    pub(crate) fn jittered_refresh(&self, random: u64) -> u64 {
        let Some(refresh_on) = self.refresh_on else { return self.received_on };
        let tenth = refresh_on.saturating_sub(self.received_on) / 10;
        refresh_on.saturating_sub(share(tenth, random))
    }
}

/// What a log may say of a token: the beginning of its SHA-256, enough to tell one from another.
pub fn fingerprint(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
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

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
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
    fn a_token_of_at_most_five_minutes_has_no_refresh_and_is_expiring_at_once() {
        for lifetime in [1, 299, 300] {
            let token = token(lifetime, None);
            assert_eq!(token.refresh_on(), None);
            assert_eq!(token.freshness(token.jittered_refresh(0), at(1000)), Freshness::Expiring);
        }
    }

    #[test]
    fn a_token_goes_through_the_four_states_and_never_comes_back() {
        let token = token(10_000, None);
        let due = token.jittered_refresh(0);
        for (now, state) in [
            (1000, Freshness::Fresh),
            (5999, Freshness::Fresh),
            (6000, Freshness::Stale),
            (10_699, Freshness::Stale),
            (10_700, Freshness::Expiring),
            (10_999, Freshness::Expiring),
            (11_000, Freshness::Gone),
            (u64::MAX, Freshness::Gone),
        ] {
            assert_eq!(token.freshness(due, at(now)), state, "at {now}");
        }
    }

    #[test]
    fn a_token_from_the_future_is_not_used_after_the_clock_was_set_back() {
        let token = token(10_000, None);
        assert_eq!(token.freshness(6000, at(939)), Freshness::Gone);
        assert_eq!(token.freshness(6000, at(940)), Freshness::Fresh);
    }

    #[test]
    fn jitter_pulls_a_refresh_earlier_by_at_most_a_tenth_and_never_later() {
        let token = token(20_000, None);
        assert_eq!(token.jittered_refresh(0), 11_000);
        assert_eq!(token.jittered_refresh(u64::MAX / 2), 11_000 - 499);
        assert_eq!(token.jittered_refresh(u64::MAX), 11_000 - 999);
    }

    #[test]
    fn a_fingerprint_is_no_part_of_the_token() {
        assert_eq!(fingerprint("abc"), "ba7816bf8f01");
    }

    #[test]
    fn the_secret_is_not_in_debug() {
        assert!(!format!("{:?}", token(3600, None)).contains("secret\""));
        assert!(format!("{:?}", token(3600, None)).contains("REDACTED"));
    }
}
