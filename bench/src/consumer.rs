//! A component that asks for tokens, composed with a broker of its own or linked to a shared one.

use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use host_test::wasi::{self, DefaultHooks, Memory};
use mock_identity::Environment;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Instance, InstancePre, Lift, TypedFunc};
use wasmtime_wasi::WasiCtx;

use crate::SCOPE;
use crate::spread::{BATCH, Spread, microseconds, per_call};

/// An instance of `host-test/consumer`
pub(crate) struct Consumer {
    store: Store<State>,
    instance: Instance,
}

impl Consumer {
    pub(crate) async fn new(pre: &InstancePre<State>, environment: &Environment) -> Result<Self> {
        let wasi = WasiCtx::builder().envs(environment).build();
        let mut store = Store::new(pre.engine(), State::new(wasi, DefaultHooks, Memory::default()));
        store.limiter(|state| &mut state.data);
        let instance = pre.instantiate_async(&mut store).await?;
        Ok(Self { store, instance })
    }

    /// Microseconds from a component that is compiled to the first token of a new instance.
    pub(crate) async fn first(pre: &InstancePre<State>, environment: &Environment) -> Result<Spread> {
        let mut times = Vec::new();
        for _ in 0..=FIRST {
            let start = Instant::now();
            Self::new(pre, environment).await?.get(1).await?;
            times.push(microseconds(start.elapsed()));
        }
        // The first one fills caches.
        Ok(Spread::of(times.into_iter().skip(1)))
    }

    /// Microseconds of a cached `get-token`, in a loop inside the component.
    pub(crate) async fn cached_get(&mut self) -> Result<Spread> {
        per_call(BATCH, async || self.get(BATCH).await).await
    }

    /// The same of `peek-token`.
    pub(crate) async fn cached_peek(&mut self) -> Result<Spread> {
        let peek = self.export::<(u32,)>("peek-many")?;
        per_call(BATCH, async || {
            let (seen,) = peek.call_async(&mut self.store, (SCOPE, BATCH)).await?;
            ensure!(seen == BATCH, "the token is not fresh");
            Ok(())
        })
        .await
    }

    /// `n` tokens, one after the other.
    async fn get(&mut self, n: u32) -> Result<()> {
        self.call("get-many", n).await
    }

    /// `n` tokens at once.
    pub(crate) async fn get_at_once(&mut self, n: u32) -> Result<()> {
        self.call("get-concurrent", n).await
    }

    /// Of linear memory.
    pub(crate) fn kibibytes(&self) -> f64 {
        self.store.data().data.0 as f64 / 1024.0
    }

    async fn call(&mut self, name: &str, n: u32) -> Result<()> {
        let function = self.export::<(Result<u32, String>,)>(name)?;
        let (got,) = function.call_async(&mut self.store, (SCOPE, n)).await?;
        ensure!(got.map_err(|error| anyhow!(error))? == n, "a token did not come");
        Ok(())
    }

    fn export<R>(&mut self, name: &str) -> Result<TypedFunc<(&'static str, u32), R>>
    where
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let interface = self.instance.get_export_index(&mut self.store, None, "token-broker:test/bench");
        let index = self.instance.get_export_index(&mut self.store, interface.as_ref(), name);
        let index = index.ok_or_else(|| anyhow!("the consumer does not export {name}"))?;
        Ok(self.instance.get_typed_func(&mut self.store, index)?)
    }
}

/// The state of a consumer's store, which counts the linear memory
pub(crate) type State = wasi::State<Memory>;

const FIRST: usize = 101;
