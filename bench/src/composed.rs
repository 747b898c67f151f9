//! A consumer composed with the broker: one component, one store.

use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use host_test::hosts::artefact;
use host_test::wasi::{self, DefaultHooks, Memory};
use mock_identity::{Endpoint, Mock};
use token_broker_host::engine_config;
use wasmtime::component::{Component, Instance, InstancePre, TypedFunc};
use wasmtime::{Engine, Store};
use wasmtime_wasi::WasiCtx;

use crate::SCOPE;
use crate::report::Report;
use crate::timing::{BATCH, median, microseconds};

pub(crate) async fn run(mock: &Mock, report: &mut Report) -> Result<()> {
    report.section("cached calls, consumer composed with the broker");
    let engine = Engine::new(&engine_config())?;
    let component = Component::from_file(&engine, artefact("consumer-composed.wasm")?)?;
    let pre = wasi::linker(&engine)?.instantiate_pre(&component)?;
    let mut consumer = Consumer::new(&pre, mock.env(Endpoint::Imds)).await?;
    report.promise("get-token", consumer.get().await?, 3.5, "us");
    report.promise("peek-token", consumer.peek().await?, 0.5, "us");

    report.section("one composed instance");
    report.figure("instantiation, store and all", instantiation(&pre, mock).await?, "us");
    let kibibytes = consumer.store.data().data.0 as f64 / 1024.0;
    report.promise("linear memory, with a token in it", kibibytes, 1024.0, "KiB");
    Ok(())
}

async fn instantiation(pre: &InstancePre<State>, mock: &Mock) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..INSTANTIATIONS {
        let environment = mock.env(Endpoint::Imds);
        let start = Instant::now();
        let mut store = store(pre.engine(), environment);
        pre.instantiate_async(&mut store).await?;
        times.push(start.elapsed());
    }
    Ok(median(times).as_secs_f64() * 1e6)
}

/// An instance of `host-test/consumer`, composed or not.
pub(crate) struct Consumer {
    store: Store<State>,
    instance: Instance,
}

impl Consumer {
    pub(crate) async fn new(
        pre: &InstancePre<State>,
        environment: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let mut store = store(pre.engine(), environment);
        let instance = pre.instantiate_async(&mut store).await?;
        Ok(Self { store, instance })
    }

    /// Microseconds for each call of `get-token`, in a loop inside the component.
    pub(crate) async fn get(&mut self) -> Result<f64> {
        let index = self.export("get-many")?;
        let get: TypedFunc<(&str, u32), (Result<u32, String>,)> =
            self.instance.get_typed_func(&mut self.store, index)?;
        microseconds(BATCH, async || {
            let (got,) = get.call_async(&mut self.store, (SCOPE, BATCH)).await?;
            ensure!(got.map_err(|error| anyhow!(error))? == BATCH, "a token did not come");
            Ok(())
        })
        .await
    }

    /// Microseconds for each call of `peek-token`, as [`Consumer::get`].
    pub(crate) async fn peek(&mut self) -> Result<f64> {
        let index = self.export("peek-many")?;
        let peek: TypedFunc<(&str, u32), (u32,)> = self.instance.get_typed_func(&mut self.store, index)?;
        microseconds(BATCH, async || {
            let (seen,) = peek.call_async(&mut self.store, (SCOPE, BATCH)).await?;
            ensure!(seen == BATCH, "the token is not Fresh");
            Ok(())
        })
        .await
    }

    fn export(&mut self, name: &str) -> Result<wasmtime::component::ComponentExportIndex> {
        let interface = self.instance.get_export_index(&mut self.store, None, "token-broker:test/bench");
        let function = self.instance.get_export_index(&mut self.store, interface.as_ref(), name);
        function.ok_or_else(|| anyhow!("the consumer does not export {name}"))
    }
}

/// The state of a consumer's store, which counts the linear memory.
pub(crate) type State = wasi::State<Memory>;

fn store(engine: &Engine, environment: Vec<(&'static str, String)>) -> Store<State> {
    let wasi = WasiCtx::builder().envs(&environment).build();
    let mut store = Store::new(engine, State::new(wasi, DefaultHooks, Memory::default()));
    store.limiter(|state| &mut state.data);
    store
}

const INSTANTIATIONS: usize = 501;
