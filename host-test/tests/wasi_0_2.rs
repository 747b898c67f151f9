//! `token-broker-sync.wasm` in a program that embeds wasmtime with WASI 0.2 and nothing newer, over real sockets.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test has files")]

use std::sync::LazyLock;

use host_test::hosts::artefact;
use host_test::wasi::{DefaultHooks, State};
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use bindings::exports::token_broker::identity::types::{AccessToken, Error};

const VAULT: &str = "https://vault.azure.net/.default";

#[tokio::test]
async fn a_token_comes_once_and_then_from_memory() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let mut broker = Broker::start(&mock.env(Endpoint::Imds)).await;
    assert!(broker.peek().await.is_none());
    let token = broker.get().await.unwrap();
    mock.verify(&token.token, "https://vault.azure.net").unwrap();
    assert_eq!(broker.get().await.unwrap().token, token.token);
    assert_eq!(broker.peek().await.unwrap().token, token.token);
    broker.forget().await;
    assert!(broker.peek().await.is_none());
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
    assert!(!broker.log().contains(&token.token));
}

/// Cloud Shell is asked by POST.
#[tokio::test]
async fn a_request_with_a_body_is_sent_whole() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let mut broker = Broker::start(&mock.env(Endpoint::CloudShell)).await;
    let token = broker.get().await.unwrap();
    mock.verify(&token.token, "https://vault.azure.net").unwrap();
    assert_eq!(mock.counters().of(Endpoint::CloudShell).requests, 1);
    let sent = &mock.requests()[0];
    assert_eq!(sent.headers["content-length"], "resource=https%3A%2F%2Fvault.azure.net".len().to_string());
    assert!(!sent.headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn a_request_without_a_body_is_sent_without_any_and_chunks_are_read() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    mock.fault(Fault::new(Endpoint::Imds, Answer::Chunked));
    let mut broker = Broker::start(&mock.env(Endpoint::Imds)).await;
    mock.verify(&broker.get().await.unwrap().token, "https://vault.azure.net").unwrap();
    let sent = &mock.requests()[0].headers;
    assert!(!sent.contains_key("content-length") && !sent.contains_key("transfer-encoding"), "{sent:?}");
}

#[tokio::test]
async fn what_an_endpoint_can_do_to_a_connection_is_told_apart_and_never_waited_out() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    for (answer, kind, words) in [
        (Answer::Empty, "Transient", "got 200 with an empty body"),
        (Answer::Truncated, "Transient", "an incomplete answer"),
        (Answer::TruncatedChunks, "Transient", "an incomplete answer"),
        (Answer::TruncatedUnsized, "Transient", "got 200 with an incomplete body"),
        (Answer::Closed, "Transient", "lost the connection"),
        (Answer::Oversize, "Protocol", "an answer of more than"),
        (Answer::SlowDrip, "Transient", "no answer in time: nothing complete within 300 ms"),
        (Answer::Reset, "Transient", "lost the connection"),
    ] {
        mock.fault(Fault::new(Endpoint::Imds, answer).forever());
        let mut environment = mock.env(Endpoint::Imds);
        let limits = [("TOKEN_BROKER_TIMEOUT_MS", "300"), ("TOKEN_BROKER_BUDGET_MS", "1000")];
        environment.extend(limits.map(|(name, value)| (name, value.to_owned())));
        let mut broker = Broker::start(&environment).await;
        let error = format!("{:?}", broker.get().await.unwrap_err());
        assert!(error.contains(kind) && error.contains(words), "{error}");
        mock.reset();
    }
}

struct Broker {
    store: Store<State>,
    exports: bindings::BrokerSync,
    log: MemoryOutputPipe,
}

impl Broker {
    async fn start(environment: &[(&'static str, String)]) -> Self {
        let log = MemoryOutputPipe::new(1 << 20);
        let wasi = WasiCtx::builder().stderr(log.clone()).envs(environment).build();
        let mut store = Store::new(BROKER.engine(), State::new(wasi, DefaultHooks, ()));
        let exports = BROKER.instantiate_async(&mut store).await.unwrap();
        Self { store, exports, log }
    }

    async fn get(&mut self) -> Result<AccessToken, Error> {
        let credentials = self.exports.token_broker_identity_credentials_sync();
        credentials.call_get_token(&mut self.store, VAULT).await.unwrap()
    }

    async fn peek(&mut self) -> Option<AccessToken> {
        let credentials = self.exports.token_broker_identity_credentials_sync();
        credentials.call_peek_token(&mut self.store, VAULT).await.unwrap()
    }

    async fn forget(&mut self) {
        let credentials = self.exports.token_broker_identity_credentials_sync();
        credentials.call_forget_token(&mut self.store, VAULT).await.unwrap();
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.contents()).into_owned()
    }
}

static BROKER: LazyLock<bindings::BrokerSyncPre<State>> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model_async(false).concurrency_support(false);
    let engine = Engine::new(&config).unwrap();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
    let component = Component::from_file(&engine, artefact("token-broker-sync.wasm").unwrap()).unwrap();
    bindings::BrokerSyncPre::new(linker.instantiate_pre(&component).unwrap()).unwrap()
});

mod bindings {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::use_self, reason = "generated")]

    wasmtime::component::bindgen!({ path: "../wit", world: "broker-sync", exports: { default: async } });
}
