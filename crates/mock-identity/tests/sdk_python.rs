//! Azure's Python SDK, azure-identity, as a client of the mock platform.
#![allow(clippy::disallowed_methods, reason = "tests of programs start them")]

#[path = "sdk_python/identity_binding.rs"]
mod identity_binding;
mod sdk;

use mock_identity::{Credential, Endpoint};
use sdk::{
    ARM, NOBODY, answered, assert_error, assert_token_of,
    endpoints::{arc, service_fabric},
    entra::assert_app,
    get_token, identity, managed, mock_with_tls, refused,
};
use test_support::sdk::Sdk;

const SDK: Sdk = Sdk::Python;
const ASSERTIONS_A_TOKEN: u64 = 1;
const WRONG_HEADER: &str = "401";
/// What it makes of Docker's refusal, of a web page and of garbage
const IN_PLACE_OF_IMDS: [(&str, &str); 3] = [
    ("unavailable", "authentication unavailable"),
    ("unavailable", "authentication unavailable"),
    ("failed", "JSON is invalid"),
];

#[tokio::test]
async fn arc_has_its_own_word_for_an_unknown_identity() {
    let Some(mock) = arc().await else { return };
    let seen = managed(&mock, Endpoint::Arc, &["client_id", NOBODY]).await;
    assert_error(&seen, "unavailable", "identity_not_found");
    assert_eq!(mock.counters().of(Endpoint::Arc), refused(2));
}

#[tokio::test]
async fn managed_identity_credential_pins_the_certificate_of_service_fabric() {
    let mock = service_fabric().await;
    let mut environment = mock.env(Endpoint::ServiceFabric);
    let seen = get_token(&mock, environment.clone(), &["managed-identity", ARM]).await;
    assert_token_of(&seen, identity(&mock, "system"));
    environment[2].1 = "0".repeat(40);
    let seen = get_token(&mock, environment, &["managed-identity", ARM]).await;
    assert_error(&seen, "untrusted", "thumbprint does not match");
    assert_eq!(mock.counters().of(Endpoint::ServiceFabric), answered(1));
}

/// Of all that plays Google's metadata server, google-auth is the judge.
#[tokio::test]
async fn google_auth_gets_an_id_token_of_the_metadata_server_and_entra_takes_it() {
    let mock = mock_with_tls().await;
    let seen = get_token(&mock, mock.app_env(Credential::GcpMetadata), &["gcp", ARM]).await;
    assert_app(&mock, &seen, "pipeline");
    let counts = mock.counters().of(Endpoint::GcpMetadata);
    assert_eq!((counts.requests, counts.tokens), (3, 1), "for the server, its account, and the token");
    let query: Vec<_> = mock.requests()[2].query.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(query, ["audience", "format"]);
}
