//! `cargo xtask setup`: what building and testing need beyond cargo.

mod components;
mod debian;
mod deny;
mod node;
mod python;
mod redis;
mod toolchain;
mod wrk;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::say;

pub(crate) use deny::cargo_deny;
pub(crate) use toolchain::{Target, Toolchain};

/// What to bring, and how
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Fail if anything cannot be brought, instead of reporting it
    #[arg(long)]
    pub(crate) strict: bool,
    /// Build guests with Debian's compiler, even where rustup has the target
    #[arg(long)]
    debian_toolchain: bool,
}

/// What could not be brought, and the command that brings it
struct Missing {
    what: String,
    command: String,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let began = Instant::now();
    say::step(
        "setup: the wasm targets, the SDKs for Python and Node, what makes components of both, the hosts, Azurite, a \
         Redis server, cargo-deny",
    );
    toolchain::choose(options.debian_toolchain)?;
    let all = [
        components(),
        python(),
        node(),
        example_in_python(),
        examples_in_javascript(),
        hosts(),
        azurite(),
        redis(),
        deny(),
    ];
    let complete = all.into_iter().all(|there| there);
    say::done("setup", began);
    Ok(match options.strict && !complete {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// The compiler of guests: the one that an earlier setup chose, else chosen now
pub(crate) fn toolchain() -> Result<Toolchain> {
    match Toolchain::load() {
        Some(toolchain) => Ok(toolchain),
        None => toolchain::choose(false),
    }
}

/// rustfmt and clippy; false if they cannot be brought here
pub(crate) fn components() -> bool {
    report(components::install())
}

/// Azure's Python SDK, for the tests that use it; false if it cannot be brought here
pub(crate) fn python() -> bool {
    report(python::SDK.install())
}

/// The hosts that people have, wasmtime's command line for one; false if they cannot be brought here
pub(crate) fn hosts() -> bool {
    report(python::HOSTS.install())
}

/// Azure's JavaScript SDK, for the tests that use it; false if it cannot be brought here
pub(crate) fn node() -> bool {
    report(node::SDK.install())
}

/// What the example in Python is built with, and the hosts, for the tests that run it; false if not to be had here
pub(crate) fn example_in_python() -> bool {
    report(python::COMPONENTIZE.install()) & hosts()
}

/// What the examples in JavaScript are built with, and the hosts, for the tests that run them; false if not to be had
/// here
pub(crate) fn examples_in_javascript() -> bool {
    report(node::JCO.install()) & report(node::COMPONENTIZE.install()) & hosts()
}

/// Azure Storage as Microsoft emulates it, for the test of the example that uses it; false if it cannot be brought here
pub(crate) fn azurite() -> bool {
    report(node::AZURITE.install())
}

/// A Redis server, for the tests of stores; false if it cannot be brought here
pub(crate) fn redis() -> bool {
    report(redis::install())
}

/// wrk, for the benchmark of Envoy; false if it cannot be brought here
pub(crate) fn wrk() -> bool {
    report(wrk::install())
}

/// cargo-deny, for the check of licences and sources; false if it cannot be brought here
pub(crate) fn deny() -> bool {
    report(deny::install())
}

fn report(installed: Result<(), Missing>) -> bool {
    if let Err(missing) = &installed {
        say::detail(&format!("missing: {}; bring it with: {}", missing.what, missing.command));
    }
    installed.is_ok()
}
