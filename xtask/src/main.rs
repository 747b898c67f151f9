//! The commands of this repository: `cargo xtask setup | build | plug | dist | demo | test | sim | fuzz | bench | lint`.
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; this builds and runs programs")]

#[cfg(test)]
mod arrows;
mod artefact;
mod bench;
mod build;
mod demo;
mod dist;
mod fuzz;
mod lint;
mod plug;
mod process;
#[cfg(test)]
mod readme;
mod repo;
mod say;
mod setup;
mod sim;
mod spin_app;
mod tally;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// The commands of this repository; `demo` and `test` are all that a newcomer needs
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Bring what building and testing need; again, it takes no time
    Setup(setup::Options),
    /// Build and check the components, into target/components
    Build(build::Options),
    /// Put a broker into a component that needs tokens
    Plug(plug::Options),
    /// Make what a release consists of, into target/dist
    Dist(dist::Options),
    /// Show what the broker does, against a mock of Azure's identity platform
    Demo(demo::Options),
    /// Everything that a change must pass
    Test(test::Options),
    /// Simulate a fleet and everything that goes wrong with it
    Sim(sim::Options),
    /// The property tests of every parser, with as many inputs as told
    Fuzz(fuzz::Options),
    /// Measure
    Bench(bench::Options),
    /// Format, clippy, documentation and licences
    Lint(lint::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Setup(options) => setup::run(&options),
        Command::Build(options) => build::run(&options),
        Command::Plug(options) => plug::run(&options),
        Command::Dist(options) => dist::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Sim(options) => sim::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Lint(options) => lint::run(&options),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
