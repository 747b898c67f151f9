//! `cargo xtask test`: everything that a change must pass.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::setup::{self, Toolchain};
use crate::tally::Tally;
use crate::{build, dist, lint, process, repo, say, sim};

/// What to do about what is missing
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fail if anything is skipped
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut tally = Tally::default();
    let mut toolchain = Err(anyhow::anyhow!("setup did not run"));
    tally.check("setup", || {
        toolchain = setup::toolchain();
        toolchain.as_ref().map(|_| ()).map_err(|error| anyhow::anyhow!("{error:#}"))
    });
    if let Ok(toolchain) = toolchain {
        steps(&mut tally, &toolchain)?;
    }
    Ok(tally.finish(options.strict))
}

fn steps(tally: &mut Tally, toolchain: &Toolchain) -> Result<()> {
    tally.check("build", || build::components(toolchain));
    artefacts(tally, toolchain);
    tally.check("dist", || dist::release(toolchain, None).map(drop));
    lint::checks(tally, toolchain)?;
    tally.tests(process::cargo().args(["test", "--no-fail-fast"]).args(packages(LIGHT)));
    tally.tests(&mut sim::command(SIMULATED));
    for released in [HOST, END_TO_END] {
        let mut tests = process::cargo();
        tests.args(["test", "--no-fail-fast", "--release"]);
        tests.args(released.iter().flat_map(|(name, _)| ["-p", *name]));
        tests.args(all_that_can_run(tally, released)?);
        tally.tests(&mut tests);
    }
    Ok(())
}

fn packages<'a>(names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    names.iter().flat_map(|name| ["-p", name])
}

/// What to test where something cannot be had; nothing is said where all is there
///
/// Cargo can be told which tests to run, and not which to leave out.
fn all_that_can_run(tally: &mut Tally, packages: &[Package]) -> Result<Vec<String>> {
    let tests = integration_tests(packages)?;
    let needs = NEEDS.iter().filter(|(name, _)| tests.iter().any(|test| test == name));
    let lacking: Vec<&str> = needs.filter(|(_, bring)| !bring()).map(|(test, _)| *test).collect();
    lacking.iter().for_each(|_| tally.skip());
    if lacking.is_empty() {
        return Ok(vec![]);
    }
    let others = tests.into_iter().filter(|name| !lacking.contains(&name.as_str()));
    let kinds = ["--lib", "--bins"].map(str::to_owned);
    Ok(kinds.into_iter().chain(others.flat_map(|name| ["--test".to_owned(), name])).collect())
}

/// The names of the integration tests of these packages
fn integration_tests(packages: &[Package]) -> Result<Vec<String>> {
    let mut tests = Vec::new();
    for (_, folder) in packages {
        let folder = repo::path(folder).join("tests");
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            let is_test = path.extension().is_some_and(|it| it == "rs") || path.join("main.rs").exists();
            tests.extend(
                path.file_stem().and_then(|name| name.to_str()).filter(|_| is_test).map(str::to_owned),
            );
        }
    }
    tests.sort();
    Ok(tests)
}

fn clients_and_hosts() -> bool {
    [setup::python(), setup::node(), setup::hosts()].into_iter().all(|there| there)
}

fn azurite_and_hosts() -> bool {
    [setup::azurite(), setup::hosts()].into_iter().all(|there| there)
}

fn artefacts(tally: &mut Tally, toolchain: &Toolchain) {
    say::step("the components: imports, contract, size");
    for check in build::checks(toolchain) {
        tally.count(build::report(&check));
    }
}

/// Seeds of the simulator: half a minute on two cores.
const SIMULATED: u64 = 3000;
/// What needs no wasmtime, and of the components what needs no host.
const LIGHT: &[&str] = &[
    "token-broker",
    "token-broker-cipher",
    "token-broker-client",
    "token-broker-egress",
    "token-broker-identity-endpoint",
    "adapter-spin",
    "envoy-filter",
    "sql",
    "test-support",
    "xtask",
];
/// The tests that need more than cargo brings, and what brings it
const NEEDS: &[Need] = &[
    ("sdk_python", setup::python),
    ("sdk_node", setup::node),
    ("parity", setup::python),
    ("client_in_spin_sdk", setup::hosts),
    ("example_in_python", setup::example_in_python),
    ("examples_in_javascript", setup::examples_in_javascript),
    ("examples_by_the_command", azurite_and_hosts),
    ("envoy", setup::hosts),
    ("fleet", setup::redis),
    ("endpoint", clients_and_hosts),
    ("injector_in_wasmtime", setup::hosts),
];
type Need = (&'static str, fn() -> bool);
/// A package, and its folder
type Package = (&'static str, &'static str);
/// By themselves, so that the host is tested with its default features: the end-to-end tests need it with Redis.
const HOST: &[Package] = &[
    ("token-broker-host", "crates/host"),
    ("token-broker-cli", "crates/cli"),
    ("mock-identity", "crates/mock-identity"),
];
const END_TO_END: &[Package] = &[("host-test", "host-test"), ("wasmtime-app", "examples/wasmtime-app")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_needs_something_is_one_and_the_folders_of_tests_are_none() {
        let tests = integration_tests(&[HOST, END_TO_END].concat()).unwrap();
        let there = |name: &str| tests.iter().any(|test| test == name);
        assert!(["cli", "conformance", "mock", "serves"].into_iter().all(there), "{tests:?}");
        assert!(NEEDS.iter().all(|(name, _)| there(name)), "{tests:?}");
        assert!(!there("stage") && !there("process") && !there("sdk"), "{tests:?}");
    }
}
