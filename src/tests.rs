//! Property tests of the parsers of settings, requests and responses: every input gives a valid value, or an error of
//! the right kind.

use std::time::Duration;

use proptest::prelude::*;

use crate::memory::jittered_refresh;
use crate::model::{Error, Identity, Token, TokenRequest};
use crate::policy::{AdmittedRequest, Policy};
use crate::settings::cloud::Authority;
use crate::settings::variables::AUTHORITY_HOST;
use crate::settings::{Settings, tenant};
use crate::sources::Endpoint;
use crate::wire::{HostPort, Seconds};

/// The time at which tokens are received, in Unix seconds.
const NOW: u64 = 1_760_000_000;

/// The number of cases, unless `cargo xtask fuzz` asks for more.
pub(crate) fn cases(at_least: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(at_least), ..config }
}

/// Texts that match a regular expression. It is parsed once; a `&str` as a strategy is parsed for each text.
pub(crate) fn text(form: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(form).unwrap()
}

pub(crate) fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// A request for a token for `scope` that the policy allows.
pub(crate) fn admitted(scope: &str, identity: &Identity) -> AdmittedRequest {
    let request = TokenRequest::for_scope(scope).unwrap();
    Policy::default().admit(&request, identity, |_| Ok(None)).unwrap()
}

/// The text of a refusal of a request.
pub(crate) fn refusal(result: Result<impl std::fmt::Debug, Error>) -> String {
    let Err(Error::InvalidRequest(text)) = result else { panic!("not an invalid request: {result:?}") };
    text
}

/// Valid and invalid authorities.
fn authority() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        text("[a-z0-9-]{1,12}(\\.[a-z0-9-]{1,12}){0,3}"),
        text("[0-9]{1,3}(\\.[0-9]{1,3}){3}"),
        text("\\[[0-9a-f:.]{0,20}\\]"),
        Just("localhost".to_owned()),
        Just("login.microsoftonline.com".to_owned()),
        text("[ -~]{0,20}"),
        text(".{0,10}"),
    ];
    let end = prop_oneof![Just(String::new()), text(":[0-9]{0,6}"), text("[@/?#\\\\%:.][ -~]{0,12}")];
    (prop_oneof![Just(""), Just("user@"), Just("a:b@")], host, end)
        .prop_map(|(user, host, end)| format!("{user}{host}{end}"))
}

fn url() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![Just("https://"), Just("http://"), Just("HTTPS://"), Just("//"), Just("")];
    (scheme, authority(), prop_oneof![Just(String::new()), "/[ -~]{0,20}"])
        .prop_map(|(scheme, authority, path)| format!("{scheme}{authority}{path}"))
}

fn is_misconfigured(error: &Error, variable: &str) -> bool {
    error.kind() == "misconfigured" && error.to_string().contains(variable)
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn expiry(text in prop_oneof![
        any::<String>(),
        text("[0-9/:. +APMTZ-]{0,40}"),
        text("[0-9]{1,2}/[0-9]{1,2}/[0-9]{4} [0-9]{1,2}:[0-9]{2}:[0-9]{2}( [AP]M)? [+-][0-9]{2}:[0-9]{2}"),
        text("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?(Z|[+-][0-9]{2}:[0-9]{2})"),
        text("[0-9]{1,30}(\\.[0-9]{0,9})?"),
    ]) {
        let read = Seconds::parse(&text);
        prop_assert_eq!(read == Seconds::Absent, text.trim().is_empty());
        if let Seconds::Known(seconds) = read {
            prop_assert!(seconds <= 253_402_300_799, "{seconds} is after the year 9999");
            if let Ok(number) = text.trim().parse::<u64>() {
                prop_assert_eq!(seconds, number);
            }
        }
        let quoted = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(serde_json::from_str::<Seconds>(&quoted).unwrap(), read);
    }

    #[test]
    fn policy(scopes in text("[ -~\\t]{0,120}"), identities in text("[ -~\\t]{0,120}"), asked in text("[!-~]{1,40}")) {
        match Policy::new(Some(&scopes), Some(&identities)) {
            Err(error) => prop_assert!(is_misconfigured(&error, "the list of allowed "), "{error}"),
            Ok(policy) => {
                let listed = |scope: &str| scopes.split_whitespace().any(|entry| {
                    entry.trim_end_matches("/.default").trim_end_matches('/')
                        == scope.trim_end_matches("/.default").trim_end_matches('/')
                });
                if let Ok(request) = TokenRequest::for_scope(&asked)
                    && policy.check(&request, &Identity::Default).is_ok() {
                    prop_assert!(listed(&asked), "{asked} is not in the list");
                    prop_assert!(identities.split_whitespace().any(|entry| entry == "system-assigned"));
                }
            }
        }
    }

    #[test]
    fn host_ports(authority in authority()) {
        if let Ok(server) = HostPort::parse(&authority, 443) {
            prop_assert!(!authority.contains(['@', '/', '\\', '?', '#', '%', ' ']), "{authority} is {server}");
            let shown = server.to_string();
            prop_assert_eq!(HostPort::parse(&shown, 1), Ok(server), "{}", authority);
        }
    }

    #[test]
    fn tenants(text in prop_oneof![text("[a-zA-Z0-9.-]{0,60}"), text("[ -~]{0,40}"), any::<String>()]) {
        match tenant::parse("VARIABLE", &text) {
            Ok(tenant) => {
                prop_assert!(tenant.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'), "{tenant}");
                prop_assert!(!tenant.bytes().all(|byte| byte == b'.'), "{tenant}");
            }
            Err(error) => prop_assert!(is_misconfigured(&error, "VARIABLE"), "{error}"),
        }
    }

    #[test]
    fn authorities(url in url()) {
        match Authority::detect(&settings(&[(AUTHORITY_HOST, &url)]), ("VARIABLE", "tenant.example")) {
            Ok(authority) => {
                let url = authority.token_url("tenant", false, None);
                let uri: http::Uri = url.parse().unwrap();
                prop_assert_eq!(uri.scheme_str(), Some("https"), "{}", url);
                prop_assert!(!uri.authority().unwrap().as_str().contains('@'), "{url}");
                prop_assert!(uri.path().ends_with("/oauth2/v2.0/token") && !uri.path().contains(".."), "{url}");
            }
            Err(error) => prop_assert!(is_misconfigured(&error, AUTHORITY_HOST), "{error}"),
        }
    }

    #[test]
    fn endpoints(url in url()) {
        match Endpoint::parse(&Settings::default(), "VARIABLE", &url) {
            Ok(endpoint) => {
                let uri: http::Uri = endpoint.as_str().parse().unwrap();
                let host = uri.host().unwrap().trim_matches(['[', ']']);
                let is_near = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| match ip {
                    std::net::IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
                    std::net::IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
                });
                prop_assert!(is_near && !uri.authority().unwrap().as_str().contains('@'), "{uri}");
            }
            Err(error) => prop_assert!(is_misconfigured(&error, "VARIABLE"), "{error}"),
        }
    }

    #[test]
    fn tokens_end_in_time(received in 0..=NOW, lives in any::<u64>(), refresh_in in any::<Option<u64>>(), random in any::<u64>()) {
        let ends = received.saturating_add(lives);
        let token = Token::new("imds", "t".into(), "Bearer".into(), (received, ends), refresh_in);
        prop_assert!(token.refresh_on().is_none_or(|moment| received < moment && moment <= ends - 300));
        prop_assert!(jittered_refresh(&token, random) <= token.refresh_on().unwrap_or(received));
        prop_assert!(!token.is_usable(Duration::from_secs(ends)));
    }
}
