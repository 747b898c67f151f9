//! Tokens for Azure SDKs over HTTP: our two endpoints, each on one core, and what the SDK for Python does by itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use host_test::endpoint::Program;
use host_test::hosts;
use mock_identity::{Endpoint, Environment, Mock, MockConfig};
use serde::Deserialize;
use test_support::sdk::Sdk;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::process::TokenBroker;
use crate::report::Report;
use crate::timing::{median, milliseconds};

/// What an endpoint does under load.
struct Load {
    per_second: f64,
    /// Of an answer while nobody else asks, in milliseconds.
    alone: f64,
    memory: u64,
    /// At the platform, of 64 connections on a cold start.
    requests: u64,
}

/// What the SDK makes of an endpoint when each call begins anew.
#[derive(Deserialize)]
struct Fresh {
    per_second: f64,
    memory_mib: f64,
}

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    report.section("an endpoint for Azure SDKs on one core, audit lines and all");
    if TokenBroker::find()?.is_none() {
        report.skip("all of it", TokenBroker::COMES_BY);
        return Ok(());
    }
    report.columns(&["requests/s", "alone, ms", "memory, MiB", "asked cold, 64"]);
    let mock = Mock::start(MockConfig::default()).await?;
    let serve = Program::token_broker(&mock.env(Endpoint::Imds), Some(SERVERS_CORE)).await?;
    let load = load(&mock, &serve).await?;
    ensure!(load.requests == 1, "token-broker serve made {} requests", load.requests);
    report.row("token-broker serve", &load.cells());
    if hosts::wasmtime().exists() {
        let wasmtime = Program::wasmtime(&mock.env(Endpoint::Imds), Some(SERVERS_CORE)).await?;
        report.row("wasmtime serve", &self::load(&mock, &wasmtime).await?.cells());
    } else {
        report.skip("wasmtime serve", "`cargo xtask setup` makes target/hosts");
    }
    if Sdk::Python.program().exists() {
        let (imds, ours) = (fresh(&mock.env(Endpoint::Imds)).await?, fresh(&serve.imds_env()).await?);
        report.figure("azure-identity for Python, a credential a call, from IMDS", imds.per_second, "/s");
        report.figure("the same, from token-broker serve", ours.per_second, "/s");
        report.figure("its memory", ours.memory_mib, "MiB");
    } else {
        report.skip("the SDK for Python", "`cargo xtask setup` makes target/venv");
    }
    Ok(())
}

async fn load(mock: &Mock, program: &Program) -> Result<Load> {
    mock.reset();
    let mut connections = try_join_all((0..64).map(|_| Connection::open(program))).await?;
    try_join_all(connections.iter_mut().map(Connection::ask)).await?;
    let requests = mock.counters().of(Endpoint::Imds).requests;
    let mut alone = Vec::new();
    for _ in 0..ALONE {
        let start = Instant::now();
        connections.first_mut().context("no connection")?.ask().await?;
        alone.push(start.elapsed());
    }
    connections.truncate(CONNECTIONS);
    let (start, count) = (Instant::now(), CONNECTIONS * PER_CONNECTION);
    try_join_all(connections.iter_mut().map(async |connection| {
        for _ in 0..PER_CONNECTION {
            connection.ask().await?;
        }
        Ok::<_, anyhow::Error>(())
    }))
    .await?;
    let per_second = count as f64 / start.elapsed().as_secs_f64();
    Ok(Load { per_second, alone: milliseconds(median(alone)), memory: program.memory()?, requests })
}

impl Load {
    fn cells(&self) -> [String; 4] {
        let memory = self.memory as f64 / f64::from(1 << 20);
        [
            format!("{:.0}", self.per_second),
            format!("{:.3}", self.alone),
            format!("{memory:.1}"),
            self.requests.to_string(),
        ]
    }
}

/// A client that keeps its connection.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(program: &Program) -> Result<Self> {
        let stream = TcpStream::connect(program.url().trim_start_matches("http://")).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// A token for the vault; that it is one is looked at no further.
    async fn ask(&mut self) -> Result<()> {
        self.0.write_all(REQUEST).await?;
        let (mut line, mut length) = (String::new(), None);
        self.0.read_line(&mut line).await?;
        ensure!(line.starts_with("HTTP/1.1 200"), "it answered {line}");
        while line != "\r\n" {
            line.clear();
            ensure!(self.0.read_line(&mut line).await? > 0, "it closed the connection");
            let said = || line.strip_prefix("content-length: ")?.trim_end().parse().ok();
            length = length.or_else(said);
        }
        let mut body = vec![0; length.context("an answer without its length")?];
        self.0.read_exact(&mut body).await?;
        ensure!(body.starts_with(br#"{"access_token":"eyJ"#), "it answered something else");
        Ok(())
    }
}

/// With a credential for each call: what an SDK does in each of many processes, but for the start of the process.
async fn fresh(environment: &Environment) -> Result<Fresh> {
    let mut python = Sdk::Python.script("fresh");
    let output = tokio::time::timeout(PATIENCE, python.envs(environment.iter().cloned()).output()).await??;
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The client has the others.
const SERVERS_CORE: usize = 0;
const CONNECTIONS: usize = 16;
const PER_CONNECTION: usize = 2_000;
const ALONE: usize = 501;
const PATIENCE: Duration = Duration::from_secs(120);

const REQUEST: &[u8] =
    b"GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net \
HTTP/1.1\r\nhost: localhost\r\nmetadata: true\r\n\r\n";
