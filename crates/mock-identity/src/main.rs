//! The program `mock-identity`.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use mock_identity::{Mock, MockConfig};
use tokio::signal::unix::{SignalKind, signal};

/// A mock of Azure's identity platform, to test managed identity without Azure
///
/// Prints one line with its URL and serves until it is interrupted or terminated. The page at that URL lists the variables
/// that point SDKs at it.
#[derive(Parser)]
struct Arguments {
    /// The address to listen on; port 0 takes a free one [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// A second address, for clients that must send tokens to another address than the one they get them from
    #[arg(long, value_name = "ADDRESS")]
    also_listen: Option<SocketAddr>,
    /// The address to listen on with TLS, which Entra ID needs
    #[arg(long, value_name = "ADDRESS")]
    listen_tls: Option<SocketAddr>,
    /// Write the certificate authority of the TLS listener to this file, as PEM
    #[arg(long, value_name = "FILE")]
    tls_ca_out: Option<PathBuf>,
    /// The configuration: identities, audiences, lifetimes, secrets and faults; the default one if left out
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the default configuration and exit
    #[arg(long)]
    print_config: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.print_config {
        print!("{}", MockConfig::DEFAULT_TOML);
        return Ok(());
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mock = start(&arguments).await?;
    println!("{}", mock.url());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    mock.shutdown().await;
    Ok(())
}

async fn start(arguments: &Arguments) -> Result<Mock> {
    let mut config = match &arguments.config {
        Some(path) => MockConfig::from_file(path)?,
        None => MockConfig::default(),
    };
    config.listen = arguments.listen.unwrap_or(config.listen);
    config.also_listen = arguments.also_listen.or(config.also_listen);
    config.listen_tls = arguments.listen_tls.or(config.listen_tls);
    let mock = Mock::start(config).await?;
    if let Some(path) = &arguments.tls_ca_out {
        let authority = mock.ca_pem().context("--tls-ca-out needs --listen-tls")?;
        std::fs::write(path, authority).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(url) = mock.also_url() {
        eprintln!("and: {url}");
    }
    if let Some(url) = mock.tls_url() {
        eprintln!("with TLS: {url}");
    }
    Ok(mock)
}
