//! The behaviour of SDKs that only the instance metadata service has

use mock_identity::{Endpoint, IdentityKind, Mock, MockConfig};

use super::{
    ARM, NOBODY, answered, assert_error, assert_token_of, get_token, identity, managed, mock, refused,
};

#[tokio::test]
async fn default_azure_credential_takes_the_identity_of_the_environment() {
    let mock = mock().await;
    let reports = identity(&mock, "reports");
    let mut env = mock.env(Endpoint::Imds);
    env.push(("AZURE_CLIENT_ID", reports.client_id.clone()));
    assert_token_of(&get_token(&mock, env, &["default", ARM]).await, reports);
    assert_eq!(mock.counters().of(Endpoint::Imds), answered(1));
}

#[tokio::test]
async fn the_only_user_assigned_identity_stands_in_for_the_system_assigned_one() {
    let mut config = MockConfig::default();
    config.identities.retain(|identity| identity.name == "orders");
    let mock = Mock::start(config).await.unwrap();
    let seen = managed(&mock, Endpoint::Imds, &[]).await;
    assert_token_of(&seen, identity(&mock, "orders"));
}

#[tokio::test]
async fn several_user_assigned_identities_and_no_choice_are_refused_in_the_words_of_imds() {
    let mut config = MockConfig::default();
    config.identities.retain(|identity| identity.kind == IdentityKind::UserAssigned);
    let mock = Mock::start(config).await.unwrap();
    let seen = managed(&mock, Endpoint::Imds, &[]).await;
    assert_error(&seen, "unavailable", "Multiple user assigned identities exist");
}

#[tokio::test]
async fn an_unknown_audience_is_refused_in_the_words_of_entra() {
    let mock = mock().await;
    let scope = "https://nowhere.example/.default";
    let seen = get_token(&mock, mock.env(Endpoint::Imds), &["managed-identity", scope]).await;
    assert_error(&seen, "unavailable", "AADSTS500011");
    assert_error(&seen, "unavailable", "invalid_resource");
    assert_eq!(mock.counters().of(Endpoint::Imds), refused(1));
}

#[tokio::test]
async fn default_azure_credential_passes_on_what_imds_said() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.env(Endpoint::Imds), &["default", ARM, "client_id", NOBODY]).await;
    assert_error(&seen, "failed", "Identity not found");
    assert_error(&seen, "failed", "invalid_request");
    assert_eq!(mock.counters().of(Endpoint::Imds), refused(1));
}
