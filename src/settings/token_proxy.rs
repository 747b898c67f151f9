//! The token proxy of an AKS cluster with identity bindings.
//!
//! <https://learn.microsoft.com/azure/aks/identity-bindings-concepts>

use super::Settings;
use super::url::checked;
use super::variables::{KUBERNETES_CA_DATA, KUBERNETES_CA_FILE, KUBERNETES_SNI_NAME, KUBERNETES_TOKEN_PROXY};
use crate::model::Error;
use crate::wire::{HostPort, ServerName};

/// The server that exchanges a pod's token in the place of Entra, and by what it is known.
///
/// A host verifies it as Azure's SDKs do: TLS with [`TokenProxy::server_name`], and no authority but those of
/// [`TokenProxy::authorities`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenProxy {
    /// The URL, without a slash at the end.
    base: String,
    host: String,
    sni_name: Option<String>,
    authorities: ProxyAuthorities,
}

/// The certificate authorities that vouch for a token proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyAuthorities {
    /// Those that the host trusts anyway.
    OfHost,
    /// Those in this PEM file alone. It is replaced while programs run.
    File(String),
    /// Those in this PEM alone.
    Pem(String),
}

impl TokenProxy {
    /// The proxy of the settings, if they have one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a name or certificates without a proxy, for certificates twice, and for invalid
    /// values.
    pub fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(url) = settings.get(KUBERNETES_TOKEN_PROXY) else { return without_proxy(settings) };
        let authorities = match (settings.get(KUBERNETES_CA_FILE), settings.get(KUBERNETES_CA_DATA)) {
            (Some(_), Some(_)) => return Err(both(settings)),
            (Some(file), None) => ProxyAuthorities::File(file.to_owned()),
            (None, Some(pem)) => ProxyAuthorities::Pem(pem.to_owned()),
            (None, None) => ProxyAuthorities::OfHost,
        };
        let uri = checked(settings.name(KUBERNETES_TOKEN_PROXY), url, FORM)?;
        if uri.scheme_str() != Some("https") {
            return Err(settings.refused(KUBERNETES_TOKEN_PROXY, "is not https", FORM));
        }
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        Ok(Some(Self {
            base: format!("https://{}{}", authority.to_ascii_lowercase(), uri.path().trim_end_matches('/')),
            host: uri.host().unwrap_or_default().to_ascii_lowercase(),
            sni_name: sni_name(settings)?,
            authorities,
        }))
    }

    /// The URL, without a slash at the end: the path of Entra's token endpoint follows.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The name that is sent (SNI, RFC 6066) and that the certificate must have: the configured one, else the host of the
    /// URL.
    pub fn server_name(&self) -> &str {
        self.sni_name.as_deref().unwrap_or(&self.host)
    }

    /// Whether [`TokenProxy::server_name`] is configured.
    pub(crate) fn has_sni_name(&self) -> bool {
        self.sni_name.is_some()
    }

    /// The authorities that vouch for it.
    pub fn authorities(&self) -> &ProxyAuthorities {
        &self.authorities
    }
}

/// # Errors
/// [`Error::Misconfigured`] if another variable of the proxy is set.
fn without_proxy(settings: &Settings) -> Result<Option<TokenProxy>, Error> {
    let others = [KUBERNETES_SNI_NAME, KUBERNETES_CA_FILE, KUBERNETES_CA_DATA];
    let Some(set) = others.into_iter().find(|name| settings.is_set(name)) else { return Ok(None) };
    Err(Error::misconfigured(
        format_args!("{} is set and {} is not", settings.name(set), settings.name(KUBERNETES_TOKEN_PROXY)),
        "pass on all that AKS sets in the pod for identity bindings, or none of it",
    ))
}

/// A chart with the certificates themselves makes AKS set both, of which the file does not exist.
fn both(settings: &Settings) -> Error {
    Error::misconfigured(
        format_args!(
            "{} and {} are both set, and one is the authority of the token proxy",
            settings.name(KUBERNETES_CA_FILE),
            settings.name(KUBERNETES_CA_DATA)
        ),
        "unset one of them: the file, if it does not exist",
    )
}

/// An address is no name (RFC 6066, 3).
fn sni_name(settings: &Settings) -> Result<Option<String>, Error> {
    let Some(text) = settings.get(KUBERNETES_SNI_NAME) else { return Ok(None) };
    let server = HostPort::parse(text, 443).ok().filter(|_| !text.contains(':'));
    match server.as_ref().map(HostPort::host) {
        Some(ServerName::Name(name)) => Ok(Some(name.clone())),
        Some(ServerName::Ip(_)) | None => Err(settings.refused(
            KUBERNETES_SNI_NAME,
            "is not the name of a server",
            "the value that AKS sets",
        )),
    }
}

const FORM: &str =
    "an https URL without a user, a query or a fragment, https://kubernetes.default.svc for example";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::settings;

    const PROXY: (&str, &str) = (KUBERNETES_TOKEN_PROXY, "https://kubernetes.default.svc");

    fn detect(pairs: &[(&str, &str)]) -> Result<Option<TokenProxy>, Error> {
        TokenProxy::detect(&settings(pairs))
    }

    #[test]
    fn the_path_of_the_proxy_is_kept_without_the_slash_at_its_end() {
        for (url, base) in [
            ("https://kubernetes.default.svc", "https://kubernetes.default.svc"),
            ("https://Kubernetes.default.svc/", "https://kubernetes.default.svc"),
            ("https://127.0.0.1:8443/Base/", "https://127.0.0.1:8443/Base"),
            ("https://[::1]:8443/a/b//", "https://[::1]:8443/a/b"),
        ] {
            let proxy = detect(&[(KUBERNETES_TOKEN_PROXY, url)]).unwrap().unwrap();
            assert_eq!(proxy.base(), base, "{url}");
        }
    }

    #[test]
    fn the_name_of_the_certificate_is_the_configured_one_else_that_of_the_url() {
        let name = "0123456789abcdef0123456789abcdef0123456789abcdef";
        for (pairs, expected) in [
            (&[PROXY][..], "kubernetes.default.svc"),
            (&[PROXY, (KUBERNETES_SNI_NAME, name)], name),
            (&[PROXY, (KUBERNETES_SNI_NAME, "X.test.")], "x.test"),
        ] {
            assert_eq!(detect(pairs).unwrap().unwrap().server_name(), expected, "{pairs:?}");
        }
        for text in ["10.0.0.1", "[::1]", "x.test:443", "u@x.test", "x test", "https://x.test"] {
            let error = detect(&[PROXY, (KUBERNETES_SNI_NAME, text)]).expect_err(text).to_string();
            assert!(error.contains(KUBERNETES_SNI_NAME), "{error}");
        }
    }

    #[test]
    fn certificates_are_in_a_file_or_in_the_variable() {
        let authorities = |pairs: &[_]| detect(pairs).unwrap().unwrap().authorities().clone();
        assert_eq!(authorities(&[PROXY]), ProxyAuthorities::OfHost);
        assert_eq!(authorities(&[PROXY, (KUBERNETES_CA_FILE, "/ca")]), ProxyAuthorities::File("/ca".into()));
        assert_eq!(authorities(&[PROXY, (KUBERNETES_CA_DATA, "PEM")]), ProxyAuthorities::Pem("PEM".into()));
        let both = detect(&[PROXY, (KUBERNETES_CA_FILE, "/ca"), (KUBERNETES_CA_DATA, "PEM")]);
        let both = both.unwrap_err().to_string();
        assert!(both.contains(KUBERNETES_CA_FILE) && both.contains(KUBERNETES_CA_DATA), "{both}");
    }

    #[test]
    fn without_a_proxy_there_is_nothing_of_it() {
        assert_eq!(detect(&[]), Ok(None));
        for name in [KUBERNETES_SNI_NAME, KUBERNETES_CA_FILE, KUBERNETES_CA_DATA] {
            let error = detect(&[(name, "x")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(KUBERNETES_TOKEN_PROXY), "{error}");
        }
    }

    #[test]
    fn a_url_that_could_send_the_assertion_astray_is_refused() {
        for url in [
            "http://kubernetes.default.svc",
            "https://user@kubernetes.default.svc",
            "https://user:password@kubernetes.default.svc",
            "https://kubernetes.default.svc/?",
            "https://kubernetes.default.svc/?a=b",
            "https://kubernetes.default.svc#f",
            "https://",
            "https:///base",
            "https://:443",
            "kubernetes.default.svc",
            "/base",
            "https://[::1].evil.example/",
            "x",
        ] {
            let error = detect(&[(KUBERNETES_TOKEN_PROXY, url)]).expect_err(url);
            assert_eq!(error.kind(), "misconfigured", "{url}");
            assert!(error.to_string().contains(KUBERNETES_TOKEN_PROXY), "{url}: {error}");
        }
    }
}
