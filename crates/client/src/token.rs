//! A token, with an opaque `Debug`.

use std::fmt;

use crate::types;

/// A token with its type and its times
pub struct AccessToken(types::AccessToken);

impl AccessToken {
    /// The value of an `Authorization` header that carries this token
    pub fn authorization(&self) -> String {
        format!("{} {}", self.0.token_type, self.0.token)
    }

    /// The token itself, a secret
    pub fn secret(&self) -> &str {
        &self.0.token
    }

    /// The type of the token, usually `Bearer`
    pub fn token_type(&self) -> &str {
        &self.0.token_type
    }

    /// The time at which the token expires, in Unix seconds
    pub fn expires_on(&self) -> u64 {
        self.0.expires_on
    }

    /// The time from which the broker refreshes the token, in Unix seconds; none if its lifetime is too short for that
    pub fn refresh_on(&self) -> Option<u64> {
        self.0.refresh_on
    }
}

impl From<types::AccessToken> for AccessToken {
    fn from(token: types::AccessToken) -> Self {
        Self(token)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("token_type", &self.0.token_type)
            .field("expires_on", &self.0.expires_on)
            .field("refresh_on", &self.0.refresh_on)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_when_a_token_ends_and_nothing_of_the_token() {
        let shown = format!("{:?}", example());

        assert!(shown.contains("1760000000"), "{shown}");
        assert!(!shown.contains("sent"), "{shown}");
        assert!(!shown.contains("inel"), "{shown}");
    }

    #[test]
    fn authorization_is_the_token_behind_its_type() {
        assert_eq!(example().authorization(), "Bearer sentinel");
    }

    fn example() -> AccessToken {
        AccessToken::from(types::AccessToken {
            token: "sentinel".into(),
            token_type: "Bearer".into(),
            expires_on: 1_760_000_000,
            refresh_on: None,
        })
    }
}
