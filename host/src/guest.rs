//! A broker instance's store: what the host lends to the guest, and how a fresh one is made.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::TryRng;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, Result, Store as WasmStore};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::clock::{Clock, GuestClock};
use crate::environment::Environment;
use crate::http::{Hooks, HttpPolicy};
use crate::imports::{self, Settings};
use crate::limits::Limits;
use crate::log::Log;
use crate::store::Store;
use crate::wasi;

/// What the store of a broker instance holds.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    table: ResourceTable,
    pub(crate) limits: Limits,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Option<Arc<dyn Settings>>,
}

/// Everything that a broker instance is lent.
pub(crate) struct Lent {
    pub(crate) environment: Environment,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Option<Random>,
    pub(crate) http: Arc<dyn HttpPolicy>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Option<Arc<dyn Settings>>,
    pub(crate) log: Log,
    pub(crate) max_memory: usize,
}

/// Makes broker instances that are all lent the same.
pub(crate) struct Template {
    pub(crate) lent: Lent,
    pre: InstancePre<State>,
}

impl Template {
    pub(crate) fn new(engine: &Engine, component: &Component, lent: Lent) -> Result<Self> {
        let mut linker = Linker::new(engine);
        wasi::add_to_linker(&mut linker)?;
        imports::add_to_linker(&mut linker)?;
        Ok(Self { lent, pre: linker.instantiate_pre(component)? })
    }

    /// A fresh instance in a store of its own.
    pub(crate) async fn instantiate(&self) -> Result<(WasmStore<State>, wasmtime::component::Instance)> {
        let mut store = WasmStore::new(self.pre.engine(), self.state()?);
        store.limiter(|state| &mut state.limits);
        let instance = self.pre.instantiate_async(&mut store).await?;
        Ok((store, instance))
    }

    fn state(&self) -> Result<State> {
        let Lent { clock, random, log, .. } = &self.lent;
        let mut wasi = WasiCtxBuilder::new();
        wasi.stderr(log.clone());
        wasi.wall_clock(GuestClock(Arc::clone(clock)));
        wasi.monotonic_clock(GuestClock(Arc::clone(clock)));
        if let Some(random) = random {
            wasi.secure_random(random.clone());
            wasi.insecure_random(random.clone());
        }
        self.lent.environment.lend(&mut wasi)?;
        Ok(State {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks { policy: Arc::clone(&self.lent.http), log: log.clone() },
            table: ResourceTable::new(),
            limits: Limits::new(self.lent.max_memory),
            store: Arc::clone(&self.lent.store),
            settings: self.lent.settings.clone(),
        })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// A source of random bytes that every instance draws from.
#[derive(Clone)]
pub(crate) struct Random(Arc<Mutex<Fill>>);

type Fill = dyn FnMut(&mut [u8]) + Send;

impl Random {
    pub(crate) fn new(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(fill)))
    }

    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&self, bytes: &mut [u8]) {
        (self.0.lock().unwrap_or_else(PoisonError::into_inner))(bytes);
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}
