//! `cargo xtask test`: everything that a change must pass.

use std::process::ExitCode;

use anyhow::Result;

use crate::setup::{self, Toolchain};
use crate::tally::Tally;
use crate::{artefact, build, cases, lint, process, say};

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
    lint::checks(tally, toolchain)?;
    tally.check("every source has a conformance case", cases::every_source_has_one);
    tally.tests(process::cargo().args(["test", "--no-fail-fast"]).args(LIGHT));
    let mut with_wasmtime = process::cargo();
    with_wasmtime.args(["test", "--no-fail-fast", "--release"]).args(WITH_WASMTIME);
    with_wasmtime.args(all_but_missing_sdks(tally));
    tally.tests(&mut with_wasmtime);
    tally.tests(process::cargo().args(["run", "--release", "-p", "host-test", "--bin", "conformance"]));
    Ok(())
}

/// What to test where not every SDK can be had; nothing is said where all are there
fn all_but_missing_sdks(tally: &mut Tally) -> Vec<&'static str> {
    let sdks = [("sdk_python", setup::python()), ("sdk_node", setup::node())];
    if sdks.iter().all(|(_, there)| *there) {
        return vec![];
    }
    let mut arguments = WITHOUT_SDKS.to_vec();
    for (test, there) in sdks {
        match there {
            true => arguments.extend(["--test", test]),
            false => tally.skip(),
        }
    }
    arguments
}

fn artefacts(tally: &mut Tally, toolchain: &Toolchain) {
    say::step("the components: imports, contract, size");
    for check in artefact::checks(toolchain) {
        tally.count(build::report(&check));
    }
}

const LIGHT: [&str; 6] = ["-p", "token-broker", "-p", "token-broker-client", "-p", "xtask"];
/// Everything but the tests that need one of Azure's SDKs.
const WITHOUT_SDKS: [&str; 12] = [
    "--lib",
    "--bins",
    "--test",
    "cli",
    "--test",
    "mock",
    "--test",
    "conformance",
    "--test",
    "host",
    "--test",
    "key_vault",
];
const WITH_WASMTIME: [&str; 6] = ["-p", "token-broker-host", "-p", "host-test", "-p", "wasmtime-app"];
