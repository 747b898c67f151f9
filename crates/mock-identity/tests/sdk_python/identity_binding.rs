//! Workload identity by the token proxy of an AKS cluster, which the SDK asks with `enable_azure_proxy`

use std::{fs, time::Duration};

use mock_identity::{Answer, Endpoint, Environment, Fault, Mock, MockConfig, TokenProxyConfig};
use tempfile::TempDir;

use crate::sdk::{ARM, answered, get_token, identity};

/// A pod in a cluster with a token proxy, and an Entra ID that it must not ask
struct Pod {
    mock: Mock,
    volume: TempDir,
}

impl Pod {
    async fn start(proxy: TokenProxyConfig) -> Self {
        let mut config = MockConfig { token_proxy: Some(proxy), ..MockConfig::default() };
        config.listen_tls = Some(config.listen);
        let pod = Self { mock: Mock::start(config).await.unwrap(), volume: TempDir::new().unwrap() };
        fs::write(pod.volume.path().join("token"), pod.mock.bound_token(HOUR).unwrap()).unwrap();
        fs::write(pod.volume.path().join("ca.crt"), pod.mock.token_proxy_pem().unwrap()).unwrap();
        pod
    }

    fn environment(&self) -> Environment {
        let in_volume = |value: String| self.volume.path().join(value).display().to_string();
        let variables = self.mock.env(Endpoint::TokenProxy).into_iter();
        variables
            .map(|(name, value)| (name, if name.ends_with("_FILE") { in_volume(value) } else { value }))
            .collect()
    }

    async fn ask(&self) -> serde_json::Value {
        get_token(&self.mock, self.environment(), &["identity-binding", ARM]).await
    }

    /// The only requests of all, apart from those for the keys with which the script checks the token
    fn assert_asked(&self, times: u64) {
        let asked = self.mock.requests().into_iter().filter(|request| request.endpoint != Endpoint::OpenId);
        let asked: Vec<_> = asked.map(|request| (request.endpoint, request.method)).collect();
        assert_eq!(asked, vec![(Endpoint::TokenProxy, "POST".to_owned()); times as usize]);
    }
}

#[tokio::test]
async fn workload_identity_credential_gets_a_token_by_one_request_to_the_token_proxy() {
    let pod = Pod::start(TokenProxyConfig::default()).await;
    let seen = pod.ask().await;
    assert_eq!(seen["claims"]["appid"], *identity(&pod.mock, "orders").client_id, "{seen}");
    assert_eq!(pod.mock.counters().of(Endpoint::TokenProxy), answered(1));
    pod.assert_asked(1);
}

#[tokio::test]
async fn it_follows_the_proxy_to_another_authority_by_the_file() {
    let pod = Pod::start(TokenProxyConfig::default()).await;
    pod.mock.replace_token_proxy_authority().unwrap();
    assert_eq!(pod.ask().await["error"], "untrusted");
    pod.assert_asked(0);
    fs::write(pod.volume.path().join("ca.crt"), pod.mock.token_proxy_pem().unwrap()).unwrap();
    assert!(pod.ask().await["claims"].is_object());
}

#[tokio::test]
async fn it_sends_nothing_to_a_proxy_with_a_certificate_for_another_name() {
    let certificate_name = Some("y.test".to_owned());
    let pod = Pod::start(TokenProxyConfig { certificate_name, ..TokenProxyConfig::default() }).await;
    assert_eq!(pod.ask().await["error"], "untrusted");
    pod.assert_asked(0);
}

#[tokio::test]
async fn it_does_not_follow_the_proxy_elsewhere() {
    let pod = Pod::start(TokenProxyConfig::default()).await;
    let elsewhere = format!("{}/elsewhere", pod.mock.tls_url().unwrap());
    pod.mock.fault(Fault::new(Endpoint::TokenProxy, Answer::TemporaryRedirect(elsewhere)).forever());
    assert!(pod.ask().await["error"].is_string());
    assert_eq!(pod.mock.counters().of(Endpoint::Unknown).requests, 0);
}

const HOUR: Duration = Duration::from_secs(3600);
