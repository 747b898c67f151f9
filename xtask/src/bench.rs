//! `cargo xtask bench`: measures calls, starts and memory.

use std::process::ExitCode;

use anyhow::Result;

use crate::setup::{self, Tool};
use crate::{build, process, repo, say};

/// Arguments of the benchmark itself
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Passed on
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build::everything()?;
    say::step("build: the command and the benchmark");
    process::run(
        process::cargo().args(["build", "-p", "token-broker-cli", "-p", "host-test"]).args(OPTIMISED),
    )?;
    peers();
    say::step("bench");
    let mut bench = process::cargo();
    bench.args(["run", "-p", "bench"]).args(OPTIMISED).arg("--").args(&options.arguments);
    // wasmtime makes errors that nobody sees, and with this on takes a backtrace for each.
    bench.env("RUST_BACKTRACE", "0");
    process::run(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}

/// Install the peers of the comparison; the benchmark reports those that are missing.
fn peers() {
    use Tool::{ComponentizeQjs, Hosts, Jco, NodeSdk, PythonSdk, Wrk};
    setup::install(&[PythonSdk, NodeSdk, Jco, ComponentizeQjs, Hosts, Wrk]);
    say::step("build: azure_identity for Rust, a peer");
    let mut peer = process::cargo();
    peer.args(["build", "--release", "--locked", "--manifest-path", PEER]);
    if let Err(error) = process::run(peer.arg("--target-dir").arg(repo::target("peer"))) {
        say::detail(&format!("without this peer: {error:#}"));
    }
}

/// The fleet of host-test is not optimised for tests; here its time is part of the figures.
const OPTIMISED: [&str; 3] = ["--release", "--config", "profile.release.package.host-test.opt-level=3"];
const PEER: &str = "bench/peers/azure-identity/Cargo.toml";
