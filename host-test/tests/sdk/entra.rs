//! Tokens, by Entra ID

use std::{path::Path, time::Duration};

use host_test::mock::{Endpoint, Environment, Mock, MockConfig};
use serde_json::Value;

use crate::{ARM, answered, assert_error, get_token, identity, mock_with_tls};

/// Where the script finds what a program brings along, and whom to trust
struct Files(tempfile::TempDir);

impl Files {
    fn new(mock: &Mock) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        std::fs::write(files.0.path().join("ca.pem"), mock.ca_pem().unwrap()).unwrap();
        files
    }

    fn write(&self, content: &str) -> std::path::PathBuf {
        let file = self.0.path().join("file");
        std::fs::write(&file, content).unwrap();
        file
    }

    async fn get_token(&self, mock: &Mock, mut environment: Environment, arguments: &[&str]) -> Value {
        let authority: &Path = &self.0.path().join("ca.pem");
        environment.push(("REQUESTS_CA_BUNDLE", authority.display().to_string()));
        get_token(mock, environment, arguments).await
    }
}

fn assert_app(mock: &Mock, seen: &Value, name: &str) {
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
    let seen = Files::new(&mock).get_token(&mock, mock.entra_env().unwrap(), &["environment", ARM]).await;
    assert_app(&mock, &seen, "shop");
}

#[tokio::test]
async fn environment_credential_gets_a_token_by_certificate() {
    let mock = mock_with_tls().await;
    let files = Files::new(&mock);
    let file = files.write(MockConfig::CLIENT_CERTIFICATE_PEM);
    let environment = mock.entra_certificate_env(&file).unwrap();
    assert_app(&mock, &files.get_token(&mock, environment, &["environment", ARM]).await, "billing");
}

#[tokio::test]
async fn environment_credential_hears_that_the_secret_is_wrong_in_the_words_of_entra() {
    let mock = mock_with_tls().await;
    let mut environment = mock.entra_env().unwrap();
    environment[3].1 = "wrong".to_owned();
    let seen = Files::new(&mock).get_token(&mock, environment, &["environment", ARM]).await;
    assert_error(&seen, "failed", "AADSTS7000215: Invalid client secret provided.");
}

#[tokio::test]
async fn workload_identity_credential_exchanges_a_clusters_token() {
    let mock = mock_with_tls().await;
    let files = Files::new(&mock);
    let token = mock.federated_token(mock.cluster_credential().unwrap(), Duration::from_secs(3600)).unwrap();
    let environment = mock.workload_identity_env(&files.write(&token)).unwrap();
    assert_app(&mock, &files.get_token(&mock, environment, &["workload-identity", ARM]).await, "worker");
}

#[tokio::test]
async fn client_assertion_credential_exchanges_a_managed_identitys_token_in_another_tenant() {
    let mock = mock_with_tls().await;
    let orders = identity(&mock, "orders").client_id.clone();
    let arguments = ["federated-identity", ARM, "client_id", &orders];
    let environment = mock.federated_identity_env().unwrap();
    let seen = Files::new(&mock).get_token(&mock, environment, &arguments).await;
    assert_app(&mock, &seen, "partner");
    assert_eq!(seen["claims"]["tid"], *mock.config().other_tenant_ids[0]);
}

#[tokio::test]
async fn on_behalf_of_credential_gets_a_users_token() {
    let mock = mock_with_tls().await;
    let (user, app) = (&mock.config().users[0], &mock.config().apps[0]);
    let mut environment = mock.entra_env().unwrap();
    environment.push(("USER_TOKEN", mock.user_token(user, app).unwrap()));
    let seen = Files::new(&mock).get_token(&mock, environment, &["on-behalf-of", ARM]).await;
    assert_eq!(
        (&seen["claims"]["oid"], &seen["claims"]["idtyp"]),
        (&(*user.object_id).into(), &"user".into())
    );
    assert_eq!(mock.counters().of(Endpoint::Entra), answered(1));
}
