//! The guard of the identity endpoints, which give tokens to every caller, against an application's requests (SSRF).
//!
//! An application whose requests get their tokens on the way has no business there. Composed with the broker, it shares
//! the broker's list of allowed hosts, and nothing else stands between it and an endpoint.

use std::net::{IpAddr, Ipv4Addr};

use http::Uri;
use token_broker::variables::{
    ALLOWED_ENDPOINT, AUTHORITY_HOST, IDENTITY_ENDPOINT, IMDS_ENDPOINT, MSI_ENDPOINT, POD_IDENTITY_HOST,
};
use token_broker::wire::{ServerName, is_only_dots};
use token_broker::{EntraHosts, Error, Settings};

use crate::target::{Scheme, Target};

/// Tells which requests of an application are for identity endpoints.
///
/// - Link-local addresses, where Azure's metadata service is, and that of its WireServer, in every spelling.
/// - The endpoints that the configuration names, and Azure Arc's own: everything at that host and port. Where the host
///   does not prove its name, everything at that port of which a name leaves open whether it is the same host.
/// - Entra and the configured authority, except for the documents that they publish: their metadata and keys.
/// - Over plain http, requests with the headers without which no identity endpoint gives a token.
///
/// A name may lead to any address, and only the host that resolves it knows which: this machine's own name, or one that
/// its owner points here. Over https it leads nowhere, for these endpoints prove no name.
#[derive(Clone, Debug)]
pub struct Guard {
    endpoints: Vec<Target>,
    entra: EntraHosts,
}

impl Guard {
    /// The variables that name guarded endpoints.
    pub const VARIABLES: [&str; 6] =
        [IDENTITY_ENDPOINT, MSI_ENDPOINT, IMDS_ENDPOINT, POD_IDENTITY_HOST, ALLOWED_ENDPOINT, AUTHORITY_HOST];

    /// The guard of the endpoints that the configuration names.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] that names the variable whose value is not a URL: an endpoint that cannot be read cannot be
    /// guarded.
    pub fn detect(settings: &Settings) -> Result<Self, Error> {
        let arc = Target::read(Scheme::Http, ARC);
        let arc = arc.map_err(|why| settings.refused("the agent of Azure Arc", why, FORM))?;
        let mut endpoints = vec![arc];
        let named = [IDENTITY_ENDPOINT, MSI_ENDPOINT, IMDS_ENDPOINT, POD_IDENTITY_HOST, ALLOWED_ENDPOINT];
        for variable in named {
            // With any query: Windows container groups have one.
            if let Some(url) = settings.url(variable, FORM)? {
                endpoints.push(place(settings, variable, &url)?);
            }
        }
        Ok(Self { endpoints, entra: EntraHosts::detect(settings)? })
    }

    /// How an application may use the place that a request is for.
    ///
    /// # Errors
    /// [`Error::Denied`] that names the endpoint there, if it may not be used at all.
    pub fn access(&self, target: &Target) -> Result<Access, Error> {
        if matches!(target.host(), ServerName::Ip(address) if is_platform(*address)) {
            return Err(denied(target, "is a service of the platform that gives tokens to every caller"));
        }
        if self.endpoints.iter().any(|endpoint| endpoint.server.is_same_server(&target.server)) {
            return Err(denied(target, "is where the broker gets its tokens"));
        }
        if self.endpoints.iter().any(|endpoint| may_be_same(target, endpoint)) {
            return Err(Error::denied(
                format_args!("{target} may be where the broker gets its tokens: it has the same port"),
                "request a service of your own by its address, over https or at another port",
            ));
        }
        Ok(Access { target: target.clone(), is_authority: self.entra.contain(target.host()) })
    }

    /// How a component may use an address that the host of its request was resolved to. `is_own` says that it is an address
    /// of this machine. For hosts that resolve names themselves and have no list of endpoints: a name leads to none of
    /// them, an address that is named to the letter is its operator's choice.
    ///
    /// # Errors
    /// [`Error::Denied`] that names the address and the reason.
    pub fn check_address(target: &Target, address: IpAddr, is_own: bool) -> Result<(), Error> {
        let effective = ServerName::from(address);
        let why = match target.host() {
            _ if !target.may_be_at(address) => "which is not an address of that host",
            ServerName::Ip(_) => return Ok(()),
            ServerName::Name(_) if matches!(effective, ServerName::Ip(address) if is_platform(address)) => {
                "where the platform gives tokens to every caller"
            }
            ServerName::Name(_) if target.is_https() || target.host().is_loopback() => return Ok(()),
            ServerName::Name(_) if is_own || effective.is_loopback() => {
                "an address of this machine, over plain http"
            }
            ServerName::Name(_) => return Ok(()),
        };
        let what = format_args!("{target} leads to {address}, {why}");
        Err(Error::denied(what, "name the address itself if it is meant"))
    }

    /// Checks that a path is valid: a host might take another text for the address of another host (RFC 9112, 3.2).
    ///
    /// # Errors
    /// [`Error::Denied`] if it is not.
    pub fn check_path(path_with_query: &str) -> Result<(), Error> {
        match path_with_query.is_empty() || path_with_query.starts_with(['/', '?']) || path_with_query == "*"
        {
            true => Ok(()),
            false => Err(Error::denied(
                "the request's path does not begin with a slash",
                "put a `/` at its beginning",
            )),
        }
    }
}

/// A place that an application may use, and how.
#[derive(Clone, Debug)]
pub struct Access {
    target: Target,
    is_authority: bool,
}

impl Access {
    /// The place.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether a request may be sent there; `has` tells whether it has a header.
    ///
    /// # Errors
    /// [`Error::Denied`] that gives the reason, without the path and the values of headers.
    pub fn check(
        &self,
        method: &str,
        path_with_query: &str,
        has: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        Guard::check_path(path_with_query)?;
        if self.is_authority && !(method == "GET" && is_published(path_with_query)) {
            return Err(denied(&self.target, "is an authority, which shows only its metadata and its keys"));
        }
        if !self.target.is_https() && MARKS.iter().any(|name| has(name)) {
            return Err(Error::denied(
                format_args!("the request to {} has a header for identity endpoints", self.target),
                format_args!("leave out the headers {}, or use https", MARKS.join(", ")),
            ));
        }
        Ok(())
    }
}

fn place(settings: &Settings, variable: &str, url: &Uri) -> Result<Target, Error> {
    let scheme = if url.scheme_str() == Some("http") { Scheme::Http } else { Scheme::Https };
    let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    Target::read(scheme, authority).map_err(|why| settings.refused(variable, why, FORM))
}

fn is_platform(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || address == WIRE_SERVER,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether a target's name leaves open that it leads to an endpoint. On the port of the web names with a dot are left to
/// the headers: half of the world is there.
fn may_be_same(target: &Target, endpoint: &Target) -> bool {
    let ServerName::Name(name) = target.host() else { return false };
    let is_on_the_web = target.port() == 80 && name.contains('.');
    !target.is_https() && target.port() == endpoint.port() && !target.host().is_loopback() && !is_on_the_web
}

/// Whether a path is one of the documents that an authority shows to everybody: its metadata, its keys, and which
/// authorities there are. Nothing else is known to be harmless.
fn is_published(path_with_query: &str) -> bool {
    let path = path_with_query.split('?').next().unwrap_or_default();
    let segments: Vec<_> = path.split('/').skip(1).collect();
    // Nothing that a server could read in another way.
    let is_plain = |segment: &&str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        !is_only_dots(segment) && segment.bytes().all(fits)
    };
    let is_document = matches!(
        segments.as_slice(),
        [.., ".well-known", "openid-configuration"]
            | [.., "discovery", "keys"]
            | [.., "discovery", "v2.0", "keys"]
            | ["common", "discovery", "instance"]
    );
    is_document && segments.iter().all(is_plain)
}

fn denied(target: &Target, why: &str) -> Error {
    Error::denied(
        format_args!("{target} {why}"),
        "remove the request from the application: its requests to services get their tokens on the way",
    )
}

const FORM: &str = "the http or https URL of an identity endpoint";
/// <https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16>
const WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
/// Azure Arc's agent, which is found by its files and needs no variable.
const ARC: &str = "127.0.0.1:40342";
/// Of IMDS, Cloud Shell and Arc; of App Service; of App Service in 2017, Machine Learning and Service Fabric.
const MARKS: [&str; 3] = ["metadata", "x-identity-header", "secret"];

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(pairs: &[(&str, &str)]) -> Guard {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Guard::detect(&Settings::from_pairs(pairs)).unwrap()
    }

    /// Whether a GET may be sent, with a path and headers.
    fn allows(guard: &Guard, url: &str, headers: &[&str]) -> bool {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let Ok(target) = Target::parse(Some(scheme), authority) else { return false };
        check(guard, &target, ("GET", path), headers).is_ok()
    }

    fn check(
        guard: &Guard,
        target: &Target,
        (method, path): (&str, &str),
        headers: &[&str],
    ) -> Result<(), Error> {
        guard.access(target)?.check(method, path, |name| headers.contains(&name))
    }

    #[test]
    fn the_metadata_service_is_reached_in_no_spelling_and_on_no_port() {
        for url in [
            "http://169.254.169.254/metadata/identity/oauth2/token",
            "http://169.254.169.254:8080/",
            "https://169.254.169.254/",
            "http://2852039166/metadata",
            "http://0xA9FEA9FE/",
            "http://169.254.43518/",
            "http://0251.0376.0251.0376/",
            "http://169.254.169.254./",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:a9fe:a9fe]:80/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://169.254.130.2:8081/msi/token",
            "http://[fe80::1]/",
            "http://168.63.129.16/machine?comp=goalstate",
            "http://0xA83F8110/",
            "http://x@169.254.169.254/",
            "http://my.vault.azure.net@169.254.169.254/",
            "http://169.254.169.254%2f@a.example/",
        ] {
            assert!(!allows(&guard(&[]), url, &[]), "{url}");
        }
    }

    #[test]
    fn everything_else_is_reached() {
        for url in [
            "https://my.vault.azure.net/secrets/a?api-version=7.4",
            "http://10.0.0.1:8080/",
            "http://127.0.0.1:41741/",
            "https://169.254.169.254.example/",
            "http://[2001:db8::1]/",
            "https://login.example/oauth2/token",
            "https://login.microsoftonline.com.example/t/oauth2/v2.0/token",
            "https://a.example",
            "https://a.example/?http://169.254.169.254/",
        ] {
            assert!(allows(&guard(&[]), url, &[]), "{url}");
        }
    }

    #[test]
    fn the_endpoints_of_the_configuration_are_not_reached_by_any_name_of_this_machine() {
        let guard = guard(&[(IDENTITY_ENDPOINT, "http://localhost:41741/msi/token")]);
        for host in
            ["localhost", "127.0.0.1", "127.8.8.8", "2130706433", "0", "0.0.0.0", "[::1]", "x.localhost"]
        {
            assert!(!allows(&guard, &format!("http://{host}:41741/"), &[]), "{host}");
            assert!(!allows(&guard, &format!("http://{host}:40342/metadata"), &[]), "Arc at {host}");
            assert!(allows(&guard, &format!("http://{host}:8080/"), &[]), "{host}");
        }
        for (variable, url) in [
            (MSI_ENDPOINT, "http://127.0.0.1:5000/token"),
            (IMDS_ENDPOINT, "http://127.0.0.1:5000"),
            (POD_IDENTITY_HOST, "http://127.0.0.1:5000/"),
            (IDENTITY_ENDPOINT, "https://127.0.0.1:5000/metadata/identity/oauth2/token"),
        ] {
            assert!(!allows(&self::guard(&[(variable, url)]), "http://localhost:5000/", &[]), "{variable}");
        }
        let fabric =
            self::guard(&[(IDENTITY_ENDPOINT, "https://10.0.0.4:2377/metadata/identity/oauth2/token")]);
        assert!(!allows(&fabric, "https://10.4:2377/", &[]));
        for variable in [IDENTITY_ENDPOINT, MSI_ENDPOINT, ALLOWED_ENDPOINT] {
            let group = self::guard(&[(variable, "http://10.92.0.21:2377/token?api-version=1.0")]);
            for url in [
                "http://10.92.0.21:2377/token?api-version=1.0",
                "http://0x0a5c0015:2377/",
                "https://10.92.21:2377/",
            ] {
                assert!(!allows(&group, url, &[]), "{variable} {url}");
            }
            assert!(allows(&group, "http://10.92.0.21:8080/", &[]), "{variable}");
        }
        assert!(allows(&fabric, "https://10.0.0.4/", &[]));
    }

    #[test]
    fn a_name_at_the_port_of_an_endpoint_is_not_reached_where_it_may_lead_there() {
        let guard = guard(&[(IDENTITY_ENDPOINT, "http://127.0.0.1:41741/msi/token")]);
        for name in ["this-machine", "this-machine.internal.cloudapp.net", "rebound.example", "broker."] {
            for port in [41741, 40342] {
                assert!(!allows(&guard, &format!("http://{name}:{port}/"), &[]), "{name}:{port}");
                assert!(!allows(&guard, &format!("ws://{name}:{port}/"), &[]), "{name}:{port}");
                assert!(allows(&guard, &format!("https://{name}:{port}/"), &[]), "it proves its name");
            }
            assert!(allows(&guard, &format!("http://{name}:8080/"), &[]), "{name}");
        }
        assert!(allows(&guard, "http://10.0.0.4:41741/", &[]), "another address");
        let target = Target::parse(Some("http"), "this-machine:41741").unwrap();
        let error = guard.access(&target).unwrap_err().to_string();
        assert!(error.contains("this-machine:41741 may be where the broker gets its tokens"), "{error}");
    }

    #[test]
    fn an_endpoint_on_the_port_of_the_web_does_not_close_the_web() {
        let guard = guard(&[(POD_IDENTITY_HOST, "http://127.0.0.1")]);
        for host in ["this-machine", "localhost", "127.0.0.2"] {
            assert!(!allows(&guard, &format!("http://{host}/"), &[]), "{host}");
        }
        for host in ["a.example", "10.0.0.4"] {
            assert!(allows(&guard, &format!("http://{host}/"), &[]), "{host}");
            assert!(!allows(&guard, &format!("http://{host}/"), &["metadata"]), "{host}");
        }
    }

    #[test]
    fn a_name_that_is_resolved_leads_to_no_endpoint_of_the_platform_or_of_this_machine() {
        let check = |url: &str, address: &str, is_own| {
            let (scheme, host) = url.split_once("://").unwrap();
            let target = Target::parse(Some(scheme), host).unwrap();
            Guard::check_address(&target, address.parse().unwrap(), is_own)
        };
        for address in
            ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1", "168.63.129.16"]
        {
            for url in
                ["http://a.example", "https://a.example", "http://this-machine:8080", "http://localhost"]
            {
                let error = check(url, address, false).unwrap_err().to_string();
                assert!(error.contains(address) && error.contains("; fix: "), "{error}");
            }
        }
        for address in ["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
            assert!(check("http://a.example:41741", address, false).is_err(), "{address}");
            assert_eq!(check("https://a.example", address, false), Ok(()), "it proves its name");
            assert_eq!(check("http://localhost:8080", address, false), Ok(()), "it says what it is");
        }
        assert!(check("http://this-machine:8080", "10.0.0.4", true).is_err());
        assert_eq!(check("https://this-machine", "10.0.0.4", true), Ok(()));
        assert!(check("http://localhost:8080", "10.0.0.4", true).is_err(), "no address of localhost");
        for (url, address) in [
            ("http://a.example", "10.0.0.4"),
            ("http://a.example", "2001:db8::1"),
            ("https://my.vault.azure.net", "10.0.0.5"),
            ("http://169.254.169.254", "169.254.169.254"),
            ("http://127.0.0.1:8080", "127.0.0.1"),
        ] {
            assert_eq!(check(url, address, false), Ok(()), "{url}");
        }
        assert!(check("http://127.0.0.1:8080", "10.0.0.4", false).is_err(), "another address than was named");
    }

    #[test]
    fn authorities_show_their_metadata_and_keys_and_nothing_else() {
        let configured = guard(&[(AUTHORITY_HOST, "https://sts.contoso.com/x")]);
        for host in [
            "login.microsoftonline.com",
            "LOGIN.MICROSOFTONLINE.COM",
            "login.microsoftonline.com.",
            "login.microsoftonline.com:8443",
            "westeurope.login.microsoft.com",
            "eastus.r.login.microsoftonline.com",
            "login.windows.net",
            "sts.windows.net",
            "login.microsoftonline.us",
            "login.chinacloudapi.cn",
            "login.partner.microsoftonline.cn",
            "sts.contoso.com",
            "west.sts.contoso.com",
        ] {
            for path in [
                "/t/v2.0/.well-known/openid-configuration",
                "/t/.well-known/openid-configuration?appid=x",
                "/common/discovery/v2.0/keys",
                "/common/discovery/keys",
                "/adfs/discovery/keys",
                "/common/discovery/instance?api-version=1.1",
            ] {
                assert!(allows(&configured, &format!("https://{host}{path}"), &[]), "{host}{path}");
            }
            for path in [
                "",
                "/",
                "/t/oauth2/v2.0/token",
                "/t/oauth2/token",
                "/T/OAuth2/v2.0/Token",
                "/t/oauth2/v2.0/devicecode",
                "/t/oauth2/v2.0/authorize",
                "/t/oauth2/v2.0/token?/.well-known/openid-configuration",
                "/t/oauth2/v2.0/token%3f/.well-known/openid-configuration",
                "/t/oauth2/v2.0/token;/discovery/keys",
                "/.well-known/openid-configuration/../oauth2/v2.0/token",
                "/t/oauth2/token/../discovery/keys",
                "/t//discovery/keys",
                "/t\\discovery/keys",
            ] {
                assert!(!allows(&configured, &format!("https://{host}{path}"), &[]), "{host}{path}");
            }
        }
        let target = Target::parse(None, "login.microsoftonline.com").unwrap();
        let metadata = "/t/v2.0/.well-known/openid-configuration";
        for method in ["POST", "PUT", "get", "HEAD", "OPTIONS"] {
            assert!(check(&configured, &target, (method, metadata), &[]).is_err(), "{method}");
        }
    }

    #[test]
    fn a_name_that_may_lead_anywhere_is_not_asked_in_the_manner_of_identity_endpoints() {
        for header in MARKS {
            assert!(!allows(&guard(&[]), "http://a.example/metadata", &[header]), "{header}");
            assert!(!allows(&guard(&[]), "ws://a.example/metadata", &[header]), "{header}");
            assert!(allows(&guard(&[]), "https://a.example/metadata", &[header]), "{header}");
        }
        assert!(allows(&guard(&[]), "http://a.example/metadata", &["accept"]));
    }

    #[test]
    fn a_path_that_names_a_host_is_refused() {
        let target = Target::parse(None, "a.example").unwrap();
        let check = |path: &str| check(&guard(&[]), &target, ("GET", path), &[]);
        for path in [
            "http://169.254.169.254/metadata",
            "@evil.example/",
            ".evil.example/",
            "169.254.169.254:80",
            "**",
        ] {
            let error = check(path).unwrap_err().to_string();
            assert!(error.contains("path") && !error.contains(path), "{error}");
        }
        for path in ["", "*", "/", "?a=b", "//a"] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_the_name_of_its_variable() {
        for (variable, value) in [
            (IDENTITY_ENDPOINT, "127.0.0.1:80"),
            (MSI_ENDPOINT, "http://x@127.0.0.1/"),
            (IMDS_ENDPOINT, "http://1.2.3.4.5/"),
            (AUTHORITY_HOST, "http://login.example"),
        ] {
            let settings = Settings::from_pairs([(variable.to_owned(), value.to_owned())]);
            let error = Guard::detect(&settings).unwrap_err();
            assert!(error.kind() == "misconfigured" && error.to_string().contains(variable), "{error}");
        }
        assert!(
            Guard::VARIABLES.iter().all(|name| token_broker::VARIABLES.iter().any(|it| it.name == *name))
        );
    }
}
