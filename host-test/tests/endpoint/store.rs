//! A host of ours that lends a store to the instances of the endpoint.

use std::sync::{Arc, LazyLock};

use host_test::hosts::artefact;
use host_test::serve::{Reuse, Server};
use host_test::wasi;
use mock_identity::{Endpoint, Mock};
use token_broker_host::{Store, add_settings_to_linker, add_store_to_linker, engine_config};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi::WasiCtx;

/// Instances of `token-endpoint-core.wasm` on a host of ours, which all share a store
pub(crate) async fn shared(mock: &Mock, reuse: Reuse, store: Arc<dyn Store>, key: &'static str) -> Server {
    let environment = [mock.env(Endpoint::Imds), vec![("TOKEN_BROKER_STORE_KEY", key.to_owned())]].concat();
    let (component, linker) = &*ENDPOINT;
    Server::start(linker, component, reuse, move || {
        let wasi = WasiCtx::builder().envs(&environment).inherit_stderr().build();
        State::new(wasi, wasi::DefaultHooks, store.clone())
    })
    .await
    .unwrap()
}

type State = wasi::State<Arc<dyn Store>>;

static ENDPOINT: LazyLock<(Component, Linker<State>)> = LazyLock::new(|| {
    let engine = Engine::new(&engine_config()).unwrap();
    let file = artefact("token-endpoint-core.wasm").unwrap();
    (Component::from_file(&engine, file).unwrap(), linker(&engine).unwrap())
});

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = wasi::linker(engine)?;
    add_store_to_linker(&mut linker, |state: &mut State| state.data.clone())?;
    add_settings_to_linker(&mut linker, |_| None)?;
    Ok(linker)
}
