//! Measures the broker beside Azure's SDKs and Envoy's own filters, all against the mock platform in the same run.
//!
//! `cargo xtask bench` builds what this needs. Each table has its place in docs/benchmarks.md. The exit code is 0 when
//! everything was measured and each limit was met; the limits guard against regressions and leave room for a busy machine.

#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a benchmark is about the clock")]

mod consumer;
mod endpoint;
mod envoy;
mod federation;
mod hosts;
mod injector;
mod machine;
mod peers;
mod report;
mod sharing;
mod size;
mod spread;
mod stampede;
mod tokens;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use report::Report;

/// Measure all sections, or some
#[derive(Parser)]
struct Args {
    /// The sections to measure; all of them by default
    sections: Vec<Section>,
}

/// A file of this program, with the tables of one or more questions
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Cached calls, first tokens and memory, beside Azure's SDKs
    Tokens,
    /// First tokens by the platforms that Entra ID trusts, beside the SDKs that have them
    Federation,
    /// A fleet that starts cold before an IMDS that throttles
    Stampede,
    /// `token-broker serve` and `wasmtime serve`
    Endpoint,
    /// An application's requests through the injector
    Injector,
    /// Sealing, opening and signing
    Sharing,
    /// One application on each host with a store
    Hosts,
    /// Requests through Envoy, beside Envoy's own filters
    Envoy,
    /// The artefacts
    Size,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Args { sections } = Args::parse();
    let sections = if sections.is_empty() { Section::value_variants() } else { &sections };
    let mut report = Report::default();
    for section in sections {
        match section {
            Section::Tokens => tokens::run(&mut report).await?,
            Section::Federation => federation::run(&mut report).await?,
            Section::Stampede => stampede::run(&mut report).await?,
            Section::Endpoint => endpoint::run(&mut report).await?,
            Section::Injector => injector::run(&mut report).await?,
            Section::Sharing => sharing::run(&mut report).await?,
            Section::Hosts => hosts::run(&mut report).await?,
            Section::Envoy => envoy::run(&mut report).await?,
            Section::Size => size::run()?,
        }
    }
    machine::print()?;
    Ok(report.exit_code())
}

/// The scope of every request for a token.
const SCOPE: &str = "https://vault.azure.net/.default";
