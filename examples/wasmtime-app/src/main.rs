//! A server that runs a fresh component for each request, on one shared token cache.
//!
//! The component is `examples/key-vault`: it reads a secret of a Key Vault and says how long it is. Each request gets
//! an instance of its own, which sees nothing of the others; the token for the vault is fetched once for all of them.

#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a server lives off its environment")]

mod instance;
mod server;

use std::sync::Arc;
use std::time::Duration;

use token_broker_host::{Broker, Environment, Policy, engine_config, flush_log};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use wasmtime::component::{Component, Linker};
use wasmtime::error::Context as _;
use wasmtime::{Engine, Result};

use crate::instance::App;

#[tokio::main]
async fn main() -> Result<()> {
    // One broker for the life of the process, with the identity that this process has.
    let broker = Broker::builder().environment(Environment::inherit()).build().await?;

    // What every instance is linked to: WASI, and credentials for Key Vault and nothing else.
    let engine = Engine::new(&engine_config())?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    broker.add_to_linker(&mut linker, Policy::new(Some("https://vault.azure.net/.default"), None)?)?;

    let file = variable("KEY_VAULT_COMPONENT", "target/components/key-vault.wasm");
    let component = Component::from_file(&engine, &file)
        .with_context(|| format!("cannot load {file}; `cargo xtask build` makes it"))?;
    let app = App::new(linker.instantiate_pre(&component)?, variable("KEY_VAULT_URL", ""))
        .context("KEY_VAULT_URL must be the vault's address")?;

    let listener = TcpListener::bind(variable("LISTEN", "127.0.0.1:8080")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let end = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    server::serve(listener, Arc::new(app), end).await;
    flush_log(LAST_WORDS);
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}

/// How long the end waits for somebody to read the log.
const LAST_WORDS: Duration = Duration::from_secs(1);
