//! Whatever a deployer, a consumer or a service writes, reading it ends in a value that keeps its promise, or in an
//! error that says whose mistake it is.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{NOW, SOURCES, cases, read_by, response, text};
use crate::answer::Answer;
use crate::cloud::Authority;
use crate::config::{ALLOWED_IDENTITIES, ALLOWED_SCOPES, AUTHORITY_HOST, INJECT, Settings};
use crate::endpoint::Endpoint;
use crate::expiry::Seconds;
use crate::inject::Rules;
use crate::policy::Policy;
use crate::request::{Identity, TokenRequest};
use crate::target::Target;
use crate::tenant;

fn settings(name: &str, value: &str) -> Settings {
    Settings::from_pairs([(name.to_owned(), value.to_owned())])
}

/// Authorities, and what looks like one.
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

fn is_misconfigured(error: &crate::Error, variable: &str) -> bool {
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
    fn retry_after(source in 0..SOURCES, value in prop_oneof![
        vec(any::<u8>(), 0..40),
        text("[0-9]{1,25}").prop_map(String::into_bytes),
        text("[0-9]{1,6}(\\.[0-9]{0,4})?").prop_map(String::into_bytes),
        text("(Mon|Thu), [0-9]{2} (Oct|Jan) [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT").prop_map(String::into_bytes),
    ]) {
        let response = response(429, &[(http::header::RETRY_AFTER, value.clone())], b"{}".to_vec());
        for answer in read_by(source, &response) {
            let told = match answer {
                Answer::Again(failure, _) => failure.retry_after,
                answer => return Err(TestCaseError::fail(format!("{answer:?}"))),
            };
            prop_assert!(told.is_none_or(|told| told <= Duration::from_secs(3600)), "{:?}", told);
            let text = std::str::from_utf8(&value).unwrap_or("none");
            if let Ok(seconds @ 1..=3600) = text.parse::<u64>() {
                prop_assert_eq!(told.map(|told| told.as_secs()), Some(seconds));
            }
            if text.bytes().all(|byte| !byte.is_ascii_digit()) {
                prop_assert_eq!(told, None);
            }
        }
    }

    #[test]
    fn policy(scopes in text("[ -~\\t]{0,120}"), identities in text("[ -~\\t]{0,120}"), asked in text("[!-~]{1,40}")) {
        match Policy::new(Some(&scopes), Some(&identities)) {
            Err(error) => prop_assert!(
                is_misconfigured(&error, ALLOWED_SCOPES) || is_misconfigured(&error, ALLOWED_IDENTITIES),
                "{error}"
            ),
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
    fn rules(list in prop_oneof![
        text("[ -~]{0,120}"),
        text("\\+?([a-z0-9.*-]{1,20}(:[0-9]{1,5})?=https://[a-z.]{1,15}(;[a-z=-]{1,12})? ?){1,4}"),
    ], authority in authority()) {
        match Rules::parse(&settings(INJECT, &list)) {
            Err(error) => prop_assert!(is_misconfigured(&error, INJECT), "{error}"),
            Ok(rules) => {
                // A rule of the list leads to its own host, or to one below it.
                if let Ok(target) = Target::parse(Some("https"), &authority)
                    && let Ok(Some(rule)) = rules.find(&target)
                    && list.contains(rule.pattern()) && !list.starts_with('+') {
                    let name = rule.pattern().trim_start_matches("https://").trim_start_matches('*');
                    let host = name.split([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
                    prop_assert!(target.to_string().contains(host.trim_matches('.')), "{target} by {}", rule.pattern());
                }
            }
        }
    }

    #[test]
    fn targets(scheme in prop_oneof![Just(Some("https")), Just(Some("http")), Just(None)], authority in authority()) {
        if let Ok(target) = Target::parse(scheme, &authority) {
            prop_assert!(!authority.contains(['@', '/', '\\', '?', '#', '%', ' ']), "{authority} is {target}");
            let shown = target.to_string();
            let again = shown.split_once("://").map_or(&*shown, |(_, rest)| rest);
            let read_again = Target::parse(scheme, again);
            prop_assert_eq!(read_again.map(|target| target.to_string()), Ok(shown.clone()), "{}", authority);
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
        match Authority::detect(&settings(AUTHORITY_HOST, &url), ("VARIABLE", "tenant.example")) {
            Ok(authority) => {
                let url = authority.token_url("tenant", false);
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
    fn tokens_end_in_time(received in 0..=NOW.as_secs(), lives in any::<u64>(), refresh_in in any::<Option<u64>>(), random in any::<u64>()) {
        let ends = received.saturating_add(lives);
        let token = crate::token::Token::new("imds", "t".into(), "Bearer".into(), (received, ends), refresh_in);
        prop_assert!(token.refresh_on().is_none_or(|moment| received < moment && moment <= ends - 300));
        prop_assert!(token.jittered_refresh(random) <= token.refresh_on().unwrap_or(received));
        prop_assert!(!token.is_usable(Duration::from_secs(ends)));
    }
}
