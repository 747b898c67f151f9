//! An application's requests through the injector, and the same application's without it.
//!
//! The host answers in memory, so that nothing is measured but what stands between the application and the host.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use host_test::hosts::artefact;
use host_test::wasi::{self, Io, Memory, Sent, answered, text};
use http_body_util::{BodyExt as _, Empty};
use rustix::time::{ClockId, clock_gettime};
use token_broker_host::engine_config;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Store};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpHooks};

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
    let [alone, through] = pair.map(|application| application.store.data().data.0 as f64 / 1024.0);
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
    Ok(wasi::linker(engine)?.instantiate_pre(&Component::from_file(engine, artefact(name)?)?)?)
}

/// An instance of `host-test/egress`, composed or not.
struct Application {
    store: Store<State>,
    instance: contract::Application,
}

impl Application {
    async fn new(pre: &InstancePre<State>) -> Result<Self> {
        let state = State::new(WasiCtx::builder().build(), Platform, Memory::default());
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| &mut state.data);
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
struct Platform;

impl WasiHttpHooks for Platform {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _answered: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async move {
            // A network would let the host do something else before it answers.
            tokio::task::yield_now().await;
            let body = if request.uri().host() == Some("169.254.169.254") {
                text(format!(
                    r#"{{"access_token":"{}","expires_in":"86400","token_type":"Bearer"}}"#,
                    "x".repeat(1500)
                ))
            } else if request.method() == "PUT" {
                let mut body = request.into_body();
                let mut length = 0;
                while let Some(frame) = body.frame().await {
                    length += frame?.into_data().map_or(0, |data| data.len());
                }
                text(length.to_string())
            } else {
                Empty::new().map_err(|never| match never {}).boxed_unsync()
            };
            answered(http::Response::new(body))
        })
    }
}

type State = wasi::State<Memory, Platform>;

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
