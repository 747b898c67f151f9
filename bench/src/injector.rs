//! An application's requests through the injector, and the same application's without it.
//!
//! The host answers in memory: only the way from the application to the host is measured.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use host_test::hosts::artefact;
use host_test::wasi::{self, Io, Memory, Sent, answered, text};
use http_body_util::{BodyExt as _, Empty};
use token_broker_host::engine_config;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Store};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpHooks};

use crate::report::{Report, Table};
use crate::spread::Spread;
use contract::exports::token_broker::test::egress::{Body, Request};

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let engine = Engine::new(&engine_config())?;
    let (plain, injected) = (load(&engine, "egress.wasm")?, load(&engine, "egress-composed.wasm")?);
    let (mut without, mut with) = (Application::new(&plain).await?, Application::new(&injected).await?);
    let mut pair = [&mut without, &mut with];

    let mut table = Table::new("injector", &["", "without", "with", "added"]);
    let [alone, through, added] = each(&mut pair, 1).await?;
    report.at_most("a request through the injector, µs more", added.median, 150.0);
    table.row(cells("a request, µs", [alone, through, added]));
    let at_once = each(&mut pair, 64).await?;
    table.row(cells("a request, 64 at once, µs", at_once));
    let [alone, through, added] = uploads(&mut pair).await?;
    report.at_most("100 MB through the injector, longer by a factor", through.median / alone.median, 1.25);
    table.row(cells("100 MB of body, ms", [alone, through, added]));
    let [alone, through] =
        pair.map(|application| application.store.data().data.0 as f64 / f64::from(1 << 20));
    report.at_most("linear memory with the injector, MiB", through, 2.0);
    table.row(["linear memory, MiB", &mib(alone), &mib(through), &mib(through - alone)].map(str::to_owned));
    table.print();
    Ok(())
}

/// Without the injector, with it, and their difference
type Comparison = [Spread; 3];

fn cells(title: &str, comparison: Comparison) -> Vec<String> {
    std::iter::once(title.to_owned()).chain(comparison.map(|spread| spread.to_string())).collect()
}

fn mib(value: f64) -> String {
    format!("{value:.2}")
}

/// Microseconds of a request, in a loop inside the component that has so many under way.
async fn each(pair: &mut [&mut Application; 2], at_once: u32) -> Result<Comparison> {
    compare(pair, BATCHES, async |application| {
        let start = Instant::now();
        application.count(BATCH, at_once).await?;
        Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH))
    })
    .await
}

/// Milliseconds of a large body.
async fn uploads(pair: &mut [&mut Application; 2]) -> Result<Comparison> {
    compare(pair, ROUNDS, async |application| Ok(application.upload().await?.as_secs_f64() * 1e3)).await
}

/// They take turns, so that the rest of the machine disturbs both.
async fn compare(
    pair: &mut [&mut Application; 2],
    rounds: usize,
    measure: impl AsyncFn(&mut Application) -> Result<f64>,
) -> Result<Comparison> {
    let mut all = [vec![], vec![], vec![]];
    for round in 0..=rounds {
        let [without, with] = &mut *pair;
        let (alone, through) = (measure(without).await?, measure(with).await?);
        // The first one is cold.
        if round > 0 {
            all.iter_mut().zip([alone, through, through - alone]).for_each(|(times, time)| times.push(time));
        }
    }
    Ok(all.map(Spread::of))
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

    /// The time of a large body.
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

/// IMDS, and a storage account that answers with the length of a body.
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
