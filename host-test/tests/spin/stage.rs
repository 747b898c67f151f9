//! Instances of `token-broker-spin.wasm` on one machine: an IMDS that counts, and a clock that only waiting moves.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use host_test::hosts::artefact;
use host_test::spin::{self, Spin};
use host_test::wasi::{self, Clock, Io, Sent};
use token_broker_host::engine_config;
use tokio::sync::Semaphore;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpHooks};

use contract::exports::token_broker::identity::diagnostics::Statistics;

/// A machine with one Spin application.
pub(crate) struct Stage {
    pub(crate) spin: Spin,
    pub(crate) imds: Imds,
    clock: Clock,
    log: MemoryOutputPipe,
}

impl Stage {
    pub(crate) fn new(spin: Spin) -> Self {
        Self {
            spin,
            imds: Imds::default(),
            clock: Clock::at(1_760_000_000),
            log: MemoryOutputPipe::new(1 << 20),
        }
    }

    pub(crate) async fn instance(&self) -> Guest {
        let mut wasi = WasiCtx::builder();
        wasi.stderr(self.log.clone()).wall_clock(self.clock).monotonic_clock(self.clock);
        let mut state = State::new(wasi.build(), self.imds.clone(), self.spin.clone());
        state.table.set_max_capacity(RESOURCES);
        let (component, linker) = &*SPIN;
        let mut store = Store::new(component.engine(), state);
        let broker = contract::Broker::instantiate_async(&mut store, component, linker).await.unwrap();
        Guest { store, broker }
    }

    /// The time since the Unix epoch, in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.since_epoch().as_millis()).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.log.contents().to_vec()).unwrap()
    }
}

/// One instance, as Spin makes them for a request.
pub(crate) struct Guest {
    store: Store<State>,
    broker: contract::Broker,
}

impl Guest {
    /// The token for [`SCOPE`], or the error as it is printed for debugging.
    pub(crate) async fn token(&mut self) -> Result<String, String> {
        let credentials = self.broker.token_broker_identity_credentials();
        let store = &mut self.store;
        let answer = store.run_concurrent(async |it| credentials.call_get_token(it, SCOPE.to_owned()).await);
        answer.await.unwrap().unwrap().map(|token| token.token).map_err(|error| format!("{error:?}"))
    }

    pub(crate) async fn stats(&mut self) -> Statistics {
        let diagnostics = self.broker.token_broker_identity_diagnostics();
        diagnostics.call_stats(&mut self.store).await.unwrap()
    }
}

/// IMDS: each answer is another token, good for an hour.
#[derive(Clone)]
pub(crate) struct Imds(Arc<Counted>);

struct Counted {
    requests: AtomicU64,
    /// Of which there is one for each request that may be answered.
    answers: Semaphore,
    asked: Semaphore,
}

impl Default for Imds {
    fn default() -> Self {
        let answers = Semaphore::new(Semaphore::MAX_PERMITS);
        Self(Arc::new(Counted { requests: AtomicU64::default(), answers, asked: Semaphore::new(0) }))
    }
}

impl Imds {
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::SeqCst)
    }

    /// Answer nothing until [`Imds::answer`].
    pub(crate) fn hold(&self) {
        self.0.answers.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn answer(&self) {
        self.0.answers.add_permits(1000);
    }

    /// Wait for a request.
    pub(crate) async fn asked(&self) {
        self.0.asked.acquire().await.unwrap().forget();
    }
}

impl WasiHttpHooks for Imds {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _answered: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        assert_eq!(request.uri().host(), Some("169.254.169.254"));
        let count = self.0.requests.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.asked.add_permits(1);
        let this = Arc::clone(&self.0);
        Box::new(async move {
            this.answers.acquire().await.unwrap().forget();
            let body =
                format!(r#"{{"access_token":"sentinel-{count}","expires_in":"3600","token_type":"Bearer"}}"#);
            let answer = http::Response::builder().header("content-type", "application/json");
            wasi::answered(answer.body(wasi::text(body)).unwrap())
        })
    }
}

type State = wasi::State<Spin, Imds>;

static SPIN: LazyLock<(Component, Linker<State>)> = LazyLock::new(|| {
    let engine = Engine::new(&engine_config()).unwrap();
    let file = artefact("token-broker-spin.wasm").unwrap();
    (Component::from_file(&engine, file).unwrap(), linker(&engine).unwrap())
});

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = wasi::linker(engine)?;
    spin::add_to_linker(&mut linker, |state: &mut State| (state.data.clone(), &mut state.table))?;
    Ok(linker)
}

/// Spin's limit of handles for compare-and-swap, and what else an instance holds
const RESOURCES: usize = 256 + 40;
const SCOPE: &str = "https://vault.azure.net/.default";

mod contract {
    #![allow(unused_qualifications, clippy::use_self, reason = "generated")]

    wasmtime::component::bindgen!({ path: "../wit", world: "broker", exports: { default: async } });
}
