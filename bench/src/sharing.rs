//! The cryptography inside the component: sealing and opening a token that instances share, and signing an assertion.
//!
//! Each figure is a difference of two calls that are the same but for one step, and that alternate.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use host_test::fleet::Redis;
use token_broker_host::{
    Broker, Builder, Cache, Decision, Environment, Instance, MemoryStore, RawRequest, RedisStore, Store,
};

use crate::SCOPE;
use crate::report::{Report, Table};
use crate::spread::{Spread, microseconds};

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let mut table = Table::new("sharing", &["", "µs"]);
    let mut row = |report: &mut Report, title: &str, figure: Spread, limit| {
        report.at_most(title, figure.median, limit);
        table.row([title.to_owned(), figure.to_string()]);
    };
    row(report, "seal a token of 1.5 kB and put it into a store", sealed().await?, 500.0);
    row(report, "take it from a store and open it", opened().await?, 500.0);
    match Redis::start().await {
        Ok(redis) => {
            row(report, "the same in a new instance, from Redis on loopback", from(&redis).await?, 5_000.0)
        }
        Err(error) => report.missing(&format!("Redis ({error})"), "cargo xtask setup redis"),
    }
    row(report, "sign an assertion with a certificate's key (PS256, 2048 bits)", signed().await?, 50_000.0);
    table.print();
    Ok(())
}

/// A fetch with claims does not ask the store, and puts the token into it.
async fn sealed() -> Result<Spread> {
    let mut times = Vec::new();
    for _ in 0..PAIRS {
        let mut alone = application(SECRET).instantiate().await?;
        let mut sharing = sharing(MemoryStore::default()).instantiate().await?;
        for nth in 0..CALLS {
            let claims = format!(r#"{{"access_token":{{"nbf":{{"essential":true,"value":"{nth}"}}}}}}"#);
            let request = RawRequest { claims: Some(claims), ..request(0) };
            let without = timed(&mut alone, &request).await?;
            times.push(timed(&mut sharing, &request).await? - without);
        }
    }
    Ok(Spread::of(times))
}

async fn opened() -> Result<Spread> {
    let store = Arc::new(MemoryStore::default());
    let mut first = sharing(Arc::clone(&store)).instantiate().await?;
    let mut second = sharing(store).instantiate().await?;
    let mut times = Vec::new();
    for nth in 0..CALLS {
        timed(&mut first, &request(nth)).await?;
        let opened = timed(&mut second, &request(nth)).await?;
        times.push(opened - timed(&mut second, &request(nth)).await?);
    }
    ensure!(second.stats().await?.store_hits == u64::from(CALLS), "a token was not in the store");
    Ok(Spread::of(times))
}

async fn from(redis: &Redis) -> Result<Spread> {
    let store = RedisStore::new(&redis.url())?;
    timed(&mut sharing(store.clone()).instantiate().await?, &request(0)).await?;
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let mut instance = sharing(store.clone()).instantiate().await?;
        let opened = timed(&mut instance, &request(0)).await?;
        times.push(opened - timed(&mut instance, &request(0)).await?);
        ensure!(instance.stats().await?.store_hits == 1, "the token was not in Redis");
    }
    Ok(Spread::of(times))
}

/// Each fetch is for another tenant and so needs another assertion; one with a client secret does the same but the signature.
async fn signed() -> Result<Spread> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.pem");
    std::fs::write(&path, PEM)?;
    let path = path.to_str().context("a path that is not UTF-8")?;
    let mut secret = application(SECRET).instantiate().await?;
    let mut certificate = application(("AZURE_CLIENT_CERTIFICATE_PATH", path)).instantiate().await?;
    let mut times = Vec::new();
    for nth in 0..CALLS {
        let without = timed(&mut secret, &request(nth)).await?;
        times.push(timed(&mut certificate, &request(nth)).await? - without);
    }
    Ok(Spread::of(times))
}

/// In microseconds.
async fn timed(broker: &mut Instance, request: &RawRequest) -> Result<f64> {
    let start = Instant::now();
    broker.request_token(request).await??;
    Ok(microseconds(start.elapsed()))
}

/// For another tenant, whose token nobody has.
fn request(nth: u32) -> RawRequest {
    RawRequest {
        scopes: vec![SCOPE.to_owned()],
        tenant_id: Some(format!("tenant-{nth}.example")),
        ..RawRequest::default()
    }
}

fn sharing(store: impl Store + 'static) -> Builder {
    with([SECRET, ("TOKEN_BROKER_STORE_KEY", KEY)]).store(store)
}

fn application(credential: (&str, &str)) -> Builder {
    with([credential, ("TOKEN_BROKER_STORE_KEY", "")])
}

/// An application's broker, to which Entra answers in memory.
fn with(more: [(&str, &str); 2]) -> Builder {
    let application = [
        ("AZURE_CLIENT_ID", "00001111-aaaa-2222-bbbb-3333cccc4444"),
        ("AZURE_TENANT_ID", "own.example"),
        ("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*"),
    ];
    let environment = Environment::from_iter(application.into_iter().chain(more));
    let token = "t".repeat(1500);
    let body =
        Bytes::from(format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"{token}"}}"#));
    let answer = move |_: &http::request::Parts| Decision::answer(http::Response::new(body.clone()));
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/cache");
    Broker::builder().cache(Cache::in_directory(cache)).environment(environment).http(answer)
}

const SECRET: (&str, &str) = ("AZURE_CLIENT_SECRET", "a client secret");
/// So many fetches of an instance at once are within its rate limit.
const CALLS: u32 = 90;
const PAIRS: usize = 5;
const KEY: &str = "dGhlIGtleSBvZiBhIGZsZWV0IGluIGl0cyB0ZXN0cyE=";
/// Not a secret: no app trusts it.
const PEM: &str = include_str!("../../tests/core/keys/app.pem");
