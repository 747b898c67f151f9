//! An application composed with the injector, on a host whose network the test makes.

use std::path::Path;
use std::sync::LazyLock;

use token_broker_host::engine_config;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, Store};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::network::Network;

pub(crate) use contract::exports::token_broker::test::egress::{Answer, Body, Request};

/// A host and what it lends to the instances on it.
pub(crate) struct Stage {
    pub(crate) network: Network,
    environment: Vec<(String, String)>,
    log: MemoryOutputPipe,
}

impl Stage {
    pub(crate) fn new(environment: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { network: Network::default(), environment, log: MemoryOutputPipe::new(1 << 24) }
    }

    /// A machine whose IMDS answers in memory; each token is another one, and good for a day.
    pub(crate) fn with_imds(variables: &[(&'static str, &str)]) -> Self {
        let stage = Self::new(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        stage.imds();
        stage
    }

    fn imds(&self) {
        let issued = std::sync::atomic::AtomicU64::new(0);
        self.network.answer(IMDS, move |_| {
            let nth = issued.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            token(&format!("sentinel-{nth}"))
        });
    }

    /// The application with its requests going through the injector.
    pub(crate) async fn application(&self) -> Application {
        self.instance(&COMPOSED).await
    }

    /// The same application by itself.
    pub(crate) async fn unguarded(&self) -> Application {
        self.instance(&ALONE).await
    }

    async fn instance(&self, pre: &InstancePre<State>) -> Application {
        let mut wasi = WasiCtx::builder();
        wasi.envs(&self.environment).stderr(self.log.clone());
        let state = State {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            network: self.network.clone(),
            table: ResourceTable::new(),
            memory: 0,
        };
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| state);
        let pre = contract::ApplicationPre::new(pre.clone()).unwrap();
        Application { instance: pre.instantiate_async(&mut store).await.unwrap(), store }
    }

    /// What was logged until now, which no token may be in.
    pub(crate) fn log(&self) -> String {
        let log = String::from_utf8(self.log.contents().to_vec()).unwrap();
        assert!(!log.contains("sentinel") && !log.contains("eyJ"), "{log}");
        log
    }

    /// The lines about an event, as JSON.
    pub(crate) fn lines(&self, event: &str) -> Vec<serde_json::Value> {
        let lines = self.log();
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["event"] == event).collect()
    }
}

/// A token as IMDS and Entra give it.
pub(crate) fn token(token: &str) -> http::Response<String> {
    let body = format!(r#"{{"access_token":"{token}","expires_in":86400,"token_type":"Bearer"}}"#);
    http::Response::builder().header("content-type", "application/json").body(body).unwrap()
}

/// An instance, and what a test has it do.
pub(crate) struct Application {
    store: Store<State>,
    instance: contract::Application,
}

impl Application {
    pub(crate) async fn send(&mut self, request: &Request) -> Result<Answer, String> {
        let egress = self.instance.token_broker_test_egress();
        let sent = self.store.run_concurrent(async |store| egress.call_send(store, request.clone()).await);
        sent.await.unwrap().unwrap()
    }

    pub(crate) async fn get(&mut self, url: &str) -> Answer {
        self.send(&request("GET", url)).await.unwrap()
    }

    pub(crate) async fn send_at_once(&mut self, request: &Request, n: u32) -> Vec<Result<Answer, String>> {
        let egress = self.instance.token_broker_test_egress();
        let sent = self
            .store
            .run_concurrent(async |store| egress.call_send_at_once(store, request.clone(), n).await);
        sent.await.unwrap().unwrap()
    }

    pub(crate) async fn environment(&mut self) -> Vec<(String, String)> {
        let egress = self.instance.token_broker_test_egress();
        egress.call_environment(&mut self.store).await.unwrap()
    }

    /// The linear memory of all components together, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory
    }
}

/// A request without headers and body.
pub(crate) fn request(method: &str, url: &str) -> Request {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Request {
        method: method.to_owned(),
        scheme: Some(scheme.to_owned()),
        authority: Some(authority.to_owned()),
        path: Some(path.to_owned()),
        headers: vec![],
        body: Body::None,
        trailers: vec![],
    }
}

impl Request {
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn with_body(self, body: Body) -> Self {
        Self { body, ..self }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }

    /// The answer's document, if it is the broker's and not a service's.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        assert_eq!(self.header("x-token-broker"), problem["kind"].as_str());
        problem
    }
}

/// Where IMDS is.
pub(crate) const IMDS: &str = "http://169.254.169.254";

pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    network: Network,
    table: ResourceTable,
    memory: usize,
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.memory += desired.saturating_sub(current);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.network }
    }
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&engine_config()).unwrap());
static COMPOSED: LazyLock<InstancePre<State>> = LazyLock::new(|| load("egress-composed.wasm"));
static ALONE: LazyLock<InstancePre<State>> = LazyLock::new(|| load("egress.wasm"));

fn load(name: &str) -> InstancePre<State> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components").join(name);
    assert!(file.exists(), "{} is missing: run `cargo xtask build`", file.display());
    let mut linker = Linker::new(&ENGINE);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    wasmtime_wasi::p3::add_to_linker(&mut linker).unwrap();
    wasmtime_wasi_http::p3::add_to_linker(&mut linker).unwrap();
    linker.instantiate_pre(&Component::from_file(&ENGINE, file).unwrap()).unwrap()
}

mod contract {
    #![allow(unused_qualifications, clippy::use_self, reason = "generated")]

    wasmtime::component::bindgen!({
        path: "egress/wit",
        world: "application",
        exports: { default: async },
        additional_derives: [Clone, PartialEq],
    });
}
