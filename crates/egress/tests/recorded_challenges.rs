//! The challenges that Azure's services really sent (`tests/recorded`), and what each names.
#![expect(clippy::disallowed_methods, reason = "the recorded answers are files")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use token_broker_egress::Challenge;

#[test]
fn each_challenge_names_what_is_expected() {
    let Expected { challenges } = serde_json::from_str(&read("expected")).unwrap();
    assert!(!challenges.is_empty());
    for (name, wanted) in challenges {
        let file: Value = serde_json::from_str(&read(&name)).unwrap();
        let challenge = Challenge::bearer(headers(&file)).expect(&name);
        let service: http::Uri = file["request"]["url"].as_str().unwrap().parse().unwrap();
        let service = service.authority().unwrap();
        assert_eq!(challenge.scope_for(service).ok(), wanted.scope, "{name}");
        assert_eq!(challenge.unverified_scope().ok(), wanted.unverified_scope, "{name}");
        assert_eq!(challenge.tenant().unwrap(), wanted.tenant, "{name}");
        let claims = challenge.claims().unwrap();
        assert_eq!(claims.is_some(), wanted.claims.is_some(), "{name}");
        assert!(claims.unwrap_or_default().contains(&wanted.claims.unwrap_or_default()), "{name}");
    }
}

fn read(name: &str) -> String {
    let path = directory().join(format!("{name}.json"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recorded")
}

fn headers(file: &Value) -> Vec<&str> {
    let pairs = file["response"]["headers"].as_array().into_iter().flatten();
    let pairs = pairs.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    pairs.filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate")).map(|(_, value)| value).collect()
}

#[derive(Deserialize)]
struct Expected {
    challenges: BTreeMap<String, Named>,
}

/// What a challenge names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Named {
    scope: Option<String>,
    unverified_scope: Option<String>,
    tenant: Option<String>,
    /// A part of them.
    claims: Option<String>,
}
