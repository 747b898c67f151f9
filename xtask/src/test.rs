//! `cargo xtask test`: all checks that a change must pass.

mod delivery;
mod lint;

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use serde_json::Value;

use crate::setup::{self, Tool};
use crate::tally::Tally;
use crate::{artefact, build, dist, process, say, sim};

/// Which checks to run
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fail if anything is skipped
    #[arg(long)]
    strict: bool,
    /// The steps to run; all of them by default
    #[arg(value_name = "STEP", value_parser = PossibleValuesParser::new(STEPS.map(|(name, _)| name)))]
    steps: Vec<String>,
}

/// A part of the checks, in the order in which they run
type Step = (&'static str, fn(&mut Tally) -> Result<()>);

const STEPS: [Step; 8] = [
    ("build", artefacts),
    ("dist", files_of_a_release),
    ("lint", lint::run),
    ("delivery", delivery::run),
    ("unit", unit),
    ("sim", simulation),
    ("host", host),
    ("end-to-end", end_to_end),
];

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut tally = Tally::default();
    let chosen = |name: &str| options.steps.is_empty() || options.steps.iter().any(|step| step == name);
    STEPS.iter().filter(|(name, _)| chosen(name)).try_for_each(|(_, step)| step(&mut tally))?;
    Ok(tally.finish(options.strict))
}

fn artefacts(tally: &mut Tally) -> Result<()> {
    tally.check("build", build::everything);
    say::step("the artefacts: imports, exports, size");
    build::checks().iter().for_each(|check| tally.count(build::report(check)));
    Ok(())
}

fn files_of_a_release(tally: &mut Tally) -> Result<()> {
    tally.check("dist", || dist::release().map(drop));
    tally.check("cargo install, from the packages of the crates", dist::crates::install);
    Ok(())
}

/// The tests that need neither wasmtime nor another host
fn unit(tally: &mut Tally) -> Result<()> {
    tally.tests(process::cargo().args(["test", "--no-fail-fast"]).args(packages(LIGHT)));
    // Alone, it shares its dependencies with the program that runs; among others they have more features.
    tally.tests(process::cargo().args(["test", "-p", "xtask"]));
    Ok(())
}

fn simulation(tally: &mut Tally) -> Result<()> {
    tally.tests(&mut sim::command(SIMULATED));
    Ok(())
}

/// The crates that embed wasmtime, with their default features, and the mock
fn host(tally: &mut Tally) -> Result<()> {
    build::artefacts(&artefact::selected(["token-broker-core"]))?;
    released(tally, HOST)
}

/// The artefacts in wasmtime and other hosts, with clients of Azure's
fn end_to_end(tally: &mut Tally) -> Result<()> {
    // The tests start the command and the mock, which are built as the step before builds them.
    process::run(process::cargo().args(["test", "--no-run", "--release"]).args(packages(HOST)))?;
    released(tally, END_TO_END)
}

fn released(tally: &mut Tally, names: &[&str]) -> Result<()> {
    let mut tests = process::cargo();
    tests.args(["test", "--no-fail-fast", "--release"]).args(packages(names));
    tests.args(all_that_can_run(tally, names)?);
    tally.tests(&mut tests);
    Ok(())
}

fn packages<'a>(names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    names.iter().flat_map(|name| ["-p", name])
}

/// The arguments that select the tests whose tools can be installed here; none if that is all of them
///
/// Cargo has an argument for tests to run, and none for tests to leave out.
fn all_that_can_run(tally: &mut Tally, names: &[&str]) -> Result<Vec<String>> {
    let tests = integration_tests(names)?;
    let needs = NEEDS.iter().filter(|(test, _)| tests.iter().any(|name| name == test));
    let lacking: Vec<&str> =
        needs.filter(|(_, tools)| !setup::install(tools)).map(|(test, _)| *test).collect();
    lacking.iter().for_each(|_| tally.skip());
    if lacking.is_empty() {
        return Ok(vec![]);
    }
    let others = tests.into_iter().filter(|name| !lacking.contains(&name.as_str()));
    let kinds = ["--lib", "--bins"].map(str::to_owned);
    Ok(kinds.into_iter().chain(others.flat_map(|name| ["--test".to_owned(), name])).collect())
}

/// The names of the integration tests of these packages
fn integration_tests(names: &[&str]) -> Result<Vec<String>> {
    let said = process::output(process::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&said)?;
    let list = |of: &Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let packages = list(&metadata, "packages").into_iter();
    let chosen = packages.filter(|it| it["name"].as_str().is_some_and(|name| names.contains(&name)));
    let tests = chosen.flat_map(|it| list(&it, "targets")).filter(|it| it["kind"][0] == "test");
    Ok(tests.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect())
}

/// Seeds of the simulator: half a minute on two cores.
const SIMULATED: u64 = 3000;
/// The packages that need no wasmtime, guests with parts that need no host among them
const LIGHT: &[&str] = &[
    "token-broker",
    "token-broker-cipher",
    "token-broker-client",
    "token-broker-egress",
    "token-broker-identity-endpoint",
    "adapter-spin",
    "adapter-spin3",
    "envoy-filter",
    "sql",
    "test-support",
];
/// By themselves, so that the host is tested with its default features: the end-to-end tests need it with Redis
const HOST: &[&str] = &["token-broker-host", "token-broker-cli", "mock-identity"];
const END_TO_END: &[&str] = &["host-test", "wasmtime-app"];
/// The tools that the pages of the documentation require of their readers
const PAGES: &[Tool] = &[
    Tool::Azurite,
    Tool::ComponentizePy,
    Tool::ComponentizeQjs,
    Tool::Hosts,
    Tool::Jco,
    Tool::NodeSdk,
    Tool::PythonSdk,
    Tool::Wac,
];
/// The tests that need tools
const NEEDS: &[(&str, &[Tool])] = &[
    ("sdk_python", &[Tool::PythonSdk]),
    ("sdk_node", &[Tool::NodeSdk]),
    ("parity", &[Tool::PythonSdk]),
    ("client_in_spin_sdk", &[Tool::Hosts]),
    ("envoy", &[Tool::Hosts]),
    ("fleet", &[Tool::Redis]),
    ("endpoint", &[Tool::PythonSdk, Tool::NodeSdk, Tool::Hosts]),
    ("injector_in_wasmtime", &[Tool::Hosts]),
    ("other_clouds", &[Tool::PythonSdk, Tool::Hosts, Tool::Apache]),
    ("wasmcloud", &[Tool::Hosts, Tool::Redis]),
    ("spin", &[Tool::Redis]),
    ("spin3", &[Tool::Redis]),
    ("quickstarts", PAGES),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_that_needs_tools_is_one() {
        let tests = integration_tests(&[HOST, END_TO_END].concat()).unwrap();
        assert!(NEEDS.iter().all(|(name, _)| tests.iter().any(|test| test == name)), "{tests:?}");
    }
}
