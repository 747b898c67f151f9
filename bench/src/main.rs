//! What calls, starts and memory cost, measured against the mock platform in the same run.
//!
//! `cargo xtask bench` builds what this needs. Every figure is a median; a figure that the design promises is printed
//! with its limit, and the exit code says whether all were kept. With the argument `envoy` only Envoy is measured.

#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a benchmark is about the clock")]

mod artefacts;
mod calls;
mod composed;
mod endpoint;
mod envoy;
mod herd;
mod injector;
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
use clap::Parser;
use mock_identity::{Mock, MockConfig};

use report::Report;

/// Measure, all of it or some
#[derive(Parser)]
struct Args {
    /// Only these sections, by the names of their files
    sections: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Args { sections } = Args::parse();
    let wanted = |name: &str| sections.is_empty() || sections.iter().any(|section| section == name);
    let mock = Mock::start(MockConfig::default()).await?;
    let mut report = Report::new();
    if wanted("calls") {
        calls::run(&mock, &mut report).await?;
    }
    if wanted("shared") {
        shared::run(&mock, &mut report).await?;
    }
    if wanted("composed") {
        composed::run(&mock, &mut report).await?;
    }
    if wanted("process") {
        process::run(&mock, &mut report).await?;
    }
    if wanted("injector") {
        injector::run(&mut report).await?;
    }
    if wanted("signing") {
        signing::run(&mut report).await?;
    }
    if wanted("herd") {
        herd::run(&mut report).await?;
    }
    if wanted("sharing") {
        sharing::run(&mut report).await?;
    }
    if wanted("stampede") {
        stampede::run(&mut report).await?;
    }
    if wanted("endpoint") {
        endpoint::run(&mut report).await?;
    }
    if wanted("artefacts") {
        artefacts::run(&mut report)?;
    }
    if wanted("peers") {
        peers::run(&mock, &mut report).await?;
    }
    if wanted("sources") {
        sources::run(&mut report).await?;
    }
    if wanted("envoy") {
        envoy::run(&mut report).await?;
    }
    Ok(report.exit_code())
}

/// What every measurement asks for.
const SCOPE: &str = "https://vault.azure.net/.default";
