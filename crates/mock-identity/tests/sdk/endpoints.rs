//! Tokens, by the other endpoints of managed identity

use mock_identity::{ArcConfig, Counts, Endpoint, KeyDirectoryError, Mock, MockConfig, ServiceFabricConfig};
use test_support::skip;

use super::{ARM_RESOURCE, answered, identity, managed, mock};

#[tokio::test]
async fn managed_identity_credential_gets_both_kinds_of_identity_by_azure_ml() {
    let mock = mock().await;
    let seen = managed(&mock, Endpoint::AzureMl, &[]).await;
    assert_eq!(seen["claims"]["appid"], *identity(&mock, "system").client_id, "{seen}");
    let orders = identity(&mock, "orders").client_id.clone();
    let seen = managed(&mock, Endpoint::AzureMl, &["client_id", &orders]).await;
    assert_eq!(seen["claims"]["appid"], *orders, "{seen}");
    assert_eq!(mock.counters().of(Endpoint::AzureMl), answered(2));
}

#[tokio::test]
async fn managed_identity_credential_gets_the_users_token_by_cloud_shell() {
    let mock = mock().await;
    let seen = managed(&mock, Endpoint::CloudShell, &[]).await;
    assert_eq!(seen["claims"]["oid"], *mock.config().users[0].object_id, "{seen}");
    assert_eq!(mock.requests()[0].form, [("resource".to_owned(), ARM_RESOURCE.to_owned())]);
}

#[tokio::test]
async fn managed_identity_credential_gets_both_kinds_of_identity_by_arc() {
    let Some(mock) = arc().await else { return };
    let seen = managed(&mock, Endpoint::Arc, &[]).await;
    assert_eq!(seen["claims"]["appid"], *identity(&mock, "system").client_id, "{seen}");
    let orders = identity(&mock, "orders").client_id.clone();
    let seen = managed(&mock, Endpoint::Arc, &["client_id", &orders]).await;
    assert_eq!(seen["claims"]["appid"], *orders, "{seen}");
    let counts = mock.counters().of(Endpoint::Arc);
    assert_eq!(counts, Counts { requests: 4, tokens: 2, refused: 2, faults: 0 });
}

/// SDKs read keys from one directory only, into which not everybody may write: none where we may not, and said so.
pub(crate) async fn arc() -> Option<Mock> {
    let config = MockConfig { arc: Some(ArcConfig::default()), ..MockConfig::default() };
    match Mock::start(config).await {
        Ok(mock) => Some(mock),
        Err(error) => {
            assert!(error.is::<KeyDirectoryError>(), "{error:#}");
            skip(&error.to_string());
            None
        }
    }
}

pub(crate) async fn service_fabric() -> Mock {
    let config = MockConfig { service_fabric: Some(ServiceFabricConfig::default()), ..MockConfig::default() };
    Mock::start(config).await.unwrap()
}
