//! The component of `examples/key-vault`, run as a command, with credentials of the broker and nothing else of it.

use anyhow::Result;
use token_broker_host::{Broker, Policy};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::error::Context as _;
use wasmtime::{Engine, Store};
use wasmtime_wasi::p3::bindings::Command;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, default_hooks};

use crate::SCOPE;
use crate::platform::components;

/// The component, ready to run
pub(crate) struct KeyVault {
    engine: Engine,
    component: Component,
    linker: Linker<State>,
}

impl KeyVault {
    /// With a policy of its own: tokens for Key Vault, and no other.
    pub(crate) fn load(engine: &Engine, broker: &Broker) -> Result<Self> {
        let file = components().join("key-vault.wasm");
        let component =
            Component::from_file(engine, &file).with_context(|| format!("cannot load {}", file.display()))?;
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        broker.add_to_linker(&mut linker, Policy::new(Some(SCOPE), None)?)?;
        Ok(Self { engine: engine.clone(), component, linker })
    }

    /// Whether it found the secret
    pub(crate) async fn run(&self, vault: &str) -> Result<bool> {
        let mut store = Store::new(&self.engine, State::new(vault));
        let command = Command::instantiate_async(&mut store, &self.component, &self.linker).await?;
        let ended =
            store.run_concurrent(async |store| command.wasi_cli_run().call_run(store).await).await??;
        Ok(ended.is_ok())
    }
}

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
}

impl State {
    fn new(vault: &str) -> Self {
        let wasi = WasiCtx::builder().inherit_stdout().inherit_stderr().env("KEY_VAULT_URL", vault).build();
        Self { wasi, http: WasiHttpCtx::new(), table: ResourceTable::new() }
    }
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

#[cfg(test)]
mod tests {
    use mock_identity::{Answer, Endpoint, Fault};

    use super::*;
    use crate::platform::Platform;

    #[tokio::test]
    async fn a_token_that_the_vault_refuses_once_is_fetched_anew() {
        let platform = Platform::mock().await.unwrap();
        let mock = platform.mock.as_ref().unwrap();
        // The request without a token, and the first one with a token.
        mock.fault(Fault::new(Endpoint::KeyVault, Answer::status(401)).times(2));

        assert!(read_secret(&platform).await);

        let counters = mock.counters();
        assert_eq!(counters.of(Endpoint::KeyVault).requests, 3);
        assert_eq!(counters.of(Endpoint::Imds).requests, 2);
    }

    #[tokio::test]
    async fn a_token_that_the_vault_keeps_refusing_is_an_error_after_two_tokens() {
        let platform = Platform::mock().await.unwrap();
        let mock = platform.mock.as_ref().unwrap();
        mock.fault(Fault::new(Endpoint::KeyVault, Answer::status(401)).times(9));

        assert!(!read_secret(&platform).await);

        let counters = mock.counters();
        assert_eq!(counters.of(Endpoint::KeyVault).requests, 3);
        assert_eq!(counters.of(Endpoint::Imds).requests, 2);
    }

    async fn read_secret(platform: &Platform) -> bool {
        let broker = platform.broker().await.unwrap();
        let component = KeyVault::load(platform.engine(), &broker).unwrap();
        component.run(platform.vault.as_deref().unwrap()).await.unwrap()
    }
}
