//! Which requests get which token, and how they carry it.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use token_broker::{Body, ExposeSecret as _, Token, TokenRequest};

use crate::abi::{Status, Stream};

/// A token for some requests.
pub(crate) struct Rule {
    /// What it is called in metrics and logs.
    pub(crate) name: String,
    pub(crate) matches: Matches,
    pub(crate) request: TokenRequest,
    pub(crate) header: HeaderForm,
    pub(crate) held: RefCell<Option<Held>>,
    /// Whether a fetch is under way, for which requests wait.
    pub(crate) is_fetching: Cell<bool>,
}

/// The header that carries a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeaderForm {
    /// In small letters.
    pub(crate) name: String,
    /// What stands before the token.
    pub(crate) prefix: String,
}

/// A token that the broker gave.
pub(crate) struct Held {
    pub(crate) token: Rc<Token>,
    /// The value of the header.
    value: Body,
    /// Until when the broker need not be asked again (Unix seconds), and since when.
    ask_again: (u64, u64),
}

impl Held {
    /// `now`: the time since the Unix epoch. A copy lasts for [`COPY_LASTS`], so that the broker, who knows when a token
    /// is due for a refresh, decides about it.
    pub(crate) fn new(token: Rc<Token>, form: &HeaderForm, now: Duration) -> Self {
        let secret = token.secret().expose_secret();
        // Exactly enough: growing would leave copies of the token behind.
        let mut value = Vec::with_capacity(form.prefix.len() + secret.len());
        value.extend_from_slice(form.prefix.as_bytes());
        value.extend_from_slice(secret.as_bytes());
        let now = now.as_secs();
        let until = token.refresh_on().unwrap_or(now).min(now.saturating_add(COPY_LASTS));
        Self { token, value: Body::from(value), ask_again: (now, until) }
    }

    /// Whether the broker need not be asked.
    pub(crate) fn is_copy(&self, now: Duration) -> bool {
        (self.ask_again.0..self.ask_again.1).contains(&now.as_secs())
    }
}

impl HeaderForm {
    /// RFC 6750, 2.1.
    pub(crate) fn bearer() -> Self {
        Self { name: AUTHORIZATION.to_owned(), prefix: "Bearer ".to_owned() }
    }
}

impl Rule {
    pub(crate) fn new(name: String, matches: Matches, request: TokenRequest, header: HeaderForm) -> Self {
        Self { name, matches, request, header, held: RefCell::default(), is_fetching: Cell::default() }
    }

    /// Give a request the token that is held. False if none is that can be used.
    pub(crate) fn put(&self, stream: Stream, usable: impl FnOnce(&Held) -> bool) -> Result<bool, Status> {
        let held = self.held.borrow();
        let Some(held) = held.as_ref().filter(|held| usable(held)) else { return Ok(false) };
        let (name, value) = (self.header.name.as_str(), held.value.expose_secret());
        // Of two of another name a proxy may replace the first alone.
        match name {
            AUTHORIZATION => stream.replace_header(name, value)?,
            _ => {
                stream.remove_header(name)?;
                stream.add_header(name, value)?;
            }
        }
        Ok(true)
    }
}

/// What must be true of a request. What is not said is true of any.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    pub(crate) authority: Option<Pattern>,
    pub(crate) route: Option<Pattern>,
    pub(crate) cluster: Option<Pattern>,
}

impl Matches {
    pub(crate) fn fit(&self, seen: &Seen) -> Result<bool, Status> {
        let fits = |pattern: &Option<Pattern>, look: fn(&Seen) -> Result<&str, Status>| match pattern {
            Some(pattern) => look(seen).map(|text| pattern.fits(text)),
            None => Ok(true),
        };
        Ok(fits(&self.authority, Seen::authority)?
            && fits(&self.route, Seen::route)?
            && fits(&self.cluster, Seen::cluster)?)
    }
}

/// The properties of a request, each looked up when a rule needs it.
pub(crate) struct Seen {
    stream: Stream,
    authority: OnceCell<Result<String, Status>>,
    route: OnceCell<Result<String, Status>>,
    cluster: OnceCell<Result<String, Status>>,
}

impl Seen {
    pub(crate) fn of(stream: Stream) -> Self {
        Self { stream, authority: OnceCell::new(), route: OnceCell::new(), cluster: OnceCell::new() }
    }

    fn authority(&self) -> Result<&str, Status> {
        known(&self.authority, || {
            let authority = self.stream.header(":authority")?;
            Ok(host(&text(authority)).to_ascii_lowercase())
        })
    }

    fn route(&self) -> Result<&str, Status> {
        known(&self.route, || self.stream.property("xds\0route_name").map(text))
    }

    fn cluster(&self) -> Result<&str, Status> {
        known(&self.cluster, || self.stream.property("xds\0cluster_name").map(text))
    }
}

fn known(
    cell: &OnceCell<Result<String, Status>>,
    look: impl FnOnce() -> Result<String, Status>,
) -> Result<&str, Status> {
    cell.get_or_init(look).as_deref().map_err(|status| *status)
}

/// Empty if there is none, or if it is not UTF-8: no pattern fits that.
fn text(bytes: Option<Vec<u8>>) -> String {
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// The host of an authority, without its port and without the dot at the end of a full name.
fn host(authority: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

/// A text, or the end or the beginning of one with a star for what is left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Is(String),
    EndsWith(String),
    StartsWith(String),
}

impl Pattern {
    /// The name of a host; `*.` before it stands for all below it.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(crate) fn of_authority(text: &str) -> Result<Self, &'static str> {
        let text = text.to_ascii_lowercase();
        let (name, is_parent) = text.strip_prefix('*').map_or((&*text, false), |name| (name, true));
        let is_name =
            |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if !name.bytes().all(is_name) || (is_parent && !name.starts_with('.')) {
            return Err("must be the name of a host, or `*.` and the end of one");
        }
        if host(name) != name {
            return Err("must be without a port and without a dot at the end: it is for all ports");
        }
        Ok(if is_parent { Self::EndsWith(name.to_owned()) } else { Self::Is(name.to_owned()) })
    }

    /// A name of the proxy's own; a star may be at its end.
    ///
    /// # Errors
    /// As [`Pattern::of_authority`].
    pub(crate) fn of_name(text: &str) -> Result<Self, &'static str> {
        match text.split_once('*') {
            None => Ok(Self::Is(text.to_owned())),
            Some((start, "")) => Ok(Self::StartsWith(start.to_owned())),
            Some(_) => Err("may have a `*` at its end and nowhere else"),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Is(whole) => text == whole,
            Self::EndsWith(end) => text.strip_suffix(end.as_str()).is_some_and(are_labels),
            Self::StartsWith(start) => text.starts_with(start.as_str()),
        }
    }
}

/// Labels of a host name. An authority is its client's to say: `other.example:80.vault.azure.net` is below no domain.
fn are_labels(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(is_of_name))
}

/// Two of these are one to Envoy.
const AUTHORIZATION: &str = "authorization";
/// In seconds.
const COPY_LASTS: u64 = 60;

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
        let pattern = Pattern::of_authority("*.Vault.azure.net").unwrap();
        assert!(pattern.fits("a.vault.azure.net") && pattern.fits("a.b.vault.azure.net"));
        for other in ["vault.azure.net", ".vault.azure.net", "avault.azure.net", "a.vault.azure.net.evil", ""]
        {
            assert!(!pattern.fits(other), "{other}");
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
            assert!(!pattern.fits(&format!("{odd}.vault.azure.net")), "{odd}");
        }
        let exact = Pattern::of_authority("vault.azure.net").unwrap();
        assert!(exact.fits("vault.azure.net") && !exact.fits("a.vault.azure.net"));
    }

    #[test]
    fn the_proxys_names_may_end_with_a_star() {
        assert!(Pattern::of_name("vault-*").unwrap().fits("vault-1"));
        assert!(Pattern::of_name("*").unwrap().fits(""));
        assert!(!Pattern::of_name("vault").unwrap().fits("vault-1"));
    }

    #[test]
    fn patterns_that_would_fit_nothing_or_too_much_are_refused() {
        for text in ["a.*.net", "*vault.azure.net", "*", "a/b", "a b", "*.*.net", "a:80", "a.net.", "é.net"]
        {
            assert!(Pattern::of_authority(text).is_err(), "{text}");
        }
        for text in ["*a", "a*b", "**"] {
            assert!(Pattern::of_name(text).is_err(), "{text}");
        }
    }
}
