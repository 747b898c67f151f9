//! One application on each host: the requests that its tokens cost, and the time that a token from the store adds to a
//! request.

use std::any::Any;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use host_test::fleet::{Process, Redis};
use host_test::hosts::artefact;
use host_test::nats::Nats;
use host_test::serve::{Reuse, Server};
use host_test::spin::app;
use host_test::spin3::{Backend, Spin3};
use host_test::wash::Wash;
use host_test::wasi::{self, DefaultHooks, State};
use mock_identity::{Endpoint, Mock, MockConfig};
use token_broker_host::{Broker, Environment, Policy, engine_config};
use wasmparser::{Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime_wasi::WasiCtx;

use crate::SCOPE;
use crate::peers::Peer;
use crate::report::{Report, Table, none};
use crate::spread::microseconds;

/// An application that answers `/` with a token and `/health` without one
struct App {
    title: &'static str,
    host: Host,
    mock: Mock,
    /// Its store, which ends with it
    _store: Option<Box<dyn Any>>,
}

enum Host {
    Server(Server),
    Spin(app::App),
    Wash(Wash),
}

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let columns = [
        "",
        "1 cold",
        "30 cold",
        "400 cold",
        "10,000 warm",
        "added, p50, µs",
        "added, p99, µs",
        "memory, KiB",
    ];
    let mut table = Table::new("hosts", &columns);
    for way in Way::ALL {
        let mut cells = vec![way.title().to_owned()];
        for cold in [1, 30, 400] {
            if cold > way.most_at_once() {
                cells.push(none());
                continue;
            }
            let app = way.start().await?;
            app.at_once(cold).await?;
            cells.push(app.fetches().to_string());
            report.at_most(&format!("{}, {cold} cold", app.title), app.fetches() as f64, 1.0);
        }
        let app = way.start().await?;
        app.at_once(1).await?;
        for _ in 0..WARM / AT_ONCE {
            app.at_once(AT_ONCE).await?;
        }
        cells.push((app.fetches() - 1).to_string());
        report.at_most(&format!("{}, warm", app.title), (app.fetches() - 1) as f64, 0.0);
        cells.extend(app.added().await?);
        cells.push(kibibytes(way.component())?);
        table.row(cells);
    }
    table.row(peer(report).await?);
    table.print();
    Ok(())
}

/// A credential of Azure's SDK for each request.
async fn peer(report: &mut Report) -> Result<Vec<String>> {
    let mut cells = vec!["`azure-identity` for Python, a credential for each request".to_owned()];
    for cold in [1, 30, 400] {
        let mock = Mock::start(MockConfig::default()).await?;
        let python = Peer::python(&mock);
        if !python.is_installed() {
            report.missing(python.title, python.fix);
            return Ok(cells);
        }
        let members = cold.min(MEMBERS);
        let processes = (0..cold / members).map(|_| Process::of(python.member(members), members));
        let mut fleet = try_join_all(processes).await?;
        try_join_all(fleet.iter_mut().map(async |process| {
            process.ask(SCOPE).await?;
            process.answers().await
        }))
        .await?;
        cells.push(mock.counters().of(Endpoint::Imds).requests.to_string());
    }
    cells.extend([none(), none(), none(), none()]);
    Ok(cells)
}

/// A host with a store
#[derive(Clone, Copy)]
enum Way {
    Wasmtime,
    Spin,
    Spin3,
    Spin3Redis,
    WasmCloudPooled,
    WasmCloud,
    WasmCloudNats,
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Wasmtime,
        Self::Spin,
        Self::Spin3,
        Self::Spin3Redis,
        Self::WasmCloudPooled,
        Self::WasmCloud,
        Self::WasmCloudNats,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Wasmtime => "wasmtime program, shared broker",
            Self::Spin => "Spin 4.1*, key-value store",
            Self::Spin3 => "Spin 3.6*, key-value store",
            Self::Spin3Redis => "Spin 3.6*, Redis",
            Self::WasmCloudPooled => "wasmCloud, pooled, no store",
            Self::WasmCloud => "wasmCloud, memory of the host",
            Self::WasmCloudNats => "wasmCloud, NATS",
        }
    }

    /// The file of its instances
    fn component(self) -> &'static str {
        match self {
            Self::Wasmtime => "wasmcloud.wasm",
            Self::Spin => "spin-plain.wasm",
            Self::Spin3 | Self::Spin3Redis => "spinkube-composed.wasm",
            Self::WasmCloudPooled | Self::WasmCloud | Self::WasmCloudNats => "wasmcloud-composed.wasm",
        }
    }

    /// `wash` has room for 1000 core instances, of which a composed component takes several, and answers 500 beyond.
    fn most_at_once(self) -> usize {
        match self {
            Self::WasmCloud | Self::WasmCloudNats => 30,
            _ => usize::MAX,
        }
    }

    async fn start(self) -> Result<App> {
        let mock = Mock::start(MockConfig::default()).await?;
        let (host, store): (_, Option<Box<dyn Any>>) = match self {
            Self::Wasmtime => (Host::Server(wasmtime(&mock).await?), None),
            Self::Spin => (Host::Spin(spin(&mock).await?), None),
            Self::Spin3 => (Host::Server(spin3(&mock).serve().await?), None),
            Self::Spin3Redis => {
                let redis = Redis::start().await?;
                let spin =
                    spin3(&mock).with_variable("token_broker_store", &redis.url()).with_host(&redis.url());
                (Host::Server(spin.serve().await?), Some(Box::new(redis)))
            }
            Self::WasmCloudPooled => {
                let pool = "      poolSize: 1\n      maxConcurrency: 1000\n";
                (Host::Wash(wash(&mock, pool, "").await?), None)
            }
            Self::WasmCloud => (Host::Wash(wash(&mock, "", "").await?), None),
            Self::WasmCloudNats => {
                let nats = Nats::start().await?;
                nats.create_bucket("default").await?;
                let interface = format!(
                    "  host_interfaces:\n    - {{namespace: wasmcloud, package: keyvalue, interfaces: [store, cas], \
                     version: 0.2.0, config: {{backend: nats, url: \"{}\"}}}}\n",
                    nats.url()
                );
                (Host::Wash(wash(&mock, "", &interface).await?), Some(Box::new(nats)))
            }
        };
        Ok(App { title: self.title(), host, mock, _store: store })
    }
}

impl App {
    async fn get(&self, path: &str) -> Result<()> {
        let (status, body) = match &self.host {
            Host::Server(server) => server.get(path).await?,
            Host::Spin(app) => app.server(ROUTE).context("no route")?.get(path).await?,
            Host::Wash(wash) => wash.get(path, &[]).await?,
        };
        ensure!(
            status == 200 && (body == "ok\n" || body.starts_with("Bearer")),
            "{}: {status} {body}",
            self.title
        );
        Ok(())
    }

    async fn at_once(&self, requests: usize) -> Result<()> {
        try_join_all((0..requests).map(|_| self.get("/"))).await?;
        Ok(())
    }

    fn fetches(&self) -> u64 {
        self.mock.counters().of(Endpoint::Imds).requests
    }

    /// The time of a request with a token less that of one without, in turns: the median and the 99th percentile.
    async fn added(&self) -> Result<[String; 2]> {
        let mut times = Vec::new();
        for _ in 0..TIMED {
            let without = self.timed("/health").await?;
            times.push(self.timed("/").await? - without);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times.get(times.len() * share / 100).map(|time| format!("{time:.0}"));
        Ok([at(50), at(99)].map(Option::unwrap_or_default))
    }

    async fn timed(&self, path: &str) -> Result<f64> {
        let start = Instant::now();
        self.get(path).await?;
        Ok(microseconds(start.elapsed()))
    }
}

fn spin3(mock: &Mock) -> Spin3 {
    Spin3::new(Backend::Cosmos)
        .with_store("default")
        .with_variable("token_broker_store_key", KEY)
        .with_imds(mock)
}

/// The linear memory with which an instance of a component begins, all its modules together.
fn kibibytes(file: &str) -> Result<String> {
    let bytes = std::fs::read(artefact(file)?)?;
    let mut pages = 0;
    for payload in Parser::new(0).parse_all(&bytes) {
        if let Payload::MemorySection(memories) = payload? {
            for memory in memories {
                pages += memory?.initial;
            }
        }
    }
    Ok((pages * 64).to_string())
}

/// A fresh instance for each request, as for WASI 0.2.
const FRESH: Reuse = Reuse { requests: 1, concurrent: 1, idle: std::time::Duration::from_secs(1) };

async fn wasmtime(mock: &Mock) -> Result<Server> {
    let engine = Engine::new(&engine_config())?;
    let broker =
        Broker::builder().environment(Environment::from_iter(mock.env(Endpoint::Imds))).build().await?;
    let mut linker = wasi::linker(&engine)?;
    broker.add_to_linker(&mut linker, Policy::default())?;
    let component = Component::from_file(&engine, artefact("wasmcloud.wasm")?)?;
    let state = || State::new(WasiCtx::builder().build(), DefaultHooks, ());
    Server::start(&linker, &component, FRESH, state).await
}

async fn spin(mock: &Mock) -> Result<app::App> {
    let variables = mock
        .env(Endpoint::Imds)
        .into_iter()
        .map(|(name, value)| format!("{} = '{value}'\n", name.to_lowercase()));
    let manifest = format!(
        "[variables]\n[[trigger.http]]\nroute = '{ROUTE}'\ncomponent = 'plain'\n[component.plain]\n\
         key_value_stores = ['default']\nallowed_outbound_hosts = ['{}']\n[component.plain.variables]\n\
         token_broker_store_key = '{KEY}'\n{}",
        mock.url(),
        variables.collect::<String>()
    );
    app::App::start(&manifest, &[], FRESH).await
}

async fn wash(mock: &Mock, pool: &str, interface: &str) -> Result<Wash> {
    let variables = mock.env(Endpoint::Imds).into_iter().chain([("TOKEN_BROKER_STORE_KEY", KEY.to_owned())]);
    let variables: String = variables.map(|(name, value)| format!("      {name}: \"{value}\"\n")).collect();
    Wash::start(&format!(
        "dev:\n  component_path: COMPONENTS/token-broker.wasm\n  components:\n    - name: app\n      \
         file: COMPONENTS/wasmcloud-composed.wasm\n{pool}{interface}workload:\n  allowedHosts: [\"{}\"]\n  \
         environment:\n    config:\n{variables}",
        mock.url()
    ))
    .await
}

const ROUTE: &str = "/...";
const KEY: &str = "dGhlIGtleSBvZiBhIGZsZWV0IGluIGl0cyB0ZXN0cyE=";
const WARM: usize = 10_000;
const AT_ONCE: usize = 16;
const TIMED: usize = 300;
/// The credentials of one process of the SDK
const MEMBERS: usize = 50;
