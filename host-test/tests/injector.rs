//! `token-injector.wasm`: an application that never sees a token, and may be hostile.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]

#[path = "injector/network.rs"]
mod network;
#[path = "injector/stage.rs"]
mod stage;

use host_test::mock::{Endpoint, Mock, MockConfig};

use stage::{IMDS, Stage, request};

#[tokio::test]
async fn an_application_reads_a_secret_with_a_token_that_it_does_not_see() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let stage = Stage::new(mock.imds_env());
    stage.network.lead("https://my.vault.azure.net", mock.url());
    let mut application = stage.application().await;
    let answer = application.get("https://my.vault.azure.net/secrets/MySecret?api-version=7.4").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("the secret of the mock vault"));
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
    stage.log();
}
