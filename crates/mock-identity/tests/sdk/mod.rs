//! What each of Azure's SDKs must find in the mock platform: what they accept as Azure, we may test against.
//!
//! The root of a test says by its constant `SDK` with which of them, and has the tests in which that one is alone.

pub(crate) mod endpoints;
pub(crate) mod entra;
pub(crate) mod failures;
mod federation;
mod identities;
mod imds;
mod script;
mod vault;

use mock_identity::{Counts, Identity, Mock, MockConfig};
use serde_json::Value;

pub(crate) use script::{get_token, managed};

pub(crate) async fn mock() -> Mock {
    Mock::start(MockConfig::default()).await.unwrap()
}

pub(crate) async fn mock_with_tls() -> Mock {
    let mut config = MockConfig::default();
    config.listen_tls = Some(config.listen);
    Mock::start(config).await.unwrap()
}

pub(crate) fn identity<'a>(mock: &'a Mock, name: &str) -> &'a Identity {
    mock.config().identities.iter().find(|identity| identity.name == name).expect("a configured identity")
}

/// The ids of an identity, as the scripts name them and as they go on the wire
fn ids<'a>(identity: &'a Identity, resource_id: &'static str) -> [(&'static str, &'a str, &'static str); 3] {
    [
        ("client_id", &identity.client_id, "client_id"),
        ("object_id", &identity.object_id, "object_id"),
        ("resource_id", &identity.resource_id, resource_id),
    ]
}

/// The query of the first request
fn query(mock: &Mock) -> String {
    let request = mock.requests().into_iter().next().expect("a request");
    let pairs: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[track_caller]
pub(crate) fn assert_token_of(seen: &Value, identity: &Identity) {
    let claims = &seen["claims"];
    assert_eq!(claims["appid"], *identity.client_id, "{seen}");
    assert_eq!((&claims["oid"], &claims["sub"]), (&Value::from(&*identity.object_id), &claims["oid"]));
    assert_eq!(claims["xms_mirid"], *identity.resource_id);
    assert_eq!((&claims["aud"], &seen["token_type"]), (&ARM_RESOURCE.into(), &"Bearer".into()));
    let (expiry, understood) = (claims["exp"].as_u64().unwrap(), seen["expires_on"].as_u64().unwrap());
    assert!(understood.abs_diff(expiry) <= 5, "{understood} is not {expiry}");
    let refresh = seen["refresh_on"].as_u64().unwrap();
    assert!(expiry.abs_diff(refresh + 43_200) <= 5, "half of the lifetime of 24 hours");
}

#[track_caller]
pub(crate) fn assert_error(seen: &Value, kind: &str, words: &str) {
    assert_eq!(seen["error"], kind, "{seen}");
    assert!(seen["message"].as_str().unwrap().contains(words), "{seen}");
}

pub(crate) fn answered(requests: u64) -> Counts {
    Counts { requests, tokens: requests, ..Counts::default() }
}

pub(crate) fn refused(requests: u64) -> Counts {
    Counts { requests, refused: requests, ..Counts::default() }
}

pub(crate) const ARM: &str = "https://management.azure.com/.default";
pub(crate) const ARM_RESOURCE: &str = "https://management.azure.com";
pub(crate) const NOBODY: &str = "99999999-9999-9999-9999-999999999999";
