//! The store data of a component that gets credentials.

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// The data of a component's wasmtime store: WASI, HTTP through hooks such as an [`Egress`](crate::Egress), and a part
/// of the embedder's own, such as limits.
///
/// It serves the linkers of WASI 0.2 and 0.3, so that an embedder need not implement [`WasiView`] and [`WasiHttpView`].
pub struct ConsumerState<H, D = ()> {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: H,
    table: ResourceTable,
    /// The embedder's part.
    pub data: D,
}

impl<H, D> ConsumerState<H, D> {
    /// The data of a fresh store.
    pub fn new(wasi: WasiCtx, hooks: H, data: D) -> Self {
        Self { wasi, http: WasiHttpCtx::new(), hooks, table: ResourceTable::new(), data }
    }
}

impl<H: Send, D: Send> WasiView for ConsumerState<H, D> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl<H: WasiHttpHooks, D: Send> WasiHttpView for ConsumerState<H, D> {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}
