//! Scopes and audiences.

use super::error::Error;
use super::text::{SEPARATORS, SEVERAL, check_text, is_guid};

/// The scope of a token: an audience, given alone or followed by `/.default`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(String);

impl Scope {
    /// Parses a scope (RFC 6749, 3.3).
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if it is empty, longer than 2048 bytes, or contains a space, a quote, a backslash or
    /// another character than printable ASCII.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let audience = audience_of(text);
        if audience.is_empty() {
            return Err(Error::invalid_request(
                "the scope is empty",
                "request one, `https://vault.azure.net/.default` for example",
            ));
        }
        check_text("scope", text, MAX_SCOPE, is_scope_char)?;
        Ok(Self(audience.to_owned()))
    }

    /// The scope of a known audience.
    pub(crate) fn of_audience(audience: String) -> Self {
        Self(audience)
    }

    /// The reason why the audience is not one of Entra, as the end of a sentence, and the fix; none if it is a URI or
    /// the id of an application.
    pub fn flaw(&self) -> Option<(&'static str, &'static str)> {
        let audience = self.audience();
        let is_scheme = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-'))
        };
        let is_uri = || {
            let parts = audience.split_once(':');
            parts.is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.trim_matches('/').is_empty())
        };
        let is_id = || audience.split('/').next().is_some_and(is_guid);
        match audience {
            _ if audience.contains(SEPARATORS) => Some(SEVERAL),
            _ if audience.contains('*') => {
                Some(("has a `*` in it", "name each scope; unset the list to allow all"))
            }
            _ if is_uri() || is_id() => None,
            _ => Some((
                "is neither a URI nor the GUID of an application",
                "use the audience of the service's documentation, `https://vault.azure.net/.default` for example",
            )),
        }
    }

    /// The audience: the `resource` of managed identities and the `aud` claim of tokens.
    pub fn audience(&self) -> &str {
        &self.0
    }
}

/// Only one `/.default` at the end is removed; everything else is part of the audience.
fn audience_of(scope: &str) -> &str {
    scope.strip_suffix("/.default").unwrap_or(scope)
}

/// RFC 6749, 3.3: %x21 / %x23-5B / %x5D-7E.
fn is_scope_char(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\')
}

const MAX_SCOPE: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::refusal;

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
        for (scope, expected) in [
            ("", "empty"),
            ("/.default", "empty"),
            ("https://a https://b", "U+0020"),
            ("https://a\r\nx: y", "U+000D"),
            ("https://a\0", "U+0000"),
            ("https://ä", "U+00E4"),
            ("\"", "U+0022"),
        ] {
            assert!(refusal(Scope::parse(scope)).contains(expected), "{scope:?}");
        }
        assert!(refusal(Scope::parse(&"s".repeat(10_240))).contains("10240 bytes"));
    }
}
