//! `cargo xtask bench`: what calls, starts and memory cost.

use std::process::ExitCode;

use anyhow::Result;

use crate::{build, process, say, setup};

/// Arguments of the benchmark itself
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Passed on
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build::components(&setup::toolchain()?)?;
    // A peer to compare with, where it can be had.
    setup::python();
    say::step("bench");
    let mut bench = process::cargo();
    bench.args(["run", "--release", "-p", "host-test", "--bin", "bench", "--"]).args(&options.arguments);
    process::run(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}
