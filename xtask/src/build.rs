//! `cargo xtask build`: the components, into `target/components/`.

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::artefact::{self, ARTEFACTS, Check};
use crate::setup::Toolchain;
use crate::{repo, say, setup, spin_app};

/// What to do about differences
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Accept what the components import now as what they may import
    #[arg(long)]
    bless: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let toolchain = setup::toolchain()?;
    components(&toolchain)?;
    if options.bless {
        artefact::bless(&toolchain)?;
    }
    let broken = checks(&toolchain).iter().filter(|check| !report(check)).count();
    Ok(match broken {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Build and compose every component, and print what each weighs
pub(crate) fn components(toolchain: &Toolchain) -> Result<()> {
    let began = Instant::now();
    say::step("build: the components");
    for artefact in ARTEFACTS {
        let bytes = artefact.build(toolchain)?;
        say::detail(&format!("{:<24}{:>8}", artefact.file(), say::size(bytes)));
    }
    give_to_host()?;
    spin_app::build(toolchain)?;
    say::done("build: target/components", began);
    Ok(())
}

/// Put the broker into the crate that carries it, unless it is there: cargo compiles the crate anew for a new file
fn give_to_host() -> Result<()> {
    let carried = repo::path("crates/host/component/token-broker-core.wasm");
    let built = fs::read(repo::target("components/token-broker-core.wasm"))?;
    if fs::read(&carried).is_ok_and(|there| there == built) {
        return Ok(());
    }
    fs::create_dir_all(carried.with_file_name(""))?;
    fs::write(&carried, built).with_context(|| format!("cannot write {}", carried.display()))
}

/// Every check of what is built
pub(crate) fn checks(toolchain: &Toolchain) -> Vec<Check> {
    artefact::checks(toolchain).into_iter().chain(spin_app::checks()).collect()
}

/// Say how a check went, whole differences included
pub(crate) fn report(check: &Check) -> bool {
    match &check.outcome {
        Ok(()) => say::detail(&format!("{}: ok", check.name)),
        Err(error) => say::detail(&format!("{}: FAILED\n{error:#}", check.name)),
    }
    check.outcome.is_ok()
}
