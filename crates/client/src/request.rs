//! A request for a token.

use std::fmt;

use crate::{Identity, types};

/// A request for a token, made of a scope and options
#[derive(Clone)]
pub struct TokenRequest(types::TokenRequest);

impl TokenRequest {
    /// A request for a scope, for example `https://vault.azure.net/.default`, and the default identity
    pub fn new(scope: impl Into<String>) -> Self {
        Self(types::TokenRequest {
            scopes: vec![scope.into()],
            identity: Identity::Default,
            tenant_id: None,
            claims: None,
            enable_cae: false,
            user_assertion: None,
        })
    }

    /// Set the identity that the token is for
    pub fn identity(mut self, identity: Identity) -> Self {
        self.0.identity = identity;
        self
    }

    /// Set another tenant than the configured one
    pub fn tenant(mut self, id: impl Into<String>) -> Self {
        self.0.tenant_id = Some(id.into());
        self
    }

    /// Set the claims of a challenge, as JSON; the answer is then always a new token
    pub fn claims(mut self, json: impl Into<String>) -> Self {
        self.0.claims = Some(json.into());
        self
    }

    /// Ask for a token that can be revoked before it expires (continuous access evaluation)
    pub fn continuously_evaluated(mut self) -> Self {
        self.0.enable_cae = true;
        self
    }

    /// Set the access token of the user on whose behalf the component acts (on-behalf-of)
    pub fn on_behalf_of(mut self, user_assertion: impl Into<String>) -> Self {
        self.0.user_assertion = Some(user_assertion.into());
        self
    }
}

impl From<TokenRequest> for types::TokenRequest {
    fn from(request: TokenRequest) -> Self {
        request.0
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("scopes", &self.0.scopes)
            .field("identity", &self.0.identity)
            .field("tenant_id", &self.0.tenant_id)
            .field("enable_cae", &self.0.enable_cae)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_scope_and_neither_claims_nor_the_users_token() {
        let request = TokenRequest::new("https://vault.azure.net/.default")
            .identity(Identity::SystemAssigned)
            .claims("sentinel")
            .on_behalf_of("sentinel");

        let shown = format!("{request:?}");

        assert!(shown.contains("https://vault.azure.net/.default"), "{shown}");
        assert!(!shown.contains("sentinel"), "{shown}");
    }
}
