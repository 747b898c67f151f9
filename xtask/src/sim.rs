//! `cargo xtask sim`: the simulator of `tests/sim`, with more seeds than the tests run, or one of them again.

mod mutants;

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::process;

/// Which seeds to run
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// This seed alone
    #[arg(long)]
    seed: Option<u64>,
    /// Break the core in each of the ways of tests/sim/mutants.toml, and see that the simulator notices
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

/// The simulator with so many seeds
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
