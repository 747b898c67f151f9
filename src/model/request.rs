//! The caller's request, parsed once: these types hold no invalid value.

use secrecy::ExposeSecret as _;

use super::claims::Claims;
use super::error::Error;
use super::identity::Identity;
use super::scope::Scope;
use super::secret::Secret;
use super::text::{MAX_ID, check_text, is_only_dots, is_tenant_char};

/// A request for a token, unchecked.
#[derive(Clone, Debug, Default)]
pub struct RawRequest {
    /// The scope of the token: exactly one.
    pub scopes: Vec<String>,
    /// The identity that the token is for.
    pub identity: Identity,
    /// Another tenant than the configured one.
    pub tenant_id: Option<String>,
    /// The claims of a challenge, as JSON.
    pub claims: Option<String>,
    /// Asks for a token that can be revoked before it expires (continuous access evaluation).
    pub enable_cae: bool,
    /// On-behalf-of: the access token of the user who called the consumer.
    pub user_assertion: Option<Secret>,
}

/// A valid request for a token.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub(crate) scope: Scope,
    pub(crate) identity: Identity,
    pub(crate) tenant_id: Option<String>,
    pub(crate) claims: Option<Claims>,
    pub(crate) enable_cae: bool,
    pub(crate) on_behalf_of: Option<OnBehalfOf>,
}

/// The user of an on-behalf-of request.
#[derive(Clone, Debug)]
pub(crate) struct OnBehalfOf {
    /// The access token of the user.
    pub(crate) assertion: Secret,
    /// The scope as it was given: a user's scope names a permission, which may be another one than `.default`.
    pub(crate) permission: String,
}

impl TokenRequest {
    /// A request for a scope and the default identity.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] as [`Scope::parse`].
    pub fn for_scope(scope: &str) -> Result<Self, Error> {
        Ok(Self {
            scope: Scope::parse(scope)?,
            identity: Identity::Default,
            tenant_id: None,
            claims: None,
            enable_cae: false,
            on_behalf_of: None,
        })
    }

    /// Parses a request.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] that names the invalid part and its accepted form.
    pub fn parse(raw: RawRequest) -> Result<Self, Error> {
        let [scope] = raw.scopes.as_slice() else {
            let count = raw.scopes.len();
            return Err(Error::invalid_request(
                format_args!("{count} scopes are given"),
                "request exactly one; each audience has its own token",
            ));
        };
        Ok(Self {
            scope: Scope::parse(scope)?,
            identity: raw.identity,
            tenant_id: raw.tenant_id.map(check_tenant).transpose()?,
            claims: raw.claims.map(Claims::parse).transpose()?,
            enable_cae: raw.enable_cae,
            on_behalf_of: raw.user_assertion.map(|assertion| on_behalf_of(assertion, scope)).transpose()?,
        })
    }

    /// The scope of the token.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The identity that the token is for.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

fn check_tenant(tenant: String) -> Result<String, Error> {
    if is_only_dots(&tenant) {
        return Err(Error::invalid_request(
            "the tenant id is empty or consists of dots",
            "omit it to use the configured tenant",
        ));
    }
    check_text("tenant id", &tenant, MAX_ID, is_tenant_char)?;
    Ok(tenant.to_ascii_lowercase())
}

fn on_behalf_of(assertion: Secret, permission: &str) -> Result<OnBehalfOf, Error> {
    let text = assertion.expose_secret();
    if text.is_empty() || text.len() > MAX_ASSERTION || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::invalid_request(
            format_args!("the user assertion is not a token of at most {MAX_ASSERTION} bytes"),
            "pass on the token after `Bearer ` in the user's Authorization header",
        ));
    }
    Ok(OnBehalfOf { assertion, permission: permission.to_owned() })
}

/// The longest user assertion, in bytes.
pub const MAX_ASSERTION: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::refusal;

    #[test]
    fn exactly_one_scope_is_accepted() {
        for scopes in [vec![], vec!["a".to_owned(), "b".to_owned()]] {
            let count = scopes.len();
            let text = refusal(TokenRequest::parse(RawRequest { scopes, ..RawRequest::default() }));
            assert!(text.starts_with(&format!("{count} scopes are given; fix: ")), "{text}");
        }
    }

    #[test]
    fn a_tenant_cannot_carry_a_path() {
        let raw = |tenant: &str| RawRequest {
            scopes: vec!["a".to_owned()],
            tenant_id: Some(tenant.to_owned()),
            ..RawRequest::default()
        };
        for tenant in ["", ".", "..", "a/b", "a\\b", "a b", "a_b", "'a'"] {
            assert!(refusal(TokenRequest::parse(raw(tenant))).contains("tenant id"), "{tenant}");
        }
        assert!(TokenRequest::parse(raw("contoso.onmicrosoft.com")).is_ok());
    }

    #[test]
    fn a_user_assertion_is_a_token_and_keeps_the_permission_as_it_was_written() {
        let raw = |assertion: &str| RawRequest {
            scopes: vec!["https://graph.microsoft.com/User.Read".to_owned()],
            user_assertion: Some(assertion.into()),
            ..RawRequest::default()
        };
        for assertion in ["", "a b", "a\n", &"a".repeat(MAX_ASSERTION + 1)] {
            assert!(refusal(TokenRequest::parse(raw(assertion))).contains("user assertion"));
        }
        let user = TokenRequest::parse(raw("e30.e30.x")).unwrap().on_behalf_of.unwrap();
        assert_eq!(user.permission, "https://graph.microsoft.com/User.Read");
    }
}
