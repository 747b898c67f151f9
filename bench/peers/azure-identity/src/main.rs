//! The Rust crate azure_identity as a peer: `measure` prints its figures, `herd` has 32 cold callers at once, and
//! `member N` is a process of a fleet with N credentials, which speaks as the program `fleet` does.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{ClientOptions, Context, Request, Transport, Url};
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions};
use futures::future::join_all;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let imds = Imds::from_environment()?;
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("measure"), None) => measure(&imds).await,
        (Some("herd"), None) => herd(&imds).await,
        (Some("member"), Some(instances)) => member(&imds, instances.parse()?).await,
        _ => Err("measure, herd or member N?".into()),
    }
}

/// The mock's IMDS. No variable moves the one of this crate, so a policy does; retries and everything else are the
/// crate's own. All credentials share one HTTP client.
struct Imds(ClientOptions);

impl Imds {
    fn from_environment() -> Result<Self> {
        let url: Url = std::env::var("AZURE_POD_IDENTITY_AUTHORITY_HOST")?.parse()?;
        Ok(Self(ClientOptions {
            per_try_policies: vec![Arc::new(Moved(url))],
            transport: Some(Transport::default()),
            ..ClientOptions::default()
        }))
    }

    fn credential(&self) -> Result<Arc<ManagedIdentityCredential>> {
        let client_options = self.0.clone();
        let options = ManagedIdentityCredentialOptions { client_options, ..Default::default() };
        Ok(ManagedIdentityCredential::new(Some(options))?)
    }
}

/// Sends every request to this server.
#[derive(Debug)]
struct Moved(Url);

#[async_trait]
impl Policy for Moved {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let url = request.url_mut();
        let moved = url.set_host(self.0.host_str()).is_ok() && url.set_port(self.0.port()).is_ok();
        assert!(moved, "the URL of the mock has no host");
        next[0].send(ctx, request, &next[1..]).await
    }
}

async fn token(credential: &ManagedIdentityCredential) -> Result<String> {
    Ok(credential.get_token(&[SCOPE], None).await?.token.secret().to_owned())
}

async fn measure(imds: &Imds) -> Result<()> {
    let credential = imds.credential()?;
    token(&credential).await?;
    let mut cached_us = Vec::new();
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..BATCH {
            credential.get_token(&[SCOPE], None).await?;
        }
        cached_us.push(start.elapsed().as_secs_f64() / f64::from(BATCH) * 1e6);
    }
    let memory_mib = memory_mib()?;
    let mut first_ms = Vec::new();
    for _ in 0..FIRST {
        let start = Instant::now();
        token(&*imds.credential()?).await?;
        first_ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        r#"{{"version":"{VERSION}","cached_us":{cached_us:?},"first_ms":{first_ms:?},"memory_mib":{memory_mib}}}"#
    );
    Ok(())
}

async fn herd(imds: &Imds) -> Result<()> {
    let credential = imds.credential()?;
    let callers = (0..32).map(|_| {
        let credential = Arc::clone(&credential);
        tokio::spawn(async move { token(&credential).await })
    });
    for answer in join_all(callers).await {
        answer??;
    }
    Ok(())
}

async fn member(imds: &Imds, instances: usize) -> Result<()> {
    let credentials = (0..instances).map(|_| imds.credential()).collect::<Result<Vec<_>>>()?;
    println!("ready");
    for scope in std::io::stdin().lines() {
        let scope = scope?;
        let calls = credentials.iter().map(|credential| {
            let (credential, scope) = (Arc::clone(credential), scope.trim().to_owned());
            tokio::spawn(async move { credential.get_token(&[&scope], None).await })
        });
        for answer in join_all(calls).await {
            // A token is base64 and dots, which JSON takes as it is; why there is none stays here.
            let token = answer?.map(|token| format!(r#""{}""#, token.token.secret()));
            println!(r#"{{"token":{}}}"#, token.as_deref().unwrap_or("null"));
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The most memory that this process held, as the kernel counts it.
fn memory_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kib / 1024.0)
}

const SCOPE: &str = "https://vault.azure.net/.default";
const VERSION: &str = "1.1.0-beta.1";
const BATCH: u32 = 500;
const BATCHES: usize = 21;
const FIRST: usize = 101;
