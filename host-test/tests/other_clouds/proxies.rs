//! Proxies with the file of `token-broker get --watch`.

use std::fs;

use host_test::envoy::Upstream;
use mock_identity::{Answer, Endpoint, Fault, Mock};

use crate::proxy::Proxy;
use crate::stage::{Run, Watch, platform, until};

const VAULT: &str = "https://vault.azure.net";

/// A proxy without a file, then with one that is renewed.
struct Stage {
    mock: Mock,
    service: Upstream,
    run: Run,
}

impl Stage {
    async fn new() -> Self {
        Self { mock: platform(6).await, service: Upstream::start().await.unwrap(), run: Run::new() }
    }

    /// The proxy refuses its clients while there is no file, and gives their requests the token in it from then on.
    async fn check(&self, proxy: &Proxy, without_file: u16) -> Watch {
        assert_eq!(proxy.get().await.status, without_file, "{}", proxy.log());
        assert!(self.service.take_seen().is_empty(), "a request went on without a token");
        let watch = Watch::start(&self.mock, VAULT, &self.run.path("header"), ",format=bearer").await;
        until(async || proxy.get().await.status == 200).await;
        let mut tokens: Vec<String> = Vec::new();
        until(async || {
            assert_eq!(proxy.get().await.status, 200, "{}", proxy.log());
            for seen in self.service.take_seen() {
                let token = seen.token().unwrap_or_else(|| panic!("{:?}", seen.all("authorization")));
                self.mock.verify(&token, VAULT).unwrap();
                tokens.push(token);
            }
            tokens.dedup();
            tokens.len() >= 3
        })
        .await;
        assert!(!proxy.log().contains("eyJ"), "a token is in the log");
        watch
    }

    /// The file goes when its token has ended; then nothing reaches the service.
    async fn check_that_it_refuses_after_the_end(&self, proxy: &Proxy) {
        self.mock.fault(Fault::new(Endpoint::Imds, Answer::status(500)).forever());
        until(async || !fs::exists(self.run.path("header")).unwrap()).await;
        self.service.take_seen();
        assert_eq!(proxy.get().await.status, 503, "{}", proxy.log());
        assert!(self.service.take_seen().is_empty(), "a request went on without a token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_reads_the_file_again_when_it_is_renamed() {
    let stage = Stage::new().await;
    let proxy = Proxy::envoy(&stage.run, &stage.service).await;
    stage.check(&proxy, 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_reads_the_file_for_each_request_and_refuses_without_it() {
    let stage = Stage::new().await;
    let proxy = Proxy::caddy(&stage.run, &stage.service).await;
    let _watch = stage.check(&proxy, 503).await;
    stage.check_that_it_refuses_after_the_end(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_reads_the_file_for_each_request_and_refuses_without_it() {
    let stage = Stage::new().await;
    let proxy = Proxy::apache(&stage.run, &stage.service).await;
    let _watch = stage.check(&proxy, 503).await;
    stage.check_that_it_refuses_after_the_end(&proxy).await;
}
