//! The program `mock-identity`.

use std::io::{Write as _, stderr, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use mock_identity::{Mock, MockConfig};
use tokio::signal::unix::{SignalKind, signal};

/// Run a mock of Azure's identity platform: managed identity endpoints, Entra ID and a key vault.
///
/// Prints its URL on stdout and serves until SIGINT or SIGTERM. The page at that URL lists the environment variables that
/// point Azure's SDKs at the mock. The signing key of its tokens is public: no real service accepts them.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Address to listen on; port 0 selects a free port [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Second address, for clients that may not send requests to the address that gives them tokens
    #[arg(long, value_name = "ADDRESS")]
    also_listen: Option<SocketAddr>,
    /// Address to listen on with TLS; clients of Entra ID and Key Vault need it
    #[arg(long, value_name = "ADDRESS")]
    listen_tls: Option<SocketAddr>,
    /// Write the certificate authority of the TLS listener, new at each start, to this file (PEM)
    #[arg(long, value_name = "FILE")]
    tls_ca_out: Option<PathBuf>,
    /// Configuration file (TOML): identities, apps, audiences, lifetimes, secrets, faults. Default: see --print-config
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the default configuration and exit
    #[arg(long)]
    print_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  mock-identity --listen 127.0.0.1:8181
  AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:8181 python3 app.py
  curl http://127.0.0.1:8181/admin/faults \\
    -d '{\"endpoint\":\"imds\",\"answer\":{\"status\":{\"code\":503}},\"times\":2}'
  mock-identity --listen-tls 127.0.0.1:8443 --tls-ca-out ca.pem
  mock-identity --print-config > mock.toml && mock-identity --config mock.toml";

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            _ = writeln!(stderr(), "mock-identity: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    if arguments.print_config {
        return print(MockConfig::DEFAULT_TOML);
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mock = start(arguments).await?;
    print(&format!("{}\n", mock.url()))?;
    // Nobody needs to read them.
    if let Some(url) = mock.also_url() {
        _ = writeln!(stderr(), "second address: {url}");
    }
    if let Some(url) = mock.tls_url() {
        _ = writeln!(stderr(), "with TLS: {url}");
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    mock.shutdown().await;
    Ok(())
}

/// Write to stdout. A closed pipe is an error, and does not panic.
fn print(text: &str) -> Result<()> {
    let mut stdout = stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.context("cannot write to stdout")
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
        let authority =
            mock.ca_pem().context("--tls-ca-out needs --listen-tls; fix: add `--listen-tls 127.0.0.1:0`")?;
        std::fs::write(path, authority).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(mock)
}
