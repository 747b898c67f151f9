//! One process of a fleet: broker instances that share tokens with every other process through a Redis.
//!
//! It says `ready` when its instances are made, reads scopes from its stdin, one a line, asks every instance at once for
//! a token for each, and prints a JSON line for what each instance got. It ends with its stdin.

use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use token_broker_host::{Broker, Cache, Environment, Instance, RedisStore, engine_config};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::Mutex;
use wasmtime::Engine;

/// Instances of a process, and what they share
#[derive(Parser)]
struct Args {
    /// The component, `token-broker-core.wasm`
    #[arg(long)]
    component: String,
    /// Where its compiled form is kept
    #[arg(long)]
    cache: String,
    /// How many instances this process has
    #[arg(long)]
    instances: usize,
    /// The URL of the Redis; without one nothing is shared
    #[arg(long)]
    redis: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let engine = Engine::new(&engine_config())?;
    let store = args.redis.as_deref().map(RedisStore::new).transpose()?;
    let mut instances = Vec::new();
    for _ in 0..args.instances {
        let mut builder = Broker::builder()
            .engine(&engine)
            .component_file(&args.component)
            .cache(Cache::in_directory(&args.cache))
            .environment(Environment::inherit());
        if let Some(store) = &store {
            builder = builder.store(store.clone());
        }
        instances.push(Arc::new(Mutex::new(builder.instantiate().await?)));
    }
    println!("ready");
    let mut scopes = BufReader::new(tokio::io::stdin()).lines();
    while let Some(scope) = scopes.next_line().await? {
        ask_all(&instances, &scope).await?;
    }
    Ok(())
}

async fn ask_all(instances: &[Arc<Mutex<Instance>>], scope: &str) -> Result<()> {
    let scope: Arc<str> = scope.into();
    let call = |instance: &Arc<_>| tokio::spawn(ask(Arc::clone(instance), Arc::clone(&scope)));
    let calls: Vec<_> = instances.iter().map(call).collect();
    for call in calls {
        println!("{}", call.await??);
    }
    Ok(())
}

async fn ask(instance: Arc<Mutex<Instance>>, scope: Arc<str>) -> Result<serde_json::Value> {
    let mut instance = instance.lock().await;
    let answer = instance.get_token(&scope).await?;
    let stats = instance.stats().await?;
    let (token, error) = match answer {
        Ok(token) => (Some(token.token().to_owned()), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(json!({
        "token": token,
        "error": error,
        "fetches": stats.fetches,
        "storeHits": stats.store_hits,
        "storeErrors": stats.store_errors,
        "leaseTakeovers": stats.lease_takeovers,
    }))
}
