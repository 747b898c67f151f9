//! The proxy through which the broker's https requests go, and the hosts that are reached without it.

mod exceptions;

use std::fmt;

use http::Uri;
use http::header::HeaderValue;
use http::uri::{Authority, Scheme};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use token_broker::Error;

use crate::network::policy::is_local;
use crate::network::proxy::exceptions::Exceptions;
use crate::network::tls::port;

/// The proxy of a company, through which the broker's https requests go: those to Entra ID and to the issuers of
/// assertions.
///
/// Plain http and local addresses (loopback, link-local, `localhost`) are never reached through it, so no identity
/// endpoint of a platform is. Nor is an endpoint whose certificate the host pins.
#[derive(Clone, Default)]
pub struct Proxies {
    proxy: Option<Proxy>,
    exceptions: Exceptions,
}

/// A proxy, and the variable that names it.
#[derive(Clone)]
pub(crate) struct Proxy {
    variable: &'static str,
    intercept: Intercept,
}

impl Proxies {
    /// The proxy that the variables of this process name.
    ///
    /// # Errors
    /// As [`Proxies::from_variables`].
    pub fn inherit() -> Result<Self, Error> {
        Self::from_variables(|name| {
            let value = std::env::var_os(name)?;
            // A value that is not UTF-8 must not count as unset.
            Some(value.to_string_lossy().into_owned())
        })
    }

    /// The proxy that variables name: the first of `https_proxy`, `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY` that is
    /// not empty, except for the hosts of `no_proxy`, else of `NO_PROXY`. That is curl's order.
    ///
    /// A proxy is `http://host:port` or `https://host:port`, perhaps with `user:password@` in percent-encoding; without
    /// a scheme it is http. The exceptions are hosts, which include their subdomains, addresses and networks, each with
    /// or without a port, or `*`; separated by commas or white space.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a value that does not name a proxy. It repeats nothing of the value.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let value = |name| variable(name).filter(|value| !value.trim().is_empty());
        let named = PROXY.into_iter().find_map(|name| Some((name, value(name)?)));
        let proxy = named.map(|(name, value)| Proxy::parse(name, value.trim())).transpose()?;
        let exceptions = NO_PROXY.into_iter().find_map(value).unwrap_or_default();
        Ok(Self { proxy, exceptions: Exceptions::parse(&exceptions) })
    }

    /// The proxy on the way to a URL, as text for people: its URL without user and password, and its variable. None if
    /// the URL is reached directly.
    pub fn on_the_way_to(&self, url: &str) -> Option<String> {
        self.of(&url.parse().ok()?).map(ToString::to_string)
    }

    pub(crate) fn of(&self, uri: &Uri) -> Option<&Proxy> {
        let is_remote = uri.scheme() == Some(&Scheme::HTTPS) && !is_local(uri.host()?);
        self.proxy.as_ref().filter(|_| is_remote && !self.exceptions.contain(uri))
    }
}

/// Without user, password and exceptions.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxies").field(&self.proxy.as_ref().map(ToString::to_string)).finish()
    }
}

impl Proxy {
    fn parse(variable: &'static str, value: &str) -> Result<Self, Error> {
        let refused = |why: &str| {
            Err(Error::misconfigured(
                format_args!("{variable} {why}"),
                "set it to the URL of an HTTP proxy, `http://host:port` or `http://user:password@host:port`, or unset it",
            ))
        };
        if value.split_once("://").is_some_and(|(scheme, _)| scheme.to_ascii_lowercase().starts_with("socks"))
        {
            return refused("names a SOCKS proxy, which is not supported");
        }
        let intercept =
            Matcher::builder().https(value).build().intercept(&Uri::from_static("https://a.example"));
        let Some(intercept) = intercept else { return refused("is not the URL of a proxy") };
        match names_a_server(intercept.uri()) {
            true => Ok(Self { variable, intercept }),
            false => refused("is not the URL of a proxy"),
        }
    }

    pub(crate) fn uri(&self) -> &Uri {
        self.intercept.uri()
    }

    /// The value of the header `proxy-authorization`, if the proxy wants one.
    pub(crate) fn credentials(&self) -> Option<&HeaderValue> {
        self.intercept.basic_auth()
    }
}

/// Without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.uri();
        let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
        write!(f, "{scheme}://{host}:{} ({})", port(uri), self.variable)
    }
}

/// Whether a URL has a host, and a port that is a number or none.
fn names_a_server(uri: &Uri) -> bool {
    let (host, authority) = (uri.host().unwrap_or_default(), uri.authority().map_or("", Authority::as_str));
    !host.is_empty() && (authority == host || uri.port_u16().is_some())
}

const PROXY: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn proxies(pairs: &[(&str, &str)]) -> Result<Proxies, Error> {
        Proxies::from_variables(|name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn on_the_way(pairs: &[(&str, &str)]) -> Option<String> {
        proxies(pairs).unwrap().on_the_way_to(ENTRA)
    }

    #[test]
    fn lower_case_wins_and_the_variable_for_https_wins_over_that_for_all() {
        let all = [
            ("ALL_PROXY", "http://d"),
            ("all_proxy", "http://c"),
            ("HTTPS_PROXY", "http://b"),
            ("https_proxy", "http://a:3128"),
        ];
        assert_eq!(on_the_way(&all).unwrap(), "http://a:3128 (https_proxy)");
        assert_eq!(on_the_way(&all[..3]).unwrap(), "http://b:80 (HTTPS_PROXY)");
        assert_eq!(on_the_way(&all[..2]).unwrap(), "http://c:80 (all_proxy)");
        assert_eq!(on_the_way(&all[..1]).unwrap(), "http://d:80 (ALL_PROXY)");
        assert_eq!(
            on_the_way(&[("https_proxy", " "), ("HTTPS_PROXY", ""), all[0]]).unwrap(),
            "http://d:80 (ALL_PROXY)"
        );
        for direct in [&[("HTTP_PROXY", "http://a")][..], &[]] {
            assert_eq!(on_the_way(direct), None);
        }
    }

    #[test]
    fn a_proxy_is_a_url_perhaps_without_a_scheme() {
        for (value, shown) in [
            ("proxy.corp:3128", "http://proxy.corp:3128 (HTTPS_PROXY)"),
            ("http://10.0.0.1:3128/", "http://10.0.0.1:3128 (HTTPS_PROXY)"),
            ("HTTP://proxy.corp", "http://proxy.corp:80 (HTTPS_PROXY)"),
            ("https://proxy.corp", "https://proxy.corp:443 (HTTPS_PROXY)"),
            ("http://[::1]:3128", "http://[::1]:3128 (HTTPS_PROXY)"),
            ("http://user:p%40s@proxy.corp:1", "http://proxy.corp:1 (HTTPS_PROXY)"),
        ] {
            assert_eq!(on_the_way(&[("HTTPS_PROXY", value)]).as_deref(), Some(shown), "{value}");
        }
    }

    #[test]
    fn another_value_is_refused_and_not_repeated() {
        for (value, why) in [
            ("socks5://sentinel.corp:1080", "names a SOCKS proxy"),
            ("SOCKS5H://u:sentinel@proxy.corp:1080", "names a SOCKS proxy"),
            ("ftp://sentinel.corp", "is not the URL of a proxy"),
            ("http://", "is not the URL of a proxy"),
            ("http://:3128", "is not the URL of a proxy"),
            ("http://u:sentinel word@proxy.corp", "is not the URL of a proxy"),
            ("http://proxy.corp:99999999", "is not the URL of a proxy"),
            ("/sentinel", "is not the URL of a proxy"),
            ("sentinel\u{fffd}", "is not the URL of a proxy"),
        ] {
            let error = proxies(&[("HTTPS_PROXY", value)]).unwrap_err().to_string();
            assert!(
                error.contains(&format!("HTTPS_PROXY {why}")) && error.contains("; fix: "),
                "{value}: {error}"
            );
            assert!(!error.contains("sentinel"), "{error}");
        }
    }

    #[test]
    fn user_and_password_are_decoded_for_the_proxy_and_shown_to_nobody() {
        let proxies = proxies(&[("HTTPS_PROXY", "http://us%3Aer:p%40ss@proxy.corp:3128")]).unwrap();
        let proxy = proxies.of(&Uri::from_static(ENTRA)).unwrap();
        // `us:er:p@ss`.
        assert_eq!(proxy.credentials().unwrap(), "Basic dXM6ZXI6cEBzcw==");
        assert!(proxy.credentials().unwrap().is_sensitive());
        for text in [format!("{proxies:?}"), proxy.to_string()] {
            assert!(
                !text.contains("p%40ss") && !text.contains("us%3Aer") && !text.contains("dXM6"),
                "{text}"
            );
        }
    }

    #[test]
    fn plain_http_and_local_addresses_are_reached_directly_whatever_the_variables_say() {
        let proxies =
            proxies(&[("HTTPS_PROXY", "http://a"), ("ALL_PROXY", "http://a"), ("HTTP_PROXY", "http://a")]);
        let proxies = proxies.unwrap();
        for url in [
            "http://169.254.169.254/metadata/identity/oauth2/token",
            "http://login.microsoftonline.com/",
            "https://127.0.0.1:8443/",
            "https://127.9.9.9/",
            "https://[::1]/",
            "https://localhost:8443/",
            "https://LOCALHOST/",
            "https://169.254.1.1/",
            "https://[fe80::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:169.254.169.254]/",
        ] {
            assert_eq!(proxies.on_the_way_to(url), None, "{url}");
        }
        assert!(proxies.on_the_way_to("https://10.0.0.1/").is_some());
    }

    const ENTRA: &str = "https://login.microsoftonline.com/t/oauth2/v2.0/token";
}
