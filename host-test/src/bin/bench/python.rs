//! Azure's own Python SDK, on the same machine, against the same mock.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use host_test::mock::{Endpoint, Mock};
use serde::Deserialize;
use tokio::process::Command;

use crate::process::first_token;
use crate::report::Report;
use crate::timing::milliseconds;

/// What `bench/azure_identity.py` prints.
#[derive(Deserialize)]
struct Figures {
    version: String,
    cached_us: f64,
    memory_mib: f64,
}

pub(crate) async fn run(mock: &Mock, report: &mut Report) -> Result<()> {
    let python = file("../target/venv/bin/python");
    if !python.exists() {
        report.section("azure-identity for Python");
        report.skip("all of it", "`cargo xtask setup` makes target/venv");
        return Ok(());
    }
    let output = script(&python, mock, "cached").output().await?;
    let figures: Figures = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("azure_identity.py said {}", String::from_utf8_lossy(&output.stderr)))?;
    report.section(&format!("azure-identity {} for Python", figures.version));
    report.figure("cached get_token", figures.cached_us, "us");
    report.figure(
        "process start to first token",
        milliseconds(first_token(script(&python, mock, "first")).await?),
        "ms",
    );
    report.figure("memory", figures.memory_mib, "MiB");
    let before = mock.counters().of(Endpoint::Imds).requests;
    script(&python, mock, "herd").output().await?;
    let requests = mock.counters().of(Endpoint::Imds).requests - before;
    report.figure("32 cold callers at once, requests sent", requests as f64, "");
    Ok(())
}

fn script(python: &Path, mock: &Mock, mode: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(file("bench/azure_identity.py")).arg(mode).envs(mock.imds_env());
    command
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
