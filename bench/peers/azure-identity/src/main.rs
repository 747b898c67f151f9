//! What azure_identity costs: `cached`, `first` or `herd`, with the mock's App Service in the environment.
//!
//! As `member` it is a process of a fleet, and does as the program `fleet`: it says `ready`, reads scopes, and prints what
//! came of each.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use azure_core::credentials::TokenCredential;
use azure_identity::ManagedIdentityCredential;
use futures::future::join_all;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let credential = ManagedIdentityCredential::new(None)?;
    match std::env::args().nth(1).as_deref() {
        Some("cached") => cached(&credential).await,
        Some("first") => {
            std::io::stdout().write_all(token(&credential).await?.as_bytes())?;
            Ok(())
        }
        Some("herd") => herd(credential).await,
        Some("member") => member(&credential).await,
        _ => Err("cached, first, herd or member?".into()),
    }
}

async fn token(credential: &Arc<ManagedIdentityCredential>) -> Result<String> {
    Ok(credential.get_token(&[SCOPE], None).await?.token.secret().to_owned())
}

async fn cached(credential: &Arc<ManagedIdentityCredential>) -> Result<()> {
    token(credential).await?;
    let mut batches = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        for _ in 0..BATCH {
            credential.get_token(&[SCOPE], None).await?;
        }
        batches.push(start.elapsed().as_secs_f64() / f64::from(BATCH) * 1e6);
    }
    batches.sort_by(f64::total_cmp);
    let (cached_us, memory_mib) = (batches[batches.len() / 2], memory_mib()?);
    println!(r#"{{"version":"{VERSION}","cached_us":{cached_us},"memory_mib":{memory_mib}}}"#);
    Ok(())
}

async fn herd(credential: Arc<ManagedIdentityCredential>) -> Result<()> {
    let callers = (0..32).map(|_| {
        let credential = Arc::clone(&credential);
        tokio::spawn(async move { token(&credential).await })
    });
    for answer in join_all(callers).await {
        answer??;
    }
    Ok(())
}

async fn member(credential: &Arc<ManagedIdentityCredential>) -> Result<()> {
    println!("ready");
    for scope in std::io::stdin().lines() {
        let answer = credential.get_token(&[scope?.trim()], None).await;
        // A token is base64 and dots, which JSON takes as it is; why there is none stays here.
        let token = answer.map(|token| format!(r#""{}""#, token.token.secret()));
        println!(r#"{{"token":{}}}"#, token.as_deref().unwrap_or("null"));
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
