//! `cargo xtask sim`: runs the simulator of `tests/sim` with more seeds than the tests do, or one seed again.

mod mutants;

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::process;

/// Which seeds to run
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Number of seeds
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run one seed
    #[arg(long)]
    seed: Option<u64>,
    /// Apply each mutation of tests/sim/mutants.toml to the core, and check that the simulator detects it
    #[arg(long)]
    mutants: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.mutants {
        return mutants::run(options.seeds);
    }
    let mut command = command(options.seeds);
    command.args(["--", "--nocapture"]);
    command.env("SIM_FROM", options.from.to_string());
    if let Some(seed) = options.seed {
        command.env("SIM_SEED", seed.to_string());
    }
    process::run(&mut command)?;
    Ok(ExitCode::SUCCESS)
}

/// The simulator with this number of seeds
pub(crate) fn command(seeds: u64) -> Command {
    let mut command = process::cargo();
    command.args(["test", "--release", "-p", "token-broker", "--test", "sim"]);
    command
        .env_remove("SIM_SEED")
        .env_remove("SIM_FROM")
        .env("SIM_SEEDS", seeds.to_string())
        .env("RUST_BACKTRACE", "0");
    command
}
