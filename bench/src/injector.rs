//! An application's requests through the injector, and the same application's without it.
//!
//! The host answers in memory, so that nothing is measured but what stands between the application and the host.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use rustix::time::{ClockId, clock_gettime};
use token_broker_host::engine_config;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::artefacts::component;
use crate::report::Report;
use crate::timing::median;
use contract::exports::token_broker::test::egress::{Body, Request};

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let engine = Engine::new(&engine_config())?;
    let (plain, injected) = (load(&engine, "egress.wasm")?, load(&engine, "egress-composed.wasm")?);
    let (mut without, mut with) = (Application::new(&plain).await?, Application::new(&injected).await?);
    let mut pair = [&mut without, &mut with];

    report.section(
        "an application's requests, answered in memory: without the injector, and through it with a token",
    );
    let [alone, through] = each(&mut pair, 1).await?;
    report.figure("each, without", alone.wall, "us");
    report.figure("each, with a token", through.wall, "us");
    report.promise("added", through.wall - alone.wall, 30.0, "us");
    report.promise("added processor time", through.processor - alone.processor, 30.0, "us");
    let [alone, through] = each(&mut pair, 64).await?;
    report.figure("64 at once, without", 1e6 / alone.wall, "/s");
    report.figure("64 at once, with a token", 1e6 / through.wall, "/s");
    let [alone, through] = uploads(&mut pair).await?;
    report.figure("100 MB of body, without", UPLOAD as f64 / 1e6 / alone, "MB/s");
    report.figure("100 MB of body, with a token", UPLOAD as f64 / 1e6 / through, "MB/s");
    report.promise("longer by", (through / alone - 1.0) * 100.0, 5.0, "%");
    let [alone, through] = pair.map(|application| application.store.data().memory as f64 / 1024.0);
    report.figure("linear memory, without", alone, "KiB");
    report.figure("linear memory, with injector and broker", through, "KiB");
    Ok(())
}

/// What a request takes, in microseconds.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    processor: f64,
}

/// What a request takes each of them, in a loop inside the component that keeps so many under way. They take turns, so that
/// whatever else the machine does meets both.
async fn each(pair: &mut [&mut Application; 2], at_once: u32) -> Result<[Cost; 2]> {
    let mut costs = [vec![], vec![]];
    for round in 0..=BATCHES {
        for (application, costs) in pair.iter_mut().zip(&mut costs) {
            let (began, taken) = (Instant::now(), processor_time());
            application.count(BATCH, at_once).await?;
            // The first one is cold.
            if round > 0 {
                costs.push((began.elapsed(), processor_time() - taken));
            }
        }
    }
    let per_request = |times: Vec<Duration>| median(times).as_secs_f64() * 1e6 / f64::from(BATCH);
    Ok(costs.map(|costs| {
        let (wall, processor): (Vec<_>, Vec<_>) = costs.into_iter().unzip();
        Cost { wall: per_request(wall), processor: per_request(processor) }
    }))
}

/// Seconds that a large body takes each of them.
async fn uploads(pair: &mut [&mut Application; 2]) -> Result<[f64; 2]> {
    let mut times = [vec![], vec![]];
    for _ in 0..ROUNDS {
        for (application, times) in pair.iter_mut().zip(&mut times) {
            times.push(application.upload().await?);
        }
    }
    Ok(times.map(|times| median(times).as_secs_f64()))
}

/// What all threads of this process have taken.
fn processor_time() -> Duration {
    let taken = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(taken.tv_sec.unsigned_abs(), u32::try_from(taken.tv_nsec).unwrap_or_default())
}

fn load(engine: &Engine, name: &str) -> Result<InstancePre<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Ok(linker.instantiate_pre(&Component::from_file(engine, component(name)?)?)?)
}

/// An instance of `host-test/egress`, composed or not.
struct Application {
    store: Store<State>,
    instance: contract::Application,
}

impl Application {
    async fn new(pre: &InstancePre<State>) -> Result<Self> {
        let state = State {
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            network: Memory,
            table: ResourceTable::new(),
            memory: 0,
        };
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| state);
        let instance = contract::ApplicationPre::new(pre.clone())?.instantiate_async(&mut store).await?;
        Ok(Self { store, instance })
    }

    async fn count(&mut self, n: u32, at_once: u32) -> Result<()> {
        let egress = self.instance.token_broker_test_egress();
        let answered = self
            .store
            .run_concurrent(async |store| egress.call_count(store, request(Body::None), n, at_once).await)
            .await??;
        ensure!(answered == n, "{} requests were not answered", n - answered);
        Ok(())
    }

    /// How long a large body takes.
    async fn upload(&mut self) -> Result<Duration> {
        let egress = self.instance.token_broker_test_egress();
        let began = Instant::now();
        let answer = self
            .store
            .run_concurrent(async |store| egress.call_send(store, request(Body::Filler(UPLOAD))).await)
            .await??
            .map_err(anyhow::Error::msg)?;
        ensure!(answer.body == UPLOAD.to_string(), "{} bytes arrived", answer.body);
        Ok(began.elapsed())
    }
}

fn request(body: Body) -> Request {
    Request {
        method: if matches!(body, Body::None) { "GET" } else { "PUT" }.to_owned(),
        scheme: Some("https".to_owned()),
        authority: Some("bench.blob.core.windows.net".to_owned()),
        path: Some("/container/blob".to_owned()),
        headers: [
            ("x-ms-version", "2025-01-05"),
            ("x-ms-date", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ("accept", "*/*"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        body,
        trailers: vec![],
    }
}

/// IMDS, and a storage account that says how much it was sent.
#[derive(Default)]
struct Memory;

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Memory {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _answered: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async move {
            // A network would let the host do something else before it answers.
            tokio::task::yield_now().await;
            let body = if request.uri().host() == Some("169.254.169.254") {
                full(format!(
                    r#"{{"access_token":"{}","expires_in":"86400","token_type":"Bearer"}}"#,
                    "x".repeat(1500)
                ))
            } else if request.method() == "PUT" {
                let mut body = request.into_body();
                let mut length = 0;
                while let Some(frame) = body.frame().await {
                    length += frame?.into_data().map_or(0, |data| data.len());
                }
                full(length.to_string())
            } else {
                Empty::new().map_err(|never| match never {}).boxed_unsync()
            };
            Ok((http::Response::new(body), Box::new(async { Ok(()) }) as Box<_>))
        })
    }
}

fn full(text: String) -> WasiBody {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    network: Memory,
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

const BATCH: u32 = 100;
const BATCHES: usize = 401;
const UPLOAD: u64 = 100_000_000;
const ROUNDS: usize = 31;

mod contract {
    #![allow(unused_qualifications, clippy::use_self, reason = "generated")]

    wasmtime::component::bindgen!({
        path: "../host-test/egress/wit",
        world: "application",
        exports: { default: async },
    });
}
