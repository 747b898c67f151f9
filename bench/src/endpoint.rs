//! Tokens for Azure's SDKs over HTTP: our two endpoints, each on one core; the other core makes the load.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use host_test::endpoint::Program;
use host_test::hosts;
use mock_identity::{Endpoint, Mock, MockConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::report::{Report, Table};
use crate::spread::{Spread, microseconds};

/// The figures of an endpoint
struct Load {
    per_second: Spread,
    /// Microseconds of an answer while nobody else asks
    alone: Spread,
    memory_mib: f64,
    /// At the platform, of 64 connections at once on a cold start
    requests: u64,
}

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let columns =
        ["", "requests/s, 16 connections", "µs, one connection", "requests of 64 cold callers", "MiB"];
    let mut table = Table::new("endpoint", &columns);
    let mock = Mock::start(MockConfig::default()).await?;
    let environment = mock.env(Endpoint::Imds);
    // The first start after a build compiles the component, and needs memory for that.
    drop(Program::token_broker(&environment, None).await?);
    let serve = Program::token_broker(&environment, Some(SERVERS_CORE)).await?;
    let load = measure(&mock, &serve).await?;
    report.at_most("requests of token-broker serve, cold", load.requests as f64, 1.0);
    report.at_least("requests a second of token-broker serve", load.per_second.median, 10_000.0);
    report.at_most("memory of token-broker serve, MiB", load.memory_mib, 48.0);
    table.row(load.cells("token-broker serve"));
    drop(serve);
    if hosts::wasmtime().exists() {
        let wasmtime = Program::wasmtime(&environment, Some(SERVERS_CORE)).await?;
        table.row(measure(&mock, &wasmtime).await?.cells("wasmtime serve"));
    } else {
        report.missing("wasmtime", "cargo xtask setup hosts");
    }
    table.print();
    Ok(())
}

async fn measure(mock: &Mock, program: &Program) -> Result<Load> {
    mock.reset();
    let mut connections = try_join_all((0..64).map(|_| Connection::open(program))).await?;
    try_join_all(connections.iter_mut().map(Connection::ask)).await?;
    let requests = mock.counters().of(Endpoint::Imds).requests;
    let mut alone = Vec::new();
    for _ in 0..ALONE {
        let start = Instant::now();
        connections.first_mut().context("no connection")?.ask().await?;
        alone.push(microseconds(start.elapsed()));
    }
    connections.truncate(CONNECTIONS);
    let mut per_second = Vec::new();
    for _ in 0..BATCHES {
        let start = Instant::now();
        try_join_all(connections.iter_mut().map(async |connection| {
            for _ in 0..PER_CONNECTION {
                connection.ask().await?;
            }
            Ok::<_, anyhow::Error>(())
        }))
        .await?;
        per_second.push((CONNECTIONS * PER_CONNECTION) as f64 / start.elapsed().as_secs_f64());
    }
    Ok(Load {
        per_second: Spread::of(per_second),
        alone: Spread::of(alone),
        memory_mib: program.memory()? as f64 / f64::from(1 << 20),
        requests,
    })
}

impl Load {
    fn cells(&self, name: &str) -> [String; 5] {
        let Self { per_second, alone, memory_mib, requests } = self;
        [
            format!("`{name}`"),
            per_second.to_string(),
            alone.to_string(),
            requests.to_string(),
            format!("{memory_mib:.1}"),
        ]
    }
}

/// A client that keeps its connection
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(program: &Program) -> Result<Self> {
        let stream = TcpStream::connect(program.url().trim_start_matches("http://")).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// A token for the vault; only its beginning is checked.
    async fn ask(&mut self) -> Result<()> {
        self.0.write_all(REQUEST).await?;
        let (mut line, mut length) = (String::new(), None);
        self.0.read_line(&mut line).await?;
        ensure!(line.starts_with("HTTP/1.1 200"), "the endpoint answered {line}");
        while line != "\r\n" {
            line.clear();
            ensure!(self.0.read_line(&mut line).await? > 0, "the endpoint closed the connection");
            let stated = || line.strip_prefix("content-length: ")?.trim_end().parse().ok();
            length = length.or_else(stated);
        }
        let mut body = vec![0; length.context("an answer without its length")?];
        self.0.read_exact(&mut body).await?;
        ensure!(body.starts_with(br#"{"access_token":"eyJ"#), "the endpoint answered something else");
        Ok(())
    }
}

/// The client has the others.
const SERVERS_CORE: usize = 0;
const CONNECTIONS: usize = 16;
const PER_CONNECTION: usize = 200;
const BATCHES: usize = 21;
const ALONE: usize = 501;

const REQUEST: &[u8] =
    b"GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net \
HTTP/1.1\r\nhost: localhost\r\nmetadata: true\r\n\r\n";
