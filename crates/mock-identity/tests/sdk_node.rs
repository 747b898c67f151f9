//! Azure's JavaScript SDK, @azure/identity, on Node as a client of the mock platform.
//!
//! Unlike the Python SDK it ignores Service Fabric's thumbprint, refuses some ids before it sends anything, repeats a request
//! after a 404, and reports every unreadable answer as `network_error`; its `ManagedIdentityCredential` does workload identity.
#![allow(clippy::disallowed_methods, reason = "tests of programs start them")]

mod sdk;

use mock_identity::{Counts, Credential, Endpoint};
use sdk::{
    ARM, NOBODY, answered, assert_error, assert_token_of,
    endpoints::{arc, service_fabric},
    entra::{assert_app, cluster_token},
    get_token, identity, managed, mock, mock_with_tls,
};
use test_support::sdk::Sdk;

const SDK: Sdk = Sdk::Node;
/// MSAL for Node asks for an assertion twice.
const ASSERTIONS_A_TOKEN: u64 = 2;
const WRONG_HEADER: &str = "The X-IDENTITY-HEADER is missing or wrong.";
/// What it makes of Docker's refusal, of a web page and of garbage: all the same to it
const IN_PLACE_OF_IMDS: [(&str, &str); 3] = [("unavailable", "Network unreachable"); 3];

/// It looks at no thumbprint, and trusts the certificate only when told to as to any other.
#[tokio::test]
async fn service_fabric_is_trusted_by_its_certificate_and_not_by_its_thumbprint() {
    let mock = service_fabric().await;
    let mut environment = mock.env(Endpoint::ServiceFabric);
    let arguments = ["managed-identity", ARM];
    assert_error(&get_token(&mock, environment.clone(), &arguments).await, "unavailable", "network_error");
    assert_eq!(mock.counters().of(Endpoint::ServiceFabric), answered(0));
    let certificate = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&certificate, mock.service_fabric_pem().unwrap()).unwrap();
    environment.push((SDK.authority_variable(), certificate.path().display().to_string()));
    environment[2].1 = "0".repeat(40);
    assert_token_of(&get_token(&mock, environment, &arguments).await, identity(&mock, "system"));
    assert_eq!(mock.counters().of(Endpoint::ServiceFabric), answered(1));
}

#[tokio::test]
async fn an_identity_that_the_source_cannot_choose_is_refused_without_a_request() {
    let (mock, fabric) = (mock().await, service_fabric().await);
    for (environment, id_kind, words) in [
        (mock.env(Endpoint::CloudShell), "client_id", "not supported for CloudShell"),
        (fabric.env(Endpoint::ServiceFabric), "client_id", "not supported by the Service Fabric"),
        (mock.env(Endpoint::AzureMl), "object_id", "Only client id is supported"),
    ] {
        let seen = get_token(&mock, environment, &["managed-identity", ARM, id_kind, NOBODY]).await;
        assert_error(&seen, "unavailable", words);
    }
    assert_eq!((mock.requests().len(), fabric.requests().len()), (0, 0));
}

/// It repeats what was answered with 404, here with a key that has opened once, and so does not hear of the identity.
#[tokio::test]
async fn an_unknown_identity_is_asked_of_arc_again_with_the_used_key() {
    let Some(mock) = arc().await else { return };
    let seen = managed(&mock, Endpoint::Arc, &["client_id", NOBODY]).await;
    assert_error(&seen, "unavailable", "Invalid Basic Authorization header");
    let statuses: Vec<u16> = mock.requests().iter().filter_map(|request| request.status).collect();
    assert_eq!(statuses, [401, 404, 401]);
}

#[tokio::test]
async fn managed_identity_credential_does_workload_identity_too() {
    let mock = mock_with_tls().await;
    let token = cluster_token(&mock);
    let environment = mock.app_env(Credential::FederatedToken(token.path()));
    assert_app(&mock, &get_token(&mock, environment, &["managed-identity", ARM]).await, "worker");
}

#[tokio::test]
async fn an_authority_that_nobody_vouches_for_is_told_no_secret() {
    let mock = mock_with_tls().await;
    let mut environment = mock.env(Endpoint::Entra);
    environment.push((SDK.authority_variable(), String::new()));
    let seen = get_token(&mock, environment, &["environment", ARM]).await;
    assert_error(&seen, "failed", "endpoints_resolution_error");
    assert_eq!(mock.counters().of(Endpoint::Entra), Counts::default());
}

/// Of all that plays GitHub's token endpoint, GitHub's own toolkit is the judge.
#[tokio::test]
async fn the_toolkit_of_github_gets_an_id_token_of_the_job_and_entra_takes_it() {
    let mock = mock_with_tls().await;
    let seen = get_token(&mock, mock.app_env(Credential::GithubActions), &["github", ARM]).await;
    assert_app(&mock, &seen, "pipeline");
    assert_eq!(mock.counters().of(Endpoint::GithubActions), answered(ASSERTIONS_A_TOKEN));
    let query = [("api-version", "2.0"), ("audience", "api://AzureADTokenExchange")];
    assert_eq!(mock.requests()[0].query, query.map(|(name, value)| (name.to_owned(), value.to_owned())));
}
