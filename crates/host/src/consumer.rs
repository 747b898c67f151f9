//! The store data of a component that gets credentials.

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::network::egress::Egress;

/// The data of a component's wasmtime store: WASI, HTTP through an [`Egress`] or other hooks, and data of the embedder's
/// own, such as limits.
///
/// It serves the linkers of WASI 0.2 and 0.3, so that an embedder need not implement [`WasiView`] and [`WasiHttpView`].
pub struct ConsumerState<D = (), H = Egress> {
    /// The embedder's own data.
    pub data: D,
    /// The hooks that send the component's requests.
    pub hooks: H,
    /// The component's resources.
    pub table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
}

impl<D, H> ConsumerState<D, H> {
    /// The data of a fresh store.
    pub fn new(wasi: WasiCtx, hooks: H, data: D) -> Self {
        Self { data, hooks, table: ResourceTable::new(), wasi, http: WasiHttpCtx::new() }
    }
}

impl<D: Send, H: Send> WasiView for ConsumerState<D, H> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl<D: Send, H: WasiHttpHooks> WasiHttpView for ConsumerState<D, H> {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}
