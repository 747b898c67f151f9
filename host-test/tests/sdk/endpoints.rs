//! Tokens, by the other endpoints of managed identity

use host_test::mock::{ArcConfig, Counts, Endpoint, Mock, MockConfig, ServiceFabricConfig};

use crate::{ARM, ARM_RESOURCE, answered, assert_error, get_token, identity, mock};

#[tokio::test]
async fn managed_identity_credential_gets_both_kinds_of_identity_by_azure_ml() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.azure_ml_env(), &["managed-identity", ARM]).await;
    assert_eq!(seen["claims"]["appid"], *identity(&mock, "system").client_id, "{seen}");
    let orders = identity(&mock, "orders").client_id.clone();
    let arguments = ["managed-identity", ARM, "client_id", &orders];
    let seen = get_token(&mock, mock.azure_ml_env(), &arguments).await;
    assert_eq!(seen["claims"]["appid"], *orders, "{seen}");
    assert_eq!(mock.counters().of(Endpoint::AzureMl), answered(2));
}

#[tokio::test]
async fn managed_identity_credential_gets_the_users_token_by_cloud_shell() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.cloud_shell_env(), &["managed-identity", ARM]).await;
    assert_eq!(seen["claims"]["oid"], *mock.config().users[0].object_id, "{seen}");
    assert_eq!(mock.requests()[0].form, [("resource".to_owned(), ARM_RESOURCE.to_owned())]);
}

/// The SDK reads keys from one directory only, into which not everybody may write.
#[tokio::test]
async fn managed_identity_credential_gets_both_kinds_of_identity_by_arc_or_hears_why_not() {
    let config = MockConfig { arc: Some(ArcConfig::default()), ..MockConfig::default() };
    let mock = match Mock::start(config).await {
        Ok(mock) => mock,
        Err(error) => return assert!(error.to_string().contains("arc.key-directory"), "{error:#}"),
    };
    let environment = mock.arc_env().unwrap();
    let orders = identity(&mock, "orders").client_id.clone();
    let seen = get_token(&mock, environment.clone(), &["managed-identity", ARM]).await;
    assert_eq!(seen["claims"]["appid"], *identity(&mock, "system").client_id, "{seen}");
    let arguments = ["managed-identity", ARM, "client_id", &orders];
    let seen = get_token(&mock, environment.clone(), &arguments).await;
    assert_eq!(seen["claims"]["appid"], *orders, "{seen}");
    let arguments = ["managed-identity", ARM, "client_id", crate::NOBODY];
    assert_error(&get_token(&mock, environment, &arguments).await, "unavailable", "identity_not_found");
    let counts = mock.counters().of(Endpoint::Arc);
    assert_eq!(counts, Counts { requests: 6, tokens: 2, refused: 4, faults: 0 });
}

#[tokio::test]
async fn managed_identity_credential_pins_the_certificate_of_service_fabric() {
    let config = MockConfig { service_fabric: Some(ServiceFabricConfig::default()), ..MockConfig::default() };
    let mock = Mock::start(config).await.unwrap();
    let mut environment = mock.service_fabric_env().unwrap();
    let seen = get_token(&mock, environment.clone(), &["managed-identity", ARM]).await;
    assert_eq!(seen["claims"]["appid"], *identity(&mock, "system").client_id, "{seen}");
    environment[2].1 = "0".repeat(40);
    let seen = get_token(&mock, environment, &["managed-identity", ARM]).await;
    assert_error(&seen, "untrusted", "thumbprint does not match");
    assert_eq!(mock.counters().of(Endpoint::ServiceFabric), answered(1));
}
