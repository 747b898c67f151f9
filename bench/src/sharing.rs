//! What sharing costs an instance: sealing and opening inside the component, and a token that Redis has.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use host_test::fleet::Redis;
use token_broker_host::{
    Broker, Builder, Cache, Decision, Environment, Instance, MemoryStore, RawRequest, RedisStore,
};

use crate::SCOPE;
use crate::report::Report;
use crate::timing::{median, milliseconds};

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    report.section("sharing a token of 1.5 kB");
    let alone = per_fetch(builder("")).await?;
    let sharing = per_fetch(builder(KEY).store(MemoryStore::default())).await?;
    report.promise("seal it and give it to a store, beyond the fetch", sharing - alone, 20.0, "us");
    let (held, opened) = per_hit().await?;
    report.promise("take it from a store and open it, beyond memory", opened - held, 20.0, "us");
    match Redis::start().await {
        Ok(redis) => in_redis(&redis, report).await?,
        Err(why) => report.skip("a fresh instance, from Redis", &why.to_string()),
    }
    Ok(())
}

/// Microseconds of a fetch with claims, for which the store is not asked; what comes is given to it.
async fn per_fetch(builder: Builder) -> Result<f64> {
    let mut broker = builder.instantiate().await?;
    let mut times = Vec::new();
    for nth in 0..CALLS {
        let claims = format!(r#"{{"access_token":{{"nbf":{{"essential":true,"value":"{nth}"}}}}}}"#);
        times.push(timed(&mut broker, RawRequest { claims: Some(claims), ..request(0) }).await?);
    }
    Ok(milliseconds(median(times)) * 1e3)
}

/// Microseconds for a token that memory has, and for one that only the store has.
async fn per_hit() -> Result<(f64, f64)> {
    let store = Arc::new(MemoryStore::default());
    let mut first = builder(KEY).store(Arc::clone(&store)).instantiate().await?;
    let mut later = builder(KEY).store(store).instantiate().await?;
    let (mut held, mut opened) = (Vec::new(), Vec::new());
    for nth in 0..CALLS {
        timed(&mut first, request(nth)).await?;
        opened.push(timed(&mut later, request(nth)).await?);
        held.push(timed(&mut later, request(nth)).await?);
    }
    anyhow::ensure!(later.stats().await?.store_hits == u64::from(CALLS), "a token was not in the store");
    Ok((milliseconds(median(held)) * 1e3, milliseconds(median(opened)) * 1e3))
}

async fn in_redis(redis: &Redis, report: &mut Report) -> Result<()> {
    let store = RedisStore::new(&redis.url())?;
    let mut first = builder(KEY).store(store.clone()).instantiate().await?;
    timed(&mut first, request(0)).await?;
    let (mut fresh, mut held) = (Vec::new(), Vec::new());
    for _ in 0..INSTANCES {
        let mut instance = builder(KEY).store(store.clone()).instantiate().await?;
        fresh.push(timed(&mut instance, request(0)).await?);
        held.push(timed(&mut instance, request(0)).await?);
        anyhow::ensure!(instance.stats().await?.store_hits == 1, "the token was not in Redis");
    }
    let beyond = milliseconds(median(fresh)) - milliseconds(median(held));
    report.promise("a fresh instance, from Redis on loopback, beyond memory", beyond, 1.0, "ms");
    Ok(())
}

async fn timed(broker: &mut Instance, request: RawRequest) -> Result<Duration> {
    let start = Instant::now();
    broker.request_token(&request).await??;
    Ok(start.elapsed())
}

/// For a tenant of its own, whose token nobody has.
fn request(nth: u32) -> RawRequest {
    RawRequest {
        scopes: vec![SCOPE.to_owned()],
        tenant_id: Some(format!("tenant-{nth}")),
        ..RawRequest::default()
    }
}

/// An application's broker, to which Entra answers in memory.
fn builder(key: &str) -> Builder {
    let environment = Environment::from_iter([
        ("AZURE_CLIENT_ID", "00001111-aaaa-2222-bbbb-3333cccc4444"),
        ("AZURE_TENANT_ID", "own"),
        ("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*"),
        ("AZURE_CLIENT_SECRET", "a client secret"),
        ("TOKEN_BROKER_STORE_KEY", key),
    ]);
    let token = "t".repeat(1500);
    let body =
        Bytes::from(format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"{token}"}}"#));
    let answer = move |_: &http::request::Parts| Decision::answer(http::Response::new(body.clone()));
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/cache");
    Broker::builder().cache(Cache::in_directory(cache)).environment(environment).http(answer)
}

const CALLS: u32 = 501;
const INSTANCES: u32 = 101;
const KEY: &str = "dGhlIGtleSBvZiBhIGZsZWV0IGluIGl0cyB0ZXN0cyE=";
