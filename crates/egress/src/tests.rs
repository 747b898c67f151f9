//! Any text of a deployer or a client is read into a value that keeps its promise, or refused with an error and a fix.

use proptest::prelude::*;
use token_broker::variables::{IDENTITY_ENDPOINT, INJECT, INJECT_OTHERS};
use token_broker::{Error, Settings};

use crate::rules::tests::target;
use crate::{Challenge, Guard, Rules, Target, check_method};

/// So many cases, or as many as `cargo xtask fuzz` says.
pub(crate) fn cases(at_least: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(at_least), ..config }
}

/// Texts of a form, which is read once: a `&str` as a strategy is read for each of them.
fn text(form: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(form).unwrap()
}

/// Errors of each kind that this crate makes. Those of rules have a test of their own.
fn errors() -> Vec<Error> {
    let settings = |name: &str, value: &str| Settings::from_pairs([(name.to_owned(), value.to_owned())]);
    let guard = Guard::detect(&settings(IDENTITY_ENDPOINT, "http://127.0.0.1:41741")).unwrap();
    let access = |url: &str| guard.access(&target(url));
    let sent = |url: &str, path: &str, header: &str| {
        access(url).unwrap().check("POST", path, |name| name == header).unwrap_err()
    };
    let resolved = |url: &str, address: &str| {
        Guard::check_address(&target(url), address.parse().unwrap(), false).unwrap_err()
    };
    let challenge = |parameters: &str| Challenge::bearer([format!("Bearer {parameters}")]).unwrap();
    let scope = |parameters: &str| {
        challenge(parameters).scope_for(&"my.vault.azure.net".parse().unwrap()).unwrap_err()
    };
    let refusing = Rules::parse(&settings(INJECT_OTHERS, "refuse")).unwrap();
    vec![
        Guard::detect(&settings(IDENTITY_ENDPOINT, "127.0.0.1:80")).unwrap_err(),
        access("http://169.254.169.254").unwrap_err(),
        access("http://localhost:41741").unwrap_err(),
        access("http://a.example:41741").unwrap_err(),
        sent("https://login.microsoftonline.com", "/t/oauth2/v2.0/token", ""),
        sent("http://a.example", "/", "metadata"),
        sent("http://a.example", "a", ""),
        resolved("http://a.example", "169.254.169.254"),
        resolved("http://a.example", "127.0.0.1"),
        resolved("http://localhost", "10.0.0.1"),
        check_method("TRACE").unwrap_err(),
        check_method("").unwrap_err(),
        Target::parse(None, "a.example:x").unwrap_err(),
        Rules::parse(&settings(INJECT, " ")).unwrap_err(),
        Rules::parse(&settings(INJECT_OTHERS, "x")).unwrap_err(),
        refusing.find(&target("https://a.example")).unwrap_err(),
        Challenge::bearer(["Basic"]).unwrap_err(),
        scope("realm=x"),
        scope("resource=\"a b\""),
        scope("resource=https://vault.azure.net:x"),
        scope("resource=https://graph.microsoft.com"),
        challenge("authorization=http://a.example/t").tenant().unwrap_err(),
        challenge("error=insufficient_claims claims=?").claims().unwrap_err(),
    ]
}

#[test]
fn each_error_ends_with_one_fix() {
    for error in errors() {
        assert_eq!(error.to_string().matches("; fix: ").count(), 1, "{error}");
    }
}

/// Authorities, and texts that look like one.
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

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn rules(list in prop_oneof![
        text("[ -~]{0,120}"),
        text("\\+?([a-z0-9.*-]{1,20}(:[0-9]{1,5})?=https://[a-z.]{1,15}(;[a-z=-]{1,12})? ?){1,4}"),
    ], authority in authority()) {
        match Rules::parse(&Settings::from_pairs([(INJECT.to_owned(), list.clone())])) {
            Err(error) => prop_assert!(
                error.kind() == "misconfigured" && error.to_string().contains(INJECT),
                "{error}"
            ),
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
}
