//! What calls, starts and memory cost, measured against the mock platform in the same run.
//!
//! `cargo xtask bench` builds what this needs. Every figure is a median; a figure that the design promises is printed
//! with its limit, and the exit code says whether all were kept. With the argument `envoy` only Envoy is measured.

#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a benchmark is about the clock")]

mod artefacts;
mod calls;
mod composed;
mod envoy;
mod herd;
mod peers;
mod plot;
mod process;
mod report;
mod shared;
mod sharing;
mod signing;
mod sources;
mod stampede;
mod timing;

use std::process::ExitCode;

use anyhow::Result;
use host_test::mock::{Mock, MockConfig};

use report::Report;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut report = Report::new();
    if std::env::args().nth(1).as_deref() == Some("envoy") {
        envoy::run(&mut report).await?;
        return Ok(report.exit_code());
    }
    let mock = Mock::start(MockConfig::default()).await?;
    calls::run(&mock, &mut report).await?;
    shared::run(&mock, &mut report).await?;
    composed::run(&mock, &mut report).await?;
    process::run(&mock, &mut report).await?;
    signing::run(&mut report).await?;
    herd::run(&mut report).await?;
    sharing::run(&mut report).await?;
    stampede::run(&mut report).await?;
    artefacts::run(&mut report)?;
    peers::run(&mock, &mut report).await?;
    sources::run(&mut report).await?;
    envoy::run(&mut report).await?;
    Ok(report.exit_code())
}

/// What every measurement asks for.
const SCOPE: &str = "https://vault.azure.net/.default";
