//! A host of ours that lends a store to the instances of the endpoint.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use host_test::serve::{Reuse, Server};
use mock_identity::Mock;
use token_broker_host::{Store, add_settings_to_linker, add_store_to_linker, engine_config};
use wasmtime::{
    Engine,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, default_hooks};

/// Instances of `token-endpoint-core.wasm` on a host of ours, which all share a store
pub(crate) async fn shared(mock: &Mock, reuse: Reuse, store: Arc<dyn Store>, key: &'static str) -> Server {
    let environment = [mock.imds_env(), vec![("TOKEN_BROKER_STORE_KEY", key.to_owned())]].concat();
    let (component, linker) = &*ENDPOINT;
    Server::start(linker, component, reuse, move || State {
        wasi: WasiCtx::builder().envs(&environment).inherit_stderr().build(),
        http: WasiHttpCtx::new(),
        table: ResourceTable::new(),
        store: store.clone(),
    })
    .await
    .unwrap()
}

pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    store: Arc<dyn Store>,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: default_hooks() }
    }
}

static ENDPOINT: LazyLock<(Component, Linker<State>)> = LazyLock::new(|| {
    let engine = Engine::new(&engine_config()).unwrap();
    let file = target("components/token-endpoint-core.wasm");
    assert!(file.exists(), "{} is missing: run `cargo xtask build`", file.display());
    (Component::from_file(&engine, file).unwrap(), linker(&engine).unwrap())
});

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    add_store_to_linker(&mut linker, |state: &mut State| state.store.clone())?;
    add_settings_to_linker(&mut linker, |_| None)?;
    Ok(linker)
}

fn target(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(path)
}
