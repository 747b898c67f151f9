//! `cargo xtask demo`: what the broker does, as a user would see it.

use std::process::ExitCode;

use anyhow::Result;

use crate::{build, process, say, setup};

/// Against what
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Ask this machine's own identity endpoint instead of a mock
    #[arg(long)]
    real: bool,
    /// With --real, a user-assigned identity of this machine
    #[arg(long, value_name = "GUID", requires = "real")]
    client_id: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build::components(&setup::toolchain()?)?;
    say::step("build: the command, the mock platform and the demo; wasmtime takes minutes the first time");
    process::run(process::cargo().args([
        "build",
        "--release",
        "-p",
        "token-broker-cli",
        "-p",
        "host-test",
        "--bins",
    ]))?;
    say::step("demo");
    let mut demo = process::cargo();
    demo.args(["run", "--quiet", "--release", "-p", "host-test", "--bin", "demo", "--"]);
    demo.args(options.real.then_some("--real"));
    demo.args(options.client_id.iter().flat_map(|id| ["--client-id", id]));
    process::run(&mut demo)?;
    Ok(ExitCode::SUCCESS)
}
