//! Where a managed identity endpoint may be: on this machine or on its link, nowhere else.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;

use crate::call::{Field, encoded};
use crate::error::Error;
use crate::target::{Scheme, Target};

/// The URL of an identity endpoint, known to be local.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl Endpoint {
    /// Check the URL that a variable gives.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] that names the variable and the accepted form. A secret header would otherwise go to
    /// whoever set the variable.
    pub(crate) fn parse(variable: &str, text: &str) -> Result<Self, Error> {
        let form =
            "an http or https URL on loopback or link-local, http://127.0.0.1:41741/msi/token for instance";
        let uri = checked(variable, text, form)?;
        if !uri.host().is_some_and(is_local) {
            return Err(refused(variable, "names a host that is not on this machine", form));
        }
        Ok(Self(uri.to_string()))
    }

    /// Check the URL of a variable whose host is known by its certificate, and may be anywhere.
    ///
    /// # Errors
    /// As [`Endpoint::parse`], and for plain http.
    pub(crate) fn parse_tls(variable: &str, text: &str) -> Result<Self, Error> {
        let form = "an https URL, https://localhost:2377/metadata/identity/oauth2/token for instance";
        let uri = checked(variable, text, form)?;
        if uri.scheme_str() != Some("https") {
            return Err(refused(variable, "is not https", form));
        }
        Ok(Self(uri.to_string()))
    }

    /// The same endpoint with another path, for a variable that gives only the base.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] if the two do not make a URL.
    pub(crate) fn join(self, variable: &str, path: &str) -> Result<Self, Error> {
        Self::parse(variable, &format!("{}{path}", self.0.trim_end_matches('/')))
    }

    /// The same endpoint, with the address in the place of `localhost`.
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

    /// The URL with a query of these parameters.
    pub(crate) fn with_query(&self, parameters: &[Field<'_>]) -> String {
        format!("{}?{}", self.0, encoded(parameters))
    }
}

/// What holds for every URL that a variable gives; `form` says what the variable accepts.
///
/// # Errors
/// [`Error::Misconfigured`] that names the variable and the accepted form.
pub(crate) fn checked(variable: &str, text: &str, form: &str) -> Result<Uri, Error> {
    let refuse = |why: &str| Err(refused(variable, why, form));
    let Ok(uri) = text.parse::<Uri>() else { return refuse("is not a URL") };
    let Some(authority) = uri.authority() else { return refuse("is not an absolute URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refuse("is neither http nor https");
    }
    // Of `[::1].evil.example` the host is to some readers the part in brackets.
    if let Err(why) = Target::read(Scheme::Https, authority.as_str()) {
        return refuse(why);
    }
    if uri.query().is_some() || text.contains('#') {
        return refuse("has a query or a fragment");
    }
    Ok(uri)
}

pub(crate) fn refused(variable: &str, why: &str, form: &str) -> Error {
    Error::Misconfigured(format!("{variable} {why}; it must be {form}"))
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback() || ip.is_link_local())
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_link_local_are_accepted() {
        for url in [
            "http://127.0.0.1:41564/msi/token",
            "http://127.255.0.9/",
            "http://localhost:42356/msi/token",
            "http://LOCALHOST/x",
            "https://127.0.0.1/x",
            "http://[::1]:80/x",
            "http://[fe80::1]/x",
            "http://169.254.169.254/metadata",
            "http://169.254.130.2:8081/msi/token/",
        ] {
            assert!(Endpoint::parse("V", url).is_ok(), "{url}");
        }
    }

    #[test]
    fn every_other_host_and_every_disguise_is_refused_by_the_name_of_the_variable() {
        for url in [
            "",
            "not a url",
            "/path/only",
            "localhost:80",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "http://10.0.0.5/msi",
            "http://0.0.0.0/msi",
            "http://attacker.contoso.com/msi",
            "http://127.0.0.1@evil.example/msi",
            "http://user:pw@127.0.0.1/msi",
            "http://169.254.169.254.evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://[::ffff:10.0.0.1]/",
            "https://vault.azure.net/",
            "http://127.0.0.1/msi?x=1",
            "http://127.0.0.1/msi#f",
            "http://:80/",
            "http://127.0.0.1:99999/msi",
            "http://127.0.0.1:/msi",
            "http://[::1]:x/msi",
            "http://[::1].evil.example/msi",
            "http://[::1].evil.example:80/msi",
            "http://[::1]evil:80/msi",
            "http://evil.example[::1]/msi",
        ] {
            let error = Endpoint::parse("IDENTITY_ENDPOINT", url).unwrap_err();
            assert_eq!(error.kind(), "misconfigured", "{url}");
            assert!(error.to_string().contains("IDENTITY_ENDPOINT"), "{url}: {error}");
        }
    }

    #[test]
    fn a_base_is_joined_with_a_path_whatever_its_trailing_slashes() {
        for base in ["http://127.0.0.1:80", "http://127.0.0.1:80/", "http://127.0.0.1:80//"] {
            let endpoint = Endpoint::parse("V", base).unwrap().join("V", "/metadata/token").unwrap();
            assert_eq!(endpoint.as_str(), "http://127.0.0.1:80/metadata/token");
        }
    }

    #[test]
    fn query_values_are_encoded() {
        let url = Endpoint::parse("V", "http://localhost/t")
            .unwrap()
            .with_query(&[("a", "x&y=z".into()), ("b", "https://é/".into())]);
        assert_eq!(url, "http://localhost/t?a=x%26y%3Dz&b=https%3A%2F%2F%C3%A9%2F");
    }
}
