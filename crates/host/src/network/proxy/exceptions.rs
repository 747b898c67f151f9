//! The hosts that are reached without the proxy: the entries of `NO_PROXY`.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use crate::network::tls::{bare_host, port};

/// The entries of a list.
#[derive(Clone, Default)]
pub(crate) struct Exceptions(Vec<Entry>);

/// A host, an address or a network in the form that [`Matcher`] reads, perhaps for one port only.
#[derive(Clone)]
struct Entry {
    host: String,
    port: Option<u16>,
}

impl Exceptions {
    pub(crate) fn parse(list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        Self(entries.map(Entry::parse).collect())
    }

    pub(crate) fn contain(&self, uri: &Uri) -> bool {
        self.0.iter().filter(|entry| entry.port.is_none_or(|of| of == port(uri))).any(|entry| entry.has(uri))
    }
}

impl Entry {
    /// What [`Matcher`] does not read: a port, an address in brackets, `*.` before a domain, a dot at the end.
    fn parse(entry: &str) -> Self {
        let (host, port) = match entry.rsplit_once(':') {
            // Without brackets, an IPv6 address has no port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (entry, None),
            },
            _ => (entry, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let host = if host.starts_with("*.") { host.trim_start_matches('*') } else { host };
        Self { host: host.to_owned(), port }
    }

    fn has(&self, uri: &Uri) -> bool {
        // For Matcher, `*` leaves out names only.
        if self.host == "*" {
            return true;
        }
        let host = bare_host(uri).trim_end_matches('.');
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let matcher = Matcher::builder().https("http://proxy.example").no(&self.host).build();
        format!("https://{host}").parse().is_ok_and(|uri: Uri| matcher.intercept(&uri).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_addresses_and_networks_are_left_out() {
        for (list, url, is_left_out) in [
            ("", "https://example.com", false),
            ("example.com", "https://example.com", true),
            ("EXAMPLE.com", "https://Login.example.COM", true),
            ("example.com", "https://notexample.com", false),
            ("example.com", "https://example.com.evil.example", false),
            (".example.com", "https://example.com", true),
            (".example.com", "https://a.b.example.com", true),
            (".example.com", "https://notexample.com", false),
            ("*.example.com", "https://a.example.com", true),
            ("*.example.com", "https://notexample.com", false),
            ("example.com.", "https://example.com", true),
            ("example.com", "https://example.com.", true),
            ("a.example, example.com", "https://example.com", true),
            ("a.example example.com", "https://example.com", true),
            (" ,, example.com,", "https://example.com", true),
            ("*", "https://example.com", true),
            ("*", "https://10.0.0.1", true),
            ("a.example,*", "https://[2001:db8::1]", true),
            ("10.0.0.1", "https://10.0.0.1", true),
            ("10.0.0.0/8", "https://10.1.2.3:8443", true),
            ("10.0.0.0/8", "https://11.0.0.1", false),
            ("2001:db8::1", "https://[2001:db8::1]", true),
            ("[2001:db8::1]", "https://[2001:db8::1]:8443", true),
            ("2001:db8::/32", "https://[2001:db8::1]", true),
            ("example.com:443", "https://example.com", true),
            ("example.com:443", "https://a.example.com", true),
            ("example.com:8443", "https://example.com", false),
            ("10.0.0.1:8443", "https://10.0.0.1:8443", true),
            ("10.0.0.1:8443", "https://10.0.0.1", false),
            ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443", true),
            ("[2001:db8::1]:8443", "https://[2001:db8::1]", false),
            ("*:8443", "https://example.com", false),
            ("example.com:nonsense", "https://example.com", false),
            ("https://example.com", "https://example.com", false),
        ] {
            assert_eq!(Exceptions::parse(list).contain(&url.parse().unwrap()), is_left_out, "{list} {url}");
        }
    }
}
