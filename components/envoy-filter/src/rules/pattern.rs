//! The patterns of a rule's conditions.

/// A name, or a pattern with a star for its beginning or its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NamePattern {
    Is(String),
    EndsWith(String),
    StartsWith(String),
}

/// A mistake in a pattern: the end of a sentence, and its remedy.
#[derive(Debug)]
pub(crate) struct PatternError {
    pub(crate) why: &'static str,
    pub(crate) fix: &'static str,
}

impl NamePattern {
    /// The name of a host, or `*.` and a domain for every name below it.
    pub(crate) fn of_authority(text: &str) -> Result<Self, PatternError> {
        let text = text.to_ascii_lowercase();
        let (name, is_parent) = text.strip_prefix('*').map_or((&*text, false), |name| (name, true));
        let is_name =
            |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if !name.bytes().all(is_name) || (is_parent && !name.starts_with('.')) {
            return Err(PatternError {
                why: "is not the name of a host",
                fix: "write the name of a host, or `*.` and the end of one",
            });
        }
        if host(name) != name {
            return Err(PatternError {
                why: "has a port, or a dot at its end",
                fix: "remove it: a rule is for all ports",
            });
        }
        Ok(if is_parent { Self::EndsWith(name.to_owned()) } else { Self::Is(name.to_owned()) })
    }

    /// A name in the proxy's configuration, or the beginning of one and a star.
    pub(crate) fn of_name(text: &str) -> Result<Self, PatternError> {
        match text.split_once('*') {
            None => Ok(Self::Is(text.to_owned())),
            Some((start, "")) => Ok(Self::StartsWith(start.to_owned())),
            Some(_) => Err(PatternError {
                why: "has a `*` that is not at its end",
                fix: "write the beginning of the names and one `*`",
            }),
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Is(whole) => text == whole,
            Self::EndsWith(end) => text.strip_suffix(end.as_str()).is_some_and(are_labels),
            Self::StartsWith(start) => text.starts_with(start.as_str()),
        }
    }
}

/// Whether a text is labels of a host name. The client chooses the authority: `other.example:80.vault.azure.net` is not
/// below a domain.
fn are_labels(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(is_of_name))
}

/// The host of an authority, without the port and without the final dot of a fully qualified name.
pub(super) fn host(authority: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_compared_by_its_host_alone() {
        for (authority, name) in [
            ("a.vault.azure.net", "a.vault.azure.net"),
            ("a.vault.azure.net:443", "a.vault.azure.net"),
            ("a.vault.azure.net.", "a.vault.azure.net"),
            ("a.vault.azure.net.:8443", "a.vault.azure.net"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("a:b", "a:b"),
            ("", ""),
        ] {
            assert_eq!(host(authority), name);
        }
    }

    #[test]
    fn a_star_stands_for_at_least_one_label() {
        let pattern = NamePattern::of_authority("*.Vault.azure.net").unwrap();
        assert!(pattern.matches("a.vault.azure.net") && pattern.matches("a.b.vault.azure.net"));
        for other in ["vault.azure.net", ".vault.azure.net", "avault.azure.net", "a.vault.azure.net.evil", ""]
        {
            assert!(!pattern.matches(other), "{other}");
        }
        for odd in [
            "evil.example:80",
            "evil.example/",
            "evil.example?",
            "user@a",
            "a b",
            "[::1]",
            "a\0",
            "é",
            "a.",
            ".a",
            "%61",
        ] {
            assert!(!pattern.matches(&format!("{odd}.vault.azure.net")), "{odd}");
        }
        let exact = NamePattern::of_authority("vault.azure.net").unwrap();
        assert!(exact.matches("vault.azure.net") && !exact.matches("a.vault.azure.net"));
    }

    #[test]
    fn the_proxys_names_may_end_with_a_star() {
        assert!(NamePattern::of_name("vault-*").unwrap().matches("vault-1"));
        assert!(NamePattern::of_name("*").unwrap().matches(""));
        assert!(!NamePattern::of_name("vault").unwrap().matches("vault-1"));
    }

    #[test]
    fn patterns_that_would_fit_nothing_or_too_much_are_refused() {
        for text in ["a.*.net", "*vault.azure.net", "*", "a/b", "a b", "*.*.net", "a:80", "a.net.", "é.net"]
        {
            assert!(NamePattern::of_authority(text).is_err(), "{text}");
        }
        for text in ["*a", "a*b", "**"] {
            assert!(NamePattern::of_name(text).is_err(), "{text}");
        }
    }
}
