//! Cached calls, first tokens and memory: the broker in each of its forms, beside Azure's SDKs.

use anyhow::Result;
use host_test::hosts::artefact;
use host_test::wasi;
use mock_identity::{Endpoint, Environment, Mock, MockConfig};
use token_broker_host::{Broker, Policy, engine_config};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::SCOPE;
use crate::consumer::{Consumer, State};
use crate::peers::{Peer, transpile};
use crate::report::{Report, Table, none};
use crate::spread::{BATCH, Spread, per_call};

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let mock = Mock::start(MockConfig::default()).await?;
    let mut all = composed(&mock, report).await?;
    all.extend(shared(&mock, report).await?);
    let in_node = Peer::broker_in_node(&mock);
    if in_node.is_installed() {
        transpile().await?;
    }
    for peer in [in_node, Peer::rust(&mock), Peer::python(&mock), Peer::node(&mock)] {
        match peer.is_installed() {
            true => all.push(of_peer(&mock, &peer).await?),
            false => report.missing(peer.title, peer.fix),
        }
    }
    print(&all);
    Ok(())
}

/// A way to get tokens, and its figures
struct Way {
    title: String,
    /// Microseconds
    cached: Spread,
    /// Milliseconds
    first: Option<Spread>,
    /// Of 32 cold callers
    requests: Option<u64>,
    /// Of a component linear memory, of an SDK the process, in MiB
    memory: Option<f64>,
}

/// A component with a broker of its own.
async fn composed(mock: &Mock, report: &mut Report) -> Result<Vec<Way>> {
    let engine = Engine::new(&engine_config())?;
    let component = Component::from_file(&engine, artefact("consumer-composed.wasm")?)?;
    let pre = wasi::linker(&engine)?.instantiate_pre(&component)?;
    let environment = mock.env(Endpoint::Imds);
    let mut consumer = Consumer::new(&pre, &environment).await?;
    consumer.get_at_once(CALLERS).await?;
    let requests = mock.counters().of(Endpoint::Imds).requests;
    report.at_most("requests of cold callers in a composed component", requests as f64, 1.0);
    let (get, peek) = (consumer.cached_get().await?, consumer.cached_peek().await?);
    report.at_most("get-token of a composed component, µs", get.median, 15.0);
    report.at_most("peek-token of a composed component, µs", peek.median, 5.0);
    report.at_most("linear memory of a composed component, KiB", consumer.kibibytes(), 1024.0);
    let first = Consumer::first(&pre, &environment).await?;
    report.at_most("first token of a composed component, µs", first.median, 20_000.0);
    Ok(vec![
        Way {
            title: "component with its own broker, `get-token`".to_owned(),
            cached: get,
            first: Some(first.divided_by(1e3)),
            requests: Some(requests),
            memory: Some(consumer.kibibytes() / 1024.0),
        },
        Way {
            title: "component with its own broker, `peek-token`".to_owned(),
            cached: peek,
            first: None,
            requests: None,
            memory: None,
        },
    ])
}

/// One broker of a wasmtime program: for the program itself, and for a component that is linked to it.
async fn shared(mock: &Mock, report: &mut Report) -> Result<Vec<Way>> {
    let environment: Environment = mock.env(Endpoint::Imds);
    let broker = Broker::builder().environment(environment.into_iter().collect()).build().await?;
    mock.reset();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let broker = broker.clone();
            tokio::spawn(async move { broker.get_token(SCOPE).await.map(drop) })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let requests = mock.counters().of(Endpoint::Imds).requests;
    report.at_most("requests of cold callers of a shared broker", requests as f64, 1.0);
    let own = per_call(BATCH, async || {
        for _ in 0..BATCH {
            broker.get_token(SCOPE).await?;
        }
        Ok(())
    })
    .await?;
    report.at_most("get-token of a shared broker's embedder, µs", own.median, 1.0);

    let engine = Engine::new(&engine_config())?;
    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    broker.add_to_linker(&mut linker, Policy::new(Some(SCOPE), None)?)?;
    let component = Component::from_file(&engine, artefact("consumer.wasm")?)?;
    let pre = linker.instantiate_pre(&component)?;
    let nothing = Environment::default();
    let mut consumer = Consumer::new(&pre, &nothing).await?;
    let linked = consumer.cached_get().await?;
    report.at_most("get-token of a component with a shared broker, µs", linked.median, 5.0);
    Ok(vec![
        Way {
            title: "component with a shared broker, `get-token`".to_owned(),
            cached: linked,
            first: Some(Consumer::first(&pre, &nothing).await?.divided_by(1e3)),
            requests: None,
            memory: Some(consumer.kibibytes() / 1024.0),
        },
        Way {
            title: "wasmtime program with a broker, `get_token`".to_owned(),
            cached: own,
            first: None,
            requests: Some(requests),
            memory: None,
        },
    ])
}

async fn of_peer(mock: &Mock, peer: &Peer) -> Result<Way> {
    let figures = peer.measure().await?;
    Ok(Way {
        title: format!("{} ({})", peer.title, figures.version),
        cached: Spread::of(figures.cached_us),
        first: (!figures.first_ms.is_empty()).then(|| Spread::of(figures.first_ms)),
        requests: peer.herd(mock).await?,
        memory: Some(figures.memory_mib),
    })
}

fn print(all: &[Way]) {
    let columns = [
        "",
        "cached call, µs",
        "of the Rust SDK's",
        "first token, ms",
        "requests of 32 callers",
        "memory, MiB",
    ];
    let mut table = Table::new("tokens", &columns);
    let rust = all.iter().find(|way| way.title.starts_with(Peer::RUST)).map(|way| way.cached.median);
    for Way { title, cached, first, requests, memory } in all {
        table.row([
            title.clone(),
            cached.to_string(),
            rust.map_or_else(none, |rust| format!("{:.1} ×", cached.median / rust)),
            first.map_or_else(none, |first| first.to_string()),
            requests.map_or_else(none, |requests| requests.to_string()),
            memory.map_or_else(none, |memory| format!("{memory:.1}")),
        ]);
    }
    table.print();
}

const CALLERS: u32 = 32;
