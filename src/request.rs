//! What a caller asks for, parsed once: nothing invalid exists behind these types.

use std::cmp::Ordering;

use secrecy::ExposeSecret as _;

use crate::claims::Claims;
use crate::error::Error;
use crate::tenant::{is_only_dots, is_tenant_char};
use crate::token::Secret;

/// Everything that can be said when asking for a token, with texts that are still unchecked.
#[derive(Clone, Debug, Default)]
pub struct RawRequest {
    /// What the token is for. Exactly one is accepted.
    pub scopes: Vec<String>,
    /// Whose token it is.
    pub identity: Identity,
    /// Another tenant than the configured one.
    pub tenant_id: Option<String>,
    /// The claims of a challenge, as JSON.
    pub claims: Option<String>,
    /// Ask for a token that can be revoked before its end.
    pub enable_cae: bool,
    /// The token with which a user called, for on-behalf-of.
    pub user_assertion: Option<Secret>,
}

/// A request in which every part has an acceptable form.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub(crate) scope: Scope,
    pub(crate) identity: Identity,
    pub(crate) tenant_id: Option<String>,
    pub(crate) claims: Option<Claims>,
    pub(crate) enable_cae: bool,
    pub(crate) on_behalf_of: Option<OnBehalfOf>,
}

/// A user for whom a token is asked.
#[derive(Clone, Debug)]
pub(crate) struct OnBehalfOf {
    /// The token with which the user called.
    pub(crate) assertion: Secret,
    /// The permission as it was written: a user grants more of them than `.default`.
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

    /// Check every part of a request.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] that names the part and its accepted form.
    pub fn parse(raw: RawRequest) -> Result<Self, Error> {
        let [scope] = raw.scopes.as_slice() else {
            let count = raw.scopes.len();
            return Err(invalid(format!("exactly one scope is needed, {count} were given")));
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

    /// What the token is for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whose token it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// What a token is for: an audience, written alone or with `/.default` behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(String);

impl Scope {
    /// Check a scope against RFC 6749, 3.3, and keep its audience.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if it is empty, longer than 2048 bytes, or holds a space, a quote, a backslash or
    /// anything that is not printable ASCII.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let audience = audience_of(text);
        if audience.is_empty() {
            return Err(invalid(
                "the scope is empty; a scope looks like https://vault.azure.net/.default".to_owned(),
            ));
        }
        check_text("scope", text, MAX_SCOPE, is_scope_char)?;
        Ok(Self(audience.to_owned()))
    }

    /// The scope of an audience of our own.
    pub(crate) fn of_audience(audience: &'static str) -> Self {
        Self(audience.to_owned())
    }

    /// The audience: what managed identities call `resource`, and what `aud` of the token names.
    pub fn audience(&self) -> &str {
        &self.0
    }
}

/// Only one `/.default` at the very end is notation; anything else is part of the audience.
fn audience_of(scope: &str) -> &str {
    scope.strip_suffix("/.default").unwrap_or(scope)
}

/// Whose token it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// The one that the deployment names, else the one that the platform gives to whoever names none.
    #[default]
    Default,
    /// The one that Azure ties to the resource.
    SystemAssigned,
    /// A user-assigned one or an app registration, by its client id.
    ClientId(Id),
    /// User-assigned, by its object id.
    ObjectId(Id),
    /// User-assigned, by its Azure resource id.
    ResourceId(Id),
}

impl Identity {
    /// The user-assigned identity or app registration with this client id.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] as for every id: empty, too long, or with a space or control character in it.
    pub fn client_id(text: &str) -> Result<Self, Error> {
        Id::parse("client id", text, |c| c.is_ascii_graphic()).map(Self::ClientId)
    }

    /// The user-assigned identity with this object id.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] as [`Identity::client_id`].
    pub fn object_id(text: &str) -> Result<Self, Error> {
        Id::parse("object id", text, |c| c.is_ascii_graphic()).map(Self::ObjectId)
    }

    /// The user-assigned identity with this resource id.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] as [`Identity::client_id`].
    pub fn resource_id(text: &str) -> Result<Self, Error> {
        // Resource groups may be named in any script.
        Id::parse("resource id", text, |c| !c.is_control() && !c.is_whitespace()).map(Self::ResourceId)
    }

    /// The id that names a user-assigned identity.
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Default | Self::SystemAssigned => None,
            Self::ClientId(id) | Self::ObjectId(id) | Self::ResourceId(id) => Some(id),
        }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("the default identity"),
            Self::SystemAssigned => f.write_str("the system-assigned identity"),
            Self::ClientId(id) => write!(f, "the identity with client id {}", id.as_str()),
            Self::ObjectId(id) => write!(f, "the identity with object id {}", id.as_str()),
            Self::ResourceId(id) => write!(f, "the identity with resource id {}", id.as_str()),
        }
    }
}

/// The id of an identity. Azure compares ids without regard to case, and so does this type.
#[derive(Clone, Debug)]
pub struct Id(String);

impl Id {
    fn parse(what: &str, text: &str, allowed: impl Fn(char) -> bool) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(invalid(format!("the {what} of the identity is empty")));
        }
        if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
            return Err(invalid(format!(
                "the {what} has a quote at its beginning or end; leave the quotes out"
            )));
        }
        check_text(what, text, MAX_ID, allowed)?;
        Ok(Self(text.to_owned()))
    }

    /// The id as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Id {}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

fn check_tenant(tenant: String) -> Result<String, Error> {
    if is_only_dots(&tenant) {
        return Err(invalid("the tenant id is none; leave it out to use the configured tenant".to_owned()));
    }
    check_text("tenant id", &tenant, MAX_ID, is_tenant_char)?;
    Ok(tenant.to_ascii_lowercase())
}

fn on_behalf_of(assertion: Secret, permission: &str) -> Result<OnBehalfOf, Error> {
    let text = assertion.expose_secret();
    if text.is_empty() || text.len() > MAX_ASSERTION || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(format!(
            "the user assertion is not a token of at most {MAX_ASSERTION} bytes; it is what the user's \
             Authorization header has behind `Bearer `"
        )));
    }
    Ok(OnBehalfOf { assertion, permission: permission.to_owned() })
}

/// Every text that reaches a URL, a header or a log passes here. The offending text itself is not repeated.
fn check_text(what: &str, text: &str, max: usize, allowed: impl Fn(char) -> bool) -> Result<(), Error> {
    if text.len() > max {
        return Err(invalid(format!("the {what} is {} bytes long; {max} are allowed", text.len())));
    }
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        None => Ok(()),
        Some((at, c)) => {
            let code = u32::from(c);
            Err(invalid(format!(
                "the {what} has the character U+{code:04X} at byte {at}, which is not allowed"
            )))
        }
    }
}

/// RFC 6749, 3.3: %x21 / %x23-5B / %x5D-7E.
fn is_scope_char(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\')
}

fn invalid(text: String) -> Error {
    Error::InvalidRequest(text)
}

const QUOTES: [char; 3] = ['"', '\'', '`'];
const MAX_SCOPE: usize = 2048;
const MAX_ID: usize = 1024;
const MAX_ASSERTION: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
        match result {
            Err(Error::InvalidRequest(text)) => text,
            other => panic!("not an invalid request: {other:?}"),
        }
    }

    #[test]
    fn only_a_trailing_default_is_taken_off_a_scope() {
        for (scope, audience) in [
            ("https://vault.azure.net/.default", "https://vault.azure.net"),
            ("https://vault.azure.net", "https://vault.azure.net"),
            ("https://database.windows.net//.default", "https://database.windows.net/"),
            ("https://x/.default/y", "https://x/.default/y"),
            ("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"),
        ] {
            assert_eq!(Scope::parse(scope).unwrap().audience(), audience);
        }
    }

    #[test]
    fn a_scope_that_could_break_out_of_a_url_is_refused_by_name() {
        for (scope, says) in [
            ("", "empty"),
            ("/.default", "empty"),
            ("https://a https://b", "U+0020"),
            ("https://a\r\nx: y", "U+000D"),
            ("https://a\0", "U+0000"),
            ("https://ä", "U+00E4"),
            ("\"", "U+0022"),
        ] {
            assert!(message(Scope::parse(scope)).contains(says), "{scope:?}");
        }
        assert!(message(Scope::parse(&"s".repeat(10_240))).contains("10240 bytes"));
    }

    #[test]
    fn exactly_one_scope_is_accepted() {
        for scopes in [vec![], vec!["a".to_owned(), "b".to_owned()]] {
            let count = scopes.len();
            let text = message(TokenRequest::parse(RawRequest { scopes, ..RawRequest::default() }));
            assert!(text.contains("one scope") && text.contains(&count.to_string()), "{text}");
        }
    }

    #[test]
    fn ids_differ_in_more_than_case_or_are_the_same() {
        let lower = Identity::client_id("abc-d").unwrap();
        assert_eq!(lower, Identity::client_id("ABC-d").unwrap());
        assert_ne!(lower, Identity::object_id("abc-d").unwrap());
        assert!(Identity::client_id("B").unwrap() > lower);
        assert_eq!(Identity::client_id("ABC-d").unwrap().id().unwrap().as_str(), "ABC-d");
    }

    #[test]
    fn empty_and_broken_ids_are_refused_by_name() {
        assert!(message(Identity::client_id("")).contains("client id of the identity is empty"));
        assert!(message(Identity::object_id("a\nb")).contains("object id has the character U+000A"));
        assert!(message(Identity::client_id("ä")).contains("client id"));
        assert!(message(Identity::resource_id("\u{a0}")).contains("resource id"));
        for id in ["\"a\"", "'a'", "`a`", "\"a", "a'"] {
            assert!(message(Identity::client_id(id)).contains("quote"), "{id}");
            assert!(message(Identity::resource_id(id)).contains("quote"), "{id}");
        }
        assert!(Identity::resource_id("/subscriptions/s/resourceGroups/größe").is_ok());
    }

    #[test]
    fn a_tenant_cannot_carry_a_path() {
        let raw = |tenant: &str| RawRequest {
            scopes: vec!["a".to_owned()],
            tenant_id: Some(tenant.to_owned()),
            ..RawRequest::default()
        };
        for tenant in ["", ".", "..", "a/b", "a\\b", "a b", "a_b", "'a'"] {
            assert!(message(TokenRequest::parse(raw(tenant))).contains("tenant id"), "{tenant}");
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
            assert!(message(TokenRequest::parse(raw(assertion))).contains("user assertion"));
        }
        let user = TokenRequest::parse(raw("e30.e30.x")).unwrap().on_behalf_of.unwrap();
        assert_eq!(user.permission, "https://graph.microsoft.com/User.Read");
    }
}
