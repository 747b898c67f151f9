//! The state of a component's store: WASI, its HTTP, and the data of the host.

use wasmtime::Engine;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// The state of a store, with the data of the host and the hooks that send its requests
pub struct State<D = (), H = DefaultHooks> {
    /// The data of the host
    pub data: D,
    /// The hooks of its HTTP
    pub hooks: H,
    /// Its resources
    pub table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
}

/// Requests are sent as wasmtime sends them
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultHooks;

impl<D, H> State<D, H> {
    /// A state without resources
    pub fn new(wasi: WasiCtx, hooks: H, data: D) -> Self {
        Self { data, hooks, table: ResourceTable::new(), wasi, http: WasiHttpCtx::new() }
    }
}

impl<D: Send, H: WasiHttpHooks> WasiView for State<D, H> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl<D: Send, H: WasiHttpHooks> WasiHttpView for State<D, H> {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl WasiHttpHooks for DefaultHooks {}

/// A linker with WASI 0.2 and 0.3, and the HTTP of 0.3
///
/// # Errors
/// When wasmtime defines a name twice.
pub fn linker<D, H>(engine: &Engine) -> wasmtime::Result<Linker<State<D, H>>>
where
    D: Send + 'static,
    H: WasiHttpHooks + 'static,
{
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Ok(linker)
}
