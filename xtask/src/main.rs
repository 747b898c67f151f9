//! The commands of this repository: `cargo xtask build | test | demo | bench | dist | site | sim | fuzz`, and
//! `setup` and `plug`, which the examples use.
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; this builds and runs programs")]

#[cfg(test)]
mod arrows;
mod artefact;
mod bench;
mod build;
mod demo;
mod dist;
mod fuzz;
mod guest;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod pictures;
mod plug;
mod process;
#[cfg(test)]
mod readme;
mod repo;
mod say;
mod setup;
mod sim;
mod site;
mod spin_app;
mod tally;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// The commands of this repository; start with `demo` and `test`
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Build and check artefacts, into target/components
    Build(build::Options),
    /// Run all checks that a change must pass
    Test(test::Options),
    /// Run the command token-broker against a mock of Azure's identity platform
    Demo(demo::Options),
    /// Measure calls, starts and memory
    Bench(bench::Options),
    /// Make the files of a release, into target/dist
    Dist(dist::Options),
    /// Make the documentation a site, into target/site, and check its links
    Site(site::Options),
    /// Simulate a fleet that shares a store, with faults
    Sim(sim::Options),
    /// Run the property tests of every parser with many inputs
    Fuzz(fuzz::Options),
    /// Install tools that the other commands need; each of them installs its own
    Setup(setup::Options),
    /// Compose a component with a broker, as `wac plug` does
    Plug(plug::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Setup(options) => setup::run(&options),
        Command::Build(options) => build::run(&options),
        Command::Plug(options) => plug::run(&options),
        Command::Dist(options) => dist::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Site(options) => site::run(&options),
        Command::Sim(options) => sim::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Bench(options) => bench::run(&options),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
