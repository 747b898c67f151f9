//! Azure's clouds: their Entra authorities, and the audiences of token exchange.
//!
//! <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>

use std::borrow::Cow;

use http::Uri;

use super::Settings;
use super::tenant::ADFS;
use super::token_proxy::TokenProxy;
use super::url::{checked, refused};
use super::variables::{AUTHORITY_HOST, REGION_NAME, REGIONAL_AUTHORITY};
use crate::model::Error;
use crate::wire::{HostPort, ServerName};

/// An Entra authority, or an AD FS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Scheme, host and port.
    base: String,
    region: Region,
    exchange_audience: &'static str,
}

/// The region whose endpoint answers the requests of applications.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Region {
    /// The global endpoint answers.
    Any,
    Named(String),
    /// That of this machine, which is to be detected.
    OfMachine,
}

impl Authority {
    /// The configured authority, else that of the public cloud, for the tenant of a variable.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an invalid URL: secrets are sent there.
    pub(crate) fn detect(settings: &Settings, (variable, tenant): (&str, &str)) -> Result<Self, Error> {
        let uri = url(settings)?;
        if !is_of_tenant(uri.path(), tenant) {
            let why = format!("has a path that is not the tenant of {}", settings.name(variable));
            return Err(refused(settings.name(AUTHORITY_HOST), &why, FORM));
        }
        let base = base(&uri);
        let host = host(&base);
        let exchange_audience = match host {
            _ if US_GOVERNMENT_HOSTS.contains(&host) => "api://AzureADTokenExchangeUSGov",
            _ if CHINA_HOSTS.contains(&host) => "api://AzureADTokenExchangeChina",
            _ => "api://AzureADTokenExchange",
        };
        Ok(Self { region: region(settings)?, exchange_audience, base })
    }

    /// The same authority behind the token proxy of a cluster, which stands in for it and for its regions.
    pub(crate) fn behind(self, proxy: &TokenProxy) -> Self {
        Self { base: proxy.base().to_owned(), region: Region::Any, ..self }
    }

    /// Whether the region of this machine is to be detected.
    pub(crate) fn searches_region(&self) -> bool {
        self.region == Region::OfMachine
    }

    /// The token endpoint of a tenant, with the region that was detected. Regional endpoints serve applications only.
    pub(crate) fn token_url(&self, tenant: &str, for_user: bool, detected: Option<&str>) -> String {
        let region = match &self.region {
            Region::Any => None,
            Region::Named(region) => Some(region.as_str()),
            Region::OfMachine => detected,
        };
        let base = match region.filter(|_| !for_user) {
            Some(region) => Cow::from(self.of_region(region)),
            None => Cow::from(&self.base),
        };
        match tenant {
            ADFS => format!("{base}/adfs/oauth2/token"),
            _ => format!("{base}/{tenant}/oauth2/v2.0/token"),
        }
    }

    fn of_region(&self, region: &str) -> String {
        let host = host(&self.base);
        match host {
            _ if PUBLIC_HOSTS.contains(&host) => format!("{HTTPS}{region}.login.microsoft.com"),
            _ => format!("{HTTPS}{region}.{host}"),
        }
    }

    /// The audience of a token for exchange in this cloud.
    ///
    /// <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity>
    pub(crate) fn exchange_audience(&self) -> &'static str {
        self.exchange_audience
    }
}

impl Settings {
    /// Whether the region of Entra's endpoint is to be detected: named by the platform, else by IMDS.
    pub fn detects_region(&self) -> bool {
        let region = self.get(REGIONAL_AUTHORITY).unwrap_or_default();
        AUTOMATIC.iter().any(|automatic| region.eq_ignore_ascii_case(automatic))
    }
}

/// The hosts of Entra: those of all clouds and regions, and the configured one.
#[derive(Clone, Debug)]
pub struct EntraHosts {
    configured: ServerName,
}

impl EntraHosts {
    /// The hosts of Entra with the one of `AZURE_AUTHORITY_HOST`.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an authority that is not an https URL.
    pub fn detect(settings: &Settings) -> Result<Self, Error> {
        let uri = url(settings)?;
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let server = HostPort::parse(authority, 443);
        let server = server.map_err(|why| refused(settings.name(AUTHORITY_HOST), why, FORM))?;
        Ok(Self { configured: server.host().clone() })
    }

    /// Whether a host is one of Entra's, or a subdomain of one: regional hosts are subdomains.
    pub fn contain(&self, host: &ServerName) -> bool {
        match (host, &self.configured) {
            (ServerName::Name(name), _) if is_authority(name) => true,
            (ServerName::Name(name), ServerName::Name(configured)) => is_at(name, configured),
            (host, configured) => host == configured,
        }
    }
}

/// The URL of the configured authority.
///
/// # Errors
/// As [`Authority::detect`].
fn url(settings: &Settings) -> Result<Uri, Error> {
    // Azure's libraries accept a host without a scheme, too.
    let (variable, text) = (settings.name(AUTHORITY_HOST), settings.get(AUTHORITY_HOST).unwrap_or(PUBLIC));
    // A backslash ends the host for some URL parsers, and not for others.
    if text.contains('\\') {
        return Err(refused(variable, "contains a backslash", FORM));
    }
    let text = if text.contains("://") { Cow::from(text) } else { format!("{HTTPS}{text}").into() };
    let uri = checked(variable, &text, FORM)?;
    if uri.scheme_str() != Some("https") {
        return Err(refused(variable, "is not https", FORM));
    }
    Ok(uri)
}

/// Whether a host, in lower case, is a host of Entra in any cloud or region.
fn is_authority(host: &str) -> bool {
    let known = [PUBLIC_HOSTS.as_slice(), &US_GOVERNMENT_HOSTS, &CHINA_HOSTS, &OTHER_HOSTS];
    known.into_iter().flatten().any(|authority| is_at(host, authority))
}

/// Whether a host is a domain or a subdomain of it.
fn is_at(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|name| name.is_empty() || name.ends_with('.'))
}

/// The host of a base URL, and its port unless it is https's own.
fn host(base: &str) -> &str {
    let host = base.strip_prefix(HTTPS).unwrap_or(base);
    host.strip_suffix(":443").unwrap_or(host)
}

fn base(uri: &Uri) -> String {
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    format!("{HTTPS}{}", authority.to_ascii_lowercase())
}

/// Whether a path is empty, the tenant, or one of the tenant's endpoints that portals show.
fn is_of_tenant(path: &str, tenant: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let path = path.trim_matches('/');
    path.is_empty() || path.strip_prefix(tenant).is_some_and(|rest| ENDPOINTS.contains(&rest))
}

/// # Errors
/// [`Error::Misconfigured`] for a value that is not the name of a region.
fn region(settings: &Settings) -> Result<Region, Error> {
    let Some(text) = settings.get(REGIONAL_AUTHORITY) else { return Ok(Region::Any) };
    if settings.detects_region() {
        return region_of_platform(settings);
    }
    match is_region(text) {
        true => Ok(Region::Named(text.to_owned())),
        false => Err(settings.refused(
            REGIONAL_AUTHORITY,
            "is not the name of a region",
            "a region, `westeurope` for example, or `TryAutoDetect`",
        )),
    }
}

/// The region of App Service and Functions, which they write as people do: `West Europe`.
fn region_of_platform(settings: &Settings) -> Result<Region, Error> {
    let Some(text) = settings.get(REGION_NAME) else { return Ok(Region::OfMachine) };
    let name = text.to_ascii_lowercase().replace(' ', "");
    match is_region(&name) {
        true => Ok(Region::Named(name)),
        false => Err(settings.refused(
            REGION_NAME,
            "is not the name of a region",
            "a region, `westeurope` for example",
        )),
    }
}

/// Whether a text can be the name of a region.
pub(crate) fn is_region(text: &str) -> bool {
    let is_name = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    is_name && !text.is_empty() && text != "true" && text.len() <= 64
}

const FORM: &str =
    "an https URL, alone or with the tenant as its path, https://login.microsoftonline.com for example";
/// The paths below a tenant that portals show.
const ENDPOINTS: [&str; 5] =
    ["", "/v2.0", "/oauth2/token", "/oauth2/v2.0/token", "/v2.0/.well-known/openid-configuration"];
/// The values by which Azure's SDKs detect the region: those of MSAL, and of the SDK for JavaScript.
const AUTOMATIC: [&str; 2] = ["TryAutoDetect", "AutoDiscoverRegion"];
const HTTPS: &str = "https://";
const PUBLIC: &str = "https://login.microsoftonline.com";
const PUBLIC_HOST: &str = "login.microsoftonline.com";
const PUBLIC_HOSTS: [&str; 4] = [PUBLIC_HOST, "login.microsoft.com", "login.windows.net", "sts.windows.net"];
const US_GOVERNMENT_HOSTS: [&str; 2] = ["login.microsoftonline.us", "login.usgovcloudapi.net"];
const CHINA_HOSTS: [&str; 2] = ["login.chinacloudapi.cn", "login.partner.microsoftonline.cn"];
/// Further hosts that MSAL knows.
const OTHER_HOSTS: [&str; 4] = [
    "login-us.microsoftonline.com",
    "login.sovcloud-identity.fr",
    "login.sovcloud-identity.de",
    "login.sovcloud-identity.sg",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::variables::TENANT_ID;
    use crate::tests::settings;

    fn detect(pairs: &[(&str, &str)]) -> Result<Authority, Error> {
        Authority::detect(&settings(pairs), (TENANT_ID, "t"))
    }

    #[test]
    fn each_cloud_has_its_endpoint_and_its_audience_for_exchange() {
        for (host, endpoint, cloud) in [
            ("", "https://login.microsoftonline.com", ""),
            ("https://login.microsoftonline.us/", "https://login.microsoftonline.us", "USGov"),
            ("login.chinacloudapi.cn", "https://login.chinacloudapi.cn", "China"),
            ("https://login.microsoftonline.us:443", "https://login.microsoftonline.us:443", "USGov"),
            ("https://sts.contoso.com:8443/", "https://sts.contoso.com:8443", ""),
        ] {
            let authority = detect(&[(AUTHORITY_HOST, host)]).unwrap();
            assert_eq!(authority.token_url("t", false, None), format!("{endpoint}/t/oauth2/v2.0/token"));
            assert_eq!(authority.exchange_audience(), format!("api://AzureADTokenExchange{cloud}"));
        }
    }

    #[test]
    fn an_authority_that_could_send_a_secret_astray_is_refused() {
        for (way, hosts) in [
            ("another scheme", &["http://login.microsoftonline.com", "ftp://login.example"][..]),
            (
                "a user",
                &["https://login.microsoftonline.com@evil.example", "https://login.example\\@evil.example"],
            ),
            ("a query or fragment", &["https://login.example/?a=b", "https://login.example#x"]),
            ("no host or port", &["https://login.example:x", "https:///tenant", "https://lo gin"]),
        ] {
            for host in hosts {
                let error = detect(&[(AUTHORITY_HOST, host)]).unwrap_err();
                assert_eq!(error.kind(), "misconfigured", "{way}: {host}: {error}");
                assert!(error.to_string().contains(AUTHORITY_HOST), "{host}: {error}");
            }
        }
    }

    #[test]
    fn a_region_answers_for_applications_and_not_for_users() {
        let public = detect(&[(REGIONAL_AUTHORITY, "westus2")]).unwrap();
        assert_eq!(
            public.token_url("t", false, None),
            "https://westus2.login.microsoft.com/t/oauth2/v2.0/token"
        );
        assert_eq!(
            public.token_url("t", true, None),
            "https://login.microsoftonline.com/t/oauth2/v2.0/token"
        );
        let other = [(REGIONAL_AUTHORITY, "usgovvirginia"), (AUTHORITY_HOST, "login.microsoftonline.us")];
        assert_eq!(
            detect(&other).unwrap().token_url("t", false, None),
            "https://usgovvirginia.login.microsoftonline.us/t/oauth2/v2.0/token"
        );
        for text in ["true", "west.us", "a/b", "West Europe"] {
            assert!(detect(&[(REGIONAL_AUTHORITY, text)]).is_err(), "{text}");
        }
    }

    #[test]
    fn the_region_is_detected_where_the_platform_does_not_name_it() {
        for automatic in ["TryAutoDetect", "tryautodetect", "AutoDiscoverRegion"] {
            let searches = detect(&[(REGIONAL_AUTHORITY, automatic)]).unwrap();
            assert!(searches.searches_region(), "{automatic}");
            assert_eq!(
                searches.token_url("t", false, None),
                "https://login.microsoftonline.com/t/oauth2/v2.0/token"
            );
            let url = searches.token_url("t", false, Some("westus2"));
            assert_eq!(url, "https://westus2.login.microsoft.com/t/oauth2/v2.0/token");
            let named = detect(&[(REGIONAL_AUTHORITY, automatic), (REGION_NAME, "West Europe")]).unwrap();
            assert!(!named.searches_region());
            assert_eq!(
                named.token_url("t", false, None),
                "https://westeurope.login.microsoft.com/t/oauth2/v2.0/token"
            );
        }
        let without = detect(&[(REGION_NAME, "West Europe")]).unwrap();
        assert_eq!(
            without.token_url("t", false, None),
            "https://login.microsoftonline.com/t/oauth2/v2.0/token"
        );
        let odd =
            detect(&[(REGIONAL_AUTHORITY, "TryAutoDetect"), (REGION_NAME, "a/b")]).unwrap_err().to_string();
        assert!(odd.contains(REGION_NAME), "{odd}");
    }

    #[test]
    fn an_authority_may_repeat_the_tenant_and_say_nothing_else() {
        let url = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token";
        let detect = |path: &str| {
            let authority = format!("https://login.microsoftonline.com{path}");
            Authority::detect(&settings(&[(AUTHORITY_HOST, &authority)]), (TENANT_ID, "contoso.com"))
        };
        for (repeats, paths) in [
            ("nothing", &["/", "//"][..]),
            ("the tenant", &["/contoso.com", "/Contoso.COM/", "/contoso.com/v2.0"]),
            ("the path of tokens", &["/contoso.com/oauth2/token", "/contoso.com/oauth2/v2.0/token"]),
            ("that of the metadata", &["/contoso.com/v2.0/.well-known/openid-configuration"]),
        ] {
            for path in paths {
                assert_eq!(
                    detect(path).unwrap().token_url("contoso.com", false, None),
                    url,
                    "{repeats}: {path}"
                );
            }
        }
        for (says, paths) in [
            ("another tenant", &["/common", "/adfs", "/contoso.com.evil.example", "/fabrikam.com"][..]),
            (
                "another path",
                &["/fabrikam.com/oauth2/v2.0/token", "/contoso.com/oauth2", "/contoso.com//oauth2/token"],
            ),
            ("more", &["/contoso.com/contoso.com", "/x/contoso.com", "/contoso%2ecom", "/../contoso.com"]),
        ] {
            for path in paths {
                let error = detect(path).unwrap_err();
                let text = error.to_string();
                assert_eq!(error.kind(), "misconfigured", "{says}: {path}");
                assert!(text.contains(AUTHORITY_HOST) && text.contains(TENANT_ID), "{path}: {text}");
            }
        }
    }

    #[test]
    fn an_ad_fs_has_its_own_path() {
        for end in ["", "/adfs", "/adfs/"] {
            let settings = settings(&[(AUTHORITY_HOST, &format!("https://sts.contoso.com{end}"))]);
            let authority = Authority::detect(&settings, (TENANT_ID, ADFS)).unwrap();
            assert_eq!(authority.token_url(ADFS, false, None), "https://sts.contoso.com/adfs/oauth2/token");
        }
        let authority = detect(&[(AUTHORITY_HOST, "https://sts.contoso.com")]).unwrap();
        assert_eq!(authority.token_url("adfs", false, None), "https://sts.contoso.com/adfs/oauth2/token");
    }
}
