//! The token proxy of a cluster: what it is known by, and what becomes of the file with its authorities.

use std::fs;
use std::path::PathBuf;

use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig, TokenProxyConfig};
use tempfile::TempDir;

use super::*;
use crate::network::tls::PrivateServer;

/// A pod beside a mock proxy, and the connections of its broker.
struct Pod {
    mock: Mock,
    volume: TempDir,
    outside: Outside,
    url: String,
}

impl Pod {
    async fn start() -> Self {
        Self::with(TokenProxyConfig::default()).await
    }

    async fn with(proxy: TokenProxyConfig) -> Self {
        let config = MockConfig { token_proxy: Some(proxy), ..MockConfig::default() };
        let (mock, volume) = (Mock::start(config).await.unwrap(), TempDir::new().unwrap());
        let ca = volume.path().join("ca.crt");
        fs::write(&ca, mock.token_proxy_pem().unwrap()).unwrap();
        let environment: Environment = mock.env(Endpoint::TokenProxy).into_iter().collect();
        let url = environment.get(PROXY).unwrap().to_owned();
        let environment = environment.with(CA_FILE, ca.to_str().unwrap());
        let outside = Outside::new(&environment, TrustedRoots::default());
        Self { mock, volume, outside, url }
    }

    fn ca(&self) -> PathBuf {
        self.volume.path().join("ca.crt")
    }

    fn mount_ca(&self) {
        fs::write(self.ca(), self.mock.token_proxy_pem().unwrap()).unwrap();
    }

    /// The answer of the proxy to a GET, which it refuses.
    async fn ask(&mut self) -> Result<u16, HttpError> {
        let url = format!("{}tenant/oauth2/v2.0/token", self.url);
        Ok(self.outside.get(&url).await?.0)
    }

    async fn assert_refused(&mut self, words: &[&str]) {
        let before = self.mock.requests().len();
        assert!(is_certificate(&self.ask().await));
        assert_eq!(self.mock.requests().len(), before, "nothing was sent");
        let log = self.outside.log();
        let last = log.rsplit("no secure connection").next().unwrap();
        for part in [words, &["nothing was sent", "; fix: "]].concat() {
            assert!(last.contains(part), "{part}: {last}");
        }
    }
}

#[tokio::test]
async fn the_proxy_is_asked_by_its_name_and_its_authority() {
    let mut pod = Pod::start().await;
    assert_eq!(pod.ask().await.unwrap(), 405);
    let requests = pod.mock.requests();
    assert_eq!((requests.len(), &*requests[0].path), (1, "/token-proxy/tenant/oauth2/v2.0/token"));
}

#[tokio::test]
async fn without_a_name_it_is_known_by_the_host_of_its_url() {
    let server = Server::start(HELLO).await;
    let environment = |url: &str| Environment::from_iter([(PROXY, url), (CA_DATA, &server.pem)]);
    let url = server.url("/base");
    let mut outside = Outside::new(&environment(&url), TrustedRoots::default());
    assert_eq!(outside.get(&format!("{url}/tenant")).await.unwrap().0, 200);
    let other = url.replace("localhost", "127.0.0.1");
    let mut outside = Outside::new(&environment(&other), TrustedRoots::default());
    assert!(is_certificate(&outside.get(&other).await));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_sent_nothing_and_the_log_names_the_variables() {
    let certificate_name = Some("y.test".to_owned());
    let mut pod = Pod::with(TokenProxyConfig { certificate_name, ..TokenProxyConfig::default() }).await;
    let name = TokenProxyConfig::default().sni_name;
    let file = pod.ca().to_str().unwrap().to_owned();
    pod.assert_refused(&["y.test", &name, SNI_NAME, &file, CA_FILE]).await;
}

#[tokio::test]
async fn no_authority_counts_but_the_given_ones() {
    let (server, other) = (Server::start(HELLO).await, Server::start(HELLO).await);
    let url = server.url("/base");
    let trusted = || TrustedRoots::from_pem(&server.pem).unwrap();
    let given = Environment::from_iter([(PROXY, url.as_str()), (CA_DATA, &other.pem)]);
    let mut outside = Outside::new(&given, trusted());
    assert!(is_certificate(&outside.get(&url).await));
    assert_eq!(server.requests().len(), 0);
    let none_given = Environment::from_iter([(PROXY, url.as_str())]);
    assert_eq!(Outside::new(&none_given, trusted()).get(&url).await.unwrap().0, 200);
    let mut outside = Outside::new(&given, TrustedRoots::default());
    assert!(
        is_certificate(&outside.get(&other.url("/")).await),
        "at another port the given ones do not count"
    );
}

#[tokio::test]
async fn an_authority_that_is_replaced_counts_from_the_next_connection_on() {
    let mut pod = Pod::start().await;
    pod.ask().await.unwrap();
    pod.mock.replace_token_proxy_authority().unwrap();
    pod.assert_refused(&[CA_FILE]).await;
    pod.mount_ca();
    assert_eq!(pod.ask().await.unwrap(), 405);
}

#[tokio::test]
async fn a_file_that_is_empty_for_a_while_keeps_the_last_authorities_and_one_that_was_never_full_has_none() {
    let mut pod = Pod::start().await;
    fs::write(pod.ca(), " \n").unwrap();
    let file = pod.ca().to_str().unwrap().to_owned();
    pod.assert_refused(&["is empty", &file, CA_FILE]).await;
    pod.mount_ca();
    pod.ask().await.unwrap();
    fs::write(pod.ca(), "").unwrap();
    assert_eq!(pod.ask().await.unwrap(), 405);
    pod.mock.replace_token_proxy_authority().unwrap();
    pod.assert_refused(&[]).await;
}

#[tokio::test]
async fn a_file_that_is_removed_or_has_no_certificate_ends_the_trust_and_is_named() {
    let mut pod = Pod::start().await;
    let file = pod.ca().to_str().unwrap().to_owned();
    pod.ask().await.unwrap();
    fs::remove_file(pod.ca()).unwrap();
    pod.assert_refused(&[&file, CA_FILE, "No such file"]).await;
    for text in ["no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(pod.ca(), text).unwrap();
        pod.assert_refused(&[&file, CA_FILE, "no certificate"]).await;
    }
    fs::remove_file(pod.ca()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, pod.ca(), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    pod.assert_refused(&[&file, "not a regular file"]).await;
    fs::remove_file(pod.ca()).unwrap();
    pod.mount_ca();
    assert_eq!(pod.ask().await.unwrap(), 405);
}

#[tokio::test]
async fn a_proxy_that_leads_elsewhere_is_not_followed_and_one_that_hangs_up_is_an_error() {
    let mut pod = Pod::start().await;
    let elsewhere = format!("{}/elsewhere", pod.mock.url());
    for (answer, status) in
        [(Answer::Redirect(elsewhere.clone()), 302), (Answer::TemporaryRedirect(elsewhere), 307)]
    {
        pod.mock.fault(Fault::new(Endpoint::TokenProxy, answer));
        assert_eq!(pod.ask().await.unwrap(), status);
    }
    for answer in [Answer::Closed, Answer::Reset] {
        pod.mock.fault(Fault::new(Endpoint::TokenProxy, answer));
        assert!(pod.ask().await.is_err());
    }
    assert_eq!(pod.mock.counters().of(Endpoint::TokenProxy).requests, 4);
    assert_eq!(pod.mock.requests().len(), 4);
}

#[tokio::test]
async fn only_the_brokers_own_connections_know_the_proxy_and_only_its_origin_is_private() {
    let pod = Pod::start().await;
    let is_private = |tls: &Tls, url: &str| tls.private_server(&url.parse().unwrap()).is_some();
    let tls = &pod.outside.hooks.ways.tls;
    assert!(matches!(tls.private_server(&pod.url.parse().unwrap()), Some(PrivateServer::TokenProxy(_))));
    assert!(is_private(tls, &pod.url.replace("token-proxy", "elsewhere")));
    for url in ["https://login.microsoftonline.com/", "https://127.0.0.1/", &pod.url.replace("https", "http")]
    {
        assert!(!is_private(tls, url), "{url}");
    }
    let of_components = Tls::new(&Environment::default(), TrustedRoots::default()).unwrap();
    assert!(!is_private(&of_components, &pod.url));
}

const PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const SNI_NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";
