//! URLs of managed identity endpoints, which must be on this machine or link-local.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;

use crate::model::Error;
use crate::settings::Settings;
use crate::settings::url::{absolute, checked, refused};
use crate::settings::variables::{
    ALLOWED_ENDPOINT, ASSERTION_URL, GCP_HOST, GITHUB_URL, PIPELINES_URL, POD_IDENTITY_HOST,
};
use crate::wire::{Field, HostPort, form_encoded};

/// The URL of an identity endpoint, checked to be local or trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl Endpoint {
    /// Parses the URL of a variable.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] that names the variable and the accepted form. A secret is sent to the endpoint, so it
    /// must not be a remote server.
    pub(crate) fn parse(settings: &Settings, variable: &str, text: &str) -> Result<Self, Error> {
        Self::local(settings, variable, checked(settings.name(variable), text, form(variable))?, text)
    }

    /// As [`Endpoint::parse`], for a platform whose URL has a query.
    ///
    /// # Errors
    /// As [`Endpoint::parse`].
    pub(crate) fn parse_with_query(settings: &Settings, variable: &str, text: &str) -> Result<Self, Error> {
        Self::local(settings, variable, absolute(settings.name(variable), text, form(variable))?, text)
    }

    fn local(settings: &Settings, variable: &str, uri: Uri, text: &str) -> Result<Self, Error> {
        let form = form(variable);
        let (variable, host) = (settings.name(variable), uri.host().unwrap_or_default());
        match private(host) {
            _ if is_local(host) => Ok(Self(uri.to_string())),
            Some(_) if is_allowed(settings, text) => Ok(Self(uri.to_string())),
            Some(platform) => {
                let other = if settings.is_set(ALLOWED_ENDPOINT) { " (its value differs)" } else { "" };
                Err(Error::misconfigured(
                    format_args!("{variable} names the private address {host}{platform}"),
                    format_args!(
                        "set it to {form}, or set {} to exactly the same value{other}, with which secrets and tokens are \
                         sent there unencrypted",
                        settings.name(ALLOWED_ENDPOINT)
                    ),
                ))
            }
            None => Err(refused(variable, "names a host that is not on this machine", form)),
        }
    }

    /// Parses the URL of an issuer of another platform, which may have a query: https, or on this machine.
    ///
    /// # Errors
    /// As [`Endpoint::parse`].
    pub(crate) fn parse_issuer(settings: &Settings, variable: &str, text: &str) -> Result<Self, Error> {
        let uri = absolute(settings.name(variable), text, form(variable))?;
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri.to_string())),
            _ => Self::local(settings, variable, uri, text),
        }
    }

    /// Parses a variable with a host and perhaps a port: the endpoint is plain http at that host.
    ///
    /// # Errors
    /// As [`Endpoint::parse`].
    pub(crate) fn parse_host(settings: &Settings, variable: &str, text: &str) -> Result<Self, Error> {
        let name = settings.name(variable);
        HostPort::parse(text, 80).map_err(|why| refused(name, why, form(variable)))?;
        Self::local(settings, variable, absolute(name, &format!("http://{text}"), form(variable))?, text)
    }

    /// Parses the https URL of a variable. The server is authenticated by its certificate, so it may be remote.
    ///
    /// # Errors
    /// As [`Endpoint::parse`], and for plain http.
    pub(crate) fn parse_tls(variable: &str, text: &str) -> Result<Self, Error> {
        let form = "an https URL, https://localhost:2377/metadata/identity/oauth2/token for example";
        let uri = checked(variable, text, form)?;
        if uri.scheme_str() != Some("https") {
            return Err(refused(variable, "is not https", form));
        }
        Ok(Self(uri.to_string()))
    }

    /// The endpoint with a path, for a variable that has only the base URL.
    pub(crate) fn join(self, path: &str) -> Self {
        Self(format!("{}{path}", self.0.trim_end_matches('/')))
    }

    /// The endpoint with the address 127.0.0.1 instead of `localhost`.
    pub(crate) fn on_ipv4_loopback(self) -> Self {
        let Some((scheme, rest)) = self.0.split_once("://") else { return self };
        match rest.split_at_checked("localhost".len()) {
            Some((host, rest)) if host.eq_ignore_ascii_case("localhost") => {
                Self(format!("{scheme}://127.0.0.1{rest}"))
            }
            _ => self,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL with these parameters added to its query.
    pub(crate) fn with_query(&self, parameters: &[Field<'_>]) -> String {
        let separator = if self.0.contains('?') { '&' } else { '?' };
        format!("{}{separator}{}", self.0, form_encoded(parameters))
    }
}

/// Whether the operator allows the endpoint at a private address by its exact URL.
fn is_allowed(settings: &Settings, text: &str) -> bool {
    settings.get(ALLOWED_ENDPOINT).is_some_and(|allowed| allowed == text)
}

/// The platform with endpoints at such a private address, as the end of a sentence; none if the address is not private.
fn private(host: &str) -> Option<&'static str> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<Ipv4Addr>().ok();
    match address.map(|ip| ip.octets()) {
        Some([10, 92, ..]) => Some(", as Windows container groups of Azure Container Instances do"),
        Some([172, 16..=31, ..]) => Some(", as App Service on Linux did until 2021"),
        Some(_) => address.filter(Ipv4Addr::is_private).map(|_| ", which is not on this machine"),
        None => {
            let ip = bare.parse::<Ipv6Addr>().ok().filter(Ipv6Addr::is_unique_local);
            ip.map(|_| ", which is not on this machine")
        }
    }
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback() || ip.is_link_local())
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unicast_link_local())
}

/// The accepted form of a variable: IMDS's has the base of the URL, the others have the whole URL.
fn form(variable: &str) -> &'static str {
    match variable {
        ASSERTION_URL | GITHUB_URL | PIPELINES_URL => {
            "an https URL, or an http URL on loopback or link-local, https://issuer.example/token for example"
        }
        GCP_HOST => "an address on loopback or link-local, perhaps with a port, 169.254.169.254 for example",
        POD_IDENTITY_HOST => {
            "the base of an http or https URL on loopback or link-local, http://127.0.0.1:8181 for example"
        }
        _ => "an http or https URL on loopback or link-local, http://127.0.0.1:41741/msi/token for example",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::settings;

    fn parse(url: &str) -> Result<Endpoint, Error> {
        Endpoint::parse(&Settings::default(), "IDENTITY_ENDPOINT", url)
    }

    #[test]
    fn the_fix_shows_a_value_that_its_variable_accepts() {
        for (variable, example) in [
            (POD_IDENTITY_HOST, "http://127.0.0.1:8181 for"),
            ("MSI_ENDPOINT", "http://127.0.0.1:41741/msi/token for"),
        ] {
            let error = Endpoint::parse(&Settings::default(), variable, "http://example.com").unwrap_err();
            assert!(error.to_string().contains(example), "{error}");
        }
    }

    fn allowing(allowed: &str) -> Settings {
        settings(&[(ALLOWED_ENDPOINT, allowed)])
    }

    #[test]
    fn a_private_address_is_refused_with_its_platform_and_the_variable_that_allows_it() {
        for (url, platform) in [
            ("http://10.92.0.21:2377/metadata/identity/oauth2/token", "Azure Container Instances"),
            ("http://172.16.2.6:8081/msi/token", "App Service"),
            ("http://172.31.0.2:8081/msi/token", "App Service"),
            ("http://192.168.0.2/msi/token", "not on this machine"),
            ("https://10.0.0.2/msi/token", "not on this machine"),
            ("http://[fd00::1]/msi/token", "not on this machine"),
        ] {
            let text = parse(url).unwrap_err().to_string();
            assert!(!text.contains("another one"), "{text}");
            for part in ["IDENTITY_ENDPOINT", ALLOWED_ENDPOINT, platform] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(Endpoint::parse(&allowing(url), "IDENTITY_ENDPOINT", url).is_ok(), "{url}");
        }
    }

    #[test]
    fn an_endpoint_is_allowed_by_its_whole_url_and_nothing_but_a_private_address_is() {
        let url = "http://10.92.0.21:2377/token";
        let parts = ["*", "10.92.0.21", "http://10.92.0.21:2377"];
        let neighbours = ["http://10.92.0.21:2377/token/", "http://10.92.0.22:2377/token"];
        for allowed in parts.iter().chain(&neighbours) {
            let error = Endpoint::parse(&allowing(allowed), "V", url).unwrap_err().to_string();
            assert!(error.contains("its value differs"), "{allowed}: {error}");
        }
        let public = ["http://8.8.8.8/token", "http://attacker.contoso.com/msi"];
        let disguised = ["http://x@10.92.0.21/", "http://[::ffff:10.0.0.1]/"];
        for url in public.iter().chain(&disguised) {
            assert!(Endpoint::parse(&allowing(url), "V", url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_query_of_a_platforms_own_comes_before_ours() {
        let url = "http://169.254.128.1:2377/token?api-version=1.0";
        assert!(parse(url).is_err());
        let endpoint = Endpoint::parse_with_query(&Settings::default(), "V", url).unwrap();
        assert_eq!(endpoint.with_query(&[("a", "b".into())]), format!("{url}&a=b"));
    }

    #[test]
    fn loopback_and_link_local_are_accepted() {
        for (platform, urls) in [
            ("IPv4", &["http://127.0.0.1:41564/msi/token", "http://127.255.0.9/", "https://127.0.0.1/x"][..]),
            ("a name", &["http://localhost:42356/msi/token", "http://LOCALHOST/x"]),
            ("IPv6", &["http://[::1]:80/x", "http://[fe80::1]/x"]),
            ("link-local", &["http://169.254.169.254/metadata", "http://169.254.130.2:8081/msi/token/"]),
        ] {
            urls.iter().for_each(|url| assert!(parse(url).is_ok(), "{platform}: {url}"));
        }
    }

    #[test]
    fn every_other_host_and_every_disguise_is_refused_by_the_name_of_the_variable() {
        for (disguise, urls) in [
            ("no URL", &["", "not a url", "/path/only", "localhost:80", "http://:80/"][..]),
            ("another scheme", &["ftp://127.0.0.1/", "file:///etc/passwd"]),
            ("another address", &["http://10.0.0.5/msi", "http://0.0.0.0/msi", "http://[::ffff:10.0.0.1]/"]),
            ("another name", &["http://attacker.contoso.com/msi", "https://vault.azure.net/"]),
            ("a user", &["http://127.0.0.1@evil.example/msi", "http://user:pw@127.0.0.1/msi"]),
            ("a longer name", &["http://169.254.169.254.evil.example/", "http://127.0.0.1.evil.example/"]),
            ("a number", &["http://2130706433/", "http://0x7f.0.0.1/"]),
            ("a query or fragment", &["http://127.0.0.1/msi?x=1", "http://127.0.0.1/msi#f"]),
            ("no port", &["http://127.0.0.1:99999/msi", "http://127.0.0.1:/msi", "http://[::1]:x/msi"]),
            ("after brackets", &["http://[::1].evil.example/msi", "http://[::1].evil.example:80/msi"]),
            ("around brackets", &["http://[::1]evil:80/msi", "http://evil.example[::1]/msi"]),
        ] {
            for url in urls {
                let error = parse(url).unwrap_err();
                assert_eq!(error.kind(), "misconfigured", "{disguise}: {url}");
                assert!(error.to_string().contains("IDENTITY_ENDPOINT"), "{url}: {error}");
            }
        }
    }

    #[test]
    fn a_base_is_joined_with_a_path_whatever_its_trailing_slashes() {
        for base in ["http://127.0.0.1:80", "http://127.0.0.1:80/", "http://127.0.0.1:80//"] {
            let endpoint = parse(base).unwrap().join("/metadata/token");
            assert_eq!(endpoint.as_str(), "http://127.0.0.1:80/metadata/token");
        }
    }

    #[test]
    fn query_values_are_encoded() {
        let endpoint = parse("http://localhost/t").unwrap();
        let url = endpoint.with_query(&[("a", "x&y=z".into()), ("b", "https://é/".into())]);
        assert_eq!(url, "http://localhost/t?a=x%26y%3Dz&b=https%3A%2F%2F%C3%A9%2F");
    }
}
