//! Runs a component three times, each time in a fresh instance, with one broker for all of them.

use token_broker_host::{Broker, ConsumerState, Environment, Policy, engine_config};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Result, Store};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p3::bindings::CommandPre;

#[tokio::main]
async fn main() -> Result<()> {
    let broker = Broker::builder().environment(Environment::inherit()).build().await?;

    let engine = Engine::new(&engine_config())?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    // The components of this linker may get tokens for Key Vault, and no others.
    broker.add_to_linker(&mut linker, Policy::new(Some("https://vault.azure.net/.default"), None)?)?;

    let component = Component::from_file(&engine, "app.wasm")?;
    let command = CommandPre::new(linker.instantiate_pre(&component)?)?;
    for _ in 0..3 {
        let wasi = WasiCtx::builder().inherit_stdio().build();
        let mut store = Store::new(&engine, ConsumerState::new(wasi, (), ()));
        let instance = command.instantiate_async(&mut store).await?;
        let run = store.run_concurrent(async |accessor| instance.wasi_cli_run().call_run(accessor).await);
        _ = run.await??; // an error of the component's own is on stderr
    }
    println!("fetches: {}", broker.stats().await?.fetches);
    Ok(())
}
