//! An application composed with the injector, on a host whose network the test makes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::join;
use http_body_util::BodyExt as _;
use token_broker_host::engine_config;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{HostWallClock, WasiCtx};

use crate::network::Network;
use host_test::hosts::artefact;
use host_test::spin::{self, Spin};
use host_test::wasi::{self, Memory, text};

pub(crate) use contract::exports::token_broker::test::egress::{Answer, Body, Request};

/// A host and what it lends to the instances on it.
pub(crate) struct Stage {
    pub(crate) network: Network,
    spin: Spin,
    environment: Vec<(String, String)>,
    clock: Clock,
    waits: Arc<AtomicU64>,
    log: MemoryOutputPipe,
}

impl Stage {
    pub(crate) fn new(environment: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self {
            network: Network::default(),
            spin: Spin::default(),
            environment,
            clock: Clock::default(),
            waits: Arc::default(),
            log: MemoryOutputPipe::new(1 << 24),
        }
    }

    /// A machine whose IMDS answers in memory; each token is another one, and good for a day.
    pub(crate) fn with_imds(variables: &[(&'static str, &str)]) -> Self {
        let stage = Self::new(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let issued = AtomicU64::new(0);
        stage.network.answer(IMDS, move |_| token(&format!("sentinel-{}", next(&issued))));
        stage
    }

    /// The same with a vault that answers every request.
    pub(crate) fn with_vault(variables: &[(&'static str, &str)]) -> Self {
        let stage = Self::with_imds(variables);
        stage.network.answer(crate::VAULT, |_| http::Response::default());
        stage
    }

    /// The same with stores and variables of Spin.
    pub(crate) fn on_spin(self, spin: Spin) -> Self {
        Self { spin, ..self }
    }

    /// A deployment with an app registration of the tenant `home.example`; each of Entra's tokens names the tenant whose it is,
    /// and whether it has claims.
    pub(crate) fn with_entra(variables: &[(&'static str, &str)]) -> Self {
        let app = [
            ("AZURE_CLIENT_ID", "app"),
            ("AZURE_TENANT_ID", "home.example"),
            ("AZURE_CLIENT_SECRET", "sentinel"),
        ];
        let stage = Self::new(app.iter().chain(variables).map(|(name, value)| (*name, (*value).to_owned())));
        let issued = Arc::new(AtomicU64::new(0));
        stage.network.script(ENTRA, move |request| {
            let issued = Arc::clone(&issued);
            async move {
                let tenant = request.uri().path().split('/').nth(1).unwrap().to_owned();
                let form = request.into_body().collect().await.unwrap().to_bytes();
                let has_claims = form_urlencoded::parse(&form).any(|(name, _)| name == "claims");
                let claims = if has_claims { "-claims" } else { "" };
                token(&format!("sentinel-{tenant}-{}{claims}", next(&issued))).map(text)
            }
        });
        stage
    }

    /// The application with its requests going through the injector.
    pub(crate) async fn application(&self) -> Application {
        self.instance(&COMPOSED).await
    }

    /// The same on Spin.
    pub(crate) async fn spin_application(&self) -> Application {
        self.instance(&ON_SPIN).await
    }

    /// The same application by itself.
    pub(crate) async fn unguarded(&self) -> Application {
        self.instance(&ALONE).await
    }

    async fn instance(&self, pre: &InstancePre<State>) -> Application {
        let mut wasi = WasiCtx::builder();
        wasi.envs(&self.environment).stderr(self.log.clone()).wall_clock(self.clock.clone());
        let data =
            Data { spin: self.spin.clone(), waits: Arc::clone(&self.waits), memory: Memory::default() };
        let mut store = Store::new(pre.engine(), State::new(wasi.build(), self.network.clone(), data));
        store.limiter(|state| &mut state.data.memory);
        let pre = contract::ApplicationPre::new(pre.clone()).unwrap();
        Application { instance: pre.instantiate_async(&mut store).await.unwrap(), store }
    }

    /// Let time pass, as the clock on the wall shows it.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// How often any component has asked to be woken after a time.
    pub(crate) fn waits(&self) -> u64 {
        self.waits.load(Ordering::SeqCst)
    }

    /// What was logged until now, which no token may be in.
    pub(crate) fn log(&self) -> String {
        let log = String::from_utf8(self.log.contents().to_vec()).unwrap();
        assert!(!log.contains("sentinel") && !log.contains("eyJ"), "{log}");
        log
    }

    /// The lines about an event, as JSON.
    pub(crate) fn lines(&self, event: &str) -> Vec<serde_json::Value> {
        let log = self.log();
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["event"] == event).collect()
    }
}

fn next(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::SeqCst) + 1
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
        let store = &mut self.store;
        let sent =
            store.run_concurrent(async |store| egress.call_send_at_once(store, request.clone(), n).await);
        sent.await.unwrap().unwrap()
    }

    /// Send a request `n` times and drop the answers, unread or begun. How many there were.
    pub(crate) async fn leave(&mut self, request: &Request, n: u32, begun: bool) -> u32 {
        let egress = self.instance.token_broker_test_egress();
        let store = &mut self.store;
        let sent =
            store.run_concurrent(async |store| egress.call_leave(store, request.clone(), n, begun).await);
        sent.await.unwrap().unwrap()
    }

    /// Send a request and give it up once another one has been answered.
    pub(crate) async fn give_up(&mut self, request: &Request, sign: &Request) -> bool {
        self.give_up_all(request, 1, sign).await
    }

    /// Send a request `n` times at once and give them all up once another one has been answered.
    pub(crate) async fn give_up_all(&mut self, request: &Request, n: u32, sign: &Request) -> bool {
        let egress = self.instance.token_broker_test_egress();
        let sent = self
            .store
            .run_concurrent(async |store| egress.call_give_up(store, request.clone(), n, sign.clone()).await);
        sent.await.unwrap().unwrap()
    }

    /// Send a request and give it up once `sign` has been answered, and send it `n` times meanwhile.
    pub(crate) async fn send_at_once_and_give_up(
        &mut self,
        (request, n): (&Request, u32),
        sign: &Request,
        given_up: impl FnOnce() + Send,
    ) -> Vec<Result<Answer, String>> {
        let egress = self.instance.token_broker_test_egress();
        let sent = self.store.run_concurrent(async |store| {
            let give_up = async {
                let given = egress.call_give_up(store, request.clone(), 1, sign.clone()).await;
                given_up();
                given
            };
            let (given, sent) = join(give_up, egress.call_send_at_once(store, request.clone(), n)).await;
            assert!(given?);
            sent
        });
        sent.await.unwrap().unwrap()
    }

    pub(crate) async fn environment(&mut self) -> Vec<(String, String)> {
        let egress = self.instance.token_broker_test_egress();
        egress.call_environment(&mut self.store).await.unwrap()
    }

    /// The linear memory of all components together, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().data.memory.0
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
pub(crate) const ENTRA: &str = "https://login.microsoftonline.com";

type State = wasi::State<Data, Network>;

struct Data {
    spin: Spin,
    waits: Arc<AtomicU64>,
    memory: Memory,
}

/// The time of this machine, and the seconds that a test let pass.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let passed = Duration::from_secs(self.0.load(Ordering::SeqCst));
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() + passed
    }
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&engine_config()).unwrap());
static COMPOSED: LazyLock<InstancePre<State>> = LazyLock::new(|| load("egress-composed.wasm"));
static ON_SPIN: LazyLock<InstancePre<State>> = LazyLock::new(|| load("egress-spin.wasm"));
static ALONE: LazyLock<InstancePre<State>> = LazyLock::new(|| load("egress.wasm"));

fn load(name: &str) -> InstancePre<State> {
    let mut linker = wasi::linker(&ENGINE).unwrap();
    spin::add_to_linker(&mut linker, |state: &mut State| (state.data.spin.clone(), &mut state.table))
        .unwrap();
    count_waits(&mut linker).unwrap();
    linker.instantiate_pre(&Component::from_file(&ENGINE, artefact(name).unwrap()).unwrap()).unwrap()
}

fn count_waits(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.3.0")?;
    clock.func_wrap_concurrent("wait-for", |accessor, (nanoseconds,): (u64,)| {
        accessor.with(|mut access| access.data_mut().data.waits.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move {
            tokio::time::sleep(Duration::from_nanos(nanoseconds)).await;
            Ok(())
        })
    })
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
