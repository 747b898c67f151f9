//! Tokens, by Entra ID

use std::time::Duration;

use mock_identity::{Credential, Endpoint, Mock, MockConfig};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::{ARM, answered, assert_error, get_token, identity, mock_with_tls};

/// A file that a program brings along
fn file(content: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(&file, content).unwrap();
    file
}

/// The token of the cluster that the app `worker` trusts
pub(crate) fn cluster_token(mock: &Mock) -> NamedTempFile {
    let hour = Duration::from_secs(3600);
    file(&mock.federated_token(mock.cluster_credential().unwrap(), hour).unwrap())
}

#[track_caller]
pub(crate) fn assert_app(mock: &Mock, seen: &Value, name: &str) {
    let app = mock.config().apps.iter().find(|app| app.name == name).unwrap();
    assert_eq!(
        (&seen["claims"]["appid"], &seen["claims"]["oid"]),
        (&Value::from(&*app.client_id), &Value::from(&*app.object_id)),
        "{seen}"
    );
    assert_eq!(mock.counters().of(Endpoint::Entra), answered(1));
}

#[tokio::test]
async fn environment_credential_gets_a_token_by_secret() {
    let mock = mock_with_tls().await;
    let seen = get_token(&mock, mock.env(Endpoint::Entra), &["environment", ARM]).await;
    assert_app(&mock, &seen, "shop");
}

#[tokio::test]
async fn environment_credential_gets_a_token_by_certificate() {
    let mock = mock_with_tls().await;
    let certificate = file(MockConfig::CLIENT_CERTIFICATE_PEM);
    let environment = mock.app_env(Credential::Certificate(certificate.path()));
    assert_app(&mock, &get_token(&mock, environment, &["environment", ARM]).await, "billing");
}

#[tokio::test]
async fn environment_credential_hears_that_the_secret_is_wrong_in_the_words_of_entra() {
    let mock = mock_with_tls().await;
    let mut environment = mock.env(Endpoint::Entra);
    environment[3].1 = "wrong".to_owned();
    let seen = get_token(&mock, environment, &["environment", ARM]).await;
    assert_error(&seen, "failed", "AADSTS7000215: Invalid client secret provided.");
}

#[tokio::test]
async fn workload_identity_credential_exchanges_a_clusters_token() {
    let mock = mock_with_tls().await;
    let token = cluster_token(&mock);
    let environment = mock.app_env(Credential::FederatedToken(token.path()));
    assert_app(&mock, &get_token(&mock, environment, &["workload-identity", ARM]).await, "worker");
}

#[tokio::test]
async fn default_azure_credential_prefers_what_the_environment_names_to_managed_identity() {
    let mock = mock_with_tls().await;
    let token = cluster_token(&mock);
    for (environment, app) in [
        (mock.env(Endpoint::Entra), "shop"),
        (mock.app_env(Credential::FederatedToken(token.path())), "worker"),
    ] {
        mock.reset();
        let environment = environment.into_iter().chain(mock.env(Endpoint::Imds)).collect();
        assert_app(&mock, &get_token(&mock, environment, &["default", ARM]).await, app);
        assert_eq!(mock.counters().of(Endpoint::Imds), answered(0));
    }
}

#[tokio::test]
async fn client_assertion_credential_exchanges_a_managed_identitys_token_in_another_tenant() {
    let mock = mock_with_tls().await;
    let orders = identity(&mock, "orders").client_id.clone();
    let arguments = ["federated-identity", ARM, "client_id", &orders];
    let seen = get_token(&mock, mock.app_env(Credential::ManagedIdentity), &arguments).await;
    assert_app(&mock, &seen, "partner");
    assert_eq!(seen["claims"]["tid"], *mock.config().other_tenant_ids[0]);
}

#[tokio::test]
async fn on_behalf_of_credential_gets_a_users_token() {
    let mock = mock_with_tls().await;
    let (user, app) = (&mock.config().users[0], &mock.config().apps[0]);
    let mut environment = mock.env(Endpoint::Entra);
    environment.push(("USER_TOKEN", mock.user_token(user, app).unwrap()));
    let seen = get_token(&mock, environment, &["on-behalf-of", ARM]).await;
    assert_eq!(
        (&seen["claims"]["oid"], &seen["claims"]["idtyp"]),
        (&(*user.object_id).into(), &"user".into())
    );
    assert_eq!(mock.counters().of(Endpoint::Entra), answered(1));
}
