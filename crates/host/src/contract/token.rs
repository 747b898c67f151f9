//! The token that an embedder gets.

use std::fmt;
use std::sync::Arc;

use crate::contract::wire::WireToken;

/// A token, and how long it may be used. Cheap to clone; the secret is wiped when the last clone goes.
#[derive(Clone)]
pub struct AccessToken(pub(crate) Arc<WireToken>);

impl AccessToken {
    /// The secret that goes behind `Authorization: Bearer `. Never log it.
    pub fn token(&self) -> &str {
        &self.0.token
    }

    /// How the token is presented, `Bearer` as a rule.
    pub fn token_type(&self) -> &str {
        &self.0.token_type
    }

    /// When it ends, in Unix seconds by the broker's clock.
    pub fn expires_on(&self) -> u64 {
        self.0.expires_on
    }

    /// When a new one should be asked for, in Unix seconds, without jitter; none if it lives too briefly for that.
    pub fn refresh_on(&self) -> Option<u64> {
        self.0.refresh_on
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("token", &"[REDACTED]")
            .field("token_type", &self.token_type())
            .field("expires_on", &self.expires_on())
            .field("refresh_on", &self.refresh_on())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_part_of_the_secret() {
        let token = AccessToken(Arc::new(WireToken {
            token: "eyJ-sentinel-9f3a".to_owned(),
            token_type: "Bearer".to_owned(),
            expires_on: 7,
            refresh_on: None,
        }));
        let shown = format!("{token:?}");
        for fragment in ["eyJ", "sentinel", "9f3a"] {
            assert!(!shown.contains(fragment), "{shown}");
        }
    }
}
