//! The access token.

use std::fmt;
use std::sync::Arc;

use crate::contract::wire::WireToken;

/// An access token and its lifetime. Cheap to clone; dropping the last clone wipes the secret.
#[derive(Clone)]
pub struct AccessToken(pub(crate) Arc<WireToken>);

impl AccessToken {
    /// The secret, for `Authorization: Bearer …`. Never log it.
    pub fn token(&self) -> &str {
        &self.0.token
    }

    /// The type of the token, usually `Bearer`.
    pub fn token_type(&self) -> &str {
        &self.0.token_type
    }

    /// The end of its life, in Unix seconds by the broker's clock.
    pub fn expires_on(&self) -> u64 {
        self.0.expires_on
    }

    /// The time to ask for a new one, in Unix seconds without jitter; none for a token of a short life.
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
