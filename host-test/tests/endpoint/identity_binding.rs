//! `token-broker serve` in a pod of a cluster with identity bindings: SDKs that know nothing of them get its tokens.

use std::fs;
use std::time::Duration;

use mock_identity::{Endpoint, Environment, Mock, MockConfig, TokenProxyConfig};
use tempfile::TempDir;
use test_support::sdk::Sdk;

use crate::clients::get_token;
use crate::{ARM, VAULT, identity, serve};

#[tokio::test(flavor = "multi_thread")]
async fn both_sdks_get_tokens_by_the_token_proxy_which_changes_its_authority_meanwhile() {
    let token_proxy = Some(TokenProxyConfig::default());
    let mock = Mock::start(MockConfig { token_proxy, ..MockConfig::default() }).await.unwrap();
    let volume = TempDir::new().unwrap();
    let mount_authority =
        || fs::write(volume.path().join("ca.crt"), mock.token_proxy_pem().unwrap()).unwrap();
    mount_authority();
    fs::write(volume.path().join("token"), mock.bound_token(Duration::from_secs(3600)).unwrap()).unwrap();
    let command = serve(&environment(&mock, &volume)).await;
    for (sdk, scope) in [(Sdk::Python, ARM), (Sdk::Node, VAULT)] {
        let seen = get_token(sdk, &mock, &command.imds_env(), &["managed-identity", scope]).await;
        assert_eq!(seen["claims"]["appid"], *identity(&mock, "orders").client_id, "{seen}");
        mock.replace_token_proxy_authority().unwrap();
        mount_authority();
    }
    assert_eq!(mock.counters().of(Endpoint::TokenProxy).tokens, 2);
}

fn environment(mock: &Mock, volume: &TempDir) -> Environment {
    let in_volume = |value: String| volume.path().join(value).display().to_string();
    let variables = mock.env(Endpoint::TokenProxy).into_iter();
    variables
        .map(|(name, value)| (name, if name.ends_with("_FILE") { in_volume(value) } else { value }))
        .collect()
}
